//! What all dialects share: deadlines, the send window, registrations, the state of the close.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use super::registration::Registration;
use super::{Action, Flushed};
use crate::deadlines::Deadlines;
use crate::hub::Badge;
use crate::{Actions, Class, CloseReason, Frame, GroupId, Instant, Key, Limits, Mark, Route, Violation};

/// The deadlines that the shell keeps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// The handshake must be finished.
    Handshake,
    /// A begun package must be finished.
    Unfinished,
    /// Something must have been heard from the peer.
    Silence,
    /// Something must have been written to the peer.
    Write,
    /// A graceful end must be over.
    Drain,
    /// A sign of life is due.
    Beat,
}

const TIMERS: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Draining(CloseReason),
    Ended,
}

/// The state of the shell.
#[derive(Debug)]
pub(crate) struct Shared {
    limits: Arc<Limits>,
    deadlines: Deadlines<TIMERS>,
    registrations: Vec<Registration>,
    /// How many of them are keys that are waited for.
    waits: u32,
    /// Whether the hub was told that too much waits for the peer.
    is_congested: bool,
    /// The latest time seen; time never goes backwards.
    now: Instant,
    /// When the last complete package arrived. Receiving only stores this; the silence timer looks at it.
    heard_at: Instant,
    /// When the send queue last made progress, or became non-empty.
    progress_at: Instant,
    /// What waits in the driver's send queue, in cost.
    pub(crate) unsent: u32,
    /// How many frames of it are lossy.
    unsent_lossy: u32,
    state: State,
    established: bool,
    /// Since when the peer is not read.
    paused_at: Option<Instant>,
    /// What was left for an unfinished package when reading stopped.
    unfinished_left: Option<Duration>,
    /// What was left, when reading paused, of the time to read what came while the process was frozen.
    silence_left: Option<Duration>,
    postponed: bool,
    /// Messages since the driver last asked.
    messages: u32,
}

impl Shared {
    pub(super) fn new(limits: Arc<Limits>, now: Instant) -> Self {
        let mut deadlines = Deadlines::new();
        deadlines.arm(Timer::Handshake as usize, now + limits.handshake_timeout);
        Self {
            limits,
            deadlines,
            registrations: Vec::new(),
            waits: 0,
            is_congested: false,
            now,
            heard_at: now,
            progress_at: now,
            unsent: 0,
            unsent_lossy: 0,
            state: State::Open,
            established: false,
            paused_at: None,
            unfinished_left: None,
            silence_left: None,
            postponed: false,
            messages: 0,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Clamps `now`: a clock that jumps back stands still.
    pub(super) fn clamp(&self, now: Instant) -> Instant {
        self.now.max(now)
    }

    pub(super) fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.clamp(now);
        self.now
    }

    pub(super) fn footprint(&self) -> usize {
        self.registrations.capacity() * mem::size_of::<Registration>()
    }

    // State.

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    pub(super) fn draining(&self) -> Option<CloseReason> {
        match self.state {
            State::Draining(reason) => Some(reason),
            State::Open | State::Ended => None,
        }
    }

    pub(crate) fn drain<N>(&mut self, now: Instant, reason: CloseReason, actions: &mut Actions<Action<N>>) {
        if self.state == State::Open {
            self.state = State::Draining(reason);
            self.deadlines.disarm(Timer::Handshake as usize);
            // From now on the peer is not read, so it cannot be judged by what it sends.
            self.deadlines.disarm(Timer::Unfinished as usize);
            self.deadlines.disarm(Timer::Silence as usize);
            // Who is removed gets a short grace. Who meets a server that stops gets all answers it is owed.
            let grace = match reason {
                CloseReason::Stopping => self.limits.close_grace.max(self.limits.request_timeout),
                _ => self.limits.close_grace,
            };
            self.deadlines.arm(Timer::Drain as usize, now + grace);
            self.undo_registrations(actions);
        }
    }

    pub(crate) fn end<N>(&mut self, reason: CloseReason, actions: &mut Actions<Action<N>>) {
        if self.state != State::Ended {
            self.state = State::Ended;
            self.deadlines = Deadlines::new();
            self.undo_registrations(actions);
            actions.push(Action::Close(reason));
        }
    }

    /// Stops and restarts the clocks that judge the peer by what is read of it: while it is not read, its heartbeats
    /// and the rest of its package wait in the socket. Says whether a pause after the handshake began.
    pub(super) fn set_paused(&mut self, now: Instant, paused: bool) -> bool {
        if paused {
            if let Some(at) = self.deadlines.take(Timer::Silence as usize) {
                self.silence_left = self.postponed.then(|| at - now);
            }
            if let Some(at) = self.deadlines.take(Timer::Unfinished as usize) {
                self.unfinished_left = Some(at - now);
            }
            let began = self.paused_at.is_none();
            self.paused_at.get_or_insert(now);
            return began && self.established;
        }
        if let Some(since) = self.paused_at.take()
            && self.is_open()
        {
            self.resume(now, since);
        }
        false
    }

    fn resume(&mut self, now: Instant, since: Instant) {
        if let Some(left) = self.unfinished_left.take() {
            self.deadlines.arm(Timer::Unfinished as usize, now + left);
        }
        self.heard_at = now.min(self.heard_at + (now - since));
        let left = self.silence_left.take().unwrap_or_default();
        if let Some(silence) = self.limits.silence.filter(|_| self.established) {
            let mut due = (self.heard_at + silence).max(now + left);
            let read_first = now + silence / 8;
            if due < read_first && !self.postponed {
                self.postponed = true;
                due = read_first;
            }
            self.deadlines.arm(Timer::Silence as usize, due);
        }
    }

    // Send window.

    pub(crate) fn is_flushed(&self) -> bool {
        self.unsent == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.unsent >= self.limits.send_queue_bytes
    }

    pub(crate) fn has_lossy(&self) -> bool {
        self.unsent_lossy > 0
    }

    /// Whether the queue stays within its computed bound with one more frame behind the mark.
    pub(crate) fn fits(&self, frame: &Frame) -> bool {
        u64::from(self.unsent) + u64::from(frame.cost()) <= self.limits.send_queue_max()
    }

    /// Below half of the queue's bound, so that answers to what is already read still fit.
    pub(super) fn has_room(&self) -> bool {
        self.unsent < self.limits.send_queue_bytes / 2
    }

    pub(crate) fn queued(&mut self, now: Instant, frame: &Frame) {
        if self.unsent == 0 {
            self.progress_at = now;
            if !self.deadlines.is_armed(Timer::Write as usize) {
                self.deadlines.arm(Timer::Write as usize, now + self.limits.write_timeout);
            }
        }
        self.unsent = self.unsent.saturating_add(frame.cost());
        self.unsent_lossy += u32::from(frame.class == Class::Lossy);
    }

    pub(super) fn flushed(&mut self, now: Instant, flushed: Flushed) {
        self.progress_at = now;
        self.dropped(flushed);
    }

    /// What is dropped makes room, but brings the peer nothing.
    pub(super) fn dropped(&mut self, dropped: Flushed) {
        self.unsent = self.unsent.saturating_sub(dropped.cost);
        self.unsent_lossy = self.unsent_lossy.saturating_sub(dropped.lossy);
        if self.unsent == 0 {
            // Drivers flush before they look at the next timeout, so a deadline per heartbeat costs no timer.
            self.deadlines.disarm(Timer::Write as usize);
        }
    }

    // Back-pressure on senders.

    /// Tells the hub that too much waits for the peer.
    pub(crate) fn congested<N>(&mut self, actions: &mut Actions<Action<N>>) {
        if self.is_open() && !mem::replace(&mut self.is_congested, true) {
            self.tell_of_keys(Route::Congested, actions);
        }
    }

    /// Tells the hub once there is room again.
    pub(super) fn relieve<N>(&mut self, actions: &mut Actions<Action<N>>) {
        if self.is_congested && self.has_room() {
            self.is_congested = false;
            self.tell_of_keys(Route::Relieved, actions);
        }
    }

    fn tell_of_keys<N>(&self, tell: impl Fn(Key) -> Route, actions: &mut Actions<Action<N>>) {
        for registration in &self.registrations {
            if let Registration::Key(key) = registration {
                actions.push(Action::Route(tell(key.clone())));
            }
        }
    }

    /// Whether a key that the peer has sent to is waited for.
    pub(super) fn is_waiting(&self) -> bool {
        self.waits > 0
    }

    /// Waits for a congested key. Who waits for as many as it may have keys will hear of another one later.
    pub(super) fn wait<N>(&mut self, key: Key, actions: &mut Actions<Action<N>>) {
        let wait = Registration::Wait(key.clone());
        if self.waits < self.limits.keys_per_connection.max(1) && !self.registrations.contains(&wait) {
            self.waits += 1;
            self.registrations.push(wait);
            actions.push(Action::Mark(Mark::SenderHeld));
            actions.push(Action::Route(Route::Wait(key)));
        }
    }

    pub(super) fn stop_waiting(&mut self, key: Key) {
        let wait = Registration::Wait(key);
        if let Some(at) = self.registrations.iter().position(|one| *one == wait) {
            self.registrations.swap_remove(at);
            self.waits -= 1;
        }
    }

    // Liveness.

    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.postponed = false;
        self.messages = self.messages.saturating_add(1);
    }

    pub(super) fn take_messages(&mut self) -> u32 {
        mem::take(&mut self.messages)
    }

    /// Replaces the two spans for this connection alone.
    pub(crate) fn set_liveness(&mut self, heartbeat: Option<Duration>, silence: Option<Duration>) {
        let limits = Arc::make_mut(&mut self.limits);
        limits.heartbeat = heartbeat.map(|span| span.max(Limits::SPAN_MIN));
        limits.silence = silence;
    }

    pub(crate) fn established(&mut self, now: Instant) {
        self.established = true;
        self.deadlines.disarm(Timer::Handshake as usize);
        self.heard(now);
        self.arm_beat(now);
        if let Some(silence) = self.limits.silence {
            self.deadlines.arm(Timer::Silence as usize, now + silence);
        }
    }

    pub(super) fn arm_beat(&mut self, now: Instant) {
        if let Some(heartbeat) = self.limits.heartbeat {
            self.deadlines.arm(Timer::Beat as usize, now + heartbeat);
        }
    }

    /// Whether a heartbeat went by since the peer was heard; if not, the next one is counted from then.
    pub(crate) fn is_silent(&mut self, now: Instant) -> bool {
        let Some(heartbeat) = self.limits.heartbeat else { return false };
        let due = self.heard_at + heartbeat;
        if due > now && self.established && self.is_open() {
            self.deadlines.arm(Timer::Beat as usize, due);
        }
        due <= now
    }

    pub(crate) fn unfinished(&mut self, now: Instant, unfinished: bool) {
        if !unfinished {
            self.deadlines.disarm(Timer::Unfinished as usize);
            self.unfinished_left = None;
        } else if !self.deadlines.is_armed(Timer::Unfinished as usize) && self.unfinished_left.is_none() {
            self.deadlines.arm(Timer::Unfinished as usize, now + self.limits.unfinished_timeout);
        }
    }

    // Timers.

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub(super) fn take_passed(&mut self, timer: Timer, now: Instant) -> bool {
        self.deadlines.take_passed(timer as usize, now)
    }

    /// The reason to end, if a deadline has passed for good.
    pub(super) fn take_overdue<N>(
        &mut self,
        now: Instant,
        actions: &mut Actions<Action<N>>,
    ) -> Option<CloseReason> {
        if self.take_passed(Timer::Drain, now) {
            return self.draining();
        }
        if self.take_passed(Timer::Handshake, now) {
            return Some(CloseReason::HandshakeTimeout);
        }
        if self.take_passed(Timer::Unfinished, now) {
            return Some(Violation::Unfinished.into());
        }
        if self.take_passed(Timer::Write, now) && self.unsent > 0 {
            let due = self.progress_at + self.limits.write_timeout;
            if due <= now {
                return Some(CloseReason::WriteTimeout);
            }
            self.deadlines.arm(Timer::Write as usize, due);
        }
        if self.take_passed(Timer::Silence, now) && self.check_silence(now, actions) {
            return Some(CloseReason::HeartbeatTimeout);
        }
        None
    }

    /// Whether the peer was silent for too long; otherwise the next check is armed.
    fn check_silence<N>(&mut self, now: Instant, actions: &mut Actions<Action<N>>) -> bool {
        let Some(silence) = self.limits.silence else { return false };
        let due = self.heard_at + silence;
        if due > now {
            self.deadlines.arm(Timer::Silence as usize, due);
            return false;
        }
        // A process that was frozen finds every peer silent. What they sent meanwhile is still in the sockets: read
        // it first, then judge.
        if now - due > silence / 5 && !self.postponed {
            self.postponed = true;
            self.deadlines.arm(Timer::Silence as usize, now + silence / 8);
            actions.push(Action::Mark(Mark::CheckPostponed));
            return false;
        }
        true
    }

    // Registrations.

    pub(crate) fn register<N>(&mut self, key: Key, badge: Badge, actions: &mut Actions<Action<N>>) -> bool {
        let (new, route) = (Registration::Key(key.clone()), Route::Register { key: key.clone(), badge });
        let must_tell = self.is_congested && !self.registrations.contains(&new);
        let is_added = self.add(new, self.limits.keys_per_connection, route, actions);
        if is_added && must_tell {
            actions.push(Action::Route(Route::Congested(key)));
        }
        is_added
    }

    pub(crate) fn reserve<N>(&mut self, key: Key, badge: Badge, actions: &mut Actions<Action<N>>) -> bool {
        let limit = self.limits.keys_per_connection;
        self.add(Registration::Key(key.clone()), limit, Route::Reserve { key, badge }, actions)
    }

    pub(crate) fn watch<N>(&mut self, key: Key, actions: &mut Actions<Action<N>>) -> bool {
        let limit = self.limits.watches_per_connection;
        self.add(Registration::Watch(key.clone()), limit, Route::Watch(key), actions)
    }

    pub(crate) fn join<N>(&mut self, group: GroupId, actions: &mut Actions<Action<N>>) -> bool {
        let limit = self.limits.groups_per_connection;
        self.add(Registration::Group(group.clone()), limit, Route::Join(group), actions)
    }

    fn add<N>(
        &mut self,
        new: Registration,
        limit: u32,
        route: Route,
        actions: &mut Actions<Action<N>>,
    ) -> bool {
        if self.state != State::Open {
            return false;
        }
        if !self.registrations.contains(&new) {
            let same = |old: &&Registration| mem::discriminant(*old) == mem::discriminant(&new);
            if self.registrations.iter().filter(same).count() >= limit as usize {
                actions.push(Action::Mark(Mark::RegistrationRefused));
                return false;
            }
            self.registrations.push(new);
        }
        actions.push(Action::Route(route));
        true
    }

    pub(crate) fn unregister<N>(&mut self, key: &Key, actions: &mut Actions<Action<N>>) {
        self.remove(&Registration::Key(key.clone()), actions);
    }

    pub(crate) fn leave<N>(&mut self, group: &GroupId, actions: &mut Actions<Action<N>>) {
        self.remove(&Registration::Group(group.clone()), actions);
    }

    fn remove<N>(&mut self, old: &Registration, actions: &mut Actions<Action<N>>) {
        if let Some(at) = self.registrations.iter().position(|one| one == old) {
            let route = self.registrations.swap_remove(at).undo();
            actions.push(Action::Route(route));
        }
    }

    pub(crate) fn unwatch<N>(&mut self, key: &Key, actions: &mut Actions<Action<N>>) {
        self.remove(&Registration::Watch(key.clone()), actions);
    }

    pub(crate) fn admitted<N>(&mut self, key: &Key, actions: &mut Actions<Action<N>>) -> bool {
        self.is_wanted(&Registration::Key(key.clone()), actions)
    }

    pub(super) fn watches<N>(&mut self, key: &Key, actions: &mut Actions<Action<N>>) -> bool {
        self.is_wanted(&Registration::Watch(key.clone()), actions)
    }

    /// Whether what the hub has granted is still wanted; if not, it is given back. Between the wish and its grant the
    /// connection may have given up, wished again, and been refused once.
    fn is_wanted<N>(&self, granted: &Registration, actions: &mut Actions<Action<N>>) -> bool {
        let wanted = self.registrations.contains(granted);
        if !wanted && self.state != State::Ended {
            actions.push(Action::Route(granted.clone().undo()));
        }
        wanted
    }

    fn undo_registrations<N>(&mut self, actions: &mut Actions<Action<N>>) {
        self.waits = 0;
        for registration in mem::take(&mut self.registrations) {
            actions.push(Action::Route(registration.undo()));
        }
    }
}
