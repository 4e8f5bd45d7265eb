//! The body of the fuzz target of the machines that are no connection and no pool: services, directory, drain, door.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use linkspan_core::drain::{self, Drain, Phase};
use linkspan_core::hub::directory::{self, Directory, Order, Scope};
use linkspan_core::hub::{Address, Platform, Refusal};
use linkspan_core::im::{Arguments, Door, DoorAction, DoorConfig, DoorEvent, UpgradeCheck};
use linkspan_core::services::{self, NodeId, Services, Target};
use linkspan_core::tunnel::ClientSession;
use linkspan_core::{Actions, CloseReason, ConnId, Instant, Key, Limits, Machine, Route, ServiceName};

use crate::harness::{Checked, Script, Subject};

/// A machine of the kind that byte 0 says; what follows is what happens to it, right and wrong.
///
/// # Panics
///
/// If it breaks a law of machines, a bound of its own, or what it owes to who asked.
pub fn machines(data: &[u8]) {
    let [first, rest @ ..] = data else { return };
    let script = Script::new(rest);
    match first % 4 {
        0 => services(script),
        1 => directory(script),
        2 => drain(script),
        _ => door(script),
    }
}

/// Hands over an event, or else the time; gives the actions.
fn step<M: Subject + Debug>(
    machine: &mut Checked<M>,
    now: Instant,
    event: Option<M::Event>,
) -> Vec<M::Action> {
    match event {
        Some(event) => machine.step(now, event),
        None => machine.timeout(now),
    }
}

/// A table of services, and who offers what.
fn services(mut script: Script<'_>) {
    const NAMES: [&str; 4] = ["Room", "game.Room", "Shop", "a"];
    let config = services::Config {
        seed: script.choose(256) as u64,
        nodes: 3,
        services_per_node: 2,
        bindings_per_connection: 2,
        bindings: 3,
    };
    let mut table = Checked::idle(Services::new(config));
    let empty = table.footprint();
    let (mut local, mut nodes) = (BTreeSet::new(), BTreeMap::<u64, BTreeSet<ServiceName>>::new());
    let name = |at: usize| ServiceName::new(NAMES[at]).expect("a good name");
    while !script.is_over() {
        let (which, number, now) = (script.choose(4), script.choose(4) as u64, script.tick());
        let event = match script.choose(8) {
            0 => Some(services::Event::LocalAdded(name(which))),
            1 => Some(services::Event::LocalRemoved(name(which))),
            2 | 3 => {
                let count = script.choose(4);
                let services = (0..count).map(|_| name(script.choose(4))).collect();
                Some(services::Event::NodeUp { node: NodeId(number), services })
            }
            4 => Some(services::Event::NodeDown(NodeId(number))),
            5 => Some(services::Event::ConnClosed(ConnId(number))),
            6 => None,
            _ => {
                let (service, route) = (name(which), format!("{}.Do", NAMES[which]));
                let offers = |node: u64| nodes.get(&node).is_some_and(|all| all.contains(&service));
                match table.alter(|services| services.resolve(ConnId(number), route.as_bytes())) {
                    Target::Local { .. } => assert!(local.contains(&service)),
                    Target::Remote { node, .. } => assert!(!local.contains(&service) && offers(node.0)),
                    Target::Unknown => assert!(!local.contains(&service) && !(0..4).any(offers)),
                    Target::Malformed => panic!("{route} is a route"),
                }
                continue;
            }
        };
        match &event {
            Some(services::Event::LocalAdded(service)) => _ = local.insert(service.clone()),
            Some(services::Event::LocalRemoved(service)) => _ = local.remove(service),
            Some(services::Event::NodeUp { node, services })
                if nodes.contains_key(&node.0) || nodes.len() < 3 =>
            {
                let all: BTreeSet<ServiceName> = services.iter().cloned().collect();
                nodes.insert(node.0, all.into_iter().take(2).collect());
            }
            Some(services::Event::NodeDown(node)) => _ = nodes.remove(&node.0),
            _ => {}
        }
        step(&mut table, now, event);
        let offered: BTreeSet<_> = nodes.values().flatten().chain(&local).collect();
        assert_eq!((table.nodes(), table.services()), (nodes.len(), offered.len()));
        assert!(table.bindings() <= 3, "choices are bounded");
    }
    let now = table.now();
    for number in 0..4 {
        table.step(now, services::Event::LocalRemoved(name(number as usize)));
        table.step(now, services::Event::NodeDown(NodeId(number)));
    }
    assert_eq!((table.services(), table.nodes(), table.bindings()), (0, 0, 0));
    assert_eq!(table.footprint(), empty, "who has left leaves nothing behind");
}

/// What a connection is to the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Party {
    Session(usize),
    Link,
    /// Whether it is ready for news.
    Listener(bool),
}

/// Who is known to the directory, and who waits for an answer.
struct Ledger {
    parties: BTreeMap<u64, Party>,
    waiting: BTreeSet<u64>,
}

const CLIENTS: [&str; 4] = ["a", "b", "peer", "own"];

/// A directory of tunnel clients, and who was promised an answer.
fn directory(mut script: Script<'_>) {
    let limits =
        Limits { tunnel_sessions_per_client: 2, tunnel_announced: 3, tunnel_seeks: 3, ..Limits::default() };
    let key = |name: &str| Key::new(name).expect("neither empty nor long");
    let order = [Order::OldestFirst, Order::NewestFirst, Order::RoundRobin][script.choose(3)];
    let config = directory::Config {
        own: Some(key("own")),
        peers: [key("peer")].into(),
        order,
        limits: Arc::new(limits),
    };
    let mut table = Checked::idle(Directory::<u64>::new(config));
    let empty = table.footprint();
    let mut ledger = Ledger { parties: BTreeMap::new(), waiting: BTreeSet::new() };
    let mut ticket = 0;
    while !script.is_over() {
        ticket += 1;
        let (event, now) = (ledger.event(&mut script, ticket), script.tick());
        let actions = step(&mut table, now, event);
        ledger.check(&actions);
        let ready = ledger.parties.iter().filter(|(_, party)| matches!(party, Party::Session(_))).count();
        assert_eq!(table.sessions(), ready);
        assert_eq!(table.waiting(), ledger.waiting.len());
        assert!(
            ledger.waiting.len() <= 3
                && ledger.parties.keys().all(|link| table.announced_on(ConnId(*link)).count() <= 3)
        );
    }
    for conn in ledger.parties.keys() {
        table.step(script.now(), directory::Event::Gone(ConnId(*conn)));
    }
    ledger.parties.clear();
    while let Some(due) = table.next_timeout() {
        ledger.check(&table.timeout(due));
    }
    assert!(ledger.waiting.is_empty(), "no answer for {:?}", ledger.waiting);
    assert_eq!((table.sessions(), table.announced(), table.footprint()), (0, 0, empty));
}

impl Ledger {
    /// What happens next, written down before it does; `None` is time that passes.
    fn event(&mut self, script: &mut Script<'_>, ticket: u64) -> Option<directory::Event<u64>> {
        use directory::Event;
        let (number, which) = (script.choose(8) as u64, script.choose(4));
        let (conn, from) = (ConnId(number), Address { conn: ConnId(number), mailbox: number });
        let client = Key::new(CLIENTS[which]).expect("neither empty nor long");
        let is_new = !self.parties.contains_key(&number);
        let session =
            ClientSession { client: CLIENTS[which].as_bytes().into(), session: script.choose(4) as i64 };
        Some(match script.choose(12) {
            0 | 1 => {
                if is_new {
                    self.parties.insert(number, Party::Session(which));
                }
                Event::Add { from, client, session: number as i64 }
            }
            2 => {
                if is_new {
                    self.parties.insert(number, Party::Link);
                }
                Event::Link { from, peer: client }
            }
            3 => {
                if is_new {
                    // What there is it hears at once, and is not ready then.
                    self.parties.insert(number, Party::Listener(true));
                }
                Event::Listen(from)
            }
            4 => {
                if let Some(Party::Listener(is_ready)) = self.parties.get_mut(&number) {
                    *is_ready = true;
                }
                Event::Ready(conn)
            }
            5 => {
                self.parties.remove(&number);
                Event::Gone(conn)
            }
            6 => Event::Health { conn, is_lively: script.choose(2) == 0 },
            7 => Event::Announced { link: conn, session },
            8 => Event::Withdrawn { link: conn, session },
            9 | 10 => {
                let scope = [Scope::Anywhere, Scope::LocalOnly][script.choose(2)];
                let until = [None, Some(1), Some(10_000_000)][script.choose(3)];
                let until = until.map(|span| script.now() + Duration::from_micros(span));
                self.waiting.insert(ticket);
                Event::Seek { ticket, client, scope, until }
            }
            _ if script.choose(2) == 0 => {
                let ticket = self.waiting.pop_first().unwrap_or_default();
                Event::Forgo(ticket)
            }
            _ => return None,
        })
    }

    /// One answer for who asked, and through nobody who has gone.
    fn check(&mut self, actions: &[directory::Action<u64>]) {
        use directory::Action;
        for action in actions {
            match action {
                Action::Found { ticket, via, is_peer } => {
                    assert!(self.waiting.remove(ticket), "a second answer for {ticket}");
                    let party = self.parties.get(&via.conn.0);
                    let fits = if *is_peer {
                        party == Some(&Party::Link)
                    } else {
                        matches!(party, Some(Party::Session(_)))
                    };
                    assert!(fits && via.mailbox == via.conn.0, "{action:?} leads to {party:?}");
                }
                Action::NotFound { ticket, .. } => {
                    assert!(self.waiting.remove(ticket), "a second answer for {ticket}");
                }
                Action::Announce { to, changes } => {
                    assert!(!changes.is_empty());
                    let party = self.parties.get_mut(&to.conn.0);
                    assert_eq!(party, Some(&mut Party::Listener(true)), "told though it is not ready");
                    self.parties.insert(to.conn.0, Party::Listener(false));
                }
                Action::Close { to, .. } => {
                    let gone = self.parties.remove(&to.conn.0);
                    assert!(matches!(gone, Some(Party::Session(_) | Party::Link)), "it was known before");
                }
                _ => {}
            }
        }
    }
}

/// A server that stops, with connections that come and go.
fn drain(mut script: Script<'_>) {
    let seconds = |script: &mut Script<'_>| Duration::from_secs([0, 1, 10, 30][script.choose(4)]);
    let config = drain::Config {
        seed: script.choose(256) as u64,
        delay: seconds(&mut script),
        batches: [20, 0, 1, 3][script.choose(4)],
        batch_min: [64, 0, 1, 2][script.choose(4)],
        spread: seconds(&mut script),
        timeout: seconds(&mut script),
    };
    let patience = config.delay + config.timeout + Drain::ABORT_GRACE;
    let mut server = Checked::idle(Drain::new(config));
    let (mut open, mut is_ordered, mut is_accepting, mut phase) = (0_u32, false, true, Phase::Running);
    while !script.is_over() {
        let event = match script.choose(8) {
            0 => Some(drain::Event::Order { reason: CloseReason::Stopping }),
            1 => Some(drain::Event::Force),
            2..=4 => Some(drain::Event::Opened),
            5 => Some(drain::Event::Closed),
            _ => None,
        };
        let now = script.tick();
        let actions = step(&mut server, now, event);
        if phase == Phase::Finished {
            assert!(actions.is_empty() && server.next_timeout().is_none(), "nothing comes after the end");
            continue;
        }
        match event {
            Some(drain::Event::Opened) => open += 1,
            Some(drain::Event::Closed) => open = open.saturating_sub(1),
            Some(_) => is_ordered = true,
            _ => {}
        }
        for (at, action) in actions.iter().enumerate() {
            match action {
                drain::Action::StopAccepting => {
                    assert!(std::mem::take(&mut is_accepting), "it has stopped before");
                }
                drain::Action::DrainSome(count) => assert!(*count <= open && !is_accepting),
                drain::Action::Finished => assert_eq!(at + 1, actions.len(), "always the last"),
                _ => assert!(!is_accepting),
            }
        }
        assert_eq!(server.connections(), open);
        assert!(server.phase() >= phase, "never back");
        phase = server.phase();
        assert_eq!(phase == Phase::Finished, actions.contains(&drain::Action::Finished));
    }
    assert!(is_ordered || server.next_timeout().is_none(), "it waits for nothing before it is told to stop");
    let until = script.now() + patience;
    while let Some(due) = server.next_timeout() {
        assert!(due <= until, "in its time");
        server.timeout(due);
    }
    assert!(!is_ordered || server.phase() == Phase::Finished);
}

/// A handshake before its upgrade, and the place that is held for it.
fn door(mut script: Script<'_>) {
    const QUERIES: [&str; 6] = [
        "sendID=u1&platformID=5&token=tok-u1",
        "sendID=u1&platformID=5&token=tok-u1&operationID=7",
        "sendID=u1&platformID=x&token=",
        "sendID=u1&platformID=5",
        "sendID=&platformID=5&token=t",
        "sendID=%75%31&platformID=1&token=%zz&token=b",
    ];
    let upgrade =
        [UpgradeCheck::Valid, UpgradeCheck::BadRequest, UpgradeCheck::WrongMethod][script.choose(3)];
    let arguments = Arguments::parse(QUERIES[script.choose(QUERIES.len())]);
    let (limits, mut began) = (Limits::default(), Actions::new());
    let deadline = script.now() + limits.handshake_timeout;
    let machine = Door::new(&DoorConfig::default(), &limits, arguments, upgrade, 9, script.now(), &mut began);
    let mut door = Checked::new(machine, began, script.now(), usize::MAX);
    let mut place = Place::default();
    place.check(&door.begin(), &door);
    while !script.is_over() {
        let user = ["u1", "u2"][script.choose(2)].to_owned();
        let platform = [None, Some(Platform::WEB), Some(Platform::ANDROID)][script.choose(3)];
        let event = match script.choose(10) {
            0 | 1 => Some(DoorEvent::Reserved),
            2 => Some(DoorEvent::Rejected([Refusal::Taken, Refusal::HubFull][script.choose(2)])),
            3 | 4 => Some(DoorEvent::TokenChecked { user, platform }),
            5 => Some(
                [DoorEvent::TokenRefused, DoorEvent::TooManyFailures, DoorEvent::TokenUnknown]
                    [script.choose(3)]
                .clone(),
            ),
            6 => Some(DoorEvent::Opened),
            7 => Some(DoorEvent::Aborted),
            _ => None,
        };
        let was_done = door.is_done();
        let is_refused = place.asked && !place.held && matches!(event, Some(DoorEvent::Rejected(_)));
        let is_taken_over = place.upgraded && matches!(event, Some(DoorEvent::Opened));
        place.held |= matches!(event, Some(DoorEvent::Reserved));
        let now = script.tick();
        let actions = step(&mut door, now, event);
        assert!(!was_done || actions.is_empty(), "nothing follows the answer");
        if !was_done && (is_refused || is_taken_over) {
            place.given_back = true;
        }
        place.check(&actions, &door);
        assert_eq!(door.next_timeout(), (!door.is_done()).then_some(deadline));
    }
    place.check(&door.timeout(deadline.max(door.now())), &door);
    assert!(door.is_done(), "it has an end");
    assert_eq!(door.footprint(), 0, "and leaves nothing behind");
    assert_eq!(place.asked, place.given_back, "the place is given back, or somebody else's");
}

/// The place in the hub that a door asks for.
#[derive(Debug, Default)]
struct Place {
    asked: bool,
    held: bool,
    upgraded: bool,
    given_back: bool,
    has_checked: bool,
}

impl Place {
    fn check(&mut self, actions: &[DoorAction], door: &Door) {
        for (at, action) in actions.iter().enumerate() {
            match action {
                DoorAction::Route(Route::Reserve { .. }) => {
                    assert!(!std::mem::replace(&mut self.asked, true), "asks once");
                }
                DoorAction::Route(Route::Unregister(_)) => {
                    assert!(self.asked && !std::mem::replace(&mut self.given_back, true), "gives back once");
                }
                DoorAction::Route(route) => panic!("{route:?} is not a door's"),
                DoorAction::CheckToken { .. } => {
                    assert!(self.held && !std::mem::replace(&mut self.has_checked, true));
                }
                DoorAction::Upgrade(_) => {
                    assert!(self.has_checked && !std::mem::replace(&mut self.upgraded, true));
                }
                DoorAction::Reject(_) | DoorAction::Abort => {
                    assert!(at + 1 == actions.len() && door.is_done(), "nothing follows");
                }
            }
        }
    }
}
