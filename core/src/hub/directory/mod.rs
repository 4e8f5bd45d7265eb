//! Which tunnel reaches which client: the clients that are connected here, and those that peers say they have.
//!
//! One for the whole process: it is asked once per dial, and changes when an agent comes or goes. Its names are not
//! those of the [`Hub`](crate::hub::Hub): an agent called `alice` is not the user `alice`.
//!
//! ```
//! use linkspan_core::hub::Address;
//! use linkspan_core::hub::directory::{Action, Config, Directory, Event, Scope};
//! use linkspan_core::{Actions, ConnId, Instant, Key, Machine};
//!
//! let mut directory = Directory::new(Config::default());
//! let mut actions = Actions::new();
//! let agent = Address { conn: ConnId(1), mailbox: "mailbox of connection 1" };
//! let client = Key::new("foo").expect("not empty");
//!
//! let seek = Event::Seek { ticket: 7, client: client.clone(), scope: Scope::Anywhere, until: None };
//! directory.handle_event(Instant::ORIGIN, Event::Add { from: agent.clone(), client, session: 1 }, &mut actions);
//! directory.handle_event(Instant::ORIGIN, seek, &mut actions);
//! assert_eq!(actions.as_slice(), [Action::Found { ticket: 7, via: agent, is_peer: false }]);
//! ```

mod clients;
mod event;
mod links;
mod listeners;
mod seeks;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::fmt;

use self::clients::{Clients, Session};
pub use self::event::{Action, Change, Event, Order, Scope, SeekError};
use self::links::Links;
use self::listeners::Listeners;
use self::seeks::Seeks;
use super::Address;
use crate::tunnel::ClientSession;
use crate::{Actions, CloseReason, ConnId, Instant, Key, Limits, Machine, Mark, memory};

/// What a directory is built from.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The name of this server among its peers.
    pub own: Option<Key>,
    /// The names of its peers. The originals announce peers as if they were clients; such announcements count for
    /// nothing, or a request for a peer could go round in circles.
    pub peers: BTreeSet<Key>,
    /// Which of a client's sessions is used.
    pub order: Order,
    /// The bounds; those of sessions per client, announcements and waiting requests are kept here.
    pub limits: Arc<Limits>,
}

/// What a connection is to the directory.
#[derive(Debug)]
enum Party {
    Session(Key),
    Link,
    Listener,
}

/// Who reaches which client.
///
/// `M` is whatever the driver dials through.
pub struct Directory<M: Clone> {
    config: Config,
    /// The latest time seen; time never goes backwards.
    now: Instant,
    parties: BTreeMap<ConnId, Party>,
    clients: Clients<M>,
    links: Links<M>,
    listeners: Listeners<M>,
    seeks: Seeks,
}

impl<M: Clone> Directory<M> {
    /// A directory that knows nobody.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            now: Instant::ORIGIN,
            parties: BTreeMap::new(),
            clients: Clients::new(),
            links: Links::new(),
            listeners: Listeners::new(),
            seeks: Seeks::default(),
        }
    }

    /// Whether one more session of `client` would be taken in.
    pub fn can_add(&self, client: &Key) -> bool {
        self.clients.sessions_of(client) < self.config.limits.tunnel_sessions_per_client as usize
    }

    /// How many sessions of clients there are here.
    pub fn sessions(&self) -> usize {
        self.clients.len()
    }

    /// How many sessions peers say they have.
    pub fn announced(&self) -> usize {
        self.links.learnt()
    }

    /// What the peer behind one link says it has, in order.
    pub fn announced_on(&self, link: ConnId) -> impl Iterator<Item = (&Key, i64)> {
        self.links.announced(link)
    }

    /// How many requests wait for their client.
    pub fn waiting(&self) -> usize {
        self.seeks.len()
    }

    /// Every session here by client, in order: the client, the session's number, and whether it was heard of late.
    pub fn clients(&self) -> impl Iterator<Item = (&Key, i64, bool)> {
        let sessions = self.clients.behind(None);
        sessions.flat_map(|(client, sessions)| {
            sessions.iter().map(move |session| (client, session.number, session.is_lively))
        })
    }

    /// Bytes on the heap that the directory owns, rounded up. It follows from how many connections it knows, and from
    /// [`tunnel_announced`](Limits::tunnel_announced) and [`tunnel_seeks`](Limits::tunnel_seeks).
    pub fn footprint(&self) -> usize {
        let parties = memory::tree::<ConnId, Party>(self.parties.len());
        let known = self.clients.footprint() + self.links.footprint();
        parties + known + self.listeners.footprint() + self.seeks.footprint()
    }

    fn add(&mut self, from: Address<M>, client: &Key, number: i64, actions: &mut Actions<Action<M>>) {
        if self.parties.contains_key(&from.conn) {
            return;
        }
        if !self.can_add(client) {
            actions.push(Action::Mark(Mark::KeyFull));
            return actions.push(Action::Close { to: from, reason: CloseReason::Overloaded });
        }
        let known = self.clients.known(client).unwrap_or(client).clone();
        self.parties.insert(from.conn, Party::Session(known.clone()));
        self.clients.add(known, Session { address: from, number, is_lively: true });
        self.listeners.note(client, number, true, &self.clients, actions);
        self.answer(client, true, actions);
    }

    fn link(&mut self, from: Address<M>, peer: Key, actions: &mut Actions<Action<M>>) {
        if self.parties.contains_key(&from.conn) {
            return;
        }
        if self.config.own.as_ref() == Some(&peer) {
            actions.push(Action::Mark(Mark::LinkRefused));
            return actions.push(Action::Close { to: from, reason: CloseReason::HandshakeRefused });
        }
        if let Some(older) = self.links.of_peer(&peer)
            && let Some(to) = self.links.remove(older)
        {
            // A peer that comes again may not know yet that its older link is dead.
            self.parties.remove(&older);
            actions.push(Action::Mark(Mark::LinkReplaced));
            actions.push(Action::Close { to, reason: CloseReason::Replaced });
        }
        self.parties.insert(from.conn, Party::Link);
        self.links.add(from, peer);
    }

    fn listen(&mut self, from: Address<M>, actions: &mut Actions<Action<M>>) {
        let conn = from.conn;
        if self.parties.contains_key(&conn) {
            return;
        }
        self.parties.insert(conn, Party::Listener);
        self.listeners.add(from);
        self.listeners.ready(conn, &self.clients, actions);
    }

    fn forget(&mut self, conn: ConnId, actions: &mut Actions<Action<M>>) {
        match self.parties.remove(&conn) {
            Some(Party::Session(client)) => {
                if let Some(session) = self.clients.remove(&client, conn) {
                    self.listeners.note(&client, session.number, false, &self.clients, actions);
                }
            }
            Some(Party::Link) => _ = self.links.remove(conn),
            Some(Party::Listener) => self.listeners.remove(conn),
            None => {}
        }
    }

    fn set_lively(&mut self, conn: ConnId, is_lively: bool) {
        match self.parties.get(&conn) {
            Some(Party::Session(client)) => self.clients.set_lively(client, conn, is_lively),
            Some(Party::Link) => self.links.set_lively(conn, is_lively),
            Some(Party::Listener) | None => {}
        }
    }

    fn announced_by(&mut self, link: ConnId, session: &ClientSession, actions: &mut Actions<Action<M>>) {
        let Some(learnt) = self.links.learnt_on(link) else { return };
        let Config { own, peers, limits, .. } = &self.config;
        let client = session.check().ok().and_then(|()| Key::new(&session.client).ok());
        let is_server = |name: &Key| {
            own.as_ref() == Some(name) || peers.contains(name) || self.links.of_peer(name).is_some()
        };
        let client =
            client.filter(|name| !is_server(name)).filter(|_| learnt < limits.tunnel_announced as usize);
        let Some(client) = client else { return actions.push(Action::Mark(Mark::AnnouncementRefused)) };
        if self.links.learn(link, &client, session.session) {
            self.answer(&client, false, actions);
        }
    }

    fn withdrawn_by(&mut self, link: ConnId, session: &ClientSession) {
        if let Ok(client) = Key::new(&session.client) {
            self.links.unlearn(link, client, session.session);
        }
    }

    fn seek(
        &mut self,
        ticket: u64,
        client: Key,
        scope: Scope,
        until: Option<Instant>,
        actions: &mut Actions<Action<M>>,
    ) {
        if let Some(found) = self.find(ticket, &client, scope) {
            return actions.push(found);
        }
        let Some(until) = until.filter(|until| *until > self.now) else {
            return actions.push(Action::NotFound { ticket, why: SeekError::Unknown(client) });
        };
        if self.seeks.len() >= self.config.limits.tunnel_seeks as usize {
            actions.push(Action::Mark(Mark::SeekRefused));
            return actions.push(Action::NotFound { ticket, why: SeekError::TooMany });
        }
        self.seeks.add(ticket, client, scope, until);
    }

    /// A client here goes before one at a peer, whatever the peer says; one that is quiet only where no lively link
    /// leads to another.
    fn find(&mut self, ticket: u64, client: &Key, scope: Scope) -> Option<Action<M>> {
        let order = self.config.order;
        let is_better_there =
            scope == Scope::Anywhere && !self.clients.is_lively(client) && self.links.is_lively(client);
        if is_better_there && let Some(via) = self.links.pick(client, order) {
            return Some(Action::Found { ticket, via, is_peer: true });
        }
        if let Some(via) = self.clients.pick(client, order) {
            return Some(Action::Found { ticket, via, is_peer: false });
        }
        let via = if scope == Scope::Anywhere { self.links.pick(client, order) } else { None };
        via.map(|via| Action::Found { ticket, via, is_peer: true })
    }

    /// A client has come, here or to a peer: who waits for it need not wait any longer.
    fn answer(&mut self, client: &Key, is_local: bool, actions: &mut Actions<Action<M>>) {
        let scope = if is_local { Scope::LocalOnly } else { Scope::Anywhere };
        for ticket in self.seeks.take(client, is_local) {
            let found = self.find(ticket, client, scope);
            let unknown = || Action::NotFound { ticket, why: SeekError::Unknown(client.clone()) };
            actions.push(found.unwrap_or_else(unknown));
        }
    }
}

impl<M: Clone> Machine for Directory<M> {
    type Event = Event<M>;
    type Action = Action<M>;

    fn handle_event(&mut self, now: Instant, event: Event<M>, actions: &mut Actions<Action<M>>) {
        self.now = self.now.max(now);
        match event {
            Event::Add { from, client, session } => self.add(from, &client, session, actions),
            Event::Link { from, peer } => self.link(from, peer, actions),
            Event::Listen(from) => self.listen(from, actions),
            Event::Ready(conn) => self.listeners.ready(conn, &self.clients, actions),
            Event::Gone(conn) => self.forget(conn, actions),
            Event::Health { conn, is_lively } => self.set_lively(conn, is_lively),
            Event::Announced { link, session } => self.announced_by(link, &session, actions),
            Event::Withdrawn { link, session } => self.withdrawn_by(link, &session),
            Event::Seek { ticket, client, scope, until } => self.seek(ticket, client, scope, until, actions),
            Event::Forgo(ticket) => _ = self.seeks.remove(ticket),
        }
    }

    fn handle_timeout(&mut self, now: Instant, actions: &mut Actions<Action<M>>) {
        let now = self.now.max(now);
        if self.next_timeout().is_none_or(|due| due > now) {
            return;
        }
        self.now = now;
        while let Some((ticket, client)) = self.seeks.pop_due(self.now) {
            actions.push(Action::NotFound { ticket, why: SeekError::Unknown(client) });
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.seeks.next_due()
    }
}

impl<M: Clone> fmt::Debug for Directory<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("order", &self.config.order)
            .field("sessions", &self.sessions())
            .field("announced", &self.announced())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}
