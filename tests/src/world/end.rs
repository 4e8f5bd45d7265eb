//! One end of a link: a connection of any dialect, its application, and what a driver keeps for the two.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt::Debug;

use bytes::Bytes;
use linkspan_core::edge::Pace;
use linkspan_core::{Class, CloseReason, Delivery, Dialect, Frame, Instant, im};

use super::agenda::Agenda;
use super::branch::Branch;
use super::gateway::Gateway;
use super::ledger::Ledger;
use super::mesh::Errand;
use super::plan::{Op, Plan};
use crate::harness::Random;
use crate::memory::line::{Effect, Input, Line, Typed};

/// What an application may reach while it works.
pub(super) struct Desk<'a> {
    /// The time of the world.
    pub(super) time: u64,
    /// Which end this is.
    pub(super) end: usize,
    /// The end on the other side.
    pub(super) peer: usize,
    /// Whether what the user at this link sends arrives as it was sent.
    pub(super) is_trusted: bool,
    /// Whether the user hears what its gateway has not said.
    pub(super) is_forged: bool,
    /// The gateway that the application runs on, if it does.
    pub(super) gateway: Option<&'a mut Gateway>,
    pub(super) plan: &'a Plan,
    pub(super) ledger: &'a mut Ledger,
    pub(super) agenda: &'a mut Agenda,
    pub(super) random: &'a mut Random,
    /// What the application wants of the world.
    pub(super) said: &'a mut Vec<Said>,
    /// Whether everything goes well from now on.
    pub(super) is_calm: bool,
}

impl Desk<'_> {
    /// Wakes the application after `span` microseconds.
    pub(super) fn wake_after(&mut self, span: u64, token: u64) {
        self.agenda.enter(self.time + span, super::agenda::What::Wake(self.end, token));
    }

    /// The same, with what a service was asked for.
    pub(super) fn answer_after(&mut self, span: u64, token: u64) {
        self.agenda.enter(self.time + span, super::agenda::What::Answer(self.end, token));
    }

    /// How long a service takes.
    pub(super) fn service_time(&mut self) -> u64 {
        self.random.below(self.plan.settings.service_most(self.is_calm) + 1) as u64
    }

    /// Whether a fault may have kept bytes from somebody by now.
    pub(super) fn was_held_up(&self) -> bool {
        self.plan.faults.iter().any(|fault| fault.at <= self.time && fault.harm.holds_up())
    }

    /// True once in `times`, never if that is 0 or faults are over.
    pub(super) fn happens(&mut self, times: u64) -> bool {
        times > 0 && !self.is_calm && self.random.once_in(times as usize)
    }
}

/// What an application wants of the world.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// A user's connection works.
    Ready,
    /// A request of an IM connection, for its user's session.
    Requested(linkspan_core::im::Ticket, linkspan_core::im::Request),
    /// A tunnel's news, for the directory.
    Directory(linkspan_core::hub::directory::Event<usize>),
    /// A dial that came over a peer's link, for this client and its target.
    Forwarded(linkspan_core::Key, linkspan_core::tunnel::StreamId, Bytes),
    /// Something that is counted.
    Counted(linkspan_core::Mark),
    /// A branch that was taken.
    Passed(Branch),
    /// Its last words tell the peer why it ends.
    Goodbye,
    /// Something that another tunnel of the same gateway is to do.
    Errand(usize, Errand),
}

/// What an application asks of its connection: at once, or as soon as there is room.
#[derive(Debug)]
pub(super) struct Orders<C> {
    now: VecDeque<C>,
    held: VecDeque<C>,
}

impl<C> Orders<C> {
    /// At once.
    pub(super) fn give(&mut self, command: C) {
        self.now.push_back(command);
    }

    /// As soon as less than half of the send queue waits: answers, which a slow reader has to wait for.
    pub(super) fn hold(&mut self, command: C) {
        self.held.push_back(command);
    }
}

/// An application over one connection of dialect `D`.
pub(super) trait App<D: Dialect> {
    /// The connection tells something.
    fn hear(&mut self, notice: D::Notice, orders: &mut Orders<D::Command>, desk: &mut Desk<'_>);

    /// A time that the application has asked for has come.
    fn wake(&mut self, token: u64, orders: &mut Orders<D::Command>, desk: &mut Desk<'_>);

    /// The plan wants something of it.
    fn perform(&mut self, op: &Op, orders: &mut Orders<D::Command>, desk: &mut Desk<'_>);

    /// Its gateway wants something of it.
    fn run(&mut self, errand: Errand, orders: &mut Orders<D::Command>, desk: &mut Desk<'_>) {
        let _ = (errand, orders, desk);
    }

    /// Everything that had to wait for room is said.
    fn said(&mut self, desk: &mut Desk<'_>) {
        let _ = desk;
    }

    /// The connection has ended.
    fn closed(&mut self, reason: CloseReason, desk: &mut Desk<'_>) {
        let _ = (reason, desk);
    }

    /// The connection ends for that reason, and these are its last words: they are the goodbye if it owes its peer one.
    /// Gives whether it did, where a user would know that it has not come: an agent ends by its streams as well.
    fn says_goodbye(&self, reason: CloseReason, last: Option<&Frame>) -> bool {
        let _ = (reason, last);
        false
    }

    /// Whether it has everything that it waits for; if not, what is missing.
    fn missing(&self, connection: &linkspan_core::Connection<D>) -> Option<String> {
        let _ = connection;
        None
    }
}

/// A connection and its application, whatever its dialect.
pub(super) trait Part {
    fn input(&mut self, now: Instant, input: Input, desk: &mut Desk<'_>) -> Vec<Effect>;
    fn begin(&mut self, now: Instant, desk: &mut Desk<'_>) -> Vec<Effect>;
    fn timeout(&mut self, now: Instant, desk: &mut Desk<'_>) -> Vec<Effect>;
    fn wake(&mut self, now: Instant, token: u64, desk: &mut Desk<'_>) -> Vec<Effect>;
    fn perform(&mut self, now: Instant, op: &Op, desk: &mut Desk<'_>) -> Vec<Effect>;
    fn next_timeout(&self) -> Option<Instant>;
    fn wants_read(&self) -> bool;
    fn has_room(&self) -> bool;
    fn missing(&self) -> Option<String>;
    /// How many messages it has read since it was asked last.
    fn take_messages(&mut self) -> u32;
    /// A command for it, if this is an IM connection of a gateway.
    fn command_im(&mut self, now: Instant, command: im::ServerCommand, desk: &mut Desk<'_>) -> Vec<Effect>;
    /// Its gateway wants something of it, if it is a tunnel.
    fn run(&mut self, now: Instant, errand: Errand, desk: &mut Desk<'_>) -> Vec<Effect>;
}

/// Memory follows the bytes that come, and not what they announce: a table or a buffer may double, and this much more
/// may be taken at once whatever comes.
const MEMORY_FREE: usize = 4 * 1024;

/// A connection and its application.
pub(super) struct Actor<D: Dialect, A> {
    line: Typed<D>,
    app: A,
    orders: Orders<D::Command>,
    first: Vec<Effect>,
}

impl<D, A> Actor<D, A>
where
    D: Dialect<Command: Debug, Notice: Debug> + Debug + 'static,
    A: App<D> + 'static,
{
    /// A connection that opens at `now`.
    pub(super) fn open(
        dialect: D,
        app: A,
        limits: std::sync::Arc<linkspan_core::Limits>,
        now: Instant,
    ) -> Box<dyn Part> {
        let (line, first) = Typed::open(dialect, limits, now);
        let orders = Orders { now: VecDeque::new(), held: VecDeque::new() };
        Box::new(Self { line, app, orders, first })
    }

    /// Lets the application and its connection talk until neither has anything to say.
    fn settle(&mut self, now: Instant, mut effects: Vec<Effect>, desk: &mut Desk<'_>) -> Vec<Effect> {
        loop {
            for notice in self.line.notices.drain(..) {
                self.app.hear(notice, &mut self.orders, desk);
            }
            if let Some(Effect::Close(reason)) = effects.last() {
                let said = |effect: &Effect| matches!(effect, Effect::Send(_));
                let last = effects.iter().rfind(|effect| said(effect));
                let last = if let Some(Effect::Send(frame)) = last { Some(frame) } else { None };
                if self.app.says_goodbye(*reason, last) {
                    desk.said.push(Said::Goodbye);
                }
                self.orders.now.clear();
                self.orders.held.clear();
                self.app.closed(*reason, desk);
                return effects;
            }
            let held = if self.line.has_room() { self.orders.held.pop_front() } else { None };
            if held.is_some() && self.orders.held.is_empty() {
                self.app.said(desk);
            }
            // What was held is older.
            let Some(command) = held.or_else(|| self.orders.now.pop_front()) else { return effects };
            let more = self.line.command(now, command);
            if effects.is_empty() {
                effects = more;
            } else {
                effects.extend(more);
            }
        }
    }
}

impl<D, A> Part for Actor<D, A>
where
    D: Dialect<Command: Debug, Notice: Debug> + Debug + 'static,
    A: App<D> + 'static,
{
    fn input(&mut self, now: Instant, input: Input, desk: &mut Desk<'_>) -> Vec<Effect> {
        let came = if let Input::Received(_, data) = &input { Some(data.len()) } else { None };
        let before = self.line.connection().footprint();
        let effects = self.line.step(now, input);
        if let Some(came) = came {
            let owned = self.line.connection().footprint();
            let most = MEMORY_FREE + 2 * before + 4 * came;
            assert!(owned <= most, "G7: end {} owned {before} B, got {came} B, owns {owned} B", desk.end);
        }
        self.settle(now, effects, desk)
    }

    fn begin(&mut self, now: Instant, desk: &mut Desk<'_>) -> Vec<Effect> {
        let first = std::mem::take(&mut self.first);
        self.settle(now, first, desk)
    }

    fn timeout(&mut self, now: Instant, desk: &mut Desk<'_>) -> Vec<Effect> {
        let effects = self.line.timeout(now);
        self.settle(now, effects, desk)
    }

    fn wake(&mut self, now: Instant, token: u64, desk: &mut Desk<'_>) -> Vec<Effect> {
        self.app.wake(token, &mut self.orders, desk);
        self.settle(now, Vec::new(), desk)
    }

    fn perform(&mut self, now: Instant, op: &Op, desk: &mut Desk<'_>) -> Vec<Effect> {
        self.app.perform(op, &mut self.orders, desk);
        self.settle(now, Vec::new(), desk)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.line.next_timeout()
    }

    fn wants_read(&self) -> bool {
        self.line.wants_read()
    }

    fn has_room(&self) -> bool {
        self.line.has_room()
    }

    fn missing(&self) -> Option<String> {
        self.app.missing(self.line.connection())
    }

    fn take_messages(&mut self) -> u32 {
        self.line.take_messages()
    }

    fn command_im(&mut self, now: Instant, command: im::ServerCommand, desk: &mut Desk<'_>) -> Vec<Effect> {
        let line: &mut dyn Any = &mut self.line;
        let Some(line) = line.downcast_mut::<Typed<im::Server>>() else { return Vec::new() };
        let effects = line.command(now, command);
        self.settle(now, effects, desk)
    }

    fn run(&mut self, now: Instant, errand: Errand, desk: &mut Desk<'_>) -> Vec<Effect> {
        self.app.run(errand, &mut self.orders, desk);
        self.settle(now, Vec::new(), desk)
    }
}

/// Where an end is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// The machine has closed; what is queued is written until then.
    Flushing(u64),
    Gone,
}

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Frame>,
    /// The rest of a stream's frame of which a part is written.
    rest: Option<(Bytes, Frame)>,
    bytes: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, frame: Frame) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.rest.is_none()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is to be written next: a frame, and its bytes that are left.
    pub(super) fn front(&mut self) -> Option<&(Bytes, Frame)> {
        if self.rest.is_none() {
            self.rest = self.frames.pop_front().map(|frame| (frame.clone().into_bytes(), frame));
        }
        self.rest.as_ref()
    }

    /// The first `len` bytes of it are written; gives them, and the frame if that was all of it.
    pub(super) fn advance(&mut self, len: usize) -> Option<(Bytes, Option<Frame>)> {
        let (mut bytes, frame) = self.rest.take()?;
        let written = bytes.split_to(len.min(bytes.len()));
        self.bytes -= written.len();
        if bytes.is_empty() {
            return Some((written, Some(frame)));
        }
        self.rest = Some((bytes, frame));
        Some((written, None))
    }

    /// Nothing of the first frame was written after all.
    pub(super) fn put_back(&mut self) {
        if let Some((bytes, frame)) = self.rest.take_if(|(bytes, frame)| bytes.len() == frame.len()) {
            drop(bytes);
            self.frames.push_front(frame);
        }
    }

    /// Whether a part of a frame is written, and the rest is not.
    pub(super) fn is_within_frame(&self) -> bool {
        self.rest.as_ref().is_some_and(|(bytes, frame)| bytes.len() < frame.len())
    }

    /// Takes out the oldest frame that may be dropped.
    pub(super) fn drop_oldest(&mut self) -> Option<Frame> {
        let at = self.frames.iter().position(|frame| frame.class == Class::Lossy)?;
        let frame = self.frames.remove(at)?;
        self.bytes -= frame.len();
        Some(frame)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// One end of a link.
pub(super) struct End {
    pub(super) part: Box<dyn Part>,
    /// The gateway that it is on; `None` for users' ends.
    pub(super) gateway: Option<usize>,
    /// The user at one side of the link.
    pub(super) user: usize,
    pub(super) link: usize,
    pub(super) side: usize,
    /// When it came to be.
    pub(super) since: u64,
    pub(super) peer: usize,
    pub(super) outbox: Outbox,
    pub(super) mailbox: VecDeque<Delivery>,
    pub(super) drain: Option<CloseReason>,
    /// Why it was told to go first, if it was.
    pub(super) told: Option<CloseReason>,
    pub(super) abort: Option<CloseReason>,
    pub(super) phase: Phase,
    pub(super) reason: Option<CloseReason>,
    pub(super) input_ended: Option<CloseReason>,
    /// Whether a turn is in the agenda.
    pub(super) has_turn: bool,
    /// What the timer is set to.
    pub(super) armed: Option<u64>,
    /// It gets no turn before this time.
    pub(super) naps_until: u64,
    /// It reads nothing before this time.
    pub(super) deaf_until: u64,
    /// Where it is connected from.
    pub(super) address: std::net::IpAddr,
    /// What its address says is counted here; nothing counts at users' ends and for tunnels.
    pub(super) pace: Option<Pace>,
    /// Bytes of its outbox that its gateway has counted.
    pub(super) buffered: usize,
}
