//! Requests that wait for their client to come.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Scope;
use crate::{Instant, Key, memory};

#[derive(Debug)]
struct Seek {
    client: Key,
    scope: Scope,
    until: Instant,
}

/// Everyone who waits, by number, by client and by patience.
#[derive(Debug, Default)]
pub(super) struct Seeks {
    seeks: BTreeMap<u64, Seek>,
    clients: BTreeSet<(Key, u64)>,
    ends: BTreeSet<(Instant, u64)>,
}

impl Seeks {
    pub(super) fn len(&self) -> usize {
        self.seeks.len()
    }

    pub(super) fn add(&mut self, ticket: u64, client: Key, scope: Scope, until: Instant) {
        self.remove(ticket);
        self.clients.insert((client.clone(), ticket));
        self.ends.insert((until, ticket));
        self.seeks.insert(ticket, Seek { client, scope, until });
    }

    pub(super) fn remove(&mut self, ticket: u64) -> Option<Key> {
        let Seek { client, until, .. } = self.seeks.remove(&ticket)?;
        self.ends.remove(&(until, ticket));
        let entry = (client, ticket);
        self.clients.remove(&entry);
        Some(entry.0)
    }

    /// Takes everyone who waits for a client that has come here, or to a peer.
    pub(super) fn take(&mut self, client: &Key, is_local: bool) -> Vec<u64> {
        let waiting = self.clients.range((client.clone(), 0)..=(client.clone(), u64::MAX));
        let reaches = |ticket: &u64| {
            is_local || self.seeks.get(ticket).is_some_and(|seek| seek.scope == Scope::Anywhere)
        };
        let tickets: Vec<_> = waiting.map(|(_, ticket)| *ticket).filter(reaches).collect();
        for ticket in &tickets {
            self.remove(*ticket);
        }
        tickets
    }

    /// Takes one whose patience is over.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(u64, Key)> {
        let (_, ticket) = *self.ends.first().filter(|(until, _)| *until <= now)?;
        self.remove(ticket).map(|client| (ticket, client))
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// Bytes on the heap, rounded up.
    pub(super) fn footprint(&self) -> usize {
        let names: usize = self.clients.iter().map(|(client, _)| memory::name(client.as_bytes())).sum();
        let count = self.seeks.len();
        let seeks = memory::tree::<u64, Seek>(count);
        seeks + memory::tree::<(Key, u64), ()>(count) + memory::tree::<(Instant, u64), ()>(count) + names
    }
}
