//! The sessions of all users: one [`User`] machine for each that has a connection.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linkspan_core::hub::Platform;
use linkspan_core::im::{
    Answer, Deliver, Request, ServerCommand, SessionId, Ticket, Token, User, UserAction, UserEvent,
};
use linkspan_core::{Actions, CloseReason, ConnId, Instant, Key, Limits, Machine, Mark};
use linkspan_runtime::{Host, Mailbox, PushError, Stop};

/// What is left to do for whoever has told a user something.
pub(super) enum Errand {
    /// Have the user logged in, and report it; `ended` is raised if the session ends before.
    Login { session: SessionId, operation: String, token: Token, ended: Stop },
    /// Run a function and answer this request of one's own connection.
    Call { ticket: Ticket, operation: String, name: String, data: String },
    /// Tell the application that the session has ended.
    Ended,
}

/// One user with a connection.
struct Seat {
    user: User,
    mailboxes: Vec<(ConnId, Mailbox<ServerCommand>)>,
    /// Raised when the session ends.
    session: Option<(SessionId, Stop)>,
}

type Shard = Mutex<HashMap<Key, Seat>>;

/// All users with a connection. Whatever one event comes to is done before the next of the same user, so that every
/// connection hears of it in the same order.
pub(super) struct Users {
    host: Arc<Host>,
    deliver: Deliver,
    limits: Arc<Limits>,
    shards: Box<[Shard]>,
    hasher: RandomState,
}

/// How many locks the users are spread over.
const SHARDS: usize = 32;

impl Users {
    pub(super) fn new(host: Arc<Host>, deliver: Deliver, limits: Arc<Limits>) -> Self {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Self { host, deliver, limits, shards, hasher: RandomState::new() }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Seat>> {
        let hash = self.hasher.hash_one(key.as_bytes());
        self.shards[hash as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Instant {
        self.host.clock().now()
    }

    /// A connection of the user has opened.
    pub(super) fn opened(
        &self,
        key: &Key,
        conn: ConnId,
        platform: Platform,
        mailbox: Mailbox<ServerCommand>,
    ) -> Vec<Errand> {
        let mut shard = self.shard(key);
        let seat = shard.entry(key.clone()).or_insert_with(|| Seat {
            user: User::new(key.clone(), self.deliver, &self.limits),
            mailboxes: Vec::new(),
            session: None,
        });
        seat.mailboxes.push((conn, mailbox));
        self.step(seat, |user, now, actions| {
            user.handle_event(now, UserEvent::Opened { conn, platform }, actions);
        })
    }

    /// A connection of the user asks for something.
    pub(super) fn requested(&self, key: &Key, conn: ConnId, ticket: Ticket, request: Request) -> Vec<Errand> {
        self.tell(key, UserEvent::Requested { conn, ticket, request })
    }

    /// The backend has decided on a login.
    pub(super) fn logged_in(&self, key: &Key, session: SessionId, answer: Answer) -> Vec<Errand> {
        self.tell(key, UserEvent::LoggedIn { session, answer })
    }

    /// A connection of the user has ended.
    pub(super) fn closed(&self, key: &Key, conn: ConnId) -> Vec<Errand> {
        let mut shard = self.shard(key);
        let Some(seat) = shard.get_mut(key) else { return Vec::new() };
        seat.mailboxes.retain(|(one, _)| *one != conn);
        let errands = self.step(seat, |user, now, actions| {
            user.handle_event(now, UserEvent::Closed(conn), actions);
        });
        if seat.user.is_idle() {
            shard.remove(key);
            if shard.is_empty() {
                shard.shrink_to_fit();
            }
        }
        errands
    }

    /// When the user's login is to be given up.
    pub(super) fn next_timeout(&self, key: &Key) -> Option<Instant> {
        self.shard(key).get(key).and_then(|seat| seat.user.next_timeout())
    }

    /// Gives up a login that takes too long.
    pub(super) fn timed_out(&self, key: &Key) -> Vec<Errand> {
        let mut shard = self.shard(key);
        let Some(seat) = shard.get_mut(key) else { return Vec::new() };
        self.step(seat, User::handle_timeout)
    }

    fn tell(&self, key: &Key, event: UserEvent) -> Vec<Errand> {
        let mut shard = self.shard(key);
        let Some(seat) = shard.get_mut(key) else { return Vec::new() };
        self.step(seat, |user, now, actions| user.handle_event(now, event, actions))
    }

    /// One step of a user's machine: what connections are to be told is told under the user's lock, the rest is handed
    /// back. No mailbox and no shard of the hub ever calls back here.
    fn step(
        &self,
        seat: &mut Seat,
        step: impl FnOnce(&mut User, Instant, &mut Actions<UserAction>),
    ) -> Vec<Errand> {
        let mut actions = Actions::new();
        step(&mut seat.user, self.now(), &mut actions);
        let mut errands = Vec::new();
        for action in actions {
            match action {
                UserAction::Answer { conn, ticket, answer, audience } => {
                    self.order(seat, conn, ServerCommand::Answer { ticket, answer, audience });
                }
                UserAction::Refuse { conn, ticket, fault } => {
                    self.order(seat, conn, ServerCommand::Refuse { ticket, fault });
                }
                UserAction::SetMode { conn, mode } => self.order(seat, conn, ServerCommand::SetMode(mode)),
                UserAction::Route(route) => self.host.route(None, route),
                UserAction::Call { ticket, operation, name, data, .. } => {
                    errands.push(Errand::Call { ticket, operation, name, data });
                }
                UserAction::Login { session, operation, token } => {
                    let ended = Stop::new();
                    seat.session = Some((session, ended.clone()));
                    errands.push(Errand::Login { session, operation, token, ended });
                }
                UserAction::Ended(session) => {
                    if let Some((_, ended)) = seat.session.take_if(|(own, _)| *own == session) {
                        ended.raise();
                    }
                    errands.push(Errand::Ended);
                }
            }
        }
        errands
    }

    /// Hands a command to a connection. One whose mailbox is full does not read what it asks for.
    fn order(&self, seat: &Seat, conn: ConnId, command: ServerCommand) {
        let Some((_, mailbox)) = seat.mailboxes.iter().find(|(one, _)| *one == conn) else { return };
        if mailbox.command(command) == Err(PushError::Full) {
            self.host.stats().mark(Mark::MailboxFull);
            mailbox.close(CloseReason::SlowConsumer);
        }
    }
}
