//! The peers that are connected here, and the clients that they say they have.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Order;
use super::clients::pick;
use crate::hub::Address;
use crate::{ConnId, Key, memory};

#[derive(Debug)]
struct Link<M> {
    address: Address<M>,
    peer: Key,
    is_lively: bool,
    /// What the peer has announced.
    learnt: BTreeSet<(Key, i64)>,
}

/// A way to a client; how many sessions the peer has of it decides nothing else.
#[derive(Debug)]
struct Way {
    link: ConnId,
    sessions: usize,
}

/// The ways to a client, in the order in which they were learnt; never none, and at most one for each link.
#[derive(Debug, Default)]
struct Remote {
    ways: Vec<Way>,
    turn: usize,
}

/// Every link by its connection and by its peer, and every client that is known through any.
#[derive(Debug)]
pub(super) struct Links<M> {
    links: BTreeMap<ConnId, Link<M>>,
    peers: BTreeMap<Key, ConnId>,
    remotes: BTreeMap<Key, Remote>,
    learnt: usize,
}

impl<M: Clone> Links<M> {
    pub(super) const fn new() -> Self {
        Self { links: BTreeMap::new(), peers: BTreeMap::new(), remotes: BTreeMap::new(), learnt: 0 }
    }

    /// How many announcements stand, of all peers together.
    pub(super) const fn learnt(&self) -> usize {
        self.learnt
    }

    /// How many announcements of one link stand.
    pub(super) fn learnt_on(&self, link: ConnId) -> Option<usize> {
        self.links.get(&link).map(|link| link.learnt.len())
    }

    /// What one link has announced, in order.
    pub(super) fn announced(&self, link: ConnId) -> impl Iterator<Item = (&Key, i64)> {
        let learnt = self.links.get(&link).into_iter().flat_map(|link| &link.learnt);
        learnt.map(|(client, number)| (client, *number))
    }

    /// The link of a peer.
    pub(super) fn of_peer(&self, peer: &Key) -> Option<ConnId> {
        self.peers.get(peer).copied()
    }

    /// Takes a link in whose peer has none.
    pub(super) fn add(&mut self, address: Address<M>, peer: Key) {
        let conn = address.conn;
        self.peers.insert(peer.clone(), conn);
        self.links.insert(conn, Link { address, peer, is_lively: true, learnt: BTreeSet::new() });
    }

    /// Forgets a link and everything that is known through it.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Address<M>> {
        let link = self.links.remove(&conn)?;
        self.peers.remove(&link.peer);
        self.learnt -= link.learnt.len();
        for (client, _) in link.learnt {
            self.lose_way(&client, conn);
        }
        Some(link.address)
    }

    pub(super) fn set_lively(&mut self, conn: ConnId, is_lively: bool) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.is_lively = is_lively;
        }
    }

    /// A peer has a session of a client; says whether it was not known before.
    pub(super) fn learn(&mut self, conn: ConnId, client: &Key, number: i64) -> bool {
        let Some(link) = self.links.get_mut(&conn) else { return false };
        // One copy of a name serves all that know it.
        let client = self.remotes.get_key_value(client).map_or(client, |(known, _)| known).clone();
        if !link.learnt.insert((client.clone(), number)) {
            return false;
        }
        self.learnt += 1;
        let ways = &mut self.remotes.entry(client).or_default().ways;
        match ways.iter_mut().find(|way| way.link == conn) {
            Some(way) => way.sessions += 1,
            None => ways.push(Way { link: conn, sessions: 1 }),
        }
        true
    }

    /// A peer no longer has a session of a client.
    pub(super) fn unlearn(&mut self, conn: ConnId, client: Key, number: i64) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let entry = (client, number);
        if link.learnt.remove(&entry) {
            self.learnt -= 1;
            self.lose_way(&entry.0, conn);
        }
    }

    fn lose_way(&mut self, client: &Key, conn: ConnId) {
        let Some(remote) = self.remotes.get_mut(client) else { return };
        let Some(at) = remote.ways.iter().position(|way| way.link == conn) else { return };
        remote.ways[at].sessions -= 1;
        if remote.ways[at].sessions == 0 {
            remote.ways.remove(at);
        }
        if remote.ways.is_empty() {
            self.remotes.remove(client);
        }
    }

    /// Whether a link that leads to the client was heard of late.
    pub(super) fn is_lively(&self, client: &Key) -> bool {
        let ways = self.remotes.get(client).into_iter().flat_map(|remote| &remote.ways);
        ways.filter_map(|way| self.links.get(&way.link)).any(|link| link.is_lively)
    }

    /// The link to dial through.
    pub(super) fn pick(&mut self, client: &Key, order: Order) -> Option<Address<M>> {
        let Self { links, remotes, .. } = self;
        let Remote { ways, turn } = remotes.get_mut(client)?;
        let is_lively = |at: usize| links.get(&ways[at].link).is_some_and(|link| link.is_lively);
        let at = pick(order, ways.len(), is_lively, turn)?;
        links.get(&ways[at].link).map(|link| link.address.clone())
    }

    /// Bytes on the heap, rounded up.
    pub(super) fn footprint(&self) -> usize {
        // A name is kept once for all links that know it.
        let names = self.remotes.keys().chain(self.peers.keys());
        let names: usize = names.map(|name| memory::name(name.as_bytes())).sum();
        let ways: usize = self.remotes.values().map(|remote| remote.ways.capacity()).sum();
        let learnt = self.links.values().map(|link| memory::tree::<(Key, i64), ()>(link.learnt.len()));
        memory::tree::<ConnId, Link<M>>(self.links.len())
            + memory::tree::<Key, ConnId>(self.peers.len())
            + memory::tree::<Key, Remote>(self.remotes.len())
            + learnt.sum::<usize>()
            + ways * size_of::<Way>()
            + names
    }
}
