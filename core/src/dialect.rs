//! What differs between the protocols, and nothing else.

use core::time::Duration;

use bytes::Bytes;

use crate::connection::Shared;
use crate::hub::Badge;
use crate::{
    Action, Actions, CloseReason, Delivery, Frame, GroupId, Instant, Key, Limits, Mark, Opcode, Overflow,
    Push, Route, To, Violation,
};

/// One protocol, seen from one end of one connection: a translation between wire units and meaning.
///
/// Liveness, the send window, the close path and the undo of registrations belong to the
/// [`Connection`](crate::Connection) around it.
pub trait Dialect: Sized {
    /// What the application may ask of this peer.
    type Command;
    /// What this dialect tells the application.
    type Notice;

    /// The transport is there; nothing was received yet.
    fn open(&mut self, cx: &mut Context<'_, Self>);

    /// A piece of a stream or one whole message arrived.
    ///
    /// # Errors
    ///
    /// What the peer did wrong; the connection then ends with it.
    fn receive(&mut self, opcode: Opcode, data: Bytes, cx: &mut Context<'_, Self>) -> Result<(), Violation>;

    /// The hub has something for this peer.
    fn deliver(&mut self, delivery: Delivery, cx: &mut Context<'_, Self>);

    /// The application asks something of this peer.
    fn command(&mut self, command: Self::Command, cx: &mut Context<'_, Self>);

    /// Frames have left the send queue; a dialect that holds messages back may send more.
    fn flushed(&mut self, cx: &mut Context<'_, Self>) {
        let _ = cx;
    }

    /// A sign of life is due.
    fn beat(&mut self, cx: &mut Context<'_, Self>);

    /// A deadline of the dialect itself has passed. Afterwards [`deadline`](Self::deadline) is later than now.
    fn expire(&mut self, cx: &mut Context<'_, Self>);

    /// The next deadline of the dialect itself.
    fn deadline(&self) -> Option<Instant>;

    /// The connection is about to end for `reason` and the peer can still be told.
    fn farewell(&mut self, reason: CloseReason, cx: &mut Context<'_, Self>);

    /// Whether the dialect still owes the peer something that a graceful end waits for.
    fn is_busy(&self) -> bool;

    /// Whether the dialect can take more input now.
    fn wants_read(&self, limits: &Limits) -> bool;

    /// Whether the input ends at a border of the wire unit; if not, the peer's end is [`Violation::Truncated`].
    fn at_boundary(&self) -> bool;

    /// Bytes on the heap that this dialect owns.
    fn footprint(&self) -> usize;
}

/// What a dialect may do while it handles an event.
pub struct Context<'a, D: Dialect> {
    pub(crate) now: Instant,
    pub(crate) shared: &'a mut Shared,
    pub(crate) actions: &'a mut Actions<Action<D::Notice>>,
}

impl<D: Dialect> Context<'_, D> {
    /// The time of the event.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        self.shared.limits()
    }

    /// Queues a frame that must not be lost; if the send queue is full the connection ends as a slow consumer.
    pub fn send(&mut self, frame: Frame) {
        if self.shared.is_full() {
            self.close(CloseReason::SlowConsumer);
        } else {
            self.send_anyway(frame);
        }
    }

    /// Queues a frame that may be lost; what happens to it in a full queue is `overflow`, and counted.
    pub fn send_lossy(&mut self, frame: Frame, overflow: Overflow) {
        match overflow {
            Overflow::Close => self.send(frame),
            Overflow::DropNewest if self.shared.is_full() => self.mark(Mark::PushDropped),
            // The oldest may be small and the new one large: the bound of the queue holds all the same.
            Overflow::DropOldest
                if self.shared.is_full() && !(self.shared.has_lossy() && self.shared.fits(&frame)) =>
            {
                self.mark(Mark::PushDropped);
            }
            Overflow::DropOldest if self.shared.is_full() && !self.shared.is_ended() => {
                self.mark(Mark::OldestDropped);
                self.actions.push(Action::DropOldest);
                self.send_anyway(frame.lossy());
            }
            Overflow::Backpressure if self.shared.is_full() && !self.shared.fits(&frame) => {
                self.close(CloseReason::SlowConsumer);
            }
            Overflow::Backpressure => {
                if self.shared.is_full() {
                    self.shared.congested(self.actions);
                }
                self.send_anyway(frame);
            }
            Overflow::DropNewest | Overflow::DropOldest => self.send_anyway(frame.lossy()),
        }
    }

    /// Queues a sign of life: behind a full queue too, whose policy may be to drop messages rather than the peer, but
    /// never beyond the computed bound.
    pub fn send_sign(&mut self, frame: Frame) {
        if self.shared.fits(&frame) {
            self.send_anyway(frame);
        }
    }

    /// Queues a frame whatever is queued already: the goodbye of a connection that ends.
    pub(crate) fn send_anyway(&mut self, frame: Frame) {
        if self.shared.is_ended() {
            return;
        }
        self.shared.queued(self.now, &frame);
        self.actions.push(Action::Send(frame));
    }

    /// Whether the connection still takes input: neither ending nor ended.
    pub fn is_open(&self) -> bool {
        self.shared.is_open()
    }

    /// How much waits to be written, in [`cost`](Frame::cost).
    pub fn unsent(&self) -> u32 {
        self.shared.unsent
    }

    /// Whether nothing waits to be written.
    pub fn is_flushed(&self) -> bool {
        self.shared.is_flushed()
    }

    /// Tells the application something.
    pub fn notify(&mut self, notice: D::Notice) {
        if !self.shared.is_ended() {
            self.actions.push(Action::Notify(notice));
        }
    }

    /// Counts something that happened quietly.
    pub fn mark(&mut self, mark: Mark) {
        if !self.shared.is_ended() {
            self.actions.push(Action::Mark(mark));
        }
    }

    /// Takes over what the two ends agreed on: how often a sign of life is sent, and how long a silence may last.
    pub fn set_liveness(&mut self, heartbeat: Option<Duration>, silence: Option<Duration>) {
        self.shared.set_liveness(heartbeat, silence);
    }

    /// The handshake is finished: its deadline ends, heartbeats begin.
    pub fn established(&mut self) {
        self.shared.established(self.now);
    }

    /// The peer gave a complete, valid sign of life.
    pub fn heard(&mut self) {
        self.shared.heard(self.now);
    }

    /// Whether nothing was heard from the peer for a whole heartbeat, so that a sign of life is to be asked for. If
    /// something was, the next [`beat`](Dialect::beat) is put off until a heartbeat after that.
    pub fn is_silent(&mut self) -> bool {
        self.shared.is_silent(self.now)
    }

    /// Whether a wire unit is begun and not finished; it must be within
    /// [`unfinished_timeout`](Limits::unfinished_timeout).
    pub fn unfinished(&mut self, unfinished: bool) {
        self.shared.unfinished(self.now, unfinished);
    }

    /// Asks the hub to register this connection under `key`; false, and counted, if it has too many keys.
    pub fn register(&mut self, key: Key) -> bool {
        self.register_as(key, Badge::default())
    }

    /// Asks the hub to register this connection, with what it shows, under `key`; false, and counted, if it has too
    /// many keys.
    pub fn register_as(&mut self, key: Key, badge: Badge) -> bool {
        self.shared.register(key, badge, self.actions)
    }

    /// Asks the hub to hold a place for this connection under `key` until it registers; false, and counted, if it has
    /// too many keys.
    pub fn reserve(&mut self, key: Key, badge: Badge) -> bool {
        self.shared.reserve(key, badge, self.actions)
    }

    /// Asks the hub to [tell](Delivery::Presence) on what the user behind `key` is online, now and whenever that
    /// changes; false, and counted, if this connection watches too many.
    pub fn watch(&mut self, key: Key) -> bool {
        self.shared.watch(key, self.actions)
    }

    /// No longer watches `key`.
    pub fn unwatch(&mut self, key: &Key) {
        self.shared.unwatch(key, self.actions);
    }

    /// Gives `key` up, and a place that is held under it.
    pub fn unregister(&mut self, key: &Key) {
        self.shared.unregister(key, self.actions);
    }

    /// Joins a group; false, and counted, if it is in too many.
    pub fn join(&mut self, group: GroupId) -> bool {
        self.shared.join(group, self.actions)
    }

    /// Leaves a group.
    pub fn leave(&mut self, group: &GroupId) {
        self.shared.leave(group, self.actions);
    }

    /// Whether the connection still wants `key`, under which the hub has taken it in or holds a place for it. If not,
    /// the hub is told: a refusal may have crossed with a second attempt.
    pub fn admitted(&mut self, key: &Key) -> bool {
        self.shared.admitted(key, self.actions)
    }

    /// Forgets `key`, which the hub has refused. The hub is told: the refusal may have crossed with a second attempt
    /// that it has granted.
    pub fn rejected(&mut self, key: &Key) {
        self.shared.unregister(key, self.actions);
    }

    /// Sends a message to a key or a group.
    pub fn publish(&mut self, to: To, push: Push) {
        if !self.shared.is_ended() {
            self.actions.push(Action::Route(Route::Publish { to, push }));
        }
    }

    /// Ends the connection now; what is queued is still written by the driver.
    pub fn close(&mut self, reason: CloseReason) {
        self.shared.end(reason, self.actions);
    }

    /// Ends the connection as soon as the dialect owes the peer nothing more, at the latest after
    /// [`close_grace`](Limits::close_grace). From now on nothing is read and nothing is delivered.
    pub fn drain(&mut self, reason: CloseReason) {
        self.shared.drain(self.now, reason, self.actions);
    }
}
