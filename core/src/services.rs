//! Which node answers a route: a local service, or a remote node that offers it.
//!
//! A route is `Service.Method`, split at its last dot. A local service always wins. Of several remote nodes one is
//! chosen per connection and service, and the choice sticks until the node leaves or the connection ends.
//!
//! ```
//! use linkspan_core::services::{Config, Event, NodeId, Services, Target};
//! use linkspan_core::{Actions, ConnId, Instant, Machine, ServiceName};
//!
//! let mut services = Services::new(Config::default());
//! let name = |name: &str| ServiceName::new(name).expect("neither empty nor too long");
//! let mut actions = Actions::new();
//! services.handle_event(Instant::ORIGIN, Event::LocalAdded(name("Room")), &mut actions);
//! let up = Event::NodeUp { node: NodeId(1), services: vec![name("game.Battle")] };
//! services.handle_event(Instant::ORIGIN, up, &mut actions);
//!
//! let conn = ConnId(7);
//! assert_eq!(services.resolve(conn, b"Room.Join"), Target::Local { service: b"Room", method: b"Join" });
//! assert_eq!(services.resolve(conn, b"game.Battle.Hit"), Target::Remote { node: NodeId(1), bound: true });
//! assert_eq!(services.resolve(conn, b"Shop.Buy"), Target::Unknown);
//! assert_eq!(services.resolve(conn, b"Room"), Target::Malformed);
//! ```

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::mem;

use crate::hash::hash;
use crate::random::mix;
use crate::{Actions, ConnId, Instant, Machine, Mark, ServiceName, memory};

/// One remote node, as the driver numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// What a service table is built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Decides between nodes that offer the same service. Tables with equal seeds choose alike.
    pub seed: u64,
    /// How many nodes may be known. Default 1,024.
    pub nodes: u32,
    /// How many services one node may offer. Default 1,024.
    pub services_per_node: u32,
    /// How many choices are remembered for one connection. Default 32.
    pub bindings_per_connection: u32,
    /// How many choices are remembered in all. Default 1,000,000.
    pub bindings: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            nodes: 1024,
            services_per_node: 1024,
            bindings_per_connection: 32,
            bindings: 1_000_000,
        }
    }
}

/// What may happen to a service table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// This process offers a service.
    LocalAdded(ServiceName),
    /// This process no longer offers it.
    LocalRemoved(ServiceName),
    /// A node is there, or has changed what it offers: `services` replaces what it offered before.
    NodeUp {
        /// Which node.
        node: NodeId,
        /// All that it offers.
        services: Vec<ServiceName>,
    },
    /// A node has left.
    NodeDown(NodeId),
    /// A connection has ended; it must not be resolved for any more.
    ConnClosed(ConnId),
}

/// What a service table asks of its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Count this.
    Mark(Mark),
}

/// Who answers a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'r> {
    /// This process.
    Local {
        /// The route before its last dot.
        service: &'r [u8],
        /// The route after its last dot.
        method: &'r [u8],
    },
    /// A remote node.
    Remote {
        /// Which one.
        node: NodeId,
        /// Whether the choice is remembered. If not, because too many are, it stays the same for as long as the nodes
        /// that offer the service do.
        bound: bool,
    },
    /// Nobody offers the service.
    Unknown,
    /// Not a route: no dot, or nothing before or after it.
    Malformed,
}

/// Splits a route at its last dot into service and method; `None` if one of them is missing.
pub fn split(route: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = route.iter().rposition(|byte| *byte == b'.')?;
    let (service, method) = (&route[..dot], &route[dot + 1..]);
    (!service.is_empty() && !method.is_empty()).then_some((service, method))
}

/// Names a service for as long as somebody offers it; never used again.
type Number = u64;

/// A service that somebody offers.
#[derive(Debug)]
struct Offer {
    number: Number,
    /// Makes the choice differ from service to service.
    salt: u64,
    local: bool,
    /// Ascending.
    nodes: Vec<NodeId>,
}

/// A node that is there.
#[derive(Debug, Default)]
struct Node {
    /// Ascending.
    services: Vec<ServiceName>,
    /// Who is bound to it, and for which service.
    bound: BTreeSet<(Number, ConnId)>,
}

/// The service routing table.
#[derive(Debug)]
pub struct Services {
    config: Config,
    offers: BTreeMap<ServiceName, Offer>,
    nodes: BTreeMap<NodeId, Node>,
    bindings: BTreeMap<(ConnId, Number), NodeId>,
    next_number: Number,
}

impl Services {
    /// A table in which nobody offers anything.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            offers: BTreeMap::new(),
            nodes: BTreeMap::new(),
            bindings: BTreeMap::new(),
            next_number: 0,
        }
    }

    /// Who answers `route` for `conn`.
    pub fn resolve<'r>(&mut self, conn: ConnId, route: &'r [u8]) -> Target<'r> {
        let Some((service, method)) = split(route) else { return Target::Malformed };
        let Some(offer) = self.offers.get(service) else { return Target::Unknown };
        if offer.local {
            return Target::Local { service, method };
        }
        let binding = (conn, offer.number);
        if let Some(&node) = self.bindings.get(&binding) {
            return Target::Remote { node, bound: true };
        }
        let Some(node) = offer.choose(conn) else { return Target::Unknown };
        let bound = self.bind(binding, node);
        Target::Remote { node, bound }
    }

    /// How many services somebody offers.
    pub fn services(&self) -> usize {
        self.offers.len()
    }

    /// How many nodes are there.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// How many choices are remembered.
    pub fn bindings(&self) -> usize {
        self.bindings.len()
    }

    /// Bytes on the heap, rounded up: every name counts as one of the greatest length.
    pub fn footprint(&self) -> usize {
        const NAME: usize = memory::ARC_HEAD + ServiceName::MAX;
        let own = |node: &Node| {
            let services = node.services.capacity() * (size_of::<ServiceName>() + NAME);
            services + memory::tree::<(Number, ConnId), ()>(node.bound.len())
        };
        let of_offers: usize =
            self.offers.values().map(|offer| offer.nodes.capacity() * size_of::<NodeId>() + NAME).sum();
        memory::tree::<(ConnId, Number), NodeId>(self.bindings.len())
            + memory::tree::<ServiceName, Offer>(self.offers.len())
            + memory::tree::<NodeId, Node>(self.nodes.len())
            + self.nodes.values().map(own).sum::<usize>()
            + of_offers
    }

    fn bind(&mut self, binding: (ConnId, Number), node: NodeId) -> bool {
        let (conn, number) = binding;
        let most = self.config.bindings_per_connection as usize;
        let own = self.bindings.range(all_of(conn)).take(most).count();
        let has_room = own < most && self.bindings.len() < self.config.bindings as usize;
        if has_room && let Some(to) = self.nodes.get_mut(&node) {
            to.bound.insert((number, conn));
            self.bindings.insert(binding, node);
        }
        has_room
    }

    fn conn_closed(&mut self, conn: ConnId) {
        while let Some((&binding, &node)) = self.bindings.range(all_of(conn)).next() {
            self.bindings.remove(&binding);
            if let Some(node) = self.nodes.get_mut(&node) {
                node.bound.remove(&(binding.1, conn));
            }
        }
    }

    /// The entry of a service; made if nobody offers it yet.
    fn offer(&mut self, service: ServiceName) -> &mut Offer {
        let Self { config, offers, next_number, .. } = self;
        let salt = hash(config.seed, service.as_bytes());
        offers.entry(service).or_insert_with(|| {
            *next_number += 1;
            Offer { number: *next_number, salt, local: false, nodes: Vec::new() }
        })
    }

    fn local_removed(&mut self, service: &ServiceName) {
        if let Some(offer) = self.offers.get_mut(service) {
            offer.local = false;
            if offer.nodes.is_empty() {
                self.offers.remove(service);
            }
        }
    }

    fn node_up(&mut self, id: NodeId, mut services: Vec<ServiceName>, actions: &mut Actions<Action>) {
        if !self.nodes.contains_key(&id) && self.nodes.len() >= self.config.nodes as usize {
            return actions.push(Action::Mark(Mark::NodeRefused));
        }
        services.sort_unstable();
        services.dedup();
        if services.len() > self.config.services_per_node as usize {
            services.truncate(self.config.services_per_node as usize);
            actions.push(Action::Mark(Mark::NodeRefused));
        }
        let before = mem::take(&mut self.nodes.entry(id).or_default().services);
        for gone in before.iter().filter(|service| services.binary_search(service).is_err()) {
            self.withdraw(id, gone, actions);
        }
        for new in services.iter().filter(|service| before.binary_search(service).is_err()) {
            let nodes = &mut self.offer(new.clone()).nodes;
            if let Err(at) = nodes.binary_search(&id) {
                nodes.insert(at, id);
            }
        }
        services.shrink_to_fit();
        self.nodes.entry(id).or_default().services = services;
    }

    fn node_down(&mut self, id: NodeId, actions: &mut Actions<Action>) {
        let services = self.nodes.get_mut(&id).map(|node| mem::take(&mut node.services));
        for service in services.unwrap_or_default() {
            self.withdraw(id, &service, actions);
        }
        self.nodes.remove(&id);
    }

    /// A node no longer offers a service: whoever was bound to it is not any more.
    fn withdraw(&mut self, id: NodeId, service: &ServiceName, actions: &mut Actions<Action>) {
        let Some(offer) = self.offers.get_mut(service) else { return };
        if let Ok(at) = offer.nodes.binary_search(&id) {
            offer.nodes.remove(at);
        }
        let number = offer.number;
        if offer.nodes.is_empty() && !offer.local {
            self.offers.remove(service);
        }
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let all = (number, ConnId(0))..=(number, ConnId(u64::MAX));
        while let Some(&lost) = node.bound.range(all.clone()).next() {
            node.bound.remove(&lost);
            self.bindings.remove(&(lost.1, lost.0));
            actions.push(Action::Mark(Mark::BindingLost));
        }
    }
}

impl Offer {
    /// The node with the highest score for `conn` (rendezvous hashing): spread evenly, equal wherever it is computed,
    /// and changed by a node that comes or goes only for the connections that get or had that node.
    fn choose(&self, conn: ConnId) -> Option<NodeId> {
        let salt = mix(self.salt ^ mix(conn.0));
        self.nodes.iter().copied().max_by_key(|node| mix(salt ^ mix(node.0)))
    }
}

fn all_of(conn: ConnId) -> core::ops::RangeInclusive<(ConnId, Number)> {
    (conn, 0)..=(conn, Number::MAX)
}

impl Machine for Services {
    type Event = Event;
    type Action = Action;

    fn handle_event(&mut self, _now: Instant, event: Event, actions: &mut Actions<Action>) {
        match event {
            Event::LocalAdded(service) => self.offer(service).local = true,
            Event::LocalRemoved(service) => self.local_removed(&service),
            Event::NodeUp { node, services } => self.node_up(node, services, actions),
            Event::NodeDown(node) => self.node_down(node, actions),
            Event::ConnClosed(conn) => self.conn_closed(conn),
        }
    }

    fn handle_timeout(&mut self, _now: Instant, _actions: &mut Actions<Action>) {}

    fn next_timeout(&self) -> Option<Instant> {
        None
    }
}
