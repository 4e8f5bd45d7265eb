//! Who is told of the clients here, and what each has still to hear.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::clients::Clients;
use super::{Action, Change};
use crate::hub::Address;
use crate::tunnel::ClientSession;
use crate::{Actions, Bytes, ConnId, Key, memory};

/// From how many changes on an announcement is full; it ends with the client that fills it.
pub(super) const CHANGES: usize = 256;

#[derive(Debug)]
struct Listener<M> {
    address: Address<M>,
    /// Up to where it has heard of what was there when it came. What comes and goes behind this it will find, or not
    /// find, when it gets there.
    listed: Listed,
    /// What came (`true`) or went since it heard of it. What went before it was told of is not in here.
    changes: BTreeMap<(Key, i64), bool>,
    /// Whether it waits for something to hear.
    is_ready: bool,
}

#[derive(Debug)]
enum Listed {
    Nothing,
    UpTo(Key),
    All,
}

impl<M> Listener<M> {
    fn note(&mut self, client: &Key, number: i64, is_added: bool) {
        let is_due = match &self.listed {
            Listed::Nothing => false,
            Listed::UpTo(last) => client <= last,
            Listed::All => true,
        };
        let entry = (client.clone(), number);
        // What is undone before it was told need not be told.
        if is_due && self.changes.remove(&entry).is_none_or(|before| before == is_added) {
            self.changes.insert(entry, is_added);
        }
    }

    /// The next announcement; empty if there is nothing to hear.
    fn take(&mut self, clients: &Clients<M>) -> Vec<Change>
    where
        M: Clone,
    {
        let mut changes = Vec::new();
        while changes.len() < CHANGES
            && let Some(((client, number), is_added)) = self.changes.pop_first()
        {
            changes.push(change(&client, number, is_added));
        }
        let last = match &self.listed {
            Listed::All => return changes,
            Listed::Nothing => None,
            Listed::UpTo(last) => Some(last.clone()),
        };
        for (client, sessions) in clients.behind(last.as_ref()) {
            if changes.len() >= CHANGES {
                return changes;
            }
            changes.extend(sessions.iter().map(|session| change(client, session.number, true)));
            self.listed = Listed::UpTo(client.clone());
        }
        self.listed = Listed::All;
        changes
    }
}

fn change(client: &Key, number: i64, is_added: bool) -> Change {
    let client = Bytes::copy_from_slice(client.as_bytes());
    Change { session: ClientSession { client, session: number }, is_added }
}

/// Every listener, by its connection.
#[derive(Debug)]
pub(super) struct Listeners<M> {
    listeners: BTreeMap<ConnId, Listener<M>>,
}

impl<M: Clone> Listeners<M> {
    pub(super) const fn new() -> Self {
        Self { listeners: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, address: Address<M>) {
        let conn = address.conn;
        let listener =
            Listener { address, listed: Listed::Nothing, changes: BTreeMap::new(), is_ready: false };
        self.listeners.insert(conn, listener);
    }

    pub(super) fn remove(&mut self, conn: ConnId) {
        self.listeners.remove(&conn);
    }

    /// A listener is ready to hear more.
    pub(super) fn ready(&mut self, conn: ConnId, clients: &Clients<M>, actions: &mut Actions<Action<M>>) {
        let Some(listener) = self.listeners.get_mut(&conn) else { return };
        let changes = listener.take(clients);
        listener.is_ready = changes.is_empty();
        if !changes.is_empty() {
            actions.push(Action::Announce { to: listener.address.clone(), changes });
        }
    }

    /// A session came or went.
    pub(super) fn note(
        &mut self,
        client: &Key,
        number: i64,
        is_added: bool,
        clients: &Clients<M>,
        actions: &mut Actions<Action<M>>,
    ) {
        let mut ready = Vec::new();
        for (conn, listener) in &mut self.listeners {
            listener.note(client, number, is_added);
            if listener.is_ready {
                ready.push(*conn);
            }
        }
        ready.into_iter().for_each(|conn| self.ready(conn, clients, actions));
    }

    /// Bytes on the heap, rounded up.
    pub(super) fn footprint(&self) -> usize {
        // The name of a client that is gone may be kept by us alone.
        let own = |listener: &Listener<M>| {
            let names = listener.changes.keys().map(|(client, _)| memory::name(client.as_bytes()));
            memory::tree::<(Key, i64), bool>(listener.changes.len()) + names.sum::<usize>()
        };
        let all = self.listeners.values().map(own).sum::<usize>();
        memory::tree::<ConnId, Listener<M>>(self.listeners.len()) + all
    }
}
