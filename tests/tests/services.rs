//! The service table against a naive model, its choices and its limits.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use linkspan_core::services::{Action, Config, Event, NodeId, Services, Target, split};
use linkspan_core::{Actions, ConnId, Instant, Machine, Mark, ServiceName};
use linkspan_tests::harness::Checked;
use linkspan_tests::laws;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

const NAMES: [&str; 4] = ["Room", "game.Room", "Shop", "a"];

fn name(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

fn perform(services: &mut Services, event: Event) -> Vec<Action> {
    let mut actions = Actions::new();
    services.handle_event(Instant::ORIGIN, event, &mut actions);
    actions.into_iter().collect()
}

fn up(node: u64, names: &[&str]) -> Event {
    Event::NodeUp { node: NodeId(node), services: names.iter().map(|one| name(one)).collect() }
}

fn remote(node: u64) -> Target<'static> {
    Target::Remote { node: NodeId(node), bound: true }
}

/// What a service table does, said as plainly as possible; which of several nodes is chosen is left open.
#[derive(Default)]
struct Model {
    local: BTreeSet<ServiceName>,
    nodes: BTreeMap<NodeId, BTreeSet<ServiceName>>,
    bindings: BTreeMap<(ConnId, ServiceName), NodeId>,
}

impl Model {
    /// Takes an event; returns how many bindings it costs.
    fn apply(&mut self, event: &Event) -> usize {
        match event {
            Event::LocalAdded(service) => {
                self.local.insert(service.clone());
            }
            Event::LocalRemoved(service) => {
                self.local.remove(service);
            }
            Event::NodeUp { node, services } => {
                self.nodes.insert(*node, services.iter().cloned().collect());
            }
            Event::NodeDown(node) => {
                self.nodes.remove(node);
            }
            Event::ConnClosed(conn) => {
                self.bindings.retain(|(bound, _), _| bound != conn);
            }
            _ => unreachable!("no other events are drawn"),
        }
        let before = self.bindings.len();
        let nodes = &self.nodes;
        self.bindings.retain(|(_, service), node| nodes.get(node).is_some_and(|all| all.contains(service)));
        before - self.bindings.len()
    }

    fn check(&mut self, conn: ConnId, service: &str, target: Target<'_>, config: &Config) {
        let service = name(service);
        let offers = |node: &NodeId| self.nodes[node].contains(&service);
        let binding = (conn, service.clone());
        match target {
            Target::Local { service: found, method } => {
                assert!(self.local.contains(&service));
                assert_eq!((found, method), (service.as_bytes(), &b"Do"[..]));
            }
            Target::Unknown => {
                assert!(!self.local.contains(&service) && !self.nodes.keys().any(offers));
            }
            Target::Remote { node, bound } => {
                assert!(!self.local.contains(&service) && offers(&node));
                if let Some(before) = self.bindings.get(&binding) {
                    assert_eq!((*before, true), (node, bound), "a choice sticks");
                    return;
                }
                let own = self.bindings.keys().filter(|(bound, _)| *bound == conn).count();
                let has_room = own < config.bindings_per_connection as usize
                    && self.bindings.len() < config.bindings as usize;
                assert_eq!(bound, has_room);
                if bound {
                    self.bindings.insert(binding, node);
                }
            }
            Target::Malformed => panic!("the route is well formed"),
        }
    }

    fn offered(&self) -> usize {
        self.nodes.values().flatten().chain(&self.local).collect::<BTreeSet<_>>().len()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Event(Event),
    Resolve(u64, usize),
}

fn any_name() -> impl Strategy<Value = ServiceName> {
    (0..NAMES.len()).prop_map(|which| name(NAMES[which]))
}

fn any_event() -> impl Strategy<Value = Event> {
    let node = || (0..4_u64).prop_map(NodeId);
    prop_oneof![
        1 => any_name().prop_map(Event::LocalAdded),
        2 => any_name().prop_map(Event::LocalRemoved),
        5 => (node(), btree_set(any_name(), 0..4)).prop_map(|(node, services)| {
            Event::NodeUp { node, services: services.into_iter().collect() }
        }),
        2 => node().prop_map(Event::NodeDown),
        2 => (0..4_u64).prop_map(|conn| Event::ConnClosed(ConnId(conn))),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any_event().prop_map(Step::Event),
        (0..4_u64, 0..NAMES.len()).prop_map(|(conn, which)| Step::Resolve(conn, which)),
    ]
}

proptest! {
    #[test]
    fn equals_the_model(
        seed in any::<u64>(),
        bindings_per_connection in 1..4_u32,
        bindings in 1..8_u32,
        steps in vec(any_step(), 0..200),
    ) {
        let config = Config { seed, bindings_per_connection, bindings, ..Config::default() };
        let mut services = Checked::idle(Services::new(config.clone()));
        let start = services.footprint();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Event(event) => {
                    let lost = model.apply(&event);
                    let lost = vec![Action::Mark(Mark::BindingLost); lost];
                    assert_eq!(services.step(Instant::ORIGIN, event), lost);
                }
                Step::Resolve(conn, which) => {
                    let conn = ConnId(conn);
                    let route = format!("{}.Do", NAMES[which]);
                    let target = services.alter(|services| services.resolve(conn, route.as_bytes()));
                    model.check(conn, NAMES[which], target, &config);
                }
            }
            assert_eq!(services.bindings(), model.bindings.len());
            assert_eq!(services.nodes(), model.nodes.len());
            assert_eq!(services.services(), model.offered());
        }
        let nodes = (0..4).map(|node| Event::NodeDown(NodeId(node)));
        for event in nodes.chain(NAMES.map(|local| Event::LocalRemoved(name(local)))) {
            services.step(Instant::ORIGIN, event);
        }
        assert_eq!([services.bindings(), services.nodes(), services.services()], [0; 3]);
        assert_eq!(services.footprint(), start, "what was known was given back");
    }

    #[test]
    fn obeys_the_laws(steps in vec(((0..100_u64).prop_map(Duration::from_millis), any_event()), 0..100)) {
        laws::check(|| Services::new(Config::default()), &steps);
    }

    /// Any bytes are a route or none, and a route is its parts.
    #[test]
    fn splits_at_the_last_dot(route in vec(prop_oneof![Just(b'.'), any::<u8>()], 0..40)) {
        match split(&route) {
            Some((service, method)) => {
                assert!(!service.is_empty() && !method.is_empty() && !method.contains(&b'.'));
                assert_eq!([service, b".", method].concat(), route);
            }
            None => {
                let dot = route.iter().rposition(|byte| *byte == b'.');
                assert!(dot.is_none_or(|dot| dot == 0 || dot + 1 == route.len()));
                let mut services = Services::new(Config::default());
                assert_eq!(services.resolve(ConnId(1), &route), Target::Malformed);
            }
        }
    }
}

#[test]
fn a_node_that_leaves_loses_its_bindings() {
    let mut services = Services::new(Config::default());
    perform(&mut services, up(1, &["Room", "Shop"]));
    for conn in 0..3 {
        assert_eq!(services.resolve(ConnId(conn), b"Room.Join"), remote(1));
    }
    assert_eq!(services.resolve(ConnId(0), b"Shop.Buy"), remote(1));
    perform(&mut services, up(2, &["Room"]));
    assert_eq!(services.resolve(ConnId(0), b"Room.Say"), remote(1), "a newcomer changes nothing");

    // It still has the shop.
    assert_eq!(perform(&mut services, up(1, &["Shop"])), [Action::Mark(Mark::BindingLost); 3]);
    assert_eq!(services.resolve(ConnId(0), b"Room.Say"), remote(2));
    assert_eq!(perform(&mut services, Event::NodeDown(NodeId(1))), [Action::Mark(Mark::BindingLost)]);
    assert_eq!(services.resolve(ConnId(0), b"Shop.Buy"), Target::Unknown);
    assert_eq!(services.resolve(ConnId(0), b"Room.Say"), remote(2));
    perform(&mut services, Event::ConnClosed(ConnId(0)));
    assert_eq!(services.bindings(), 0);
}

#[test]
fn a_local_service_wins() {
    let mut services = Services::new(Config::default());
    perform(&mut services, up(1, &["Room"]));
    perform(&mut services, Event::LocalAdded(name("Room")));
    let local = Target::Local { service: b"Room", method: b"Join" };
    assert_eq!(services.resolve(ConnId(1), b"Room.Join"), local);
    perform(&mut services, Event::LocalRemoved(name("Room")));
    assert_eq!(services.resolve(ConnId(1), b"Room.Join"), remote(1));
}

#[test]
fn too_many_nodes_or_services_are_refused() {
    let mut services = Services::new(Config { nodes: 1, services_per_node: 2, ..Config::default() });
    let refused = [Action::Mark(Mark::NodeRefused)];
    assert_eq!(perform(&mut services, up(1, &["a", "b", "c"])), refused);
    assert_eq!(services.resolve(ConnId(1), b"b.Do"), remote(1));
    assert_eq!(services.resolve(ConnId(1), b"c.Do"), Target::Unknown);
    assert_eq!(perform(&mut services, up(2, &["d"])), refused);
    assert_eq!((services.nodes(), services.services()), (1, 2));
    assert_eq!(
        perform(&mut services, up(1, &["c"])),
        [Action::Mark(Mark::BindingLost)],
        "an update is no new node"
    );
}

#[test]
fn a_choice_that_is_not_remembered_stays_for_as_long_as_the_nodes() {
    let mut services = Services::new(Config { bindings_per_connection: 0, ..Config::default() });
    for node in 1..=5 {
        perform(&mut services, up(node, &["Room"]));
    }
    let Target::Remote { node, bound: false } = services.resolve(ConnId(1), b"Room.Do") else {
        panic!("a node is there, and there is no room to remember it");
    };
    assert_eq!(services.bindings(), 0);
    for other in (1..=5).map(NodeId).filter(|other| *other != node) {
        perform(&mut services, Event::NodeDown(other));
        assert_eq!(services.resolve(ConnId(1), b"Room.Do"), Target::Remote { node, bound: false });
    }
}

#[test]
fn connections_spread_over_the_nodes_by_the_seed() {
    let choices = |seed| {
        let mut services = Services::new(Config { seed, ..Config::default() });
        for node in 1..=3 {
            perform(&mut services, up(node, &["Room"]));
        }
        let choose = |conn| match services.resolve(ConnId(conn), b"Room.Do") {
            Target::Remote { node, .. } => node,
            other => panic!("{other:?}"),
        };
        (0..3_000).map(choose).collect::<Vec<_>>()
    };
    let chosen = choices(1);
    for node in 1..=3 {
        let share = chosen.iter().filter(|chosen| **chosen == NodeId(node)).count();
        assert!((900..1_100).contains(&share), "node {node} got {share} of 3000");
    }
    assert_eq!(chosen, choices(1), "equal seeds choose alike");
    assert_ne!(chosen, choices(2), "the seed decides");
}
