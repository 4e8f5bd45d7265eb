//! The clients that are connected here.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

use super::Order;
use crate::hub::Address;
use crate::{ConnId, Key, memory};

/// A client's session.
#[derive(Clone, Debug)]
pub(super) struct Session<M> {
    pub(super) address: Address<M>,
    pub(super) number: i64,
    pub(super) is_lively: bool,
}

/// A client's sessions in the order in which they came; never none.
#[derive(Debug)]
struct Client<M> {
    sessions: Vec<Session<M>>,
    turn: usize,
}

/// Every client here, by name.
#[derive(Debug)]
pub(super) struct Clients<M> {
    clients: BTreeMap<Key, Client<M>>,
    sessions: usize,
}

impl<M: Clone> Clients<M> {
    pub(super) const fn new() -> Self {
        Self { clients: BTreeMap::new(), sessions: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.sessions
    }

    pub(super) fn sessions_of(&self, client: &Key) -> usize {
        self.clients.get(client).map_or(0, |client| client.sessions.len())
    }

    /// The name as it is kept, if it is: one copy serves all that know it.
    pub(super) fn known(&self, client: &Key) -> Option<&Key> {
        self.clients.get_key_value(client).map(|(known, _)| known)
    }

    pub(super) fn add(&mut self, client: Key, session: Session<M>) {
        let entry = self.clients.entry(client).or_insert(Client { sessions: Vec::new(), turn: 0 });
        entry.sessions.push(session);
        self.sessions += 1;
    }

    pub(super) fn remove(&mut self, client: &Key, conn: ConnId) -> Option<Session<M>> {
        let entry = self.clients.get_mut(client)?;
        let at = entry.sessions.iter().position(|session| session.address.conn == conn)?;
        let session = entry.sessions.remove(at);
        self.sessions -= 1;
        if entry.sessions.is_empty() {
            self.clients.remove(client);
        }
        Some(session)
    }

    pub(super) fn set_lively(&mut self, client: &Key, conn: ConnId, is_lively: bool) {
        let sessions = self.clients.get_mut(client).into_iter().flat_map(|client| &mut client.sessions);
        for session in sessions.filter(|session| session.address.conn == conn) {
            session.is_lively = is_lively;
        }
    }

    /// Whether a session of the client was heard of late.
    pub(super) fn is_lively(&self, client: &Key) -> bool {
        self.clients.get(client).is_some_and(|client| client.sessions.iter().any(|one| one.is_lively))
    }

    /// The session to dial through.
    pub(super) fn pick(&mut self, client: &Key, order: Order) -> Option<Address<M>> {
        let Client { sessions, turn } = self.clients.get_mut(client)?;
        let at = pick(order, sessions.len(), |at| sessions[at].is_lively, turn)?;
        Some(sessions[at].address.clone())
    }

    /// Everything behind `after`, by name.
    pub(super) fn behind<'a>(
        &'a self,
        after: Option<&Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a [Session<M>])> {
        let from: Bound<&Key> = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.clients.range::<Key, _>((from, Bound::Unbounded));
        behind.map(|(client, entry)| (client, entry.sessions.as_slice()))
    }

    /// Bytes on the heap, rounded up.
    pub(super) fn footprint(&self) -> usize {
        let own = |(name, client): (&Key, &Client<M>)| {
            memory::name(name.as_bytes()) + client.sessions.capacity() * size_of::<Session<M>>()
        };
        memory::tree::<Key, Client<M>>(self.clients.len()) + self.clients.iter().map(own).sum::<usize>()
    }
}

/// Which of `count` is used: one that is lively, or any if none is.
pub(super) fn pick(
    order: Order,
    count: usize,
    is_lively: impl Fn(usize) -> bool,
    turn: &mut usize,
) -> Option<usize> {
    let nth = |step: usize| match order {
        Order::OldestFirst => step,
        Order::NewestFirst => count - 1 - step,
        Order::RoundRobin => (*turn + step) % count,
    };
    let mut all = (0..count).map(nth);
    let at = all.clone().find(|at| is_lively(*at)).or_else(|| all.next())?;
    *turn = at + 1;
    Some(at)
}
