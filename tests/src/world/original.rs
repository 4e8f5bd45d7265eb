//! A tunnel's client with the defects of the originals: one flag for both directions of a stream, resumes that nobody
//! asked for, writers that are not woken, more errors than one, and now and then a line that it keeps and forgets.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::tunnel::{Content, EOF, Message};
use linkspan_core::{CloseReason, Flushed, Frame, Instant, Opcode, im};

use super::end::{Desk, Part, Said};
use super::mesh::Errand;
use super::plan::{Op, Verb};
use super::tunnel::{Flow, Mode, target};
use crate::memory::line::{Effect, Input};
use crate::tunnel::GoLike;

/// How often it pings.
const PING: Duration = Duration::from_secs(5);
/// How often it lists its streams.
const SYNC: Duration = Duration::from_secs(60);
/// After how long without a ping or pong it gives up.
const SILENCE: Duration = Duration::from_secs(60);
/// How long it dials, in microseconds.
const DIAL: u64 = 5_000_000;
/// Above how many bytes it pauses a stream: less than the originals, so that short lives reach it.
const PAUSE_ABOVE: usize = 32 * 1024;
/// What it has to say, and has not written yet, in cost.
const UNSENT_MAX: usize = 64 * 1024;

/// Such a client with its application.
#[derive(Debug)]
pub(super) struct Original {
    machine: GoLike,
    flows: BTreeMap<i64, Flow>,
    /// The streams that the other end has ended, and whether regularly.
    over: BTreeMap<i64, bool>,
    /// What is done later: a dial that succeeds, or a read.
    later: BTreeMap<u64, i64>,
    tokens: u64,
    unsent: usize,
    last_id: i64,
    ping_at: Instant,
    sync_at: Instant,
    dead_at: Instant,
    /// It says nothing any more, for as long as it keeps its line.
    is_mute: bool,
    is_closed: bool,
}

impl Original {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            machine: GoLike::new(PAUSE_ABOVE),
            flows: BTreeMap::new(),
            over: BTreeMap::new(),
            later: BTreeMap::new(),
            tokens: 0,
            unsent: 0,
            last_id: 0,
            ping_at: now + PING,
            sync_at: now + SYNC,
            dead_at: now + SILENCE,
            is_mute: false,
            is_closed: false,
        }
    }

    fn put_off(&mut self, wire: i64, span: u64, desk: &mut Desk<'_>) {
        self.tokens += 1;
        self.later.insert(self.tokens, wire);
        desk.wake_after(span, self.tokens);
    }

    fn receive(&mut self, data: &Bytes, desk: &mut Desk<'_>) {
        let message = Message::decode(data);
        let Ok(message) = message else {
            panic!("B: end {} was sent what it cannot read: {message:?}", desk.end)
        };
        let wire = message.stream;
        match &message.content {
            Content::Connect(target) => {
                self.flows.insert(wire, Flow::requested(&target.address));
            }
            Content::Error(text) if self.machine.is_open(wire) => _ = self.over.insert(wire, text == EOF),
            _ => {}
        }
        self.machine.receive(message);
        while let Some(wire) = self.machine.dialled.pop_front() {
            match self.flows.get(&wire).map(|flow| flow.mode) {
                Some(Mode::Refuse) => {
                    self.flows.remove(&wire);
                    self.machine.close(wire);
                }
                Some(Mode::Never) => self.put_off(wire, DIAL, desk),
                None => {}
                Some(_) => {
                    let span = desk.service_time();
                    self.put_off(wire, span, desk);
                }
            }
        }
        self.read(wire, desk);
    }

    /// Reads what has come on one stream, unless its reader takes its time.
    fn read(&mut self, wire: i64, desk: &mut Desk<'_>) {
        let Some(flow) = self.flows.get_mut(&wire).filter(|flow| flow.is_open) else {
            return self.end_unopened(wire);
        };
        if flow.mode == Mode::Slow && !flow.is_opener && !desk.is_calm {
            let span = desk.random.below(500_000) as u64;
            return self.put_off(wire, span, desk);
        }
        self.read_now(wire, desk);
    }

    /// A stream that the other end has given up before its dial was through.
    fn end_unopened(&mut self, wire: i64) {
        if self.over.remove(&wire).is_some() {
            self.flows.remove(&wire);
        }
    }

    fn read_now(&mut self, wire: i64, desk: &mut Desk<'_>) {
        let Some(flow) = self.flows.get_mut(&wire) else { return };
        while let Some(body) = self.machine.read(wire, 16 * 1024).filter(|body| !body.is_empty()) {
            flow.take(&body, desk);
        }
        if let Some(is_regular) = self.over.remove(&wire) {
            if is_regular {
                flow.check_whole(desk);
            }
            self.ended(wire, desk);
        }
    }

    fn ended(&mut self, wire: i64, desk: &mut Desk<'_>) {
        if let Some(flow) = self.flows.remove(&wire).filter(|flow| flow.is_opener) {
            desk.ledger.streams.ended(flow.id, desk.end);
        }
    }

    /// Writes what can be written, and closes what is done.
    fn pump(&mut self, desk: &mut Desk<'_>) {
        let wires: Vec<i64> = self.flows.keys().copied().collect();
        for wire in wires {
            let Some(flow) = self.flows.get_mut(&wire).filter(|flow| flow.is_open) else { continue };
            let mut room = UNSENT_MAX.saturating_sub(self.unsent);
            while room > 0 && flow.to_write() > 0 {
                let (before, most) = (flow.written, 1 + desk.random.below(room.min(8 * 1024)) as u64);
                let body = flow.write(most);
                room -= body.len();
                if !self.machine.write(wire, body) {
                    flow.written = before;
                    break;
                }
            }
            let gives_up = flow.mode == Mode::Abort && flow.is_opener && flow.to_write() == 0;
            if gives_up || flow.is_done() {
                if !gives_up {
                    flow.close(desk);
                }
                self.machine.close(wire);
                self.over.remove(&wire);
                self.ended(wire, desk);
            }
        }
    }

    fn dial(&mut self, bytes: u64, mode: u64, desk: &mut Desk<'_>) {
        let id = desk.ledger.streams.open(desk.end);
        let wire = self.machine.dial_to(target(mode, bytes, id));
        self.flows.insert(wire, Flow::opened(id, mode, bytes));
    }

    /// Everything that it has to say.
    fn speak(&mut self, desk: &mut Desk<'_>) -> Vec<Effect> {
        if self.is_mute || self.is_closed {
            return Vec::new();
        }
        self.pump(desk);
        let mut effects = Vec::new();
        while let Some(message) = self.machine.send() {
            self.last_id += 1;
            let frame = Message { id: self.last_id, ..message }.encode().expect("short texts");
            let mut flushed = Flushed::default();
            flushed.add(&frame);
            self.unsent += flushed.cost as usize;
            effects.push(Effect::Send(frame));
        }
        effects
    }

    fn close(&mut self, reason: CloseReason, desk: &mut Desk<'_>) -> Vec<Effect> {
        if std::mem::replace(&mut self.is_closed, true) {
            return Vec::new();
        }
        self.flows.clear();
        desk.ledger.streams.end_gone(desk.end);
        vec![Effect::Close(reason)]
    }
}

impl Part for Original {
    fn input(&mut self, now: Instant, input: Input, desk: &mut Desk<'_>) -> Vec<Effect> {
        match input {
            Input::Closed(reason) => return self.close(reason, desk),
            Input::Drain(reason) => return self.close(reason, desk),
            Input::Flushed(flushed) => self.unsent = self.unsent.saturating_sub(flushed.cost as usize),
            Input::Received(Opcode::Binary, data) if !self.is_mute => self.receive(&data, desk),
            Input::Received(Opcode::Ping | Opcode::Pong, _) if !self.is_mute => self.dead_at = now + SILENCE,
            Input::Received(..) | Input::Delivered(_) | Input::Dropped(_) => {}
        }
        self.speak(desk)
    }

    fn begin(&mut self, _: Instant, _: &mut Desk<'_>) -> Vec<Effect> {
        Vec::new()
    }

    fn timeout(&mut self, now: Instant, desk: &mut Desk<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.dead_at <= now {
            return self.close(CloseReason::HeartbeatTimeout, desk);
        }
        if self.is_mute {
            return effects;
        }
        if self.ping_at <= now {
            self.ping_at = now + PING;
            effects.push(Effect::Send(Frame::new(Opcode::Ping, Bytes::new())));
        }
        if self.sync_at <= now {
            self.sync_at = now + SYNC;
            self.last_id += 1;
            let content = Content::sync(self.machine.known());
            let message = Message { id: self.last_id, stream: 0, content };
            effects.push(Effect::Send(message.encode().expect("few streams")));
        }
        effects
    }

    fn wake(&mut self, _: Instant, token: u64, desk: &mut Desk<'_>) -> Vec<Effect> {
        if token == 0 {
            desk.said.push(Said::Ready);
        }
        if let Some(wire) = self.later.remove(&token).filter(|_| !self.is_mute)
            && let Some(flow) = self.flows.get_mut(&wire)
        {
            if flow.mode == Mode::Never && !flow.is_opener {
                self.machine.close(wire);
                self.ended(wire, desk);
            } else {
                flow.is_open = true;
                self.read_now(wire, desk);
            }
        }
        self.speak(desk)
    }

    fn perform(&mut self, now: Instant, op: &Op, desk: &mut Desk<'_>) -> Vec<Effect> {
        match op.verb {
            _ if self.is_mute || self.is_closed => {}
            Verb::HangUp => return self.close(CloseReason::Finished, desk),
            Verb::Mute => {
                self.is_mute = true;
                // The other end finds out long before.
                self.dead_at = now + 3 * SILENCE;
                self.flows.clear();
                desk.ledger.streams.end_gone(desk.end);
            }
            Verb::Notify => self.machine.flip(op.a.min(40)),
            Verb::DialBack => self.dial(op.a, op.b, desk),
            Verb::Flood => (0..op.a.min(20)).for_each(|turn| self.dial(op.b, turn, desk)),
            _ => {}
        }
        self.speak(desk)
    }

    fn next_timeout(&self) -> Option<Instant> {
        let next = if self.is_mute { self.dead_at } else { self.ping_at.min(self.sync_at).min(self.dead_at) };
        (!self.is_closed).then_some(next)
    }

    fn wants_read(&self) -> bool {
        !self.is_closed
    }

    fn has_room(&self) -> bool {
        self.unsent < UNSENT_MAX
    }

    fn missing(&self) -> Option<String> {
        (!self.flows.is_empty()).then(|| format!("has streams: {:?} of {:?}", self.flows, self.machine))
    }

    fn take_messages(&mut self) -> u32 {
        0
    }

    fn command_im(&mut self, _: Instant, _: im::ServerCommand, _: &mut Desk<'_>) -> Vec<Effect> {
        Vec::new()
    }

    fn run(&mut self, _: Instant, _: Errand, _: &mut Desk<'_>) -> Vec<Effect> {
        Vec::new()
    }
}
