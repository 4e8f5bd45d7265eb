//! What bounds a user, reservations included.

use linkspan_core::hub::{Admission, Badge, DevicePolicy, Platform, Refusal};
use linkspan_core::{Delivery, Limits, Route};

use super::common::{Desk, Said, badge, deliver, devices, key, refused};

fn reserved(conn: u64) -> Said {
    vec![deliver(&[conn], Delivery::Reserved(key(0)))]
}

fn admitted(conn: u64) -> Said {
    vec![deliver(&[conn], Delivery::Admitted(key(0)))]
}

/// As OpenIM's ten tabs: reservations and sessions count together, each platform by itself.
#[test]
fn a_platform_of_a_user_is_full() {
    let mut desk = Desk::new(Admission::Many, Limits::default());
    for conn in 1..=10 {
        assert_eq!(desk.reserve(conn, Platform::WEB), reserved(conn));
    }
    assert_eq!(desk.reserve(11, Platform::WEB), refused(11, key(0), Refusal::PlatformFull));
    assert_eq!(desk.login(12, badge(Platform::WEB, 0)), refused(12, key(0), Refusal::PlatformFull));
    assert_eq!(desk.reserve(13, Platform::IOS), reserved(13));
    for conn in 1..=10 {
        assert_eq!(desk.login(conn, badge(Platform::WEB, 0)), admitted(conn));
    }
    assert_eq!(desk.reserve(11, Platform::WEB), refused(11, key(0), Refusal::PlatformFull));
    desk.leave(3);
    assert_eq!(desk.reserve(11, Platform::WEB), reserved(11));
    assert_eq!((desk.hub.sessions(), desk.hub.reserved()), (9, 2));
}

#[test]
fn who_states_no_platform_is_bounded_by_the_key_alone() {
    let limits = Limits { sessions_per_platform: 1, sessions_per_key: 4, ..Limits::default() };
    let mut desk = Desk::new(Admission::Many, limits);
    for conn in 1..=4 {
        assert_eq!(desk.login(conn, Badge::default()), admitted(conn));
    }
    assert_eq!(desk.login(5, Badge::default()), refused(5, key(0), Refusal::Full));
    assert_eq!(desk.reserve(5, Platform::WEB), refused(5, key(0), Refusal::Full));
}

#[test]
fn a_shard_is_full() {
    let mut desk = Desk::new(Admission::Many, Limits { sessions_per_shard: 2, ..Limits::default() });
    assert_eq!(desk.reserve(1, Platform::WEB), reserved(1));
    desk.route(2, Route::Register { key: key(1), badge: Badge::default() });
    assert_eq!(desk.login(3, Badge::default()), refused(3, key(0), Refusal::HubFull));
    desk.route(2, Route::Unregister(key(1)));
    assert_eq!(desk.login(3, Badge::default()), admitted(3));
}

/// A newcomer that takes a place needs none of its own.
#[test]
fn who_displaces_finds_room() {
    let limits =
        Limits { sessions_per_platform: 1, sessions_per_key: 1, sessions_per_shard: 1, ..Limits::default() };
    for admission in [Admission::NewestWins, Admission::AtMost(1), devices(DevicePolicy::OnePerPlatform)] {
        let mut desk = Desk::new(admission, limits.clone());
        desk.login(1, badge(Platform::WEB, 1));
        assert_eq!(desk.login(2, badge(Platform::WEB, 2)).len(), 3, "{admission:?}");
        assert_eq!(desk.sessions(), [2], "{admission:?}");
    }
    // Who is not displaced keeps the place, and the newcomer displaces nobody in vain.
    let mut desk = Desk::new(devices(DevicePolicy::OnePerPlatform), limits);
    desk.login(1, badge(Platform::WEB, 1));
    assert_eq!(desk.login(2, badge(Platform::WEB, 1)), refused(2, key(0), Refusal::PlatformFull));
    assert_eq!(desk.sessions(), [1]);
}

/// Until the token is checked, a newcomer displaces nobody, hears nothing and is not online.
#[test]
fn a_place_that_is_held_is_nothing_more() {
    let mut desk = Desk::new(Admission::NewestWins, Limits::default());
    desk.login(1, badge(Platform::IOS, 1));
    assert_eq!(desk.reserve(2, Platform::WEB), reserved(2));
    assert_eq!(desk.reserve(2, Platform::WEB), reserved(2), "once");
    assert_eq!(desk.sessions(), [1]);
    assert!(!desk.hub.platforms_of(&key(0)).contains(Platform::WEB));
    // The check fails: what was held is free again, once.
    assert_eq!(desk.leave(2), []);
    assert_eq!(desk.leave(2), []);
    assert_eq!((desk.hub.sessions(), desk.hub.reserved()), (1, 0));
    // A session that reserves again stays a session.
    assert_eq!(desk.reserve(1, Platform::IOS), reserved(1));
    assert_eq!((desk.hub.sessions(), desk.hub.reserved()), (1, 0));
}

/// A failed login leaves nothing, and the next one works.
#[test]
fn a_refused_login_gives_its_place_back() {
    let mut desk = Desk::new(Admission::RejectNew, Limits { sessions_per_key: 2, ..Limits::default() });
    desk.login(1, badge(Platform::IOS, 1));
    desk.reserve(2, Platform::WEB);
    assert_eq!(desk.login(2, badge(Platform::WEB, 1)), refused(2, key(0), Refusal::Taken));
    assert_eq!((desk.hub.sessions(), desk.hub.reserved()), (1, 0));
    desk.leave(1);
    assert_eq!(desk.login(3, badge(Platform::WEB, 1)), admitted(3));
}

/// What a place was held for and what comes may differ; the limits hold for what comes.
#[test]
fn a_place_on_one_platform_is_none_on_another() {
    let mut desk = Desk::new(Admission::Many, Limits { sessions_per_platform: 1, ..Limits::default() });
    desk.login(1, badge(Platform::IOS, 0));
    desk.reserve(2, Platform::WEB);
    assert_eq!(desk.login(2, badge(Platform::IOS, 0)), refused(2, key(0), Refusal::PlatformFull));
    assert_eq!(desk.hub.reserved(), 0);
}

#[test]
fn every_limit_is_validated() {
    let wrong = [
        Limits { sessions_per_platform: 0, ..Limits::default() },
        Limits { sessions_per_key: 0, ..Limits::default() },
        Limits { sessions_per_shard: 0, ..Limits::default() },
        Limits { watchers_per_key: 0, ..Limits::default() },
        Limits { replacements_remembered: 0, ..Limits::default() },
        Limits { replacement_window: std::time::Duration::ZERO, ..Limits::default() },
    ];
    let fields = wrong.map(|limits| limits.validate().unwrap_err().field);
    let expected = [
        "sessions_per_platform",
        "sessions_per_key",
        "sessions_per_shard",
        "watchers_per_key",
        "replacements_remembered",
        "replacement_window",
    ];
    assert_eq!(fields, expected);
    let unlimited = Limits { replacements: 0, watches_per_connection: 0, ..Limits::default() };
    assert_eq!(unlimited.validate(), Ok(()));
}

#[test]
fn a_refusal_says_what_to_do() {
    let texts = [
        (Refusal::Taken, "already connected", 4002),
        (Refusal::Full, "too many sessions", 1013),
        (Refusal::PlatformFull, "too many sessions on this platform", 1013),
        (Refusal::HubFull, "too many sessions on this server", 1013),
        (
            Refusal::Storm { retry_after: std::time::Duration::from_millis(3001) },
            "too many logins, retry in 4 s",
            4004,
        ),
    ];
    for (why, text, code) in texts {
        assert_eq!((why.to_string().as_str(), why.close_reason().code()), (text, code));
    }
}
