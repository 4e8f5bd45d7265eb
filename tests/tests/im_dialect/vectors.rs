//! The recorded scripts, column `expect`.

use std::collections::BTreeMap;
use std::time::Duration;

use linkspan_core::hub::Platform;
use linkspan_core::im::{Deliver, Door, ServerConfig, UpgradeCheck};
use linkspan_tests::vectors::{load, name};
use serde_json::Value;

use super::world::World;

fn compat() -> ServerConfig {
    ServerConfig { deliver: Deliver::ServerPlatform(Platform::WEB), ..ServerConfig::default() }
}

/// A frame with its data parsed, because two programs may order the members of an object differently.
fn normal(mut frame: Value) -> Value {
    if let Some(data) = frame["data"].as_str()
        && let Ok(parsed) = serde_json::from_str::<Value>(data)
    {
        frame["data"] = parsed;
    }
    frame
}

fn sorted(mut frames: Vec<(String, Value)>) -> Vec<(String, Value)> {
    frames.sort_by_key(|(to, frame)| format!("{to} {frame}"));
    frames
}

#[test]
fn every_recorded_script_gives_what_is_expected() {
    let vectors = load("im/scenarios.json");
    let scenarios = vectors["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), 3);
    for scenario in scenarios {
        play(scenario);
    }
}

fn play(scenario: &Value) {
    let mut world = World::new(compat());
    let arguments = scenario["server_args"].as_array().unwrap();
    if arguments.iter().any(|argument| argument == "1200ms") {
        world.login_delay = Duration::from_millis(1200);
    }
    let mut conns = BTreeMap::new();
    for (index, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
        let at = format!("{}, step {index}", name(scenario));
        let conn = step["conn"].as_str().unwrap().to_owned();
        match step["op"].as_str().unwrap() {
            "connect" => {
                let query = step["path"].as_str().unwrap().split_once('?').unwrap().1;
                conns.insert(conn, world.connect(query).unwrap());
            }
            "send" => world.send(conns[&conn], step["payload"].as_str().unwrap()),
            "close" => {
                world.close(conns[&conn]);
                assert!(world.station(conns[&conn]).closed().is_some(), "{at}");
            }
            other => panic!("{at}: {other}"),
        }
        world.wait(Duration::from_millis(step["wait_ms"].as_u64().unwrap_or_default()));
        let mut got = Vec::new();
        for (label, conn) in &conns {
            got.extend(world.hear(*conn).into_iter().map(|frame| (label.clone(), normal(frame))));
        }
        let expected = step["expect"].as_array().unwrap().iter().filter(|one| one["close"].is_null());
        let expected = expected.map(|one| {
            let frame = serde_json::from_str(one["data"].as_str().unwrap()).unwrap();
            (one["to"].as_str().unwrap().to_owned(), normal(frame))
        });
        assert_eq!(sorted(got), sorted(expected.collect()), "{at}");
    }
}

#[test]
fn every_recorded_handshake_gets_its_answer() {
    let vectors = load("im/scenarios.json");
    let cases = vectors["http"].as_array().unwrap();
    assert_eq!(cases.len(), 18);
    for case in cases {
        let name = name(case);
        let expected = case["upstream"]["response"].as_str().unwrap();
        // Cleaning paths is the HTTP router's.
        if expected.contains(" 301 ") {
            continue;
        }
        let mut world = World::new(compat());
        if name.starts_with("eleventh") || name.starts_with("other_platform") {
            for _ in 0..10 {
                world.connect("sendID=q&platformID=5&token=tok-q").unwrap();
            }
        }
        let head = case["request"].as_str().unwrap();
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let upgrade = match method {
            "GET" if head.contains("Upgrade: websocket") => UpgradeCheck::Valid,
            "GET" => UpgradeCheck::BadRequest,
            _ => UpgradeCheck::WrongMethod,
        };
        let status: u16 = expected.split(' ').nth(1).unwrap().parse().unwrap();
        match world.knock(query, upgrade) {
            Ok(_) => assert_eq!(status, 101, "{name}"),
            Err(rejection) => {
                assert_eq!(rejection.status(), status, "{name}");
                let body = expected.split_once("\r\n\r\n").unwrap().1;
                assert_eq!(format!("{}\n", rejection.body()), body, "{name}");
                let (header, value) = Door::VERSION_HEADER;
                assert!(expected.contains(&format!("{header}: {value}\r\n")), "{name}");
            }
        }
        assert_eq!(world.hub.reserved(), 0, "{name}: a place is still held");
    }
}
