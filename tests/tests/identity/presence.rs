//! Who is told what about whom.

use linkspan_core::hub::{Action, Admission, DevicePolicy, Platform, PlatformSet};
use linkspan_core::{CloseReason, Delivery, Limits, Mark, Route, To};

use super::common::{Desk, Said, badge, close, deliver, devices, key};

fn told(to: &[u64], platforms: &[Platform]) -> Action<u64> {
    let platforms: PlatformSet = platforms.iter().copied().collect();
    deliver(to, Delivery::Presence { key: key(0), platforms })
}

fn watch(desk: &mut Desk, conn: u64) -> Said {
    desk.route(conn, Route::Watch(key(0)))
}

#[test]
fn a_watcher_is_told_the_state_and_each_change_once() {
    let mut desk = Desk::new(Admission::Many, Limits::default());
    assert_eq!(watch(&mut desk, 90), [told(&[90], &[])]);
    let said = desk.login(1, badge(Platform::IOS, 0));
    assert_eq!(said, [deliver(&[1], Delivery::Admitted(key(0))), told(&[90], &[Platform::IOS])]);
    assert_eq!(desk.login(2, badge(Platform::IOS, 0)).len(), 1, "a second of the kind is no news");
    assert_eq!(watch(&mut desk, 91), [told(&[91], &[Platform::IOS])]);
    let both = [Platform::IOS, Platform::WEB];
    assert_eq!(desk.login(3, badge(Platform::WEB, 0))[1..], [told(&[90, 91], &both)]);
    assert_eq!(desk.leave(1), []);
    assert_eq!(desk.leave(2), [told(&[90, 91], &[Platform::WEB])]);
    desk.route(90, Route::Unwatch(key(0)));
    assert_eq!(desk.leave(3), [told(&[91], &[])]);
    assert_eq!(desk.leave(3), []);
    assert_eq!(watch(&mut desk, 91), [told(&[91], &[])], "asked again, told again");
    desk.route(91, Route::Unwatch(key(0)));
    assert_eq!(desk.hub.watchers(), 0);
}

#[test]
fn who_changes_devices_does_not_go_offline_between() {
    let mut desk = Desk::new(Admission::NewestWins, Limits::default());
    desk.login(1, badge(Platform::IOS, 1));
    watch(&mut desk, 90);
    // The same kind of device: the user was online all the time.
    assert_eq!(desk.login(2, badge(Platform::IOS, 2)).len(), 3);
    assert_eq!(desk.leave(1), [], "the loser's end is no news");
    let said = desk.login(3, badge(Platform::WEB, 3));
    assert_eq!(said[3..], [told(&[90], &[Platform::WEB])], "one change, one notice");
}

#[test]
fn a_kick_is_told_after_the_close() {
    let mut desk = Desk::new(devices(DevicePolicy::Any), Limits::default());
    desk.login(1, badge(Platform::IOS, 1));
    desk.login(2, badge(Platform::WEB, 2));
    // A user may watch itself: it knows its other devices then.
    watch(&mut desk, 2);
    let to = To::Devices { key: key(0), platforms: PlatformSet::from(Platform::IOS) };
    let kick = |to| Route::Close { to, reason: CloseReason::Kicked };
    assert_eq!(desk.route(9, kick(to)), [close(&[1], CloseReason::Kicked), told(&[2], &[Platform::WEB])]);
    assert_eq!(desk.route(9, kick(To::Key(key(0)))), [close(&[2], CloseReason::Kicked), told(&[2], &[])]);
}

#[test]
fn a_place_that_is_held_is_not_online() {
    let mut desk = Desk::new(Admission::Many, Limits::default());
    watch(&mut desk, 90);
    assert_eq!(desk.reserve(1, Platform::WEB).len(), 1);
    assert_eq!(desk.leave(1), []);
    desk.reserve(2, Platform::WEB);
    assert_eq!(desk.login(2, badge(Platform::WEB, 0))[1..], [told(&[90], &[Platform::WEB])]);
}

#[test]
fn a_key_has_so_many_watchers_and_no_more() {
    let mut desk = Desk::new(Admission::Many, Limits { watchers_per_key: 2, ..Limits::default() });
    watch(&mut desk, 90);
    watch(&mut desk, 91);
    let refused = [Action::Mark(Mark::WatchersFull), deliver(&[92], Delivery::WatchRefused(key(0)))];
    assert_eq!(watch(&mut desk, 92), refused);
    assert_eq!(watch(&mut desk, 91), [told(&[91], &[])], "who watches already may");
    desk.route(90, Route::Unwatch(key(0)));
    assert_eq!(watch(&mut desk, 92), [told(&[92], &[])]);
}
