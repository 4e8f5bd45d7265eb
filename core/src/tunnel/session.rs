//! One end of a tunnel session.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::credit::Credit;
use super::message::cut_text;
use super::stream::{Probe, State, Stream};
use super::table::Table;
use super::{
    ClientSession, Content, DialError, EOF, Message, Role, StreamEnd, StreamId, Target, TunnelCommand,
    TunnelConfig, TunnelNotice, sync_ids,
};
use crate::rate::Rate;
use crate::{CloseReason, Context, Delivery, Dialect, Frame, Instant, Limits, Mark, Opcode, Violation};

pub(super) type Cx<'a> = Context<'a, Tunnel>;

/// One end of a tunnel session.
#[derive(Debug)]
pub struct Tunnel {
    pub(super) config: Arc<TunnelConfig>,
    pub(super) table: Table,
    last_id: i64,
    last_wire: i64,
    sync_at: Option<Instant>,
    alive_at: Instant,
    /// When anything was heard.
    heard_at: Instant,
    is_quiet: bool,
    connects: Rate,
    malformed: u32,
}

impl Tunnel {
    /// The end of a new session.
    pub fn new(config: Arc<TunnelConfig>) -> Self {
        // The originals dial 1, 2, 3 … whichever end they are: who may meet such numbers takes negative ones.
        let meets = config.role == Role::Client || config.may_peer_dial && !config.is_peer_ours;
        Self {
            config,
            table: Table::default(),
            last_id: 0,
            last_wire: if meets { 0 } else { 1 },
            sync_at: None,
            alive_at: Instant::ORIGIN,
            heard_at: Instant::ORIGIN,
            is_quiet: false,
            connects: Rate::default(),
            malformed: 0,
        }
    }

    /// How many streams there are, those included of which the application still holds data.
    pub fn streams(&self) -> usize {
        self.table.len()
    }

    /// When the peer last pinged or answered a ping.
    pub fn alive_at(&self) -> Instant {
        self.alive_at
    }

    /// Bytes that the application was given and has not reported as [read](TunnelCommand::Read).
    pub fn held(&self) -> u64 {
        self.table.held
    }

    pub(super) fn frame(&mut self, wire: i64, content: Content) -> Option<Frame> {
        self.last_id = self.last_id.wrapping_add(1);
        Message { id: self.last_id, stream: wire, content }.encode().ok()
    }

    /// Everything but data: it goes before all data that waits here.
    pub(super) fn control(&mut self, wire: i64, content: Content, cx: &mut Cx<'_>) {
        if let Some(frame) = self.frame(wire, content) {
            cx.send(frame);
        }
    }

    // Opening.

    fn next_wire(&mut self) -> i64 {
        let step = if self.last_wire > 0 { 1 } else { -1 };
        loop {
            self.last_wire = self.last_wire.wrapping_add(step);
            if self.table.find(self.last_wire).is_none() {
                return self.last_wire;
            }
        }
    }

    fn add(&mut self, mut stream: Stream, cx: &Cx<'_>) -> StreamId {
        let own = cx.limits().tunnel_first_window();
        self.table.first_window = own;
        stream.credit = self.config.peer_window.map(|peers| Credit::new(own, peers));
        self.table.add(stream)
    }

    fn dial(&mut self, request: u64, target: Target, cx: &mut Cx<'_>) {
        let is_full = self.table.len() >= cx.limits().tunnel_streams as usize;
        let refused = match target.check(self.config.connect_max) {
            Err(error) => Some(DialError::Unsayable(error)),
            Ok(()) if !cx.is_open() => Some(DialError::Ending),
            Ok(()) => is_full.then_some(DialError::TooMany),
        };
        if let Some(error) = refused {
            return cx.notify(TunnelNotice::DialRefused { request, error });
        }
        let wire = self.next_wire();
        self.control(wire, Content::Connect(target), cx);
        let stream = self.add(Stream::new(wire, State::Open, cx.now()), cx);
        cx.notify(TunnelNotice::Opened { request, stream });
    }

    fn handle_connect(&mut self, wire: i64, target: Target, cx: &mut Cx<'_>) {
        if self.table.find(wire).is_some() {
            // An error would end the stream that has the number.
            return cx.mark(Mark::StreamRefused);
        }
        if let Some((mark, text)) = self.refusal(&target, cx) {
            cx.mark(mark);
            self.table.forget(wire, cx.limits().tunnel_streams);
            return self.control(wire, Content::Error(Bytes::from_static(text.as_bytes())), cx);
        }
        let until = cx.now() + cx.limits().tunnel_dial_timeout;
        let stream = self.add(Stream::new(wire, State::Dialing(until), cx.now()), cx);
        self.reschedule(stream, cx);
        let Target { proto, address, .. } = target;
        cx.notify(TunnelNotice::DialRequested { stream, proto, address });
    }

    /// Why the peer's wish for a stream is refused, if it is: what to count, and what the peer is told.
    fn refusal(&mut self, target: &Target, cx: &Cx<'_>) -> Option<(Mark, &'static str)> {
        let limits = cx.limits();
        let (rate, burst) = (limits.tunnel_connects_per_second, limits.tunnel_connects_burst);
        if !self.connects.take(cx.now(), rate, burst) {
            return Some((Mark::StreamRate, "too many dials per second"));
        }
        let text = if !self.config.may_peer_dial {
            "connect not allowed"
        } else if target.is_cut {
            "address too long"
        } else if self.table.len() >= limits.tunnel_streams as usize {
            "too many streams"
        } else if self.table.dials >= limits.tunnel_dials {
            "too many pending dials"
        } else {
            return None;
        };
        Some((Mark::StreamRefused, text))
    }

    fn dialed(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        if let Some(stream) = self.table.get(id)
            && matches!(stream.state, State::Dialing(_))
        {
            stream.state = State::Open;
            self.table.dials -= 1;
            self.reschedule(id, cx);
        }
    }

    // Ending.

    /// Ends a stream, tells both sides, and the peer not a second time.
    pub(super) fn end(&mut self, id: StreamId, end: StreamEnd, text: Option<Bytes>, cx: &mut Cx<'_>) {
        let Some(wire) = self.table.end(id) else { return };
        if let Some(text) = text {
            self.control(wire, Content::Error(text), cx);
        }
        // A peer that has sent its error sends no data; one that has not may have some on the way.
        if !matches!(end, StreamEnd::Eof | StreamEnd::Error(_)) {
            self.table.forget(wire, cx.limits().tunnel_streams);
        }
        if end == StreamEnd::Overflow {
            cx.mark(Mark::StreamOverflow);
            self.table.release(id, u32::MAX);
        }
        if end == StreamEnd::Flapping {
            cx.mark(Mark::StreamFlapping);
        }
        cx.notify(TunnelNotice::Ended { stream: id, end });
    }

    fn handle_error(&mut self, wire: i64, text: &Bytes, cx: &mut Cx<'_>) {
        // No answer where nothing is known, or two ends would answer each other for ever.
        let Some(id) = self.table.find(wire) else { return };
        let end = if text == EOF { StreamEnd::Eof } else { StreamEnd::Error(text.clone()) };
        self.end(id, end, Some(cut_text(text)), cx);
    }

    fn close(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        self.table.release(id, u32::MAX);
        match self.table.get(id).map(|stream| &mut stream.state) {
            Some(state @ State::Open) => {
                *state = State::Closing;
                self.grant(id, cx);
            }
            Some(State::Dialing(_)) => {
                return self.end(id, StreamEnd::Finished, Some(Bytes::from_static(EOF)), cx);
            }
            _ => return,
        }
        self.table.enlist(id);
        self.reschedule(id, cx);
    }

    fn abort(&mut self, id: StreamId, text: Bytes, cx: &mut Cx<'_>) {
        self.table.release(id, u32::MAX);
        self.end(id, StreamEnd::Finished, Some(text), cx);
    }

    // Timers.

    pub(super) fn reschedule(&mut self, id: StreamId, cx: &Cx<'_>) {
        if let Some(stream) = self.table.get(id) {
            stream.watch(cx.now());
        }
        self.table.reschedule(id, cx.limits().tunnel_stall_timeout);
    }

    fn expire_stream(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        let now = cx.now();
        let stall_timeout = cx.limits().tunnel_stall_timeout;
        let mark = self.pause_mark(cx.limits());
        let Some(stream) = self.table.get(id) else { return };
        if matches!(stream.state, State::Dialing(until) if until <= now) {
            return self.end(id, StreamEnd::DialTimeout, Some(Bytes::from_static(b"dial timeout")), cx);
        }
        if stream.stalled_at(stall_timeout).is_some_and(|at| at <= now) {
            return self.end(id, StreamEnd::Stalled, Some(Bytes::from_static(b"no progress")), cx);
        }
        let has_room = u64::from(stream.held) < mark;
        if stream.probe(now, has_room) == Some(Probe::Ask) {
            (stream.we_paused, stream.must_wake) = (false, false);
            stream.give_cause();
            let wire = stream.wire;
            self.control(wire, Content::Resume, cx);
        }
        self.loosen(id, cx);
        self.table.enlist(id);
        self.reschedule(id, cx);
    }

    /// Ends what the peer no longer knows; nothing that is so young that the list may have crossed it. The peer is told
    /// nevertheless: its list may be from before our dial, however long ago, and then it still gets that one.
    fn handle_sync(&mut self, body: &Bytes, cx: &mut Cx<'_>) -> Result<(), Violation> {
        for wire in sync_ids(body).ok_or(Violation::MessageInvalid)? {
            if let Some(id) = self.table.find(wire)
                && let Some(stream) = self.table.get(id)
            {
                stream.is_listed = true;
            }
        }
        let (now, grace) = (cx.now(), self.config.sync_grace);
        let known: alloc::vec::Vec<_> = self.table.wires().map(|(_, id)| id).collect();
        for id in known {
            let Some(stream) = self.table.get(id) else { continue };
            let is_missing = !core::mem::take(&mut stream.is_listed);
            let was_missing = core::mem::replace(&mut stream.was_missing, is_missing);
            let is_old = now - stream.opened_at >= grace;
            let is_silent = now - stream.heard_at >= grace;
            if is_missing && is_old && (is_silent || was_missing) {
                self.end(id, StreamEnd::Stale, Some(Bytes::from_static(b"missing in your list")), cx);
            }
        }
        Ok(())
    }

    fn handle_message(&mut self, message: Message, cx: &mut Cx<'_>) -> Result<(), Violation> {
        let wire = message.stream;
        match message.content {
            Content::Data(body) => self.handle_data(wire, body, cx),
            Content::Connect(target) => self.handle_connect(wire, target, cx),
            Content::Error(text) => self.handle_error(wire, &text, cx),
            Content::AddClient(text) => self.hear_of_client(&text, TunnelNotice::ClientAdded, cx)?,
            Content::RemoveClient(text) => self.hear_of_client(&text, TunnelNotice::ClientRemoved, cx)?,
            Content::Pause => self.handle_pause(wire, cx),
            Content::Resume => self.handle_resume(wire, cx),
            Content::Sync(body) => self.handle_sync(&body, cx)?,
            Content::Credit(cost) => self.handle_credit(wire, cost, cx),
            Content::Unknown(_) => cx.mark(Mark::MessageIgnored),
        }
        Ok(())
    }

    /// Passes an announcement on. A peer that only sends what nobody can read is not one.
    fn hear_of_client(
        &mut self,
        text: &Bytes,
        notice: fn(ClientSession) -> TunnelNotice,
        cx: &mut Cx<'_>,
    ) -> Result<(), Violation> {
        if !self.config.may_peer_announce {
            cx.mark(Mark::MessageIgnored);
            return Ok(());
        }
        if let Some(session) = ClientSession::read(text).filter(|session| session.check().is_ok()) {
            cx.notify(notice(session));
            return Ok(());
        }
        cx.mark(Mark::BadMessageIgnored);
        self.malformed += 1;
        if self.malformed > cx.limits().tunnel_malformed { Err(Violation::MessageInvalid) } else { Ok(()) }
    }

    /// Something came: the peer is there.
    fn hear(&mut self, cx: &mut Cx<'_>) {
        self.heard_at = cx.now();
        if core::mem::take(&mut self.is_quiet) {
            cx.notify(TunnelNotice::Lively);
        }
    }

    fn quiet_at(&self) -> Option<Instant> {
        (!self.is_quiet).then(|| self.heard_at + self.config.quiet)
    }

    fn announce(&mut self, content: Result<Content, super::EncodeError>, cx: &mut Cx<'_>) {
        match content {
            Ok(content) => self.control(0, content, cx),
            Err(_) => cx.mark(Mark::PushRefused),
        }
    }
}

impl Dialect for Tunnel {
    type Command = TunnelCommand;
    type Notice = TunnelNotice;

    fn open(&mut self, cx: &mut Context<'_, Self>) {
        let is_client = self.config.role == Role::Client;
        cx.set_liveness(is_client.then_some(self.config.ping), Some(self.config.silence));
        cx.established();
        (self.alive_at, self.heard_at) = (cx.now(), cx.now());
        self.sync_at = is_client.then(|| cx.now() + self.config.sync.max(Limits::SPAN_MIN));
    }

    fn receive(&mut self, opcode: Opcode, data: Bytes, cx: &mut Context<'_, Self>) -> Result<(), Violation> {
        self.hear(cx);
        match opcode {
            Opcode::Ping | Opcode::Pong => {
                cx.heard();
                self.alive_at = cx.now();
            }
            Opcode::Binary if data.len() > cx.limits().tunnel_receive_max as usize => {
                return Err(Violation::PackageTooLarge);
            }
            Opcode::Binary => {
                self.handle_message(Message::decode(&data)?, cx)?;
                self.pump(cx);
            }
            Opcode::Text | Opcode::Stream => return Err(Violation::MessageInvalid),
        }
        Ok(())
    }

    fn deliver(&mut self, delivery: Delivery, cx: &mut Context<'_, Self>) {
        if matches!(delivery, Delivery::Push(_)) {
            cx.mark(Mark::PushRefused);
        }
    }

    fn command(&mut self, command: TunnelCommand, cx: &mut Context<'_, Self>) {
        match command {
            TunnelCommand::Dial { request, proto, address } => {
                self.dial(request, Target { proto, address, is_cut: false }, cx);
            }
            TunnelCommand::Dialed(stream) => self.dialed(stream, cx),
            TunnelCommand::DialFailed { stream, error } | TunnelCommand::Abort { stream, error } => {
                self.abort(stream, error, cx);
            }
            TunnelCommand::Data { stream, body } => self.write(stream, body, cx),
            TunnelCommand::Read { stream, cost } => self.read(stream, cost, cx),
            TunnelCommand::Close(stream) => self.close(stream, cx),
            TunnelCommand::AddClient(session) => self.announce(Content::add_client(&session), cx),
            TunnelCommand::RemoveClient(session) => self.announce(Content::remove_client(&session), cx),
            TunnelCommand::Finish => cx.drain(CloseReason::Finished),
        }
        self.pump(cx);
    }

    fn flushed(&mut self, cx: &mut Context<'_, Self>) {
        self.pump(cx);
    }

    fn beat(&mut self, cx: &mut Context<'_, Self>) {
        cx.send_sign(Frame::new(Opcode::Ping, Bytes::new()));
    }

    fn expire(&mut self, cx: &mut Context<'_, Self>) {
        while let Some(id) = self.table.pop_due(cx.now()) {
            self.expire_stream(id, cx);
        }
        if self.quiet_at().is_some_and(|at| at <= cx.now()) {
            self.is_quiet = true;
            cx.notify(TunnelNotice::Quiet);
        }
        if self.sync_at.is_some_and(|at| at <= cx.now()) {
            self.sync_at = Some(cx.now() + self.config.sync.max(Limits::SPAN_MIN));
            let list = Content::sync(self.table.wires().map(|(wire, _)| wire));
            self.control(0, list, cx);
        }
        self.pump(cx);
    }

    fn deadline(&self) -> Option<Instant> {
        self.table.next_due().into_iter().chain(self.sync_at).chain(self.quiet_at()).min()
    }

    fn farewell(&mut self, _: CloseReason, cx: &mut Context<'_, Self>) {
        let wires: Vec<_> = self.table.wires().map(|(wire, _)| wire).collect();
        for wire in wires {
            self.control(wire, Content::Error(Bytes::from_static(b"tunnel disconnect")), cx);
        }
    }

    fn is_busy(&self) -> bool {
        self.table.has_line()
    }

    fn wants_read(&self, _: &Limits) -> bool {
        true
    }

    fn at_boundary(&self) -> bool {
        true
    }

    fn footprint(&self) -> usize {
        self.table.footprint()
    }
}
