//! The checks before the upgrade, and the place that is held meanwhile.

use std::time::Duration;

use linkspan_core::hub::{Device, Platform, Refusal};
use linkspan_core::im::{
    Arguments, Door, DoorAction, DoorConfig, DoorEvent, Rejection, ServerConfig, UpgradeCheck, parse_platform,
};
use linkspan_core::{Actions, Instant, Limits, Machine, Route};
use linkspan_tests::harness::Checked;
use linkspan_tests::laws;
use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{World, key};

const GOOD: &str = "sendID=u1&platformID=5&token=tok-u1";

fn bare(query: &str, upgrade: UpgradeCheck, actions: &mut Actions<DoorAction>) -> Door {
    let (config, limits) = (DoorConfig { seed: 3, ..DoorConfig::default() }, Limits::default());
    let arguments = Arguments::parse(query);
    Door::new(&config, &limits, arguments, upgrade, 9, Instant::ORIGIN, actions)
}

fn open(query: &str, upgrade: UpgradeCheck) -> (Checked<Door>, Vec<DoorAction>) {
    let mut actions = Actions::new();
    let door = bare(query, upgrade, &mut actions);
    let mut door = Checked::new(door, actions, Instant::ORIGIN, usize::MAX);
    let begin = door.begin();
    (door, begin)
}

fn step(door: &mut Checked<Door>, event: DoorEvent) -> Vec<DoorAction> {
    door.step(Instant::ORIGIN, event)
}

fn reserve() -> DoorAction {
    // What the token hashes to is the hub's to compare.
    let (_, actions) = open(GOOD, UpgradeCheck::Valid);
    let [DoorAction::Route(Route::Reserve { key: of, badge })] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((of, badge.device, badge.admission), (&key("u1"), Device::of(Platform::WEB), None));
    actions[0].clone()
}

fn release() -> DoorAction {
    DoorAction::Route(Route::Unregister(key("u1")))
}

fn token_of(user: &str) -> DoorEvent {
    DoorEvent::TokenChecked { user: user.into(), platform: None }
}

fn token_for(platform: Platform) -> DoorEvent {
    DoorEvent::TokenChecked { user: "u1".into(), platform: Some(platform) }
}

#[test]
fn a_missing_argument_is_refused_before_anything_is_asked() {
    let refused = vec![DoorAction::Reject(Rejection::ArgumentMissing)];
    for query in [
        "",
        "sendID=u1&platformID=5",
        "sendID=u1&token=t",
        "platformID=5&token=t",
        "sendid=u1&platformID=5&token=t",
        "sendID=u1&platformID=5&token=%zz",
        "sendID=u1&platformID=5&token=%4",
        "sendID=%ff&platformID=5&token=t",
        "sendID=u1&platformID=5&token=a;b",
    ] {
        let (door, actions) = open(query, UpgradeCheck::Valid);
        assert_eq!(actions, refused, "{query}");
        assert!(door.is_done() && door.next_timeout().is_none());
    }
}

#[test]
fn a_user_that_cannot_be_a_key_is_nobody() {
    for user in [String::new(), "u".repeat(256)] {
        let (_, actions) = open(&format!("sendID={user}&platformID=5&token="), UpgradeCheck::Valid);
        assert_eq!(actions, [DoorAction::Reject(Rejection::Unauthorized)]);
    }
}

#[test]
fn arguments_are_read_as_go_reads_them() {
    let query = "sendID=a%2Bb+c%C3%A4&sendID=other&token=&platformID=5&operationID=op;x&operationID=2&=&&x";
    let arguments = Arguments::parse(query);
    assert_eq!(arguments.user.as_deref(), Some("a+b cä"));
    assert_eq!(arguments.token.unwrap().as_str(), "");
    assert_eq!(arguments.platform.as_deref(), Some("5"));
    assert_eq!(arguments.operation.as_deref(), Some("2"));
}

#[test]
fn whatever_is_no_platform_counts_as_one() {
    let other = ["", "x", "0", "-1", "12", "31", "256", "5.0", "9223372036854775808", " 5"];
    assert!(other.iter().all(|text| parse_platform(text) == Platform::OTHER));
    assert_eq!(parse_platform("11"), Platform::HARMONY);
    assert_eq!(parse_platform("4294967297"), Platform::IOS, "the low 32 bits count");
    let mut world = World::new(ServerConfig::default());
    for number in 100..110 {
        world.connect(&format!("sendID=u1&platformID={number}&token=tok-u1")).unwrap();
    }
    let refused = world.connect("sendID=u1&platformID=nonsense&token=tok-u1");
    assert_eq!(refused, Err(Rejection::OverQuantity));
}

#[test]
fn the_ladder_goes_place_token_upgrade() {
    let (mut door, actions) = open(&format!("{GOOD}&operationID=op1"), UpgradeCheck::Valid);
    assert_eq!(actions, [reserve()]);
    let asked = step(&mut door, DoorEvent::Reserved);
    let [DoorAction::CheckToken { token, user, operation }] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((token.as_str(), user, &**operation), ("tok-u1", &key("u1"), "op1"));
    let upgraded = step(&mut door, token_of("u1"));
    let [DoorAction::Upgrade(visitor)] = &upgraded[..] else { panic!("{upgraded:?}") };
    assert_eq!((&visitor.user, visitor.badge.device), (&key("u1"), Device::of(Platform::WEB)));
    assert_ne!(visitor.badge.token, 0, "the same login, come back, is recognised");
    assert_eq!(step(&mut door, DoorEvent::Opened), [], "the place is the connection's own");
    assert!(door.is_done());
    assert_eq!(step(&mut door, DoorEvent::Aborted), []);
}

#[test]
fn what_is_refused_gives_its_place_back() {
    let rejected = |rejection| vec![release(), DoorAction::Reject(rejection)];
    for (event, upgrade, rejection) in [
        (DoorEvent::TokenRefused, UpgradeCheck::Valid, Rejection::Unauthorized),
        (DoorEvent::TokenUnknown, UpgradeCheck::Valid, Rejection::Unavailable),
        (token_for(Platform::IOS), UpgradeCheck::Valid, Rejection::Unauthorized),
        (token_for(Platform::WEB), UpgradeCheck::BadRequest, Rejection::BadRequest),
        (token_of("u2"), UpgradeCheck::Valid, Rejection::Unauthorized),
        (token_of(""), UpgradeCheck::Valid, Rejection::Unauthorized),
        (token_of("u1"), UpgradeCheck::BadRequest, Rejection::BadRequest),
        (token_of("u1"), UpgradeCheck::WrongMethod, Rejection::MethodNotAllowed),
        // The token comes first.
        (DoorEvent::TokenRefused, UpgradeCheck::WrongMethod, Rejection::Unauthorized),
    ] {
        let (mut door, _) = open(GOOD, upgrade);
        step(&mut door, DoorEvent::Reserved);
        assert_eq!(step(&mut door, event), rejected(rejection));
        assert!(door.is_done() && door.footprint() == 0);
    }
}

#[test]
fn a_full_server_says_which_limit_it_was() {
    for (why, rejection) in [
        (Refusal::PlatformFull, Rejection::OverQuantity),
        (Refusal::Full, Rejection::OverQuantity),
        (Refusal::Taken, Rejection::OverQuantity),
        (Refusal::HubFull, Rejection::Unavailable),
        (Refusal::Storm { retry_after: Duration::from_secs(1) }, Rejection::Unavailable),
    ] {
        let (mut door, _) = open(GOOD, UpgradeCheck::Valid);
        assert_eq!(step(&mut door, DoorEvent::Rejected(why)), [DoorAction::Reject(rejection)]);
    }
    assert_eq!(
        (Rejection::Unavailable.status(), Rejection::Unavailable.body()),
        (503, "Service Unavailable")
    );
}

#[test]
fn every_stage_ends_in_time() {
    let late = Instant::ORIGIN + Limits::default().handshake_timeout;
    let reject = |rejection| DoorAction::Reject(rejection);
    for (events, last) in [
        (vec![], reject(Rejection::Unavailable)),
        (vec![DoorEvent::Reserved], reject(Rejection::Unavailable)),
        (vec![DoorEvent::Reserved, token_of("u1")], DoorAction::Abort),
    ] {
        let (mut door, _) = open(GOOD, UpgradeCheck::Valid);
        for event in events {
            step(&mut door, event);
        }
        assert_eq!(door.next_timeout(), Some(late));
        assert_eq!(door.timeout(late), [release(), last]);
        assert_eq!(door.next_timeout(), None);
    }
}

#[test]
fn an_operation_id_is_made_where_none_was_given() {
    for query in [GOOD.to_owned(), format!("{GOOD}&operationID=")] {
        let (mut door, _) = open(&query, UpgradeCheck::Valid);
        let asked = step(&mut door, DoorEvent::Reserved);
        let [DoorAction::CheckToken { operation, .. }] = &asked[..] else { panic!("{asked:?}") };
        assert!(!operation.is_empty() && operation.bytes().all(|byte| byte.is_ascii_digit()));
    }
}

fn event() -> impl Strategy<Value = DoorEvent> {
    prop_oneof![
        Just(DoorEvent::Reserved),
        Just(DoorEvent::Rejected(Refusal::PlatformFull)),
        Just(token_of("u1")),
        Just(token_of("u2")),
        Just(DoorEvent::TokenRefused),
        Just(DoorEvent::TokenUnknown),
        Just(token_for(Platform::IOS)),
        Just(DoorEvent::Opened),
        Just(DoorEvent::Aborted),
    ]
}

proptest! {
    /// Whatever happens in whatever order: one outcome, and the place is given back once or handed over.
    #[test]
    fn a_place_is_given_back_exactly_once(
        events in vec((0_u64..6_000_000, event()), 0..12),
        upgrade in 0..3_usize,
    ) {
        let upgrade = [UpgradeCheck::Valid, UpgradeCheck::BadRequest, UpgradeCheck::WrongMethod][upgrade];
        let mut steps: Vec<_> =
            events.into_iter().map(|(span, event)| (Duration::from_micros(span), event)).collect();
        steps.push((Duration::from_secs(60), DoorEvent::Aborted));
        let history = laws::check(|| bare(GOOD, upgrade, &mut Actions::new()), &steps);
        let mut state = (true, false);
        let (mut releases, mut outcomes) = (0, 0);
        for ((_, event), actions) in steps.iter().zip(&history) {
            for action in actions {
                prop_assert_eq!(outcomes, 0, "something follows the outcome");
                match action {
                    DoorAction::Route(route) => {
                        prop_assert_eq!(route, &Route::Unregister(key("u1")));
                        releases += 1;
                    }
                    DoorAction::Reject(_) | DoorAction::Abort => outcomes += 1,
                    DoorAction::Upgrade(_) => state.1 = true,
                    DoorAction::CheckToken { .. } => {}
                }
            }
            let refused = matches!(event, DoorEvent::Rejected(_))
                && actions.contains(&DoorAction::Reject(Rejection::OverQuantity));
            let handed_over = *event == DoorEvent::Opened && state.1 && releases == 0 && outcomes == 0;
            state.0 &= !refused && !handed_over;
        }
        prop_assert_eq!(releases, usize::from(state.0));
    }
}
