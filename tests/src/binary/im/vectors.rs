//! What the original answered, column `expect`, over real sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use super::{Tab, file, serve};
use crate::binary::Wire;
use crate::vectors::{load, name};

const USERS: &str = "u1 tok-u1\nu2 tok-u2\nq tok-q\n";

fn start(program: &str, what: &str, backend: &str) -> (crate::binary::Process, SocketAddr) {
    let list = file(what, USERS);
    // The original asks nobody where their page is from.
    let flags = ["--im-backend", backend, "--im-deliver", "5", "--origin", "*"];
    serve(program, &format!("static:{}", list.display()), &flags)
}

/// One header of an answer, whatever the case of its name.
fn header<'a>(answer: &'a str, wanted: &str) -> Option<&'a str> {
    answer.lines().skip(1).take_while(|line| !line.is_empty()).find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case(wanted).then_some(value)
    })
}

/// Status, the headers that matter, and the body of every recorded answer.
///
/// # Panics
///
/// If a listener of `program` answers otherwise.
pub fn recorded_handshakes(program: &str) {
    let vectors = load("im/scenarios.json");
    let cases = vectors["http"].as_array().expect("a list");
    let (mut gateway, address) = start(program, "im-handshakes", "echo");
    let mut full: Vec<Tab> = Vec::new();
    for case in cases {
        let name = name(case);
        if name.starts_with("eleventh") && full.is_empty() {
            full = (0..10).map(|_| Tab::open(address, "q", 5, "tok-q").expect("there is room")).collect();
        }
        let request = case["request"].as_str().expect("a text").replace("<host>", &address.to_string());
        let expected = case["upstream"]["response"].as_str().expect("a text");
        let status = |answer: &str| answer.split(' ').nth(1).map(str::to_owned);
        match Wire::knock(address, &request).expect("an answer") {
            Ok(_) => assert_eq!(status(expected).as_deref(), Some("101"), "{name}"),
            Err(answer) => {
                assert_eq!(status(&answer), status(expected), "{name}: {answer}");
                for wanted in ["content-type", "sec-websocket-version", "location", "content-length"] {
                    assert_eq!(header(&answer, wanted), header(expected, wanted), "{name}: {answer}");
                }
                let body = |answer: &str| answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
                assert_eq!(body(&answer), body(expected), "{name}");
            }
        }
    }
    full.into_iter().for_each(Tab::close);
    let mut again = Vec::new();
    crate::binary::eventually("the places are free again", || {
        again.push(Tab::open(address, "q", 5, "tok-q"));
        again.last().is_some_and(Result::is_ok)
    });
    gateway.stop();
}

/// A frame with its data parsed, because two programs may order the members of an object differently.
fn normal(text: &str) -> String {
    let mut frame: Value = serde_json::from_str(text).expect("it is JSON");
    if let Some(data) = frame["data"].as_str()
        && let Ok(parsed) = serde_json::from_str::<Value>(data)
    {
        frame["data"] = parsed;
    }
    frame.to_string()
}

/// Every step of the recorded scripts.
///
/// # Panics
///
/// If a listener of `program` answers otherwise.
pub fn recorded_scripts(program: &str) {
    let vectors = load("im/scenarios.json");
    let scenarios = vectors["scenarios"].as_array().expect("a list");
    assert_eq!(scenarios.len(), 3);
    for scenario in scenarios {
        let is_slow =
            scenario["server_args"].as_array().is_some_and(|all| all.iter().any(|one| one == "1200ms"));
        let (mut gateway, address) =
            start(program, "im-scripts", if is_slow { "echo:1200ms" } else { "echo" });
        play(address, scenario);
        gateway.stop();
    }
}

fn play(address: SocketAddr, scenario: &Value) {
    let mut tabs: BTreeMap<String, Tab> = BTreeMap::new();
    for (index, step) in scenario["steps"].as_array().expect("a list").iter().enumerate() {
        let at = format!("{}, step {index}", name(scenario));
        let text = |field: &str| step[field].as_str().unwrap_or_else(|| panic!("{at}: {field}")).to_owned();
        let conn = text("conn");
        match text("op").as_str() {
            "connect" => {
                let path = text("path");
                let query = path.split_once('?').expect("a query").1;
                let wire = Wire::knock(address, &super::handshake(query)).expect("an answer").expect(&at);
                tabs.insert(conn, Tab { wire, user: String::new() });
            }
            "send" => {
                let tab = tabs.get_mut(&conn).expect("it is connected");
                tab.wire.send_text(&text("payload")).expect("it takes it");
            }
            "close" => tabs.remove(&conn).expect("it is connected").close(),
            other => panic!("{at}: {other}"),
        }
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for one in step["expect"].as_array().expect("a list").iter().filter(|one| one["close"].is_null()) {
            let [to, data] = ["to", "data"].map(|field| one[field].as_str().expect("a text").to_owned());
            expected.entry(to).or_default().push(normal(&data));
        }
        for (conn, mut expected) in expected {
            let wire = &mut tabs.get_mut(&conn).expect("it is connected").wire;
            let mut got: Vec<_> = expected
                .iter()
                .map(|_| normal(&wire.receive_text().expect(&at).expect("it lives")))
                .collect();
            got.sort();
            expected.sort();
            assert_eq!(got, expected, "{at}: {conn}");
        }
    }
    for (conn, tab) in &mut tabs {
        assert!(tab.is_quiet(), "{}: {conn} hears more than it should", name(scenario));
    }
}
