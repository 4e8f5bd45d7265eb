//! Two devices that evict each other for ever.

use std::time::Duration;

use linkspan_core::hub::{Admission, Badge, DevicePolicy, Hub, Platform, Refusal};
use linkspan_core::{Key, Limits, Route};

use super::common::{Desk, Mailbox, Said, badge, devices, key, refused};

const SECOND: Duration = Duration::from_secs(1);

fn storm(conn: u64, retry_after: Duration) -> Said {
    refused(conn, key(0), Refusal::Storm { retry_after })
}

/// Five times within ten seconds a key changes hands; then it stays, until the first of the five is ten seconds old.
#[test]
fn the_sixth_replacement_in_ten_seconds_is_refused() {
    for admission in [Admission::NewestWins, Admission::AtMost(1), devices(DevicePolicy::OnePerClass)] {
        let mut desk = Desk::new(admission, Limits::default());
        for conn in 1..=6 {
            assert_ne!(desk.login(conn, badge(Platform::IOS, conn)).len(), 2, "{admission:?}");
            desk.wait(SECOND);
        }
        // The first replacement was five seconds ago.
        assert_eq!(desk.login(7, badge(Platform::ANDROID, 7)), storm(7, 5 * SECOND), "{admission:?}");
        assert_eq!(desk.sessions(), [6], "the one who is there stays");
        desk.wait(5 * SECOND - Duration::from_micros(1));
        assert_eq!(desk.login(7, badge(Platform::ANDROID, 7)), storm(7, Duration::from_micros(1)));
        desk.wait(Duration::from_micros(1));
        assert_eq!(desk.login(7, badge(Platform::ANDROID, 7)).len(), 3, "{admission:?}");
        assert_eq!(desk.login(8, badge(Platform::ANDROID, 8)), storm(8, SECOND));
    }
}

#[test]
fn who_takes_nothing_is_not_part_of_the_storm() {
    let mut desk = Desk::new(devices(DevicePolicy::OnePerPlatform), Limits::default());
    for conn in 1..=6 {
        desk.login(conn, badge(Platform::IOS, conn));
    }
    assert_eq!(desk.login(7, badge(Platform::IOS, 7)), storm(7, 10 * SECOND));
    assert_eq!(desk.login(8, badge(Platform::WEB, 8)).len(), 1, "another platform");
    assert_eq!(desk.login(9, badge(Platform::IOS, 6)).len(), 1, "the same login, come back");
    let other = Route::Register { key: key(1), badge: badge(Platform::IOS, 1) };
    assert_eq!(desk.route(10, other).len(), 1, "another user");
    // The place is free: nobody needs to go.
    desk.leave(6);
    desk.leave(9);
    assert_eq!(desk.login(11, badge(Platform::IOS, 11)).len(), 1);
}

#[test]
fn a_refused_newcomer_loses_its_place_but_nothing_else() {
    let mut desk = Desk::new(Admission::NewestWins, Limits { replacements: 1, ..Limits::default() });
    desk.login(1, badge(Platform::WEB, 0));
    desk.login(2, badge(Platform::WEB, 0));
    desk.reserve(3, Platform::WEB);
    assert_eq!(desk.login(3, badge(Platform::WEB, 0)), storm(3, 10 * SECOND));
    assert_eq!((desk.hub.sessions(), desk.hub.reserved()), (1, 0));
}

/// However many users are in a storm, no more is remembered than may be, and all of it is given back.
#[test]
fn the_memory_of_storms_is_bounded() {
    let limits = Limits { replacements_remembered: 64, ..Limits::default() };
    let mut desk = Desk::new(Admission::NewestWins, limits.clone());
    let (mut conn, mut last) = (0, desk.now);
    for user in 0..10_000_u64 {
        let key = Key::new([user.to_be_bytes().as_slice(), &[b'x'; Key::MAX - 8]].concat()).unwrap();
        for _ in 0..2 {
            conn += 1;
            desk.route(conn, Route::Register { key: key.clone(), badge: Badge::default() });
        }
        desk.route(conn, Route::Unregister(key));
        assert!(desk.hub.footprint() <= Hub::<Mailbox>::footprint_max(0, &limits));
        last = desk.now;
        desk.wait(Duration::from_millis(1));
    }
    let full = desk.hub.footprint();
    assert!(full > 64 * Key::MAX, "{full} bytes: nothing is remembered");
    desk.hub.alter(|hub| hub.sweep(last + (10 * SECOND - Duration::from_micros(1))));
    assert!(desk.hub.footprint() > Key::MAX, "the last one counts still");
    desk.hub.alter(|hub| hub.sweep(last + 10 * SECOND));
    assert_eq!(desk.hub.footprint(), 0);
}

/// Registrations sweep more than they add, so that a busy shard forgets by itself.
#[test]
fn registrations_forget_what_is_old() {
    let mut desk = Desk::new(Admission::NewestWins, Limits::default());
    let name = |user: u64| Key::new(user.to_be_bytes()).unwrap();
    for conn in 0..2_000 {
        desk.route(conn, Route::Register { key: name(conn / 2), badge: Badge::default() });
    }
    desk.wait(10 * SECOND);
    for conn in 0..2_000 {
        desk.route(conn, Route::Unregister(name(conn / 2)));
    }
    let full = desk.hub.footprint();
    assert!(full > 1_000 * 16, "{full}");
    for conn in 0..250 {
        desk.route(10_000 + conn, Route::Register { key: key(0), badge: Badge::default() });
        desk.route(10_000 + conn, Route::Unregister(key(0)));
    }
    assert_eq!(desk.hub.footprint(), 0);
}

/// What is old does not count, even where much is old at once and not all of it is forgotten yet.
#[test]
fn a_storm_ends_on_time_in_a_crowd_of_storms() {
    let mut desk = Desk::new(Admission::NewestWins, Limits { replacements: 1, ..Limits::default() });
    let name = |user: u64| Key::new(user.to_be_bytes()).unwrap();
    for conn in 0..100 {
        desk.route(conn, Route::Register { key: name(conn / 2), badge: Badge::default() });
    }
    desk.login(200, Badge::default());
    desk.login(201, Badge::default());
    desk.wait(10 * SECOND - Duration::from_micros(1));
    assert_eq!(desk.login(202, Badge::default()), storm(202, Duration::from_micros(1)));
    desk.wait(Duration::from_micros(1));
    assert_eq!(desk.login(202, Badge::default()).len(), 3);
}

/// A clock that jumps back stands still.
#[test]
fn time_does_not_go_backwards() {
    let mut desk = Desk::new(Admission::NewestWins, Limits { replacements: 1, ..Limits::default() });
    desk.wait(100 * SECOND);
    desk.login(1, Badge::default());
    desk.login(2, Badge::default());
    desk.now = linkspan_core::Instant::ORIGIN;
    assert_eq!(desk.login(3, Badge::default()), storm(3, 10 * SECOND));
}
