//! The driver of the directory: who reaches which client, and who asks for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use linkspan_core::hub::Address;
use linkspan_core::hub::directory::{Action, Change, Config, Directory, Event, Scope, SeekError};
use linkspan_core::tunnel::{ClientSession, TunnelCommand};
use linkspan_core::{Actions, CloseReason, ConnId, Key, Machine};
use linkspan_runtime::{Host, Runtime};

use super::session::{Duty, Session};
use crate::handoff::{Giver, handoff};

type DirectoryAction = Action<Arc<Session>>;

/// Whom to dial through; whether it is a peer.
pub(super) type Found = Result<(Arc<Session>, bool), SeekError>;

/// Everything that is known of agents and peers, in one place for the whole process.
pub(super) struct Registry {
    host: Arc<Host>,
    state: Mutex<State>,
    last_ticket: AtomicU64,
    /// Every session of the process, for whoever looks.
    sessions: Mutex<BTreeMap<ConnId, Arc<Session>>>,
}

struct State {
    directory: Directory<Arc<Session>>,
    seekers: BTreeMap<u64, Giver<Found>>,
}

impl Registry {
    pub(super) fn new(host: Arc<Host>, config: Config) -> Self {
        let state = State { directory: Directory::new(config), seekers: BTreeMap::new() };
        Self { host, state: Mutex::new(state), last_ticket: AtomicU64::new(0), sessions: Mutex::default() }
    }

    pub(super) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_sessions(&self) -> MutexGuard<'_, BTreeMap<ConnId, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the directory one event, and performs what it asks for once the lock is let go.
    pub(super) fn handle(&self, event: Event<Arc<Session>>) {
        self.step(|directory, now, actions| directory.handle_event(now, event, actions));
    }

    fn step(
        &self,
        step: impl FnOnce(&mut Directory<Arc<Session>>, linkspan_core::Instant, &mut Actions<DirectoryAction>),
    ) {
        let mut actions = Actions::new();
        let mut answers = Vec::new();
        {
            let mut state = self.lock();
            step(&mut state.directory, self.host.clock().now(), &mut actions);
            for action in actions.as_slice() {
                if let Action::Found { ticket, .. } | Action::NotFound { ticket, .. } = action
                    && let Some(answer) = state.seekers.remove(ticket)
                {
                    answers.push((*ticket, answer));
                }
            }
        }
        for action in actions {
            self.perform(action, &mut answers);
        }
    }

    fn perform(&self, action: DirectoryAction, answers: &mut Vec<(u64, Giver<Found>)>) {
        let mut answer = |ticket: u64, found: Found| {
            let at = answers.iter().position(|(own, _)| *own == ticket);
            if let Some(at) = at {
                answers.swap_remove(at).1.give(found);
            }
        };
        match action {
            Action::Found { ticket, via, is_peer } => answer(ticket, Ok((via.mailbox, is_peer))),
            Action::NotFound { ticket, why } => answer(ticket, Err(why)),
            Action::Announce { to, changes } => to.mailbox.say(changes.into_iter().map(announcement)),
            Action::Close { to, reason } => to.mailbox.end(reason),
            Action::Mark(mark) => self.host.stats().mark(mark),
            // What the directory learns to ask for later.
            _ => {}
        }
    }

    /// Whether one more session of `client` would be taken in.
    pub(super) fn can_add(&self, client: &Key) -> bool {
        self.lock().directory.can_add(client)
    }

    /// Every client with its sessions: the number, whether it was heard of late.
    pub(super) fn clients(&self) -> Vec<(Key, i64, bool)> {
        let state = self.lock();
        state.directory.clients().map(|(key, number, is_lively)| (key.clone(), number, is_lively)).collect()
    }

    /// Notes a session.
    pub(super) fn enter(&self, session: &Arc<Session>) {
        self.lock_sessions().insert(session.conn, Arc::clone(session));
    }

    /// Forgets a session, and everything that is known through it.
    pub(super) fn leave(&self, conn: ConnId) {
        self.lock_sessions().remove(&conn);
        self.handle(Event::Gone(conn));
    }

    pub(super) fn session(&self, conn: ConnId) -> Option<Arc<Session>> {
        self.lock_sessions().get(&conn).map(Arc::clone)
    }

    /// Ends every session.
    pub(super) fn end_all(&self, reason: CloseReason) {
        let sessions: Vec<_> = self.lock_sessions().values().map(Arc::clone).collect();
        sessions.iter().for_each(|session| session.end(reason));
    }

    /// Finds the way to `client`; if there is none, one may come within `wait`.
    pub(super) async fn seek<R: Runtime>(
        &self,
        runtime: &R,
        client: Key,
        scope: Scope,
        wait: Option<Duration>,
    ) -> Found {
        let ticket = self.last_ticket.fetch_add(1, Ordering::Relaxed);
        let (answer, found) = handoff();
        self.lock().seekers.insert(ticket, answer);
        // Whoever gives up while it waits is forgotten.
        let _guard = Seeker { registry: self, ticket };
        let until = wait.map(|wait| self.host.clock().now() + wait);
        self.handle(Event::Seek { ticket, client, scope, until });
        // The directory answers every ticket once.
        let found = async { found.await.unwrap_or(Err(SeekError::TooMany)) };
        let Some(wait) = wait else { return found.await };
        let late = async {
            let mut until = Instant::now() + wait;
            loop {
                runtime.sleep_until(until).await;
                self.step(Directory::handle_timeout);
                // The clocks may differ by a little.
                until = Instant::now() + Duration::from_millis(10);
            }
        };
        futures_lite::future::or(found, late).await
    }
}

struct Seeker<'a> {
    registry: &'a Registry,
    ticket: u64,
}

impl Drop for Seeker<'_> {
    fn drop(&mut self) {
        // One that was answered is no longer there.
        let waited = self.registry.lock().seekers.remove(&self.ticket).is_some();
        if waited {
            self.registry.handle(Event::Forgo(self.ticket));
        }
    }
}

fn announcement(change: Change) -> TunnelCommand {
    match change.is_added {
        true => TunnelCommand::AddClient(change.session),
        false => TunnelCommand::RemoveClient(change.session),
    }
}

pub(super) fn address(session: &Arc<Session>) -> Address<Arc<Session>> {
    Address { conn: session.conn, mailbox: Arc::clone(session) }
}

/// The session of an agent: it may be dialled through, and asks for nothing.
pub(super) struct Guest(pub(super) Arc<Registry>);

impl Duty for Guest {
    fn heard(&self, session: &Session, is_lively: bool) {
        self.0.handle(Event::Health { conn: session.conn, is_lively });
    }

    fn leaving(&self, session: &Session) {
        self.0.handle(Event::Gone(session.conn));
    }

    fn ended(&self, session: &Session, _reason: CloseReason) {
        self.0.leave(session.conn);
    }
}

/// The link that a peer has opened: it announces its clients, and they are dialled through it.
pub(super) struct PeerLink(pub(super) Arc<Registry>);

impl Duty for PeerLink {
    fn announced(&self, session: &Session, client: ClientSession, is_there: bool) {
        let link = session.conn;
        self.0.handle(match is_there {
            true => Event::Announced { link, session: client },
            false => Event::Withdrawn { link, session: client },
        });
    }

    fn heard(&self, session: &Session, is_lively: bool) {
        self.0.handle(Event::Health { conn: session.conn, is_lively });
    }

    fn leaving(&self, session: &Session) {
        self.0.handle(Event::Gone(session.conn));
    }

    fn ended(&self, session: &Session, _reason: CloseReason) {
        self.0.leave(session.conn);
    }
}
