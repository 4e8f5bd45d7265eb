//! The loop of one connection.

mod end;
mod turn;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use linkspan_core::{Action, Actions, CloseReason, Connection, Dialect, Event, Instant, Machine};

use self::turn::Turn;
use crate::shards::take_crowded;
use crate::{
    App, Inbox, Mail, MailAddress, Outbox, Permit, Post, Received, Runtime, Traffic, Transport, scratch,
};

/// How many pieces of input one poll handles before other tasks get their turn.
const READS: u32 = 32;
/// How many commands of the application one poll handles.
const COMMANDS: u32 = 256;
/// How often one poll goes round.
const ROUNDS: u32 = 32;
/// How long a connection that said all waits for the peer to hang up too.
const LINGER: Duration = Duration::from_secs(1);

/// Runs one connection to its end, which `end` looks at.
pub(crate) fn run<R, D, A, T, O>(
    runtime: &R,
    permit: Permit,
    transport: T,
    dialect: D,
    inbox: Inbox<D::Command>,
    app: A,
    end: fn(CloseReason) -> O,
) -> impl Future<Output = O> + Send + use<R, D, A, T, O>
where
    R: Runtime,
    D: Dialect + Send + 'static,
    D::Command: Send + 'static,
    D::Notice: Send + 'static,
    A: App<D>,
    T: Transport,
{
    let mut actions = scratch::take::<D::Notice>();
    let now = permit.host().clock().now();
    let sleep = runtime.sleep_until(permit.host().clock().to_std(now));
    permit.host().move_in(permit.conn(), &inbox.mail());
    let connection = Connection::new(dialect, permit.limits().clone(), now, &mut actions);
    let mut driver = Driver {
        connection,
        app,
        transport,
        outbox: Outbox::default(),
        phase: Phase::Open,
        now,
        armed: None,
        polled_room: true,
        held: false,
        notified: false,
        input_ended: None,
        buffered: 0,
        traffic: Traffic::default(),
        unreported: Traffic::default(),
        crowded: None,
        inbox,
        permit,
    };
    driver.perform(&mut actions);
    scratch::put(actions);
    tracing::debug!(conn = driver.permit.conn().0, peer = %driver.permit.peer(), transport = T::NAME, "open");
    // The driver stays in place inside the future: an `async fn` would hold it twice.
    async move {
        let mut sleep = pin!(sleep);
        end(poll_fn(|cx| driver.poll::<R>(cx, sleep.as_mut())).await)
    }
}

/// Where a connection is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Open,
    /// The machine has closed; what is queued is written.
    Flushing {
        reason: CloseReason,
        until: Instant,
    },
    /// All is written; the transport says goodbye.
    HangingUp {
        reason: CloseReason,
        until: Instant,
    },
    Ended {
        reason: CloseReason,
    },
}

struct Driver<D, A, T>
where
    D: Dialect,
    D::Command: Send + 'static,
    D::Notice: 'static,
    A: App<D>,
    T: Transport,
{
    connection: Connection<D>,
    app: A,
    transport: T,
    outbox: Outbox,
    phase: Phase,
    now: Instant,
    /// What the runtime's timer is set to. It may be early, never late.
    armed: Option<Instant>,
    /// The `has_room` that the application saw at its last poll.
    polled_room: bool,
    /// What the machine was told last of whether the application is full.
    held: bool,
    /// The application was told something since its last poll.
    notified: bool,
    /// The end of the input, told to the machine once the application has answered what came before.
    input_ended: Option<CloseReason>,
    /// What the process thinks waits in the outbox.
    buffered: u64,
    traffic: Traffic,
    unreported: Traffic,
    /// A mailbox that this connection has filled: more is read of the peer when its owner has taken what is in it.
    crowded: Option<Arc<dyn Mail>>,
    inbox: Inbox<D::Command>,
    permit: Permit,
}

impl<D, A, T> Driver<D, A, T>
where
    D: Dialect,
    D::Command: Send + 'static,
    D::Notice: 'static,
    A: App<D>,
    T: Transport,
{
    fn poll<R: Runtime>(&mut self, cx: &mut Context<'_>, mut sleep: Pin<&mut R::Sleep>) -> Poll<CloseReason> {
        self.inbox.unpark();
        // What somebody else has filled on this thread is not this connection's to wait for.
        drop(take_crowded());
        let mut actions = scratch::take::<D::Notice>();
        let mut turn =
            Turn { reads: READS, commands: COMMANDS, read_parked: false, app_dirty: true, app_behind: false };
        let mut rounds = ROUNDS;
        let outcome = loop {
            self.now = self.permit.host().clock().now();
            let again = match self.phase {
                Phase::Open => self.go_round(cx, &mut turn, &mut actions),
                Phase::Flushing { .. } | Phase::HangingUp { .. } => self.wind_up(cx),
                Phase::Ended { reason } => break Poll::Ready(reason),
            };
            rounds -= 1;
            if again && rounds > 0 {
                continue;
            }
            if again {
                cx.waker().wake_by_ref();
                break Poll::Pending;
            }
            // In this order: both must be armed when the task waits, and either may have something at once.
            if self.poll_timer::<R>(cx, sleep.as_mut()) || !self.inbox.park(cx.waker()) {
                if rounds == 0 {
                    cx.waker().wake_by_ref();
                    break Poll::Pending;
                }
                continue;
            }
            break Poll::Pending;
        };
        scratch::put(actions);
        self.settle_accounts(outcome.is_ready());
        outcome
    }

    /// One round of an open connection; whether another one is worthwhile at once.
    fn go_round(
        &mut self,
        cx: &mut Context<'_>,
        turn: &mut Turn,
        actions: &mut Actions<Action<D::Notice>>,
    ) -> bool {
        self.take_mail(cx, actions);
        self.tell_held(actions);
        self.read(cx, turn, actions);
        self.take_commands(cx, turn, actions);
        // A command may let the machine read on in what it has.
        self.check_pace(actions);
        // An application without room holds its answers back; the write timeout bounds that.
        if let Some(reason) = self.input_ended
            && !turn.app_behind
            && self.polled_room
            && !self.is_ending()
        {
            self.step(Event::Closed(reason), actions);
        }
        if self.is_ending() {
            return true;
        }
        self.write(cx, actions);
        if self.is_ending() {
            return true;
        }
        if self.is_due() {
            self.connection.handle_timeout(self.now, actions);
            self.perform(actions);
            return true;
        }
        while self.is_crowding()
            && self.crowded.as_ref().is_some_and(|mailbox| mailbox.poll_roomy(cx).is_ready())
        {
            self.crowded = None;
        }
        // It may have room by now, and not know that somebody waits for it.
        self.tell_held(actions);
        let readable = !turn.read_parked && self.input_ended.is_none() && self.wants_read();
        // What went out may have made room, or brought notices of its own.
        turn.app_dirty |= !self.polled_room && self.has_room();
        turn.app_dirty |= self.notified && !turn.app_behind;
        readable || turn.app_dirty || self.inbox.is_pending()
    }

    fn is_ending(&self) -> bool {
        !matches!(self.phase, Phase::Open)
    }

    // Input.

    /// Whether others have to run before more can be sent to them.
    fn is_crowding(&mut self) -> bool {
        if self.crowded.is_none() {
            self.crowded = take_crowded();
        }
        self.crowded.is_some()
    }

    fn has_room(&mut self) -> bool {
        !self.is_crowding() && self.connection.has_room()
    }

    fn wants_read(&mut self) -> bool {
        !self.is_crowding() && self.connection.wants_read()
    }

    fn take_mail(&mut self, cx: &mut Context<'_>, actions: &mut Actions<Action<D::Notice>>) {
        if !self.inbox.is_pending() {
            return;
        }
        let taken = self.inbox.take();
        for post in taken.posts {
            match post {
                Post::Command(command) => self.step(Event::Command(command), actions),
                Post::Deliver(delivery) => self.step(Event::Delivered(delivery), actions),
            }
            // Much mail at once is no sign of a slow peer while its socket takes it.
            if !self.connection.has_room() && !self.is_ending() {
                self.write(cx, actions);
            }
        }
        if let Some(reason) = taken.drain {
            self.step(Event::Drain(reason), actions);
        }
        if let Some(reason) = taken.abort {
            self.step(Event::Closed(reason), actions);
            self.outbox.clear();
            // Behind a frame of which a part is written a goodbye would be noise.
            if let Phase::Flushing { reason, .. } = self.phase {
                self.phase = Phase::Ended { reason };
            }
        }
    }

    fn read(&mut self, cx: &mut Context<'_>, turn: &mut Turn, actions: &mut Actions<Action<D::Notice>>) {
        while self.input_ended.is_none() && turn.reads > 0 && !turn.read_parked && self.wants_read() {
            match self.transport.poll_receive(cx) {
                Poll::Ready(Received::Data(opcode, data)) => {
                    turn.reads -= 1;
                    turn.app_dirty = true;
                    self.unreported.bytes_in += data.len() as u64;
                    self.unreported.received += 1;
                    self.step(Event::Received(opcode, data), actions);
                    self.tell_held(actions);
                    self.check_pace(actions);
                }
                Poll::Ready(Received::Ended(reason)) => self.input_ended = Some(reason),
                Poll::Pending => turn.read_parked = true,
            }
        }
        if turn.reads == 0 && !turn.read_parked {
            // Other tasks first; then this one again.
            cx.waker().wake_by_ref();
            turn.read_parked = true;
        }
    }

    /// Tells the machine when the application is full, and when it is not any more.
    fn tell_held(&mut self, actions: &mut Actions<Action<D::Notice>>) {
        let held = !self.app.wants_read();
        if held != self.held && !self.is_ending() {
            self.held = held;
            self.step(Event::Held(held), actions);
        }
    }

    /// Ends a connection whose address says more than it may.
    fn check_pace(&mut self, actions: &mut Actions<Action<D::Notice>>) {
        if !self.permit.allows(self.now, self.connection.take_messages()) {
            self.step(Event::Drain(CloseReason::TooManyMessages), actions);
        }
    }

    fn take_commands(
        &mut self,
        cx: &mut Context<'_>,
        turn: &mut Turn,
        actions: &mut Actions<Action<D::Notice>>,
    ) {
        while turn.app_dirty && !self.is_ending() {
            if turn.commands == 0 {
                cx.waker().wake_by_ref();
                turn.app_dirty = false;
                turn.app_behind = true;
                return;
            }
            if turn.commands < COMMANDS {
                self.now = self.permit.host().clock().now();
            }
            turn.commands -= 1;
            self.expire_late(cx, turn, actions);
            if self.is_ending() {
                return;
            }
            self.polled_room = self.has_room();
            self.notified = false;
            match self.app.poll_command(cx, self.polled_room) {
                Poll::Ready(command) => {
                    self.take_mail(cx, actions);
                    self.step(Event::Command(command), actions);
                }
                Poll::Pending => turn.app_dirty = false,
            }
        }
    }

    /// A turn that comes late, or that somebody has made long: the application is told of what has expired before it begins
    /// with it. What the peer has sent was read, and what it takes is written, before it is judged.
    fn expire_late(
        &mut self,
        cx: &mut Context<'_>,
        turn: &mut Turn,
        actions: &mut Actions<Action<D::Notice>>,
    ) {
        if !self.is_due() {
            return;
        }
        // What has come since the turn began, too.
        turn.read_parked = false;
        self.read(cx, turn, actions);
        if self.input_ended.is_some() || self.is_ending() {
            return;
        }
        self.write(cx, actions);
        if self.is_due() && !self.is_ending() {
            self.connection.handle_timeout(self.now, actions);
            self.perform(actions);
        }
    }

    fn is_due(&self) -> bool {
        self.connection.next_timeout().is_some_and(|due| due <= self.now)
    }

    // Output.

    /// Writes what is queued, if the socket takes it.
    fn write(&mut self, cx: &mut Context<'_>, actions: &mut Actions<Action<D::Notice>>) {
        if self.outbox.is_empty() && !self.transport.wants_send() {
            return;
        }
        if let Poll::Ready(Err(reason)) = self.transport.poll_send(cx, &mut self.outbox) {
            self.outbox.clear();
            // What the peer sent before is more telling than that it is gone now.
            let reason = self.input_ended.unwrap_or(reason);
            self.input_ended = Some(reason);
            self.step(Event::Closed(reason), actions);
        }
        if let Some(flushed) = self.outbox.take_flushed() {
            self.step(Event::Flushed(flushed), actions);
        }
    }

    // Machine.

    fn step(&mut self, event: Event<D::Command>, actions: &mut Actions<Action<D::Notice>>) {
        self.connection.handle_event(self.now, event, actions);
        self.perform(actions);
    }

    /// Performs actions in order.
    fn perform(&mut self, actions: &mut Actions<Action<D::Notice>>) {
        for action in actions.drain() {
            match action {
                Action::Send(frame) => self.outbox.push(frame),
                Action::Notify(notice) => {
                    self.notified = true;
                    self.app.handle_notice(notice);
                }
                Action::Route(route) => {
                    let from = MailAddress { conn: self.permit.conn(), mailbox: self.inbox.mail() };
                    self.permit.host().route_at(self.now, Some(from), route);
                }
                Action::DropOldest => self.outbox.drop_oldest(),
                Action::Mark(mark) => self.permit.host().stats().mark(mark),
                Action::Close(reason) => {
                    let until = self.now + self.permit.limits().close_grace;
                    self.phase = Phase::Flushing { reason, until };
                    self.inbox.close();
                    self.permit.host().stats().count_reason(reason);
                    self.app.handle_closed(reason);
                }
            }
        }
        if let Some(dropped) = self.outbox.take_dropped() {
            self.step(Event::Dropped(dropped), actions);
        }
    }

    // Time.

    /// Sees to it that the task is woken at the next deadline; whether that is already over.
    fn poll_timer<R: Runtime>(&mut self, cx: &mut Context<'_>, mut sleep: Pin<&mut R::Sleep>) -> bool {
        loop {
            let due = match self.phase {
                Phase::Open => self.connection.next_timeout(),
                Phase::Flushing { until, .. } | Phase::HangingUp { until, .. } => Some(until),
                Phase::Ended { .. } => None,
            };
            let Some(due) = due else { return false };
            // A timer that is early costs one poll; moving it for each packet costs more.
            if self.armed.is_none_or(|armed| due < armed) {
                R::reset(sleep.as_mut(), self.permit.host().clock().to_std(due));
                self.armed = Some(due);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.armed = None;
            self.now = self.permit.host().clock().now();
            if due <= self.now {
                return true;
            }
        }
    }

    // The end.

    /// One step of a connection that has closed; whether another one is worthwhile at once.
    fn wind_up(&mut self, cx: &mut Context<'_>) -> bool {
        let is_aborted = self.inbox.is_pending() && self.inbox.take().abort.is_some();
        self.phase = match self.phase {
            Phase::Flushing { reason, .. } | Phase::HangingUp { reason, .. } if is_aborted => {
                self.outbox.clear();
                Phase::Ended { reason }
            }
            Phase::Flushing { reason, until } => match self.flush(cx) {
                Poll::Ready(true) => Phase::HangingUp { reason, until: until.min(self.now + LINGER) },
                Poll::Ready(false) => Phase::Ended { reason },
                Poll::Pending if until <= self.now => Phase::Ended { reason },
                Poll::Pending => return false,
            },
            Phase::HangingUp { reason, until } => match self.transport.poll_close(cx, reason) {
                Poll::Ready(()) => Phase::Ended { reason },
                Poll::Pending if until <= self.now => Phase::Ended { reason },
                Poll::Pending => return false,
            },
            other => other,
        };
        true
    }

    /// Writes what is queued; whether the transport is still good for a goodbye.
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if matches!(self.input_ended, Some(CloseReason::ConnectionLost)) {
            return Poll::Ready(false);
        }
        let outcome = ready!(self.transport.poll_send(cx, &mut self.outbox));
        self.outbox.clear();
        Poll::Ready(outcome != Err(CloseReason::ConnectionLost))
    }
}
