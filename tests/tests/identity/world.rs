//! Clients that connect, log in, are kicked and come back, played against the hub, the model and a ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use linkspan_core::hub::{Action, Admission, Badge, Device, DevicePolicy, Event, Hub, Platform, PlatformSet};
use linkspan_core::{CloseReason, Delivery, Key, Limits, Mark, Overflow, Route, To};
use linkspan_tests::harness::Script;

use super::common::{Desk, Mailbox, Said, address, badge, key};
use super::model::Model;

const USERS: u8 = 2;
const WATCHERS: [u64; 4] = [1_000_000, 1_000_001, 1_000_002, 1_000_003];
const PLATFORMS: [Platform; 6] =
    [Platform::IOS, Platform::ANDROID, Platform::WINDOWS, Platform::MACOS, Platform::WEB, Platform::UNSTATED];

/// What the hub's own actions amount to, whatever the model thinks.
#[derive(Default)]
struct Ledger {
    owners: BTreeMap<(Key, u64), Platform>,
    reserved: BTreeMap<(Key, u64), Platform>,
    told: BTreeMap<(Key, u64), PlatformSet>,
}

#[derive(Clone)]
struct Client {
    conn: u64,
    key: Key,
    badge: Badge,
}

/// What was reached, over all schedules.
#[derive(Default, Debug)]
pub(super) struct Reached {
    pub(super) marks: BTreeSet<Mark>,
    pub(super) closes: BTreeMap<String, u64>,
    pub(super) presences: u64,
    pub(super) races: u64,
}

pub(super) struct World<'a> {
    script: Script<'a>,
    desk: Desk,
    model: Model,
    ledger: Ledger,
    open: Vec<Client>,
    /// Their connections are ending; the hub has not been told.
    leaving: Vec<Client>,
    conns: u64,
}

fn any_admission(script: &mut Script<'_>) -> Admission {
    match script.choose(9) {
        0 => Admission::Many,
        1 => Admission::NewestWins,
        2 => Admission::RejectNew,
        3 => Admission::AtMost(0),
        4 => Admission::AtMost(2),
        5 => Admission::Devices(DevicePolicy::Any),
        6 => Admission::Devices(DevicePolicy::OnePerPlatform),
        7 => Admission::Devices(DevicePolicy::OnePerClass),
        _ => Admission::Devices(DevicePolicy::PcAndOne),
    }
}

fn any_limits(script: &mut Script<'_>) -> Limits {
    let mut up_to = |most: usize| u32::try_from(script.choose(most) + 1).unwrap();
    Limits {
        sessions_per_platform: up_to(3),
        sessions_per_key: up_to(6),
        sessions_per_shard: up_to(9),
        watchers_per_key: up_to(3),
        replacements: up_to(4) - 1,
        ..Limits::default()
    }
}

impl<'a> World<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        let mut script = Script::new(data);
        let admission = any_admission(&mut script);
        let limits = any_limits(&mut script);
        Self {
            desk: Desk::new(admission, limits.clone()),
            model: Model::new(admission, limits),
            script,
            ledger: Ledger::default(),
            open: Vec::new(),
            leaving: Vec::new(),
            conns: 0,
        }
    }

    /// Plays to the end of the script, and then everybody leaves.
    pub(super) fn play(mut self, reached: &mut Reached) {
        while !self.script.is_over() {
            self.step(reached);
        }
        let all: Vec<_> = self.open.iter().chain(&self.leaving).cloned().collect();
        for client in all {
            self.route(client.conn, Route::Unregister(client.key), reached);
        }
        for (conn, user) in WATCHERS.into_iter().flat_map(|conn| (0..USERS).map(move |user| (conn, user))) {
            self.route(conn, Route::Unwatch(key(user)), reached);
        }
        let hub = &mut self.desk.hub;
        let counts = [hub.sessions(), hub.keys(), hub.reserved(), hub.watchers(), hub.groups()];
        assert_eq!(counts, [0; 5], "everyone has left");
        hub.alter(|hub| hub.sweep(self.desk.now + self.model.limits.replacement_window));
        assert_eq!(hub.footprint(), 0, "what was registered was given back");
    }

    fn step(&mut self, reached: &mut Reached) {
        match self.script.choose(16) {
            0..=1 => self.connect(reached),
            2..=5 => self.log_in(reached),
            6 => self.hang_up(),
            7..=8 => self.finish(reached),
            9 => self.kick(reached),
            10 => self.clog(reached),
            11 => self.watch(true, reached),
            12 => self.watch(false, reached),
            13 => self.let_time_pass(),
            _ => self.come_back(reached),
        }
    }

    fn newcomer(&mut self, key: Key, badge: Badge) -> Client {
        self.conns += 1;
        let client = Client { conn: self.conns, key, badge };
        self.open.push(client.clone());
        client
    }

    fn pick(&mut self, leaving: bool) -> Option<usize> {
        let clients = if leaving { self.leaving.len() } else { self.open.len() };
        (clients > 0).then(|| self.script.choose(clients))
    }

    /// A place is held for a newcomer before anything is known about it.
    fn connect(&mut self, reached: &mut Reached) {
        let user = u8::from(self.script.choose(4) == 0);
        let platform = PLATFORMS[self.script.choose(PLATFORMS.len())];
        let mut badge = badge(platform, self.script.choose(3) as u64);
        if self.script.choose(8) == 0 {
            badge.admission = Some(any_admission(&mut self.script));
        }
        let client = self.newcomer(key(user), badge);
        self.route(client.conn, Route::Reserve { key: client.key, badge: client.badge }, reached);
    }

    /// Whoever has connected, was refused, or is in already.
    fn log_in(&mut self, reached: &mut Reached) {
        if let Some(at) = self.pick(false) {
            let Client { conn, key, mut badge } = self.open[at].clone();
            if self.script.choose(8) == 0 {
                return self.route(conn, Route::Reserve { key, badge }, reached);
            }
            if self.script.choose(16) == 0 {
                // What it reserved for is not what it is.
                badge.device = Device::of(PLATFORMS[self.script.choose(PLATFORMS.len())]);
            }
            self.route(conn, Route::Register { key, badge }, reached);
        }
    }

    fn hang_up(&mut self) {
        if let Some(at) = self.pick(false) {
            let client = self.open.swap_remove(at);
            self.leaving.push(client);
        }
    }

    /// The hub hears that a connection has ended, perhaps twice.
    fn finish(&mut self, reached: &mut Reached) {
        if let Some(at) = self.pick(true) {
            let keep = self.script.choose(4) == 0;
            let client = if keep { self.leaving[at].clone() } else { self.leaving.swap_remove(at) };
            self.route(client.conn, Route::Unregister(client.key), reached);
        }
    }

    fn kick(&mut self, reached: &mut Reached) {
        let key = key(u8::from(self.script.choose(4) == 0));
        let to = if self.script.choose(2) == 0 {
            To::Key(key)
        } else {
            let first = PLATFORMS[self.script.choose(PLATFORMS.len())];
            To::Devices { key, platforms: PlatformSet::from(first).with(Platform::IOS) }
        };
        let route = Route::Close { to, reason: CloseReason::Kicked };
        self.event(&Event::Routed { from: None, route }, reached);
    }

    /// A slow reader's mailbox is full.
    fn clog(&mut self, reached: &mut Reached) {
        if let Some(at) = self.pick(false) {
            let overflow =
                [Overflow::Close, Overflow::DropNewest, Overflow::DropOldest][self.script.choose(3)];
            let to = address(self.open[at].conn);
            self.event(&Event::Refused { to, overflow }, reached);
        }
    }

    fn watch(&mut self, wanted: bool, reached: &mut Reached) {
        let key = key(u8::from(self.script.choose(4) == 0));
        let conn = WATCHERS[self.script.choose(WATCHERS.len())];
        self.route(conn, if wanted { Route::Watch(key) } else { Route::Unwatch(key) }, reached);
    }

    fn let_time_pass(&mut self) {
        let window = self.model.limits.replacement_window;
        let micro = Duration::from_micros(1);
        let spans = [micro, window / 4, window / 2, window - micro, window, window + micro];
        let span = spans[self.script.choose(spans.len())];
        self.desk.wait(span);
    }

    /// One whose connection is ending is back before the hub has heard of the end.
    fn come_back(&mut self, reached: &mut Reached) {
        if let Some(at) = self.pick(true) {
            let Client { key, badge, .. } = self.leaving[at].clone();
            let Client { conn, key, badge } = self.newcomer(key, badge);
            self.route(conn, Route::Register { key, badge }, reached);
            reached.races += 1;
        }
    }

    fn route(&mut self, from: u64, route: Route, reached: &mut Reached) {
        self.event(&Event::Routed { from: Some(address(from)), route }, reached);
    }

    fn event(&mut self, event: &Event<Mailbox>, reached: &mut Reached) {
        let expected = self.model.apply(self.desk.now, event);
        let said = self.desk.perform(event.clone());
        assert_eq!(said, expected, "{event:?}");
        if let Event::Routed { from: Some(from), route } = event {
            match route {
                Route::Unregister(key) => self.ledger.forget(key, from.conn.0),
                Route::Register { key, .. } => _ = self.ledger.reserved.remove(&(key.clone(), from.conn.0)),
                Route::Unwatch(key) => _ = self.ledger.told.remove(&(key.clone(), from.conn.0)),
                _ => {}
            }
        }
        self.enter(event, &said, reached);
        self.check();
    }

    /// Enters what the hub said into the ledger.
    fn enter(&mut self, event: &Event<Mailbox>, said: &Said, reached: &mut Reached) {
        for action in said {
            match action {
                Action::Mark(mark) => _ = reached.marks.insert(*mark),
                Action::Close { to, reason } => {
                    *reached.closes.entry(reason.to_string()).or_default() += 1;
                    for one in to.as_slice() {
                        self.closed(one.conn.0, *reason);
                    }
                }
                Action::Deliver { to, delivery } => {
                    for one in to.as_slice() {
                        self.ledger.delivered(event, one.conn.0, delivery, reached);
                    }
                }
                other => panic!("{other:?} is new"),
            }
        }
    }

    fn closed(&mut self, conn: u64, reason: CloseReason) {
        // A slow reader stays registered until its connection has ended.
        if reason != CloseReason::SlowConsumer {
            self.ledger.owners.retain(|(_, owner), _| *owner != conn);
        }
        if let Some(at) = self.open.iter().position(|client| client.conn == conn) {
            let client = self.open.swap_remove(at);
            self.leaving.push(client);
        }
    }

    /// What must hold at every instant.
    fn check(&mut self) {
        let Self { ledger, desk, model, .. } = self;
        let limits = &model.limits;
        let held = || ledger.owners.iter().chain(&ledger.reserved);
        assert!(held().count() <= limits.sessions_per_shard as usize);
        let hub = &desk.hub;
        assert_eq!([hub.sessions(), hub.reserved()], [ledger.owners.len(), ledger.reserved.len()]);
        let registrations = hub.sessions() + hub.reserved() + hub.watchers();
        assert!(hub.footprint() <= Hub::<Mailbox>::footprint_max(registrations, limits));
        for user in 0..USERS {
            let key = key(user);
            let of_user: Vec<_> = held().filter(|((of, _), _)| *of == key).map(|(_, on)| *on).collect();
            assert!(of_user.len() <= limits.sessions_per_key as usize);
            for platform in PLATFORMS.into_iter().filter(|platform| *platform != Platform::UNSTATED) {
                let on_platform = of_user.iter().filter(|on| **on == platform).count();
                assert!(on_platform <= limits.sessions_per_platform as usize);
            }
            let online = ledger.platforms(&key);
            assert_eq!(desk.hub.platforms_of(&key), online);
            let told = ledger.told.iter().filter(|((of, _), _)| *of == key);
            assert!(told.into_iter().all(|(_, told)| *told == online), "a watcher does not know");
            // Whoever has the key hears of it, and nobody else: no loser, and no place that is only held.
            let mut hearers = desk.hearers(To::Key(key.clone()));
            hearers.sort_unstable();
            assert_eq!(hearers, ledger.conns(&key, PlatformSet::ALL));
            let some = PlatformSet::from(Platform::IOS).with(Platform::WINDOWS);
            let mut hearers = desk.hearers(To::Devices { key: key.clone(), platforms: some });
            hearers.sort_unstable();
            assert_eq!(hearers, ledger.conns(&key, some));
        }
    }
}

impl Ledger {
    fn forget(&mut self, key: &Key, conn: u64) {
        self.owners.remove(&(key.clone(), conn));
        self.reserved.remove(&(key.clone(), conn));
    }

    fn platforms(&self, key: &Key) -> PlatformSet {
        self.owners.iter().filter(|((of, _), _)| of == key).map(|(_, on)| *on).collect()
    }

    fn conns(&self, key: &Key, platforms: PlatformSet) -> Vec<u64> {
        let chosen = self.owners.iter().filter(|((of, _), on)| of == key && platforms.contains(**on));
        chosen.map(|((_, conn), _)| *conn).collect()
    }

    fn delivered(&mut self, event: &Event<Mailbox>, to: u64, delivery: &Delivery, reached: &mut Reached) {
        let Event::Routed { route, .. } = event else { panic!("nobody asked: {delivery:?}") };
        match (delivery, route) {
            (Delivery::Admitted(key), Route::Register { badge, .. }) => {
                self.owners.entry((key.clone(), to)).or_insert(badge.device.platform);
            }
            (Delivery::Reserved(key), Route::Reserve { badge, .. }) => {
                if !self.owners.contains_key(&(key.clone(), to)) {
                    self.reserved.entry((key.clone(), to)).or_insert(badge.device.platform);
                }
            }
            (Delivery::Rejected { key, .. }, _) => assert!(!self.owners.contains_key(&(key.clone(), to))),
            (Delivery::Presence { key, platforms }, route) => {
                reached.presences += 1;
                let told = self.told.insert((key.clone(), to), *platforms);
                let asked = matches!(route, Route::Watch(_));
                assert!(asked || told.is_some_and(|told| told != *platforms), "told what it knows");
            }
            (Delivery::WatchRefused(_), Route::Watch(_)) => {}
            other => panic!("{other:?} makes no sense"),
        }
    }
}
