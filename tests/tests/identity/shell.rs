//! Connections, their mailboxes and the hub together: whatever crosses on the way, nothing is left behind.

use std::collections::VecDeque;
use std::sync::Arc;

use linkspan_core::hub::{self, Admission, DevicePolicy, Hub, Platform, PlatformSet, Refusal};
use linkspan_core::{
    Action, Actions, CloseReason, Connection, Delivery, Event, Instant, Limits, Machine, Mark, Opcode, Route,
};
use linkspan_tests::harness::{Checked, Random, Script, Toy, ToyCommand};
use proptest::collection::vec;
use proptest::prelude::*;

use super::common::{address, devices, key};

struct Peer {
    connection: Connection<Toy>,
    mail: VecDeque<Event<ToyCommand>>,
}

/// Some connections and one shard; mail is read when the script says so.
struct House<'a> {
    script: Script<'a>,
    limits: Arc<Limits>,
    hub: Checked<Hub<u64>>,
    peers: Vec<Peer>,
    marks: Vec<Mark>,
}

impl<'a> House<'a> {
    fn new(data: &'a [u8]) -> Self {
        let mut script = Script::new(data);
        let admission = match script.choose(4) {
            0 => Admission::Many,
            1 => Admission::RejectNew,
            2 => Admission::NewestWins,
            _ => devices(DevicePolicy::OnePerPlatform),
        };
        let limits = Arc::new(Limits {
            sessions_per_platform: 2,
            sessions_per_key: 3,
            watchers_per_key: 2,
            replacements: 3,
            keys_per_connection: 2,
            watches_per_connection: 2,
            ..Limits::default()
        });
        let hub = Hub::new(hub::Config { seed: 3, admission, limits: Arc::clone(&limits) });
        Self { script, limits, hub: Checked::idle(hub), peers: Vec::new(), marks: Vec::new() }
    }

    fn open(&mut self) {
        let mut actions = Actions::new();
        let connection =
            Connection::new(Toy::default(), Arc::clone(&self.limits), Instant::ORIGIN, &mut actions);
        self.peers.push(Peer { connection, mail: VecDeque::new() });
        let at = self.peers.len() - 1;
        self.give(at, Event::Received(Opcode::Stream, vec![Toy::READY].into()));
    }

    /// Gives one connection an event, and the hub what the connection asks of it, at once.
    fn give(&mut self, at: usize, event: Event<ToyCommand>) {
        let mut actions = Actions::new();
        self.peers[at].connection.handle_event(Instant::ORIGIN, event, &mut actions);
        for action in actions {
            match action {
                Action::Route(route) => self.route(at, route),
                Action::Mark(mark) => self.marks.push(mark),
                _ => {}
            }
        }
    }

    fn route(&mut self, at: usize, route: Route) {
        let event = hub::Event::Routed { from: Some(address(at as u64)), route };
        for action in self.hub.step(Instant::ORIGIN, event) {
            let (to, mail) = match action {
                hub::Action::Close { to, reason } => (to, Event::Drain(reason)),
                hub::Action::Deliver { to, delivery } => (to, Event::Delivered(delivery)),
                _ => continue,
            };
            for one in to.as_slice() {
                self.peers[one.conn.0 as usize].mail.push_back(mail.clone());
            }
        }
    }

    fn step(&mut self) {
        let at = match self.peers.len() {
            0 => return self.open(),
            peers => self.script.choose(peers),
        };
        let key = key(self.script.choose(2) as u8);
        let command = match self.script.choose(16) {
            0 if self.peers.len() < 6 => return self.open(),
            0..=2 => ToyCommand::Register(key),
            3 => ToyCommand::Reserve(key),
            4..=5 => ToyCommand::Unregister(key),
            6 => ToyCommand::Watch(key),
            7 => ToyCommand::Unwatch(key),
            8 => return self.give(at, Event::Closed(CloseReason::ConnectionLost)),
            9 => return self.give(at, Event::Drain(CloseReason::Kicked)),
            _ => {
                if let Some(mail) = self.peers[at].mail.pop_front() {
                    self.give(at, mail);
                }
                return;
            }
        };
        self.give(at, Event::Command(command));
    }

    fn play(mut self) {
        while !self.script.is_over() {
            self.step();
        }
        // Half of them read their mail to the end before they end themselves.
        for at in 0..self.peers.len() {
            let mail = if at % 2 == 0 { std::mem::take(&mut self.peers[at].mail) } else { VecDeque::new() };
            mail.into_iter().for_each(|mail| self.give(at, mail));
            self.give(at, Event::Closed(CloseReason::PeerClosed));
        }
        let hub = &self.hub;
        assert_eq!([hub.sessions(), hub.reserved(), hub.watchers(), hub.groups()], [0; 4]);
    }
}

proptest! {
    #[test]
    fn nothing_is_left_behind(data in vec(any::<u8>(), 0..500)) {
        House::new(&data).play();
    }
}

#[test]
fn nothing_is_left_behind_by_ten_thousand_houses() {
    let mut random = Random::new(5);
    for _ in 0..10_000 {
        let len = 40 + random.below(200);
        House::new(&random.bytes(len)).play();
    }
}

fn house(peers: usize) -> House<'static> {
    let mut house = House::new(&[]);
    (0..peers).for_each(|_| house.open());
    house
}

/// Refused, given up and asked for again, granted, and ended before it reads of the grant.
#[test]
fn a_refusal_that_crosses_with_a_grant_leaves_nothing() {
    let mut house = house(2);
    house.hub = Checked::idle(Hub::new(hub::Config {
        admission: Admission::RejectNew,
        limits: Arc::clone(&house.limits),
        ..hub::Config::default()
    }));
    house.give(0, Event::Command(ToyCommand::Register(key(0))));
    house.give(1, Event::Command(ToyCommand::Register(key(0))));
    house.give(0, Event::Command(ToyCommand::Unregister(key(0))));
    house.give(1, Event::Command(ToyCommand::Register(key(0))));
    assert_eq!(house.hub.sessions(), 1);
    let refusal = house.peers[1].mail.pop_front().unwrap();
    assert!(matches!(refusal, Event::Delivered(Delivery::Rejected { .. })));
    house.give(1, refusal);
    house.give(1, Event::Closed(CloseReason::PeerClosed));
    assert_eq!(house.hub.sessions(), 0);
}

/// A key that was refused does not count as one that the connection has.
#[test]
fn who_is_refused_a_key_may_ask_for_others() {
    let mut house = house(1);
    for user in 0..3 {
        house.give(0, Event::Command(ToyCommand::Register(key(user))));
        let why = Refusal::Taken;
        house.give(0, Event::Delivered(Delivery::Rejected { key: key(user), why }));
    }
    assert_eq!((house.hub.sessions(), house.marks.as_slice()), (0, &[][..]));
}

#[test]
fn a_connection_watches_so_many_and_no_more() {
    let mut house = house(1);
    for user in 0..3 {
        house.give(0, Event::Command(ToyCommand::Watch(key(user))));
    }
    assert_eq!((house.hub.watchers(), house.marks.as_slice()), (2, &[Mark::RegistrationRefused][..]));
    house.give(0, Event::Drain(CloseReason::Stopping));
    assert_eq!(house.hub.watchers(), 0);
}

/// What was on its way when the connection stopped watching is not shown to the dialect.
#[test]
fn late_news_is_dropped_and_the_hub_told() {
    let mut house = house(1);
    let presence = Delivery::Presence { key: key(0), platforms: PlatformSet::from(Platform::WEB) };
    let mut actions = Actions::new();
    let event = Event::Delivered(presence);
    house.peers[0].connection.handle_event(Instant::ORIGIN, event, &mut actions);
    assert_eq!(actions.as_slice(), [Action::Route(Route::Unwatch(key(0)))]);
}

#[test]
fn who_may_not_watch_forgets_it() {
    let mut house = house(3);
    for at in 0..3 {
        house.give(at, Event::Command(ToyCommand::Watch(key(0))));
    }
    let refusal = house.peers[2].mail.pop_back().unwrap();
    assert!(matches!(refusal, Event::Delivered(Delivery::WatchRefused(_))));
    house.give(2, refusal);
    // There is room for two other keys now.
    house.give(2, Event::Command(ToyCommand::Watch(key(1))));
    house.give(2, Event::Command(ToyCommand::Watch(key(2))));
    assert_eq!(house.marks, []);
}
