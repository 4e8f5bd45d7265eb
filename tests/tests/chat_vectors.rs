//! What the article's server was asked, and what ours must do: the column `expect` of the recorded scripts.

use std::collections::BTreeMap;
use std::sync::Arc;

use linkspan_core::chat::{Server, ServerConfig, parse_user};
use linkspan_core::hub::Config;
use linkspan_core::{CloseReason, ConnId, Opcode};
use linkspan_tests::memory::{Arrival, Gateway, Patience};
use linkspan_tests::vectors;
use serde_json::{Value, json};

/// One script: the gateway and its peers by name.
struct Script {
    gateway: Gateway,
    config: Arc<ServerConfig>,
    peers: BTreeMap<String, ConnId>,
}

impl Script {
    fn new() -> Self {
        let config = Arc::new(ServerConfig::default());
        let hub = Config { admission: config.on_duplicate, ..Config::default() };
        Self { gateway: Gateway::new(hub), config, peers: BTreeMap::new() }
    }

    fn play(&mut self, step: &Value) {
        let name = step["conn"].as_str().expect("a peer's name");
        let payload = || step["payload"].as_str().expect("a payload").to_owned();
        match step["op"].as_str().expect("an operation") {
            "connect" => {
                let path = step["path"].as_str().expect("a path");
                let user = parse_user(path.strip_prefix("/ws/").expect("a user's path")).expect("a user");
                let conn = self.gateway.connect(Server::new(Arc::clone(&self.config), user));
                self.peers.insert(name.to_owned(), conn);
            }
            "send" => {
                let opcode = if step["frame"] == "binary" { Opcode::Binary } else { Opcode::Text };
                self.gateway.receive(self.peers[name], opcode, payload());
            }
            "ping" => self.gateway.receive(self.peers[name], Opcode::Ping, payload()),
            "pause_reading" => self.gateway.read_with(self.peers[name], Patience::None),
            "flood" => {
                let mut message = step["message"].clone();
                message["content"] = "x".repeat(vectors::number(&step["content_bytes"])).into();
                for _ in 0..vectors::number(&step["count"]) {
                    self.gateway.receive(self.peers[name], Opcode::Text, message.to_string());
                }
            }
            other => panic!("unknown operation {other}"),
        }
        self.gateway.run();
    }

    /// What all peers got, in the form of the vectors.
    fn arrivals(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        for (name, conn) in &self.peers {
            for arrival in self.gateway.arrivals(*conn) {
                let text = |data: &[u8]| String::from_utf8(data.to_vec()).expect("text");
                all.push(match arrival {
                    Arrival::Frame(Opcode::Text, data) => {
                        json!({"to": name, "frame": "text", "data": text(&data)})
                    }
                    Arrival::Frame(Opcode::Pong, data) => json!({"to": name, "pong": text(&data)}),
                    Arrival::Closed { code, text } => json!({"to": name, "close": code, "reason": text}),
                    other => panic!("{name} got {other:?}"),
                });
            }
        }
        all
    }
}

#[test]
fn every_script_does_what_is_expected() {
    let vectors = vectors::load("chat/scenarios.json");
    let (mut scripts, mut steps) = (0, 0);
    for scenario in vectors["scenarios"].as_array().expect("scripts") {
        let mut script = Script::new();
        for step in scenario["steps"].as_array().expect("steps") {
            script.play(step);
            let got = script.arrivals();
            // Words instead of a list: the original and ours cannot be compared here.
            if let Some(expected) = step["expect"].as_array() {
                assert_eq!(&got, expected, "{}: {step}", vectors::name(scenario));
                steps += 1;
            }
        }
        if vectors::name(scenario) == "slow_receiver_blocks_sender" {
            let closed = |name| script.gateway.closed(script.peers[name]);
            assert_eq!(closed("c2"), Some(CloseReason::SlowConsumer));
            assert_eq!((closed("c1"), closed("c3")), (None, None));
        }
        script.gateway.finish();
        scripts += 1;
    }
    assert!(scripts >= 14 && steps >= 60, "{steps} steps of {scripts} scripts were compared");
}

#[test]
fn paths_name_users() {
    let vectors = vectors::load("chat/scenarios.json");
    let mut refused = 0;
    for case in vectors["http"].as_array().expect("cases") {
        let target = case["request"].as_str().and_then(|line| line.split(' ').nth(1)).expect("a target");
        let segment = target.split('?').next().and_then(|path| path.strip_prefix("/ws/"));
        let Some(segment) = segment.filter(|segment| !segment.is_empty() && !segment.contains('/')) else {
            continue;
        };
        let user = parse_user(&segment.replace("%31", "1"));
        let expect = case["expect"].as_str().expect("an outcome");
        if expect.starts_with("400 \"") {
            assert_eq!(format!("400 \"{}\\n\"", user.expect_err("not a user")), expect);
            refused += 1;
        } else {
            let expected = expect.split("user ").nth(1).map_or("1", |rest| &rest[..1]);
            assert_eq!(user, Ok(expected.parse().expect("a digit")), "{target}");
        }
    }
    assert!(refused >= 2);
}
