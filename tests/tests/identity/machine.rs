//! The whole hub as a state machine beside its model: sessions, devices, places that are held, presence, groups, and
//! senders that wait. What is drawn depends on what is there, and shrinks.

use std::time::Duration;

use linkspan_core::hub::{Admission, Badge, Device, DevicePolicy, Event, Hub, Platform, PlatformSet};
use linkspan_core::{CloseReason, GroupId, Instant, Key, Limits, Overflow, Push, Route, To};
use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::common::{Desk, Mailbox, Said, address, key};
use super::model::Model;

const CONNS: u64 = 6;
const NAMES: u8 = 2;

/// The model, the time, and what the model said last.
#[derive(Clone, Debug)]
pub(super) struct State {
    model: Model,
    now: Instant,
    said: Said,
}

/// Time passes, and something happens.
type Step = (Duration, Event<Mailbox>);

fn any_admission() -> impl Strategy<Value = Admission> {
    select(vec![
        Admission::Many,
        Admission::NewestWins,
        Admission::RejectNew,
        Admission::AtMost(0),
        Admission::AtMost(2),
        Admission::Devices(DevicePolicy::Any),
        Admission::Devices(DevicePolicy::OnePerPlatform),
        Admission::Devices(DevicePolicy::OnePerClass),
        Admission::Devices(DevicePolicy::PcAndOne),
    ])
}

fn any_limits() -> impl Strategy<Value = Limits> {
    (1..3_u32, 1..6_u32, 1..9_u32, 1..3_u32, 0..4_u32, 1..4_u32).prop_map(
        |(platform, per_key, shard, watchers, replacements, group_members)| Limits {
            sessions_per_platform: platform,
            sessions_per_key: per_key,
            sessions_per_shard: shard,
            watchers_per_key: watchers,
            replacements,
            group_members,
            ..Limits::default()
        },
    )
}

fn any_platform() -> impl Strategy<Value = Platform> {
    select(vec![Platform::IOS, Platform::ANDROID, Platform::WINDOWS, Platform::WEB, Platform::UNSTATED])
}

fn any_key() -> impl Strategy<Value = Key> {
    (0..NAMES).prop_map(key)
}

fn any_group() -> impl Strategy<Value = GroupId> {
    (0..NAMES).prop_map(|name| GroupId::new([b'g', name]).unwrap())
}

fn any_badge() -> impl Strategy<Value = Badge> {
    let admission = prop_oneof![7 => Just(None), 1 => any_admission().prop_map(Some)];
    (any_platform(), 0..3_u64, admission).prop_map(|(platform, token, admission)| Badge {
        device: Device::of(platform),
        token,
        admission,
    })
}

fn any_to() -> impl Strategy<Value = To> {
    let some = PlatformSet::from(Platform::IOS).with(Platform::WINDOWS);
    prop_oneof![
        any_key().prop_map(To::Key),
        any_key().prop_map(move |key| To::Devices { key, platforms: some }),
        any_group().prop_map(To::Group),
    ]
}

fn any_overflow() -> impl Strategy<Value = Overflow> {
    select(vec![Overflow::Close, Overflow::DropNewest, Overflow::DropOldest, Overflow::Backpressure])
}

fn any_route() -> impl Strategy<Value = Route> {
    let push = any_overflow().prop_map(|overflow| Push::new("onTest", "hello", overflow));
    prop_oneof![
        3 => (any_key(), any_badge()).prop_map(|(key, badge)| Route::Reserve { key, badge }),
        8 => (any_key(), any_badge()).prop_map(|(key, badge)| Route::Register { key, badge }),
        4 => any_key().prop_map(Route::Unregister),
        2 => any_key().prop_map(Route::Watch),
        1 => any_key().prop_map(Route::Unwatch),
        3 => any_key().prop_map(Route::Congested),
        1 => any_key().prop_map(Route::Relieved),
        3 => any_key().prop_map(Route::Wait),
        1 => any_key().prop_map(Route::Unwait),
        3 => any_group().prop_map(Route::Join),
        2 => any_group().prop_map(Route::Leave),
        4 => (any_to(), push).prop_map(|(to, push)| Route::Publish { to, push }),
        1 => any_to().prop_map(|to| Route::Close { to, reason: CloseReason::Kicked }),
    ]
}

/// Spans around the window in which replacements count.
fn any_span(window: Duration) -> impl Strategy<Value = Duration> {
    let micro = Duration::from_micros(1);
    prop_oneof![
        12 => Just(Duration::ZERO),
        4 => select(vec![micro, window / 4, window - micro, window, window + micro]),
    ]
}

struct Play;

impl ReferenceStateMachine for Play {
    type State = State;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<State> {
        let model =
            (any_admission(), any_limits()).prop_map(|(admission, limits)| Model::new(admission, limits));
        model.prop_map(|model| State { model, now: Instant::ORIGIN, said: Vec::new() }).boxed()
    }

    fn transitions(state: &State) -> BoxedStrategy<Step> {
        let event = prop_oneof![
            30 => (0..CONNS, any_route())
                .prop_map(|(conn, route)| Event::Routed { from: Some(address(conn)), route }),
            2 => any_route().prop_map(|route| Event::Routed { from: None, route }),
            1 => (0..CONNS, any_overflow())
                .prop_map(|(conn, overflow)| Event::Refused { to: address(conn), overflow }),
        ];
        (any_span(state.model.limits.replacement_window), event).boxed()
    }

    fn apply(mut state: State, (span, event): &Step) -> State {
        state.now = state.now + *span;
        state.said = state.model.apply(state.now, event);
        state
    }
}

struct HubTest;

impl StateMachineTest for HubTest {
    type SystemUnderTest = Desk;
    type Reference = Play;

    fn init_test(state: &State) -> Desk {
        Desk::new(state.model.admission, state.model.limits.clone())
    }

    fn apply(mut desk: Desk, state: &State, (span, event): Step) -> Desk {
        desk.wait(span);
        assert_eq!(desk.perform(event), state.said);
        desk
    }

    fn check_invariants(desk: &Desk, state: &State) {
        let (hub, model) = (&desk.hub, &state.model);
        let live = model.entries.iter().filter(|entry| entry.live).count();
        assert_eq!([hub.sessions(), hub.reserved()], [live, model.entries.len() - live]);
        assert_eq!([hub.watchers(), hub.waiting()], [model.watches.len(), model.waiting.len()]);
        let registrations = hub.sessions() * 2 + hub.reserved() + hub.watchers() + hub.waiting();
        let most = Hub::<Mailbox>::footprint_max(registrations + model.members.len(), &model.limits);
        assert!(hub.footprint() <= most, "{} of {most} bytes", hub.footprint());
    }

    fn teardown(mut desk: Desk, state: State) {
        for conn in 0..CONNS {
            for name in 0..NAMES {
                let (key, group) = (key(name), GroupId::new([b'g', name]).unwrap());
                desk.route(conn, Route::Unregister(key.clone()));
                desk.route(conn, Route::Unwatch(key.clone()));
                desk.route(conn, Route::Unwait(key));
                desk.route(conn, Route::Leave(group));
            }
        }
        let hub = &mut desk.hub;
        let left = [hub.sessions(), hub.keys(), hub.reserved(), hub.watchers(), hub.waiting(), hub.groups()];
        assert_eq!(left, [0; 6], "everyone has left");
        hub.alter(|hub| hub.sweep(desk.now + state.model.limits.replacement_window));
        assert_eq!(hub.footprint(), 0, "what was registered was given back");
    }
}

prop_state_machine! {
    #[test]
    fn the_hub_is_its_model(sequential 1..120 => HubTest);
}
