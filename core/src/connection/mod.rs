//! One transport connection: the shell around a [`Dialect`].

mod registration;
mod shared;

use bytes::Bytes;

pub(crate) use self::shared::Shared;
use self::shared::Timer;
use crate::{
    Actions, CloseReason, Context, Delivery, Dialect, Frame, Instant, Limits, Machine, Mark, Opcode, Route,
    Violation,
};
use alloc::sync::Arc;

/// What may happen to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Event<C> {
    /// The transport has ended: [`CloseReason::PeerClosed`] at its end of stream, otherwise what the driver saw.
    Closed(CloseReason),
    /// The application asks something of the peer.
    Command(C),
    /// The hub has something for the peer.
    Delivered(Delivery),
    /// Frames were taken out of the send queue unsent, because of [`Action::DropOldest`]. Unlike
    /// [`Flushed`](Self::Flushed) this is no progress towards the peer.
    Dropped(Flushed),
    /// The connection shall end gracefully: pending answers, goodbye, close; bounded by
    /// [`Limits::close_grace`], or [`Limits::request_timeout`] for [`CloseReason::Stopping`].
    Drain(CloseReason),
    /// Frames have left the send queue towards the peer; with a cost of 0, a part of one has.
    Flushed(Flushed),
    /// Whether the application takes nothing more for now. Nothing is read meanwhile, and the peer is not judged by what
    /// it has sent since.
    Held(bool),
    /// Bytes of a stream or a whole message have arrived.
    Received(Opcode, Bytes),
}

/// What has left the send queue since the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Flushed {
    /// The sum of the frames' [`cost`](Frame::cost), in bytes.
    pub cost: u32,
    /// How many of the frames were lossy.
    pub lossy: u32,
}

// By hand: the derive of a struct names `std`.
#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for Flushed {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self { cost: u.arbitrary()?, lossy: u.arbitrary()? })
    }
}

impl Flushed {
    /// Adds one frame.
    pub fn add(&mut self, frame: &Frame) {
        self.cost = self.cost.saturating_add(frame.cost());
        self.lossy += u32::from(frame.class == crate::Class::Lossy);
    }
}

/// What a connection asks of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<N> {
    /// Write what is queued for at most [`Limits::close_grace`], close the transport, drop everything. Always last.
    Close(CloseReason),
    /// Take the oldest [lossy](crate::Class::Lossy) frame out of the send queue and report it as
    /// [dropped](Event::Dropped). A frame of which a part is written stays; then there may be none to drop.
    DropOldest,
    /// Count this.
    Mark(Mark),
    /// Tell the application.
    Notify(N),
    /// Hand this to the hub shard that owns it.
    Route(Route),
    /// Append this to the send queue.
    Send(Frame),
}

/// One socket's protocol, owned by that socket's task; no lock, no queue.
///
/// The shell owns what all dialects share: the handshake deadline, liveness, the send window, the close path, and the
/// undo of registrations. The [`Dialect`] inside only translates.
#[derive(Debug)]
pub struct Connection<D> {
    dialect: D,
    shared: Shared,
    /// Whether the application takes nothing more for now.
    held: bool,
}

impl<D: Dialect> Connection<D> {
    /// A connection whose transport is there at `now`; its first actions are in `actions` on return.
    pub fn new(
        dialect: D,
        limits: Arc<Limits>,
        now: Instant,
        actions: &mut Actions<Action<D::Notice>>,
    ) -> Self {
        let mut connection = Self { dialect, shared: Shared::new(limits, now), held: false };
        connection.with_context(now, actions, D::open);
        connection
    }

    /// Whether the driver should read from the peer. False while too much waits to be written or to be answered, or
    /// for someone whom the peer has sent to, and while the application is [full](Event::Held), so that the transport
    /// pushes back. What was already read is handed over all the same.
    pub fn wants_read(&self) -> bool {
        self.shared.is_open()
            && !self.held
            && self.shared.has_room()
            && !self.shared.is_waiting()
            && self.dialect.wants_read(self.shared.limits())
    }

    /// Whether the application should produce more answers now. False while too much waits to be written.
    pub fn has_room(&self) -> bool {
        self.shared.has_room()
    }

    /// How many messages of the peer were read since the last call: what a [`Pace`](crate::edge::Pace) counts.
    pub fn take_messages(&mut self) -> u32 {
        self.shared.take_messages()
    }

    /// Whether the close action was emitted.
    pub fn is_closed(&self) -> bool {
        self.shared.is_ended()
    }

    /// Bytes on the heap that this connection owns; bounded by
    /// [`Limits::connection_bytes_max`].
    pub fn footprint(&self) -> usize {
        self.dialect.footprint() + self.shared.footprint()
    }

    /// The dialect, to look at.
    pub fn dialect(&self) -> &D {
        &self.dialect
    }

    fn with_context<R>(
        &mut self,
        now: Instant,
        actions: &mut Actions<Action<D::Notice>>,
        step: impl FnOnce(&mut D, &mut Context<'_, D>) -> R,
    ) -> R {
        step(&mut self.dialect, &mut Context { now, shared: &mut self.shared, actions })
    }

    fn receive(
        &mut self,
        now: Instant,
        opcode: Opcode,
        data: Bytes,
        actions: &mut Actions<Action<D::Notice>>,
    ) {
        if !self.shared.is_open() {
            return;
        }
        let outcome = self.with_context(now, actions, |dialect, cx| dialect.receive(opcode, data, cx));
        if let Err(violation) = outcome {
            self.shared.end(violation.into(), actions);
        }
    }

    fn deliver(&mut self, now: Instant, delivery: Delivery, actions: &mut Actions<Action<D::Notice>>) {
        match &delivery {
            Delivery::Congested(key) => return self.shared.wait(key.clone(), actions),
            Delivery::Relieved(key) => return self.shared.stop_waiting(key.clone()),
            // What was on its way while the connection stopped watching.
            Delivery::Presence { key, .. } if !self.shared.watches(key, actions) => return,
            Delivery::WatchRefused(key) => self.shared.unwatch(key, actions),
            _ => {}
        }
        self.with_context(now, actions, |dialect, cx| dialect.deliver(delivery, cx));
    }

    fn closed(&mut self, reason: CloseReason, actions: &mut Actions<Action<D::Notice>>) {
        let cut_short =
            reason == CloseReason::PeerClosed && self.shared.is_open() && !self.dialect.at_boundary();
        let reason = if cut_short { Violation::Truncated.into() } else { reason };
        self.shared.end(reason, actions);
    }

    /// Ends with a goodbye.
    fn end(&mut self, now: Instant, reason: CloseReason, actions: &mut Actions<Action<D::Notice>>) {
        self.with_context(now, actions, |dialect, cx| dialect.farewell(reason, cx));
        self.shared.end(reason, actions);
    }

    /// What every call ends with: a finished drain, a new pause.
    fn settle(&mut self, now: Instant, actions: &mut Actions<Action<D::Notice>>) {
        if let Some(reason) = self.shared.draining()
            && !self.dialect.is_busy()
        {
            self.end(now, reason, actions);
        }
        self.shared.relieve(actions);
        let paused = self.shared.is_open() && !self.wants_read();
        if self.shared.set_paused(now, paused) {
            actions.push(Action::Mark(Mark::ReadPaused));
        }
    }
}

impl<D: Dialect> Machine for Connection<D> {
    type Event = Event<D::Command>;
    type Action = Action<D::Notice>;

    fn handle_event(&mut self, now: Instant, event: Self::Event, actions: &mut Actions<Self::Action>) {
        if self.shared.is_ended() {
            return;
        }
        let now = self.shared.advance(now);
        match event {
            Event::Closed(reason) => self.closed(reason, actions),
            Event::Command(command) => {
                self.with_context(now, actions, |dialect, cx| dialect.command(command, cx));
            }
            Event::Delivered(delivery) if self.shared.is_open() => self.deliver(now, delivery, actions),
            Event::Delivered(Delivery::Push(_)) => actions.push(Action::Mark(Mark::NotReady)),
            Event::Delivered(_) => {}
            Event::Dropped(dropped) => self.shared.dropped(dropped),
            Event::Drain(reason) => self.shared.drain(now, reason, actions),
            Event::Flushed(flushed) => {
                self.shared.flushed(now, flushed);
                self.with_context(now, actions, D::flushed);
            }
            Event::Held(held) => self.held = held,
            Event::Received(opcode, data) => self.receive(now, opcode, data, actions),
        }
        self.settle(now, actions);
    }

    fn handle_timeout(&mut self, now: Instant, actions: &mut Actions<Self::Action>) {
        if self.shared.is_ended() {
            return;
        }
        let now = self.shared.clamp(now);
        if self.next_timeout().is_none_or(|due| due > now) {
            return;
        }
        self.shared.advance(now);
        if let Some(reason) = self.shared.take_overdue(now, actions) {
            self.end(now, reason, actions);
            return;
        }
        if self.dialect.deadline().is_some_and(|due| due <= now) {
            self.with_context(now, actions, D::expire);
        }
        if self.shared.take_passed(Timer::Beat, now) && self.shared.is_open() {
            self.shared.arm_beat(now);
            self.with_context(now, actions, D::beat);
        }
        self.settle(now, actions);
    }

    fn next_timeout(&self) -> Option<Instant> {
        if self.shared.is_ended() {
            return None;
        }
        match (self.shared.next_timeout(), self.dialect.deadline()) {
            (Some(shell), Some(dialect)) => Some(shell.min(dialect)),
            (shell, dialect) => shell.or(dialect),
        }
    }
}
