//! Who is removed hears why; who watches a user hears what it is on; whoever asks has its answer first.

use std::time::Duration;

use linkspan_core::hub::{Admission, DevicePolicy, Platform, PlatformSet};
use linkspan_core::im::{DoorConfig, ServerCommand, ServerConfig};
use linkspan_core::{CloseReason, Delivery, Event, Route, To};
use serde_json::{Value, json};

use super::world::{World, key, reply};

const WEB: &str = "sendID=u1&platformID=5&token=tok-u1";
const IOS: &str = "sendID=u1&platformID=1&token=tok-u1";

fn kicked(why: &str) -> Value {
    reply("OnKickedOffline", 0, why, "", "")
}

#[test]
fn who_is_kicked_is_told_last() {
    let mut world = World::new(ServerConfig::default());
    let conn = world.connect(WEB).unwrap();
    world.login(conn);
    world.hear(conn);
    world.ask(Route::Close { to: To::Key(key("u1")), reason: CloseReason::Kicked });
    assert_eq!(world.hear(conn), [kicked("kicked")]);
    assert_eq!(world.station(conn).closed(), Some(CloseReason::Kicked));
    assert!(!CloseReason::Kicked.may_reconnect());
}

#[test]
fn who_loses_its_place_is_told_by_whom() {
    let mut world = World::new(ServerConfig::default());
    world.door =
        DoorConfig { admission: Some(Admission::Devices(DevicePolicy::OnePerPlatform)), ..world.door };
    let [old, other] = [WEB, IOS].map(|query| world.connect(query).unwrap());
    world.tokens.push("new".into());
    let new = world.connect("sendID=u1&platformID=5&token=new").unwrap();
    assert_eq!(world.hear(old), [kicked("replaced by another device")]);
    assert_eq!(world.station(old).closed(), Some(CloseReason::DeviceReplaced));
    for conn in [other, new] {
        assert_eq!((world.station(conn).closed(), world.hear(conn)), (None, Vec::new()));
    }
}

/// Two devices that evict each other for ever.
#[test]
fn o4_who_comes_too_often_is_told_when_to_come_again() {
    let mut world = World::new(ServerConfig::default());
    world.door =
        DoorConfig { admission: Some(Admission::Devices(DevicePolicy::OnePerPlatform)), ..world.door };
    let mut last = 0;
    for number in 0..7 {
        world.tokens.push(format!("t{number}"));
        last = world.connect(&format!("sendID=u1&platformID=5&token=t{number}")).unwrap();
        world.wait(Duration::from_millis(500));
    }
    assert_eq!(world.hear(last), [kicked("too many logins, retry in 8 s")]);
    assert_eq!(world.station(last).closed(), Some(CloseReason::TooManyLogins));
    assert_eq!(world.hub.sessions_of(&key("u1")), 1, "the one before stays");
    assert!(!CloseReason::TooManyLogins.may_reconnect());
}

fn status(user: &str, platforms: &[u8]) -> Value {
    let data = format!(
        "{{\"userID\":\"{user}\",\"status\":{},\"platformIDs\":{}}}",
        u8::from(!platforms.is_empty()),
        json!(platforms)
    );
    reply("OnUserStatusChanged", 0, "", &data, "0")
}

#[test]
fn a_watcher_hears_what_is_and_what_changes() {
    let mut world = World::new(ServerConfig::default());
    let watcher = world.connect("sendID=w&platformID=5&token=tok-w").unwrap();
    world.login(watcher);
    world.hear(watcher);
    world.command(watcher, ServerCommand::Watch(key("u1")));
    assert_eq!(world.hear(watcher), [status("u1", &[])]);
    let web = world.connect(WEB).unwrap();
    let ios = world.connect(IOS).unwrap();
    assert_eq!(world.hear(watcher), [status("u1", &[5]), status("u1", &[1, 5])]);
    world.close(web);
    world.command(watcher, ServerCommand::Unwatch(key("u1")));
    world.close(ios);
    assert_eq!(world.hear(watcher), [status("u1", &[1])]);
    world.command(watcher, ServerCommand::Watch(key("u1")));
    world.hear(watcher);
    world.call(watcher, "Logout", "bye", "");
    world.hear(watcher);
    world.connect(WEB).unwrap();
    assert_eq!(world.hear(watcher), [] as [Value; 0], "who has logged out hears nothing");
    let platforms = PlatformSet::from(Platform::WEB);
    let (now, stray) = (world.now, Delivery::Presence { key: key("x"), platforms });
    world.station(watcher).event(now, Event::Delivered(stray));
    assert_eq!(world.hear(watcher), [] as [Value; 0], "nobody has asked for that");
}

/// A client that calls and logs out without waiting.
#[test]
fn an_answer_is_there_before_the_logout_that_follows_it() {
    let mut world = World::new(ServerConfig::default());
    let [first, second] = [WEB; 2].map(|query| world.connect(query).unwrap());
    world.login(first);
    world.hear(first);
    world.hear(second);
    let now = world.now;
    for (function, operation) in [("GetLoginUser", "1"), ("Logout", "2")] {
        let request = json!({"reqFuncName": function, "operationID": operation, "userID": "u1", "data": ""});
        world
            .station(first)
            .event(now, Event::Received(linkspan_core::Opcode::Text, request.to_string().into()));
    }
    world.wait(Duration::ZERO);
    let user = reply("GetLoginUser", 0, "", "u1", "1");
    assert_eq!(world.hear(first), [user.clone(), reply("Logout", 0, "", "", "2")]);
    assert_eq!(world.hear(second), [user]);
}
