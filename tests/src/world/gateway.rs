//! One gateway: its registry, its door, its services, and what must be in them according to a plain model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use linkspan_core::backoff::Backoff;
use linkspan_core::drain::{self, Drain};
use linkspan_core::gate::Gate;
use linkspan_core::hub::directory::{self, Directory};
use linkspan_core::hub::{Action, Address, Config, Event, Hub, PlatformSet};
use linkspan_core::services::{self, NodeId, Services};
use linkspan_core::{ConnId, Delivery, GroupId, Instant, Key, Limits, Mark, Route, ServiceName, To};

use super::im::House;
use super::mesh::{Guests, peer_name};
use super::plan::{Plan, salted};
use super::web::Web;
use crate::harness::Checked;

/// How long a gateway gives its connections when it stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// What its events may be late.
const STOP_SLACK: Duration = Duration::from_millis(1);

fn micros(span: Duration) -> u64 {
    span.as_micros() as u64
}

/// Where a gateway's clock stands when the world begins: late enough to be turned back.
const START: u64 = 1_000_000_000_000;

/// Who is registered under what, as the hub's answers tell it.
#[derive(Debug, Default)]
struct Model {
    sessions: Table<Key>,
    groups: Table<GroupId>,
}

/// Which ends are under which names, the oldest first, and how often each is in.
#[derive(Debug)]
struct Table<K> {
    ends: BTreeMap<K, Vec<usize>>,
    counts: BTreeMap<usize, usize>,
    len: usize,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { ends: BTreeMap::new(), counts: BTreeMap::new(), len: 0 }
    }
}

impl<K: Ord + Clone> Table<K> {
    fn enter(&mut self, name: &K, end: usize) {
        let ends = self.ends.entry(name.clone()).or_default();
        if !ends.contains(&end) {
            ends.push(end);
            *self.counts.entry(end).or_default() += 1;
            self.len += 1;
        }
    }

    fn leave(&mut self, name: &K, end: usize) {
        let Some(ends) = self.ends.get_mut(name) else { return };
        if let Some(at) = ends.iter().position(|other| *other == end) {
            ends.remove(at);
            self.uncount(end);
        }
    }

    fn clear(&mut self, name: &K) {
        for end in self.ends.remove(name).unwrap_or_default() {
            self.uncount(end);
        }
    }

    fn uncount(&mut self, end: usize) {
        self.len -= 1;
        if let Some(count) = self.counts.get_mut(&end) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&end);
            }
        }
    }

    fn has(&self, end: usize) -> bool {
        self.counts.contains_key(&end)
    }
}

/// Who reaches which agent.
pub(super) type Mesh = Checked<Directory<usize>>;

/// One gateway.
pub(super) struct Gateway {
    pub(super) index: usize,
    pub(super) is_up: bool,
    pub(super) is_accepting: bool,
    /// Nothing of it runs before this time.
    pub(super) frozen_until: u64,
    /// It accepts nobody before this time.
    pub(super) exhausted_until: u64,
    /// How far its clock is off, in microseconds.
    pub(super) skew: i64,
    pub(super) was_turned_back: bool,
    pub(super) limits: Arc<Limits>,
    shards: Vec<Checked<Hub<usize>>>,
    seed: u64,
    pub(super) services: Checked<Services>,
    /// Remote nodes that answer.
    pub(super) nodes: BTreeSet<NodeId>,
    pub(super) gate: Gate,
    pub(super) drain: Option<Checked<Drain>>,
    /// When it must be down, once it stops.
    pub(super) stops_by: u64,
    /// Whether its stop has the time that it takes to tell everybody: nobody orders it twice, and it runs.
    pub(super) stops_in_order: bool,
    pub(super) backoff: Backoff,
    pub(super) ends: BTreeSet<usize>,
    pub(super) buffered: u64,
    pub(super) house: House,
    pub(super) directory: Mesh,
    pub(super) guests: Guests,
    /// The gateway as a proxy.
    pub(super) web: Web,
    /// What each watcher was told last about a name.
    pub(super) told: BTreeMap<(usize, Key), PlatformSet>,
    model: Model,
}

fn name(name: &str) -> ServiceName {
    ServiceName::new(name).expect("a short name")
}

impl Gateway {
    /// A gateway that has just been started, for the `life`-th time.
    pub(super) fn new(index: usize, life: u64, plan: &Plan) -> Self {
        let limits = plan.settings.limits();
        let seed = salted(plan.seed, 0x6777 ^ (index as u64) << 8 ^ life << 24);
        let hub = |shard: u64| {
            let admission = plan.settings.admission();
            let hub = Hub::new(Config { seed: seed ^ shard, admission, limits: Arc::clone(&limits) });
            Checked::idle(hub).without_digests()
        };
        let services = Services::new(services::Config {
            seed,
            nodes: if plan.settings.bounds > 0 { 2 } else { 1024 },
            bindings_per_connection: 2,
            ..services::Config::default()
        });
        let mut services = Checked::idle(services).without_digests();
        for local in ["Echo", "Chat", "Room"] {
            services.step(Instant::ORIGIN, services::Event::LocalAdded(name(local)));
        }
        Self {
            index,
            is_up: true,
            is_accepting: true,
            frozen_until: 0,
            exhausted_until: 0,
            skew: 0,
            was_turned_back: false,
            shards: (0..plan.settings.shards.max(1)).map(hub).collect(),
            seed,
            services,
            nodes: BTreeSet::new(),
            gate: Gate::new(Arc::clone(&limits), seed),
            drain: None,
            stops_by: u64::MAX,
            stops_in_order: false,
            backoff: Backoff::accept(),
            ends: BTreeSet::new(),
            buffered: 0,
            house: House::new(&plan.settings, seed),
            directory: Checked::idle(Directory::new(directory::Config {
                own: Some(peer_name(index)),
                peers: (0..plan.settings.gateways as usize)
                    .filter(|at| *at != index)
                    .map(peer_name)
                    .collect(),
                order: directory::Order::default(),
                limits: Arc::clone(&limits),
            }))
            .without_digests(),
            guests: Guests::default(),
            web: Web::new(life, &plan.settings),
            told: BTreeMap::new(),
            model: Model::default(),
            limits,
        }
    }

    /// What its clock says at the world's time `now`.
    pub(super) fn clock(&self, now: u64) -> Instant {
        Instant::from_micros((START + now).saturating_add_signed(self.skew))
    }

    /// When its clock will show `due`.
    pub(super) fn when(&self, due: Instant) -> u64 {
        due.as_micros().saturating_add_signed(-self.skew).saturating_sub(START)
    }

    /// Makes the machine that says how it stops.
    pub(super) fn begin_drain(&mut self, seed: u64, now: u64) {
        let ends = (self.ends.len() + self.house.visitors().len()) as u32;
        self.stops_in_order = self.drain.is_none() && self.frozen_until <= now;
        if self.drain.is_none() {
            let cut = self.frozen_until.max(now + micros(STOP_TIMEOUT));
            self.stops_by = cut + micros(Drain::ABORT_GRACE + STOP_SLACK);
        }
        self.drain.get_or_insert_with(|| {
            let config = drain::Config {
                seed,
                batch_min: 1,
                spread: Duration::from_secs(2),
                timeout: STOP_TIMEOUT,
                ..drain::Config::default()
            };
            let mut drain = Checked::idle(Drain::new(config)).without_digests();
            for _ in 0..ends {
                drain.step(Instant::ORIGIN, drain::Event::Opened);
            }
            drain
        });
    }

    /// A connection has ended: nothing is remembered for it.
    pub(super) fn unbind(&mut self, now: u64, end: usize) {
        let now = self.clock(now);
        self.services.step(now, services::Event::ConnClosed(ConnId(end as u64)));
    }

    /// It stands still, or its clock stands for so long: then so does its stop.
    pub(super) fn put_off_stop(&mut self, until: u64, back: u64) {
        if self.drain.is_some() {
            let thaw = until + micros(Drain::ABORT_GRACE + STOP_SLACK);
            self.stops_by = self.stops_by.max(thaw) + back;
            self.stops_in_order = false;
        }
    }

    /// Remote services come and go.
    pub(super) fn node(&mut self, node: u64, is_up: bool, now: u64) -> Vec<Mark> {
        let (id, now) = (NodeId(node), self.clock(now));
        let event = if is_up {
            self.nodes.insert(id);
            services::Event::NodeUp { node: id, services: vec![name("Far"), name("Away")] }
        } else {
            self.nodes.remove(&id);
            services::Event::NodeDown(id)
        };
        let marks = self.services.pass(now, event).map(|action| match action {
            services::Action::Mark(mark) => mark,
            other => panic!("services: {other:?} is new"),
        });
        marks.collect()
    }

    // The hub.

    /// Asks the shard that owns the name, and checks its answer against the model.
    pub(super) fn ask(&mut self, now: u64, from: Option<usize>, route: &Route) -> Vec<Action<usize>> {
        let shard = route.shard(self.shards.len(), self.seed);
        let address = from.map(|end| Address { conn: ConnId(end as u64), mailbox: end });
        let event = Event::Routed { from: address, route: route.clone() };
        let actions = self.step(now, shard, event);
        self.follow(from, route, &actions);
        self.check_counts(shard);
        actions
    }

    /// A mailbox was full.
    pub(super) fn refuse(
        &mut self,
        now: u64,
        to: Address<usize>,
        overflow: linkspan_core::Overflow,
    ) -> Vec<Action<usize>> {
        self.step(now, 0, Event::Refused { to, overflow })
    }

    fn step(&mut self, now: u64, shard: usize, event: Event<usize>) -> Vec<Action<usize>> {
        let now = self.clock(now);
        self.shards[shard].step(now, event)
    }

    /// Follows in the model what the hub has done, and says what is wrong with it.
    fn follow(&mut self, from: Option<usize>, route: &Route, actions: &[Action<usize>]) {
        let refused = actions.iter().any(|action| matches!(action, Action::Mark(Mark::GroupFull)));
        match (route, from) {
            (Route::Unregister(key), Some(from)) => {
                self.model.sessions.leave(key, from);
            }
            (Route::Join(group), Some(from)) if !refused => {
                self.model.groups.enter(group, from);
            }
            (Route::Leave(group), Some(from)) => {
                self.model.groups.leave(group, from);
            }
            (Route::Publish { to, push }, _) => {
                let teller = from.filter(|_| push.is_answered());
                self.check_hearers(teller, to, actions);
            }
            (Route::Close { to: To::Group(group), .. }, _) => self.model.groups.clear(group),
            (Route::Close { to: To::Key(key), .. }, _) => self.model.sessions.clear(key),
            _ => {}
        }
        for action in actions {
            match action {
                Action::Deliver { to, delivery: Delivery::Admitted(key) } => {
                    to.as_slice().iter().for_each(|address| self.model.sessions.enter(key, address.mailbox));
                }
                Action::Close { to, .. } => {
                    if let Route::Register { key, .. } = route {
                        to.as_slice()
                            .iter()
                            .for_each(|address| self.model.sessions.leave(key, address.mailbox));
                    }
                }
                _ => {}
            }
        }
    }

    /// Each member at this instant hears it once, and nobody else does; `teller` has it already, and if there is nobody
    /// else it goes no further. The members of a group hear it in the order in which they joined.
    fn check_hearers(&self, teller: Option<usize>, to: &To, actions: &[Action<usize>]) {
        let (expected, has_order) = match to {
            To::Key(key) => (self.model.sessions.ends.get(key), false),
            To::Group(group) => (self.model.groups.ends.get(group), true),
            _ => return,
        };
        let mut expected = expected.cloned().unwrap_or_default();
        if teller.is_some_and(|teller| expected == [teller]) {
            expected.clear();
        }
        let mut heard = Vec::with_capacity(expected.len());
        for action in actions {
            if let Action::Deliver { to, delivery: Delivery::Push(_) } = action {
                heard.extend(to.as_slice().iter().map(|address| address.mailbox));
            }
        }
        if !has_order {
            // A place that was held counts from then on, and is a session later.
            expected.sort_unstable();
            heard.sort_unstable();
        }
        assert_eq!(heard, expected, "G2: not those who are registered hear what is for {to:?}");
    }

    fn check_counts(&self, shard: usize) {
        let hub = &self.shards[shard];
        let limits = &self.limits;
        assert!(
            hub.sessions() + hub.reserved() <= limits.sessions_per_shard as usize,
            "F2: more sessions than there may be"
        );
        let registrations = hub.sessions() + hub.reserved() + hub.watchers() + hub.waiting();
        let most = Hub::<usize>::footprint_max(2 * registrations + self.model.groups.len, limits);
        assert!(hub.footprint() <= most, "G7: the hub owns {} of {most} bytes", hub.footprint());
        if self.shards.len() == 1 {
            assert_eq!(hub.sessions(), self.model.sessions.len, "F1: the registry and its model differ");
        }
    }

    /// Whether a shard has no place left, and some of its places are only held.
    pub(super) fn is_full_by_reservations(&self) -> bool {
        let most = self.limits.sessions_per_shard as usize;
        self.shards.iter().any(|hub| hub.sessions() < most && hub.sessions() + hub.reserved() >= most)
    }

    /// A connection has closed: nothing may lead to it any more.
    pub(super) fn check_forgotten(&self, end: usize) {
        let Model { sessions, groups } = &self.model;
        assert!(!sessions.has(end) && !groups.has(end), "E1: end {end} has closed and is still registered");
    }

    /// Whoever watches a name knows who is online under it.
    pub(super) fn check_watchers(&self) {
        for ((end, key), told) in &self.told {
            let online = self.shards.iter().fold(PlatformSet::EMPTY, |all, hub| {
                hub.platforms_of(key).iter().fold(all, PlatformSet::with)
            });
            assert_eq!(online, *told, "F1: the watcher at end {end} was told something else of {key}");
        }
    }

    /// Who is registered.
    pub(super) fn registered(&self) -> BTreeSet<usize> {
        self.model.sessions.counts.keys().chain(self.model.groups.counts.keys()).copied().collect()
    }

    /// All connections are gone: nothing may be left of them.
    pub(super) fn check_floor(&mut self, now: u64) {
        let later = self.clock(now) + self.limits.replacement_window;
        for hub in &mut self.shards {
            let counts =
                [hub.sessions(), hub.keys(), hub.reserved(), hub.watchers(), hub.waiting(), hub.groups()];
            assert_eq!(counts, [0; 6], "A9: gateway {}: registrations are left", self.index);
            hub.alter(|hub| hub.sweep(later));
            assert_eq!(hub.footprint(), 0, "A9: gateway {}: the hub keeps memory", self.index);
        }
        assert_eq!(self.services.bindings(), 0, "A9: gateway {}: bindings are left", self.index);
        assert_eq!(self.gate.connections(), 0, "A9: gateway {}: the gate counts somebody", self.index);
        assert_eq!(self.buffered, 0, "A9: gateway {}: bytes are still counted", self.index);
        let known = [self.directory.sessions(), self.directory.announced(), self.directory.waiting()];
        assert_eq!(known, [0; 3], "A9: gateway {}: the directory keeps somebody", self.index);
        self.house.check_floor();
    }
}
