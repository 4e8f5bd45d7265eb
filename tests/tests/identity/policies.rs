//! Each policy by itself: who stays, who goes, and what the one who goes is told.

use linkspan_core::hub::{
    Action, Admission, Badge, Device, DeviceClass, DevicePolicy, Platform, PlatformSet, Refusal,
};
use linkspan_core::{CloseReason, Delivery, Key, Limits, Mark, Route, To};

use super::common::{Desk, address, badge, close, deliver, devices, key, push, refused};
use super::model::displaces;

const POLICIES: [DevicePolicy; 4] =
    [DevicePolicy::Any, DevicePolicy::OnePerPlatform, DevicePolicy::OnePerClass, DevicePolicy::PcAndOne];

fn desk(policy: DevicePolicy) -> Desk {
    Desk::new(devices(policy), Limits::default())
}

/// A phone, another phone, a PC, and again a phone of the first kind, each with a login of its own.
#[test]
fn two_phones_and_a_pc_under_each_policy() {
    use Platform as P;
    for (policy, logins, survivors) in [
        (DevicePolicy::Any, [P::IOS, P::ANDROID, P::WINDOWS, P::IOS], vec![1, 2, 3, 4]),
        (DevicePolicy::OnePerPlatform, [P::IOS, P::ANDROID, P::WINDOWS, P::IOS], vec![2, 3, 4]),
        (DevicePolicy::OnePerClass, [P::IOS, P::ANDROID, P::WINDOWS, P::IOS], vec![3, 4]),
        (DevicePolicy::PcAndOne, [P::IOS, P::ANDROID, P::WINDOWS, P::IOS], vec![3, 4]),
        // Two PCs, a browser and a tablet.
        (DevicePolicy::OnePerPlatform, [P::WINDOWS, P::LINUX, P::WEB, P::IPAD], vec![1, 2, 3, 4]),
        (DevicePolicy::OnePerClass, [P::WINDOWS, P::LINUX, P::WEB, P::IPAD], vec![2, 3, 4]),
        (DevicePolicy::PcAndOne, [P::WINDOWS, P::LINUX, P::WEB, P::IPAD], vec![1, 2, 4]),
    ] {
        let mut desk = desk(policy);
        for (conn, platform) in (1..).zip(logins) {
            desk.login(conn, badge(platform, conn));
        }
        assert_eq!(desk.sessions(), survivors, "{policy:?} {logins:?}");
    }
}

/// Every pair of platforms under every policy, against OpenIM's own tables.
#[test]
fn every_pair_of_platforms_is_decided_as_by_openim() {
    for (policy, old, new) in POLICIES.into_iter().flat_map(|policy| {
        let numbers = (1..=Platform::MAX).flat_map(|old| (1..=Platform::MAX).map(move |new| (old, new)));
        numbers.map(move |(old, new)| (policy, Platform::new(old).unwrap(), Platform::new(new).unwrap()))
    }) {
        let mut desk = desk(policy);
        desk.login(1, badge(old, 1));
        desk.login(2, badge(new, 2));
        let expected = if displaces(policy, new, old) { vec![2] } else { vec![1, 2] };
        assert_eq!(desk.sessions(), expected, "{policy:?}: {new:?} comes, {old:?} is there");
    }
}

#[test]
fn the_loser_is_told_first_and_not_to_come_back() {
    let mut desk = desk(DevicePolicy::OnePerPlatform);
    desk.login(1, badge(Platform::IOS, 1));
    let expected = [
        Action::Mark(Mark::KeyReplaced),
        close(&[1], CloseReason::DeviceReplaced),
        deliver(&[2], Delivery::Admitted(key(0))),
    ];
    assert_eq!(desk.login(2, badge(Platform::IOS, 2)), expected);
    assert_eq!(desk.sessions(), [2]);
    assert!(!CloseReason::DeviceReplaced.may_reconnect());
    assert!((4000..4100).contains(&CloseReason::DeviceReplaced.code()));
    assert_ne!(CloseReason::DeviceReplaced.code(), CloseReason::Replaced.code());
}

#[test]
fn the_same_token_is_not_kicked() {
    for policy in POLICIES {
        let mut desk = desk(policy);
        desk.login(1, badge(Platform::IOS, 77));
        let back = desk.login(2, badge(Platform::IOS, 77));
        assert_eq!(back, [deliver(&[2], Delivery::Admitted(key(0)))], "{policy:?}");
        // The end of the first connection is noticed late, and leaves the second alone.
        assert_eq!(desk.leave(1), []);
        assert_eq!(desk.sessions(), [2], "{policy:?}");
    }
    // Two without a token are not the same login; and one is not excused by another's token.
    let mut desk = desk(DevicePolicy::OnePerPlatform);
    for (conn, token) in [(1, 0), (2, 0), (3, 5), (4, 5), (5, 6)] {
        desk.login(conn, badge(Platform::WEB, token));
    }
    assert_eq!(desk.sessions(), [5]);
}

#[test]
fn several_losers_are_told_at_once() {
    let mut desk = desk(DevicePolicy::OnePerPlatform);
    for conn in 1..=3 {
        desk.login(conn, badge(Platform::WEB, 5));
    }
    desk.login(4, badge(Platform::IOS, 5));
    let expected = [
        Action::Mark(Mark::KeyReplaced),
        close(&[1, 2, 3], CloseReason::DeviceReplaced),
        deliver(&[5], Delivery::Admitted(key(0))),
    ];
    assert_eq!(desk.login(5, badge(Platform::WEB, 6)), expected);
    assert_eq!(desk.sessions(), [4, 5]);
}

/// Listeners may differ in their policy and share a user.
#[test]
fn a_badge_may_bring_its_own_policy() {
    let mut desk = Desk::new(Admission::Many, Limits::default());
    for conn in 1..=3 {
        desk.login(conn, Badge::default());
    }
    let reject = Badge { admission: Some(Admission::RejectNew), ..Badge::default() };
    assert_eq!(desk.login(4, reject), refused(4, key(0), Refusal::Taken));
    let at_most = Badge { admission: Some(Admission::AtMost(3)), ..Badge::default() };
    desk.login(5, at_most);
    assert_eq!(desk.sessions(), [2, 3, 5]);
    let nobody = Badge { admission: Some(Admission::AtMost(0)), ..Badge::default() };
    assert_eq!(desk.login(6, nobody), refused(6, key(0), Refusal::Full));
    let newest = Badge { admission: Some(Admission::NewestWins), ..Badge::default() };
    let expected = [
        Action::Mark(Mark::KeyReplaced),
        close(&[2, 3, 5], CloseReason::Replaced),
        deliver(&[7], Delivery::Admitted(key(0))),
    ];
    assert_eq!(desk.login(7, newest), expected);
    let phone = Badge { admission: Some(devices(DevicePolicy::PcAndOne)), ..badge(Platform::IOS, 1) };
    desk.login(8, phone);
    assert_eq!(desk.sessions(), [7, 8], "one that states no platform is no rival");
}

/// One user by a dialect that knows devices and by one that does not: neither displaces or keeps out the other.
#[test]
fn who_states_a_platform_and_who_does_not_are_no_rivals() {
    let plain = [Admission::NewestWins, Admission::RejectNew, Admission::AtMost(1)];
    for (policy, plain) in POLICIES.into_iter().flat_map(|policy| plain.map(|plain| (policy, plain))) {
        let mut desk = desk(policy);
        let unstated = Badge { admission: Some(plain), ..Badge::default() };
        desk.login(1, badge(Platform::WEB, 1));
        desk.login(2, unstated);
        desk.login(3, badge(Platform::WINDOWS, 3));
        assert_eq!(desk.sessions(), [1, 2, 3], "{policy:?} {plain:?}");
        desk.login(4, unstated);
        let expected = if plain == Admission::RejectNew { [1, 2, 3] } else { [1, 3, 4] };
        assert_eq!(desk.sessions(), expected, "{policy:?} {plain:?}");
    }
}

/// A deployment may count a browser as a PC, as OpenIM once did.
#[test]
fn a_deployment_says_what_class_a_platform_is() {
    let web = Device { platform: Platform::WEB, class: DeviceClass::Pc };
    let mut desk = desk(DevicePolicy::OnePerClass);
    desk.login(1, badge(Platform::WINDOWS, 1));
    desk.login(2, Badge { device: web, ..Badge::default() });
    assert_eq!(desk.sessions(), [2]);
}

#[test]
fn a_session_that_asks_again_keeps_its_key_and_gets_its_new_mailbox() {
    for others in 0..3 {
        let mut desk = desk(DevicePolicy::Any);
        desk.login(1, badge(Platform::WEB, 1));
        (0..others).for_each(|other| _ = desk.login(2 + other, badge(Platform::WEB, 1)));
        let moved = linkspan_core::hub::Address { mailbox: 4711, ..address(1) };
        let register = Route::Register { key: key(0), badge: badge(Platform::IOS, 2) };
        let event = linkspan_core::hub::Event::Routed { from: Some(moved.clone()), route: register };
        assert_eq!(desk.perform(event).len(), 1);
        assert_eq!(desk.hub.platforms_of(&key(0)), PlatformSet::from(Platform::WEB), "as it was");
        let publish = Route::Publish { to: To::Key(key(0)), push: push() };
        let said = desk.route(9, publish);
        let Action::Deliver { to, .. } = &said[0] else { panic!("{said:?}") };
        assert_eq!(to.as_slice()[0], moved);
        assert_eq!(to.as_slice().len() as u64, others + 1);
    }
}

#[test]
fn platforms_can_be_addressed_and_kicked() {
    let mut desk = desk(DevicePolicy::Any);
    for (conn, platform) in (1..).zip([Platform::IOS, Platform::WEB, Platform::WEB, Platform::UNSTATED]) {
        desk.login(conn, badge(platform, 0));
    }
    let mut hear = |platforms| desk.hearers(To::Devices { key: key(0), platforms });
    assert_eq!(hear(PlatformSet::ALL), [1, 2, 3, 4]);
    assert!(hear(PlatformSet::EMPTY).is_empty());
    assert_eq!(hear(PlatformSet::from(Platform::WEB)), [2, 3]);
    assert_eq!(hear(PlatformSet::ALL.without(Platform::UNSTATED)), [1, 2, 3]);
    assert!(hear(PlatformSet::from(Platform::IPAD)).is_empty());
    let to = To::Devices { key: key(0), platforms: PlatformSet::from(Platform::WEB).with(Platform::IPAD) };
    let kick = Route::Close { to, reason: CloseReason::Kicked };
    assert_eq!(desk.route(9, kick.clone()), [close(&[2, 3], CloseReason::Kicked)]);
    assert_eq!(desk.route(9, kick), []);
    assert_eq!(desk.sessions(), [1, 4]);
}

/// A user is one shard's affair, whatever is asked about it.
#[test]
fn all_that_is_about_a_user_goes_to_one_shard() {
    for user in 0..50_u64 {
        let key = Key::new(user.to_be_bytes()).unwrap();
        let to = || To::Devices { key: key.clone(), platforms: PlatformSet::ALL };
        let routes = [
            Route::Register { key: key.clone(), badge: Badge::default() },
            Route::Reserve { key: key.clone(), badge: Badge::default() },
            Route::Unregister(key.clone()),
            Route::Watch(key.clone()),
            Route::Unwatch(key.clone()),
            Route::Publish { to: To::Key(key.clone()), push: push() },
            Route::Publish { to: to(), push: push() },
            Route::Close { to: to(), reason: CloseReason::Kicked },
        ];
        let shards = routes.map(|route| route.shard(16, 99));
        assert!(shards.iter().all(|shard| *shard == shards[0]), "{shards:?}");
    }
}

#[test]
fn the_numbers_are_openims() {
    for number in 0..=u8::MAX {
        let policy = DevicePolicy::from_number(number);
        assert_eq!(policy.is_some(), [0, 1, 4, 5].contains(&number));
        assert!(policy.is_none_or(|policy| policy.number() == number));
        assert_eq!(Platform::new(number).map(Platform::number), (number < 32).then_some(number));
    }
    let set: PlatformSet = [Platform::OTHER, Platform::WEB, Platform::WEB].into_iter().collect();
    assert_eq!(set.iter().map(Platform::number).collect::<Vec<_>>(), [5, 31]);
    assert_eq!((set.len(), set.without(Platform::WEB).len(), set.is_empty()), (2, 1, false));
    assert!(PlatformSet::ALL.contains_all(set) && !set.contains_all(PlatformSet::ALL));
}

/// Where only the first may have a key, a place is as good as a session: of any number that ask before they register,
/// one gets it, and it is admitted.
#[test]
fn where_only_the_first_may_come_a_place_is_held_for_one() {
    let reject = Badge { admission: Some(Admission::RejectNew), ..Badge::default() };
    let reserve = |desk: &mut Desk, conn| desk.route(conn, Route::Reserve { key: key(0), badge: reject });
    let taken = |conn| refused(conn, key(0), Refusal::Taken);
    let mut desk = Desk::new(Admission::Many, Limits::default());
    assert_eq!(reserve(&mut desk, 1), vec![deliver(&[1], Delivery::Reserved(key(0)))]);
    assert_eq!(reserve(&mut desk, 2), taken(2), "another place");
    assert_eq!(desk.login(3, reject), taken(3), "a session without a place");
    let phone = Badge { device: Device::of(Platform::IOS), ..reject };
    assert_eq!(desk.login(4, phone).len(), 1, "who states a platform is no rival");
    assert_eq!(desk.login(1, reject), vec![deliver(&[1], Delivery::Admitted(key(0)))]);
    assert_eq!(reserve(&mut desk, 2), taken(2), "behind the session");
    // Whoever is let in by another policy does not ask, and a place that is given back is free.
    desk.route(1, Route::Unregister(key(0)));
    assert_eq!(reserve(&mut desk, 5), vec![deliver(&[5], Delivery::Reserved(key(0)))]);
    desk.route(5, Route::Unregister(key(0)));
    assert_eq!(reserve(&mut desk, 6), vec![deliver(&[6], Delivery::Reserved(key(0)))]);
    assert_eq!(desk.login(7, Badge::default()), vec![deliver(&[7], Delivery::Admitted(key(0)))]);
    assert_eq!(desk.login(6, reject), taken(6), "a session came between");
}

#[test]
fn a_platform_is_a_device_of_the_class_it_is_in_today() {
    for platform in [Platform::IOS, Platform::WEB, Platform::WINDOWS, Platform::IPAD] {
        assert_eq!(Device::from(platform), Device::of(platform));
        assert_eq!(Device::of(platform).platform, platform);
    }
}
