//! One end of a session as the documentation tells it: a list of every stream there ever was, searched from front to
//! back, with no sum, index or timer kept. Its streams are numbered from 1 in the order in which they were opened.

use std::collections::{BTreeSet, VecDeque};

use linkspan_core::Flushed;
use linkspan_core::tunnel::{DialError, StreamId, Target};

use super::reference_stream::{Credit, Phase, Stream};
use super::*;

/// What the machine is to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) sent: Vec<Message>,
    pub(super) notices: Vec<TunnelNotice>,
    pub(super) marks: Vec<Mark>,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) config: TunnelConfig,
    pub(super) limits: Limits,
    pub(super) now: Instant,
    pub(super) streams: Vec<Stream>,
    /// The numbers of streams that the peer knows to be over, the last ones.
    gone: VecDeque<i64>,
    /// Who may send next; some may no longer.
    pub(super) line: VecDeque<usize>,
    /// The costs of the frames in the send queue.
    pub(super) queue: VecDeque<u32>,
    is_held_up: bool,
    messages: i64,
    dialled: i64,
    sync_at: Option<Instant>,
    drain_at: Option<Instant>,
    pub(super) closed: Option<CloseReason>,
    pub(super) said: Said,
}

/// The name of a stream.
pub(super) fn id(number: usize) -> StreamId {
    serde_json::from_value(number.into()).expect("a number")
}

impl Model {
    pub(super) fn new(config: TunnelConfig, limits: Limits) -> Self {
        let sync_at = (config.role == Role::Client).then(|| Instant::ORIGIN + config.sync);
        // What an original may dial counts up from 1.
        let is_below = config.role == Role::Client || config.may_peer_dial && !config.is_peer_ours;
        Self {
            config,
            limits,
            now: Instant::ORIGIN,
            streams: Vec::new(),
            gone: VecDeque::new(),
            line: VecDeque::new(),
            queue: VecDeque::new(),
            is_held_up: false,
            messages: 0,
            dialled: if is_below { 0 } else { 1 },
            sync_at,
            drain_at: None,
            closed: None,
            said: Said::default(),
        }
    }

    // What it knows.

    pub(super) fn existing(&self) -> usize {
        self.streams.iter().filter(|stream| stream.exists()).count()
    }

    pub(super) fn held(&self) -> u64 {
        self.streams.iter().map(|stream| u64::from(stream.held)).sum()
    }

    pub(super) fn unsent(&self) -> u64 {
        self.queue.iter().map(|cost| u64::from(*cost)).sum()
    }

    /// The live stream with this number on the wire.
    pub(super) fn live(&self, wire: i64) -> Option<usize> {
        self.streams.iter().position(|stream| stream.is_live() && stream.wire == wire)
    }

    /// Every live number, in order.
    pub(super) fn wires(&self) -> BTreeSet<i64> {
        self.streams.iter().filter(|stream| stream.is_live()).map(|stream| stream.wire).collect()
    }

    pub(super) fn is_original(&self) -> bool {
        !self.config.is_peer_ours
    }

    /// Above this a stream's sender is paused, below an eighth it is resumed: its own share, and a quarter of what the
    /// session has left beside what may come late.
    pub(super) fn pause_mark(&self) -> u64 {
        let (share, session) = (u64::from(self.limits.tunnel_stream_pause), self.limits.tunnel_session_bytes);
        let late = (u64::from(self.limits.tunnel_stream_bytes) - share).min(session / 2);
        share.min(session.saturating_sub(late + self.held()) / 4)
    }

    // What it says.

    pub(super) fn send(&mut self, wire: i64, content: Content) {
        self.messages += 1;
        let frame = Message { id: self.messages, stream: wire, content }.encode().expect("sayable");
        if self.closed.is_none() && self.unsent() >= u64::from(self.limits.send_queue_bytes) {
            self.closed = Some(CloseReason::SlowConsumer);
        }
        if self.closed.is_none() {
            self.queue.push_back(frame.cost());
            self.said.sent.push(Message::decode(&frame.into_bytes()).expect("readable"));
        }
    }

    pub(super) fn notify(&mut self, notice: TunnelNotice) {
        if self.closed.is_none() {
            self.said.notices.push(notice);
        }
    }

    pub(super) fn mark(&mut self, mark: Mark) {
        if self.closed.is_none() {
            self.said.marks.push(mark);
        }
    }

    // Beginning and end of a stream.

    pub(super) fn open(&mut self, wire: i64, phase: Phase) -> StreamId {
        self.gone.retain(|one| *one != wire);
        let own = self.limits.tunnel_first_window();
        let credit = self.config.peer_window.map(|peers| Credit::new(own, peers));
        self.streams.push(Stream::new(wire, phase, self.now, credit));
        id(self.streams.len())
    }

    pub(super) fn dial(&mut self, request: u64) {
        let refused = if self.drain_at.is_some() {
            Some(DialError::Ending)
        } else {
            (self.existing() >= self.limits.tunnel_streams as usize).then_some(DialError::TooMany)
        };
        if let Some(error) = refused {
            return self.notify(TunnelNotice::DialRefused { request, error });
        }
        let step = if self.dialled > 0 { 1 } else { -1 };
        self.dialled += step;
        while self.live(self.dialled).is_some() {
            self.dialled += step;
        }
        self.send(self.dialled, connect());
        let stream = self.open(self.dialled, Phase::Open);
        self.notify(TunnelNotice::Opened { request, stream });
    }

    pub(super) fn hear_connect(&mut self, wire: i64, target: Target) {
        if self.live(wire).is_some() {
            return self.mark(Mark::StreamRefused);
        }
        let is_dialling = |stream: &&Stream| matches!(stream.phase, Phase::Dialing(_));
        let refused = if !self.config.may_peer_dial {
            "connect not allowed"
        } else if self.existing() >= self.limits.tunnel_streams as usize {
            "too many streams"
        } else if self.streams.iter().filter(is_dialling).count() >= self.limits.tunnel_dials as usize {
            "too many pending dials"
        } else {
            let stream = self.open(wire, Phase::Dialing(self.now + self.limits.tunnel_dial_timeout));
            let Target { proto, address, .. } = target;
            return self.notify(TunnelNotice::DialRequested { stream, proto, address });
        };
        self.mark(Mark::StreamRefused);
        self.told(wire);
        self.send(wire, Content::Error(text(refused)));
    }

    /// From now on the peer knows that the stream is over; says whether it did.
    pub(super) fn told(&mut self, wire: i64) -> bool {
        let is_known = self.gone.contains(&wire);
        if !is_known {
            self.gone.push_back(wire);
        }
        if self.gone.len() > self.limits.tunnel_streams as usize {
            self.gone.pop_front();
        }
        is_known
    }

    /// One error on the wire, one notice, and whatever comes after it has no meaning.
    pub(super) fn end(&mut self, at: usize, end: StreamEnd, why: Bytes) {
        if !self.streams[at].is_live() {
            return;
        }
        self.streams[at].end();
        let wire = self.streams[at].wire;
        self.send(wire, Content::Error(why));
        if !matches!(end, StreamEnd::Eof | StreamEnd::Error(_)) {
            self.told(wire);
        }
        match end {
            StreamEnd::Overflow => {
                self.mark(Mark::StreamOverflow);
                self.streams[at].held = 0;
            }
            StreamEnd::Flapping => self.mark(Mark::StreamFlapping),
            _ => {}
        }
        self.notify(TunnelNotice::Ended { stream: id(at + 1), end });
    }

    pub(super) fn dialed(&mut self, at: usize) {
        if matches!(self.streams[at].phase, Phase::Dialing(_)) {
            self.streams[at].phase = Phase::Open;
        }
    }

    pub(super) fn abort(&mut self, at: usize, why: Bytes) {
        self.release(at, u32::MAX);
        self.end(at, StreamEnd::Finished, why);
    }

    pub(super) fn close(&mut self, at: usize) {
        self.release(at, u32::MAX);
        match self.streams[at].phase {
            Phase::Dialing(_) => self.end(at, StreamEnd::Finished, text("EOF")),
            Phase::Open => {
                self.streams[at].phase = Phase::Closing;
                self.grant(at);
                self.enlist(at);
            }
            Phase::Closing | Phase::Over => {}
        }
    }

    pub(super) fn finish(&mut self) {
        self.drain_at.get_or_insert(self.now + self.limits.close_grace);
    }

    pub(super) fn hear_error(&mut self, wire: i64, why: Bytes) {
        if let Some(at) = self.live(wire) {
            let end = if why == "EOF" { StreamEnd::Eof } else { StreamEnd::Error(why.clone()) };
            self.end(at, end, why);
        }
    }

    /// Who is missing, old, and silent or missing for the second time, is over.
    pub(super) fn hear_list(&mut self, listed: &[i64]) {
        let grace = self.config.sync_grace;
        for wire in self.wires() {
            let Some(at) = self.live(wire) else { continue };
            let stream = &mut self.streams[at];
            let is_missing = !listed.contains(&wire);
            let was_missing = std::mem::replace(&mut stream.was_missing, is_missing);
            let is_silent = self.now - stream.heard >= grace;
            if is_missing && self.now - stream.opened >= grace && (is_silent || was_missing) {
                self.end(at, StreamEnd::Stale, text("missing in your list"));
            }
        }
    }

    pub(super) fn hear(&mut self, wire: i64, content: Content) {
        if self.drain_at.is_some() {
            return;
        }
        match content {
            Content::Data(body) => self.hear_data(wire, body),
            Content::Connect(target) => self.hear_connect(wire, target),
            Content::Error(why) => self.hear_error(wire, why),
            Content::Pause => self.hear_pause(wire),
            Content::Resume => self.hear_resume(wire),
            Content::Credit(cost) => self.hear_credit(wire, cost),
            Content::Sync(body) => {
                let listed: Vec<_> = linkspan_core::tunnel::sync_ids(&body).expect("whole").collect();
                self.hear_list(&listed);
            }
            _ => self.mark(Mark::MessageIgnored),
        }
    }

    // Time.

    pub(super) fn due(&self) -> Option<Instant> {
        let timeout = self.limits.tunnel_stall_timeout;
        let streams = self.streams.iter().filter_map(|stream| stream.due(timeout));
        streams.chain(self.sync_at).chain(self.drain_at).min().filter(|_| self.closed.is_none())
    }

    /// Lets time pass, from deadline to deadline.
    pub(super) fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(due) = self.due().filter(|due| *due <= until) {
            self.now = due.max(self.now);
            self.expire();
        }
        self.now = until;
    }

    pub(super) fn expire(&mut self) {
        if self.drain_at.is_some_and(|at| at <= self.now) {
            return self.say_goodbye();
        }
        let timeout = self.limits.tunnel_stall_timeout;
        let dues = |model: &Self| {
            let dues = model.streams.iter().zip(0..).filter_map(|(one, at)| Some((one.due(timeout)?, at)));
            dues.filter(|(due, _)| *due <= model.now).min()
        };
        while let Some((_, at)) = dues(self) {
            self.expire_stream(at);
        }
        if self.sync_at.is_some_and(|at| at <= self.now) {
            self.sync_at = Some(self.now + self.config.sync);
            let list = Content::sync(self.wires().into_iter());
            self.send(0, list);
        }
        self.settle();
    }

    pub(super) fn expire_stream(&mut self, at: usize) {
        let has_room = u64::from(self.streams[at].held) < self.pause_mark();
        let stream = &mut self.streams[at];
        if matches!(stream.phase, Phase::Dialing(until) if until <= self.now) {
            return self.end(at, StreamEnd::DialTimeout, text("dial timeout"));
        }
        if stream.stalls(self.limits.tunnel_stall_timeout).is_some_and(|at| at <= self.now) {
            return self.end(at, StreamEnd::Stalled, text("no progress"));
        }
        if stream.probed(self.now, has_room) {
            self.say_ready(at);
        }
        self.loosen(at);
        self.enlist(at);
    }

    pub(super) fn say_goodbye(&mut self) {
        for wire in self.wires() {
            self.send(wire, Content::Error(text("tunnel disconnect")));
        }
        self.closed.get_or_insert(CloseReason::Finished);
    }

    /// Takes frames from the front of the send queue; says how much they count for.
    pub(super) fn flush(&mut self, frames: usize) -> Flushed {
        let cost = self.queue.drain(..frames.min(self.queue.len())).sum();
        Flushed { cost, lossy: 0 }
    }

    /// What every event ends with.
    pub(super) fn settle(&mut self) {
        self.pump();
        for stream in &mut self.streams {
            stream.watch(self.now);
        }
        let is_busy = self.line.iter().any(|at| self.streams[*at].may_send());
        if self.drain_at.is_some() && !is_busy && self.closed.is_none() {
            self.say_goodbye();
        }
        let is_held_up =
            self.drain_at.is_none() && self.unsent() >= u64::from(self.limits.send_queue_bytes / 2);
        if is_held_up && !self.is_held_up {
            self.mark(Mark::ReadPaused);
        }
        self.is_held_up = is_held_up;
    }
}
