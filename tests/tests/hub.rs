//! The hub against a naive model, its marks, and the reconnect race.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use linkspan_core::hub::{Action, Address, Admission, Badge, Config, Event, Hub, Recipients, Refusal};
use linkspan_core::{
    CloseReason, ConnId, Delivery, GroupId, Instant, Key, Limits, Mark, Overflow, Push, Route, To,
};
use linkspan_tests::harness::Checked;
use linkspan_tests::laws;
use proptest::collection::vec;
use proptest::prelude::*;

type Mailbox = u64;

fn address(conn: u64) -> Address<Mailbox> {
    Address { conn: ConnId(conn), mailbox: conn * 1000 }
}

fn key(name: u8) -> Key {
    Key::new([b'k', name]).unwrap()
}

fn group(name: u8) -> GroupId {
    GroupId::new([b'g', name]).unwrap()
}

fn push(text: &'static str) -> Push {
    Push::new(&b"onTest"[..], text.as_bytes(), Overflow::Close)
}

fn hub(admission: Admission, group_members: u32) -> Checked<Hub<Mailbox>> {
    Checked::idle(bare(admission, group_members))
}

fn bare(admission: Admission, group_members: u32) -> Hub<Mailbox> {
    // Everything happens in one instant; storms have tests of their own.
    let limits = Arc::new(Limits { group_members, replacements: 0, ..Limits::default() });
    Hub::new(Config { seed: 7, admission, limits })
}

fn perform(hub: &mut Checked<Hub<Mailbox>>, event: Event<Mailbox>) -> Vec<Action<Mailbox>> {
    hub.step(Instant::ORIGIN, event)
}

fn route(hub: &mut Checked<Hub<Mailbox>>, from: u64, route: Route) -> Vec<Action<Mailbox>> {
    perform(hub, Event::Routed { from: Some(address(from)), route })
}

fn deliver(conn: u64, delivery: Delivery) -> Action<Mailbox> {
    Action::Deliver { to: Recipients::One(address(conn)), delivery }
}

fn close(conn: u64, reason: CloseReason) -> Action<Mailbox> {
    Action::Close { to: Recipients::One(address(conn)), reason }
}

fn register(key: Key) -> Route {
    Route::Register { key, badge: Badge::default() }
}

fn rejected(conn: u64, key: &Key, mark: Mark, why: Refusal) -> Vec<Action<Mailbox>> {
    vec![Action::Mark(mark), deliver(conn, Delivery::Rejected { key: key.clone(), why })]
}

fn publish(to: To) -> Route {
    Route::Publish { to, push: push("hello") }
}

/// What a hub does, said as plainly as possible.
struct Model {
    admission: Admission,
    group_members: usize,
    sessions: BTreeMap<Key, Vec<u64>>,
    groups: BTreeMap<GroupId, Vec<u64>>,
}

impl Model {
    fn of<'a>(&'a mut self, to: &To) -> &'a mut Vec<u64> {
        match to {
            To::Key(key) => self.sessions.entry(key.clone()).or_default(),
            To::Group(group) => self.groups.entry(group.clone()).or_default(),
            _ => unreachable!("keys and groups are all there is"),
        }
    }

    fn register(&mut self, conn: u64, key: &Key) -> Vec<Action<Mailbox>> {
        let admitted = deliver(conn, Delivery::Admitted(key.clone()));
        let admission = self.admission;
        let present = self.of(&To::Key(key.clone()));
        if present.contains(&conn) {
            return vec![admitted];
        }
        let room = match admission {
            Admission::Many => usize::MAX,
            Admission::AtMost(room) => room as usize,
            _ => 1,
        };
        let mut actions = Vec::new();
        if present.len() >= room {
            if admission == Admission::RejectNew || room == 0 {
                return match room {
                    0 => rejected(conn, key, Mark::KeyFull, Refusal::Full),
                    _ => rejected(conn, key, Mark::KeyRejected, Refusal::Taken),
                };
            }
            let oldest = present.remove(0);
            actions.extend([Action::Mark(Mark::KeyReplaced), close(oldest, CloseReason::Replaced)]);
        }
        present.push(conn);
        actions.push(admitted);
        actions
    }

    fn join(&mut self, conn: u64, group: &GroupId) -> Vec<Action<Mailbox>> {
        let most = self.group_members;
        let members = self.of(&To::Group(group.clone()));
        if members.contains(&conn) {
            return Vec::new();
        }
        if members.len() >= most {
            return vec![Action::Mark(Mark::GroupFull)];
        }
        members.push(conn);
        Vec::new()
    }

    fn apply(&mut self, event: &Event<Mailbox>) -> Vec<Action<Mailbox>> {
        let (from, route) = match event {
            Event::Routed { from, route } => (from.as_ref().map(|from| from.conn.0), route),
            Event::Refused { to, overflow: Overflow::Close } => {
                return vec![Action::Mark(Mark::MailboxFull), close(to.conn.0, CloseReason::SlowConsumer)];
            }
            _ => return vec![Action::Mark(Mark::MailboxFull)],
        };
        match (route, from) {
            (Route::Register { key, .. }, Some(conn)) => return self.register(conn, key),
            (Route::Unregister(key), Some(conn)) => self.of(&To::Key(key.clone())).retain(|one| *one != conn),
            (Route::Join(group), Some(conn)) => return self.join(conn, group),
            (Route::Leave(group), Some(conn)) => {
                self.of(&To::Group(group.clone())).retain(|one| *one != conn);
            }
            (Route::Publish { to, push }, _) => {
                let delivery = Delivery::Push(push.clone());
                return match recipients(self.of(to)) {
                    Some(to) => vec![Action::Deliver { to, delivery }],
                    None => vec![Action::Mark(Mark::Undeliverable)],
                };
            }
            (Route::Close { to, reason }, _) => {
                let recipients = recipients(&std::mem::take(self.of(to)));
                return recipients.map(|to| Action::Close { to, reason: *reason }).into_iter().collect();
            }
            _ => {}
        }
        Vec::new()
    }

    fn counts(&self) -> [usize; 4] {
        let count = |some: &dyn Fn(&Vec<u64>) -> usize, all: &mut dyn Iterator<Item = &Vec<u64>>| -> usize {
            all.map(some).sum()
        };
        let any = |conns: &Vec<u64>| usize::from(!conns.is_empty());
        [
            count(&Vec::len, &mut self.sessions.values()),
            count(&any, &mut self.sessions.values()),
            count(&any, &mut self.groups.values()),
            count(&Vec::len, &mut self.groups.values()),
        ]
    }
}

fn recipients(conns: &[u64]) -> Option<Recipients<Mailbox>> {
    match conns {
        [] => None,
        [only] => Some(Recipients::One(address(*only))),
        many => Some(Recipients::Many(many.iter().map(|conn| address(*conn)).collect())),
    }
}

const NAMES: u8 = 3;

fn any_admission() -> impl Strategy<Value = Admission> {
    prop_oneof![
        Just(Admission::Many),
        Just(Admission::NewestWins),
        Just(Admission::RejectNew),
        (0..4_u32).prop_map(Admission::AtMost),
    ]
}

fn any_to() -> impl Strategy<Value = To> {
    prop_oneof![
        (0..NAMES).prop_map(|name| To::Key(key(name))),
        (0..NAMES).prop_map(|name| To::Group(group(name)))
    ]
}

fn any_overflow() -> impl Strategy<Value = Overflow> {
    prop_oneof![Just(Overflow::Close), Just(Overflow::DropNewest), Just(Overflow::DropOldest)]
}

fn any_route() -> impl Strategy<Value = Route> {
    prop_oneof![
        6 => (0..NAMES).prop_map(|name| register(key(name))),
        3 => (0..NAMES).prop_map(|name| Route::Unregister(key(name))),
        6 => (0..NAMES).prop_map(|name| Route::Join(group(name))),
        3 => (0..NAMES).prop_map(|name| Route::Leave(group(name))),
        4 => any_to().prop_map(publish),
        1 => any_to().prop_map(|to| Route::Close { to, reason: CloseReason::Kicked }),
    ]
}

fn any_event(conns: u64) -> impl Strategy<Value = Event<Mailbox>> {
    prop_oneof![
        30 => (0..conns, any_route())
            .prop_map(|(conn, route)| Event::Routed { from: Some(address(conn)), route }),
        2 => any_route().prop_map(|route| Event::Routed { from: None, route }),
        1 => (0..conns, any_overflow())
            .prop_map(|(conn, overflow)| Event::Refused { to: address(conn), overflow }),
    ]
}

/// What a connection sends when it ends.
fn undo(conn: u64) -> Vec<Event<Mailbox>> {
    let routes = (0..NAMES).flat_map(|name| [Route::Unregister(key(name)), Route::Leave(group(name))]);
    routes.map(|route| Event::Routed { from: Some(address(conn)), route }).collect()
}

fn compare(admission: Admission, group_members: u32, events: Vec<Event<Mailbox>>, conns: u64) {
    let mut hub = hub(admission, group_members);
    let (sessions, groups) = (BTreeMap::new(), BTreeMap::new());
    let mut model = Model { admission, group_members: group_members as usize, sessions, groups };
    let start = hub.footprint();
    for event in events.into_iter().chain((0..conns).flat_map(undo)) {
        let expected = model.apply(&event);
        assert_eq!(perform(&mut hub, event.clone()), expected, "{event:?}");
        let members = (0..NAMES).map(|name| hub.members(&group(name))).sum();
        assert_eq!([hub.sessions(), hub.keys(), hub.groups(), members], model.counts());
        assert!(
            hub.footprint() <= Hub::<Mailbox>::footprint_max(hub.sessions() + members, &Limits::default())
        );
    }
    assert_eq!([hub.sessions(), hub.keys(), hub.groups()], [0; 3], "everyone has left");
    assert_eq!(hub.footprint(), start, "what was registered was given back");
}

proptest! {
    /// Few connections and few names: everything collides with everything.
    #[test]
    fn equals_the_model(
        admission in any_admission(),
        group_members in 1..5_u32,
        events in vec(any_event(5), 0..200),
    ) {
        compare(admission, group_members, events, 5);
    }

    /// Enough connections under one name for the rosters to index, to grow and to close up.
    #[test]
    fn equals_the_model_in_a_crowd(events in vec(any_event(100), 0..1000)) {
        compare(Admission::Many, 100_000, events, 100);
    }

    /// A crowd that comes, and goes in any order.
    #[test]
    fn keeps_the_order_of_a_crowd(leaving in Just((0..200_u64).collect::<Vec<_>>()).prop_shuffle()) {
        let join = |conn| Event::Routed { from: Some(address(conn)), route: Route::Join(group(0)) };
        let leave = |conn| Event::Routed { from: Some(address(conn)), route: Route::Leave(group(0)) };
        let shout = || Event::Routed { from: None, route: publish(To::Group(group(0))) };
        let coming = (0..200).map(join);
        let going = leaving.into_iter().flat_map(|conn| [leave(conn), shout()]);
        compare(Admission::Many, 100_000, coming.chain(going).collect(), 200);
    }

    /// The seed keeps keys that were chosen to collide apart; nothing that is said depends on it.
    #[test]
    fn the_seed_of_its_tables_changes_nothing_that_a_hub_says(
        admission in any_admission(),
        seeds in any::<[u64; 2]>(),
        steps in vec(((0..100_u64).prop_map(Duration::from_millis), any_event(4)), 0..100),
    ) {
        let history = |seed| {
            let limits = Arc::new(Limits { group_members: 3, ..Limits::default() });
            laws::check(|| Hub::new(Config { seed, admission, limits: Arc::clone(&limits) }), &steps)
        };
        assert_eq!(history(seeds[0]), history(seeds[1]));
    }

    #[test]
    fn obeys_the_laws(
        admission in any_admission(),
        steps in vec(((0..100_u64).prop_map(Duration::from_millis), any_event(4)), 0..100),
    ) {
        let history = laws::check(|| bare(admission, 3), &steps);
        // However many are registered, an event gives at most three actions.
        assert!(history.iter().all(|actions| actions.len() <= 3));
    }
}

#[test]
fn the_end_of_an_old_connection_leaves_the_newer_one_alone() {
    for admission in [Admission::Many, Admission::NewestWins, Admission::AtMost(1)] {
        let mut hub = hub(admission, 10);
        route(&mut hub, 1, register(key(0)));
        // In the same instant the client is back, and only then the end of its first connection is noticed.
        route(&mut hub, 2, register(key(0)));
        route(&mut hub, 1, Route::Unregister(key(0)));
        let expected = [deliver(2, Delivery::Push(push("hello")))];
        assert_eq!(route(&mut hub, 9, publish(To::Key(key(0)))), expected, "{admission:?}");
        // It may also be noticed twice.
        route(&mut hub, 1, Route::Unregister(key(0)));
        assert_eq!(hub.sessions_of(&key(0)), 1, "{admission:?}");
    }
}

#[test]
fn a_replaced_session_hears_nothing_more() {
    let mut hub = hub(Admission::NewestWins, 10);
    route(&mut hub, 1, register(key(0)));
    let actions = route(&mut hub, 2, register(key(0)));
    let expected = [
        Action::Mark(Mark::KeyReplaced),
        close(1, CloseReason::Replaced),
        deliver(2, Delivery::Admitted(key(0))),
    ];
    assert_eq!(actions, expected);
    assert_eq!(route(&mut hub, 9, publish(To::Key(key(0)))), [deliver(2, Delivery::Push(push("hello")))]);
}

#[test]
fn a_key_that_is_taken_is_rejected() {
    let mut hub = hub(Admission::RejectNew, 10);
    route(&mut hub, 1, register(key(0)));
    let expected = rejected(2, &key(0), Mark::KeyRejected, Refusal::Taken);
    assert_eq!(route(&mut hub, 2, register(key(0))), expected);
    // The one that has it may ask again; and once it has gone the key is free.
    assert_eq!(route(&mut hub, 1, register(key(0))), [deliver(1, Delivery::Admitted(key(0)))]);
    route(&mut hub, 1, Route::Unregister(key(0)));
    assert_eq!(route(&mut hub, 2, register(key(0))), [deliver(2, Delivery::Admitted(key(0)))]);
}

#[test]
fn a_full_group_refuses() {
    let mut hub = hub(Admission::Many, 2);
    for conn in 1..=2 {
        assert_eq!(route(&mut hub, conn, Route::Join(group(0))), []);
    }
    assert_eq!(route(&mut hub, 3, Route::Join(group(0))), [Action::Mark(Mark::GroupFull)]);
    assert_eq!(hub.members(&group(0)), 2);
}

#[test]
fn a_message_for_nobody_is_counted() {
    let mut hub = hub(Admission::Many, 2);
    assert_eq!(route(&mut hub, 1, publish(To::Key(key(0)))), [Action::Mark(Mark::Undeliverable)]);
    assert_eq!(route(&mut hub, 1, publish(To::Group(group(0)))), [Action::Mark(Mark::Undeliverable)]);
}

#[test]
fn a_full_mailbox_follows_the_policy_of_the_message() {
    let mut hub = hub(Admission::Many, 2);
    let mut refuse = |overflow| perform(&mut hub, Event::Refused { to: address(1), overflow });
    let counted = || Action::Mark(Mark::MailboxFull);
    assert_eq!(refuse(Overflow::Close), [counted(), close(1, CloseReason::SlowConsumer)]);
    assert_eq!(refuse(Overflow::DropNewest), [counted()]);
    assert_eq!(refuse(Overflow::DropOldest), [counted()]);
}

#[test]
fn a_publish_to_a_crowd_is_one_action_with_one_snapshot() {
    let mut hub = hub(Admission::Many, 100_000);
    for conn in 0..10_000 {
        route(&mut hub, conn, Route::Join(group(0)));
    }
    let snapshot = |actions: Vec<Action<Mailbox>>| match actions.as_slice() {
        [Action::Deliver { to: Recipients::Many(members), .. }] => members.clone(),
        other => panic!("one delivery to many expected, not {} actions", other.len()),
    };
    let first = snapshot(route(&mut hub, 1, publish(To::Group(group(0)))));
    let second = snapshot(route(&mut hub, 1, publish(To::Group(group(0)))));
    assert_eq!(first.len(), 10_000);
    assert!(Arc::ptr_eq(&first, &second), "nothing has changed, so nothing is built");
    route(&mut hub, 5, Route::Leave(group(0)));
    let third = snapshot(route(&mut hub, 1, publish(To::Group(group(0)))));
    assert_eq!(third.len(), 9_999);
    assert_eq!(first.len(), 10_000, "who walks the old snapshot is not disturbed");
}

#[test]
fn a_hundred_thousand_sessions_leave_nothing_behind() {
    let mut hub = hub(Admission::Many, 100_000);
    let name = |conn: u64| Key::new(conn.to_be_bytes()).unwrap();
    for conn in 0..100_000 {
        route(&mut hub, conn, register(name(conn)));
    }
    assert_eq!((hub.sessions(), hub.keys()), (100_000, 100_000));
    let full = hub.footprint();
    assert!(full < 100_000 * 128, "{} bytes for one session", full / 100_000);
    for conn in 0..99_000 {
        route(&mut hub, conn, Route::Unregister(name(conn)));
    }
    assert!(hub.footprint() < full / 20, "memory comes back while some stay");
    for conn in 99_000..100_000 {
        route(&mut hub, conn, Route::Unregister(name(conn)));
    }
    assert_eq!((hub.sessions(), hub.footprint()), (0, 0));
}

#[test]
fn a_hub_in_words_says_how_much_it_knows() {
    let hub = hub(Admission::Many, 10);
    assert_eq!(hub.sessions_of(&key(0)), 0);
    let text = format!("{hub:?}");
    assert!(text.contains("sessions: 0") && text.contains("waiting: 0"), "{text}");
}
