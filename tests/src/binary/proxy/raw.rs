//! Requests that were sent to Go's server byte for byte, and what became of them there and becomes of them here.

use std::io::Read;
use std::thread;
use std::time::Duration;

use super::gateway_at;
use super::http::Wire;
use super::origin::Origin;
use crate::vectors;

/// Where ours differs on purpose: the statuses, whether the connection ends, and why.
const DIFFERENCES: &[(&str, &[u16], bool, &str)] = &[
    ("http12", &[400], true, "a version that does not exist is none"),
    ("h2_preface", &[], true, "the preface of HTTP/2 is no HTTP/1 request"),
    ("leading_crlf_first", &[200], false, "RFC 9112 §2.2: an empty line before a request is ignored"),
    ("obs_fold", &[400], true, "RFC 9112 §5.2: a folded line is refused"),
    ("chunked_bad_size", &[502], true, "the body is the upstream's, whose exchange is broken off"),
    ("te_gzip", &[400], true, "RFC 9112 §6.3: where the body ends cannot be known"),
    ("get_star", &[400], true, "the same, said in words"),
];

/// What depends on what the handlers of the recorded server did, not on the request.
const OF_HANDLERS: &[&str] = &[
    "handler_close",
    "expect_100_unread",
    "panic",
    "panic_after_flush",
    "abort",
    "status304",
    "redirect_dir",
    "redirect_post",
    "http_error_401",
    "max_header_100_total_3032",
    "max_header_100_total_4032",
    "max_header_100_total_4232",
    "max_header_100_total_9032",
];

/// The statuses of the final replies in what came back.
fn statuses(said: &str) -> Vec<u16> {
    let heads = said.match_indices("HTTP/1.").filter_map(|(at, _)| said.get(at + 9..at + 12));
    heads.filter_map(|status| status.parse().ok()).filter(|status| *status != 100).collect()
}

/// Every recorded request comes to the recorded status and end, or to what is listed above.
pub fn recorded_requests(program: &str) {
    let origin = Origin::start();
    let (mut process, address) = gateway_at(program, "/", origin.address, &[]);
    let vectors = vectors::load("http/server_raw.json");
    let cases = vectors["raw"].as_array().expect("there are some");
    let mut wrong = Vec::new();
    for case in cases {
        let text = |name: &str| case[name].as_str().expect("it has one");
        let name = text("name");
        if OF_HANDLERS.contains(&name) {
            continue;
        }
        let mut wire = Wire::connect(address);
        for (at, part) in text("request").split("<pause>").enumerate() {
            if at > 0 {
                thread::sleep(Duration::from_millis(50));
            }
            wire.send(part.as_bytes());
        }
        wire.stream.set_read_timeout(Some(Duration::from_millis(150))).expect("it can be set");
        let (mut said, mut ended, mut some) = (Vec::new(), false, [0; 4096]);
        loop {
            match wire.stream.read(&mut some) {
                Ok(0) => ended = true,
                Ok(count) => {
                    said.extend_from_slice(&some[..count]);
                    continue;
                }
                Err(_) => {}
            }
            break;
        }
        let found = (statuses(&String::from_utf8_lossy(&said)), ended);
        let listed = DIFFERENCES.iter().find(|(own, ..)| *own == name);
        let expected = match listed {
            Some((_, statuses, ended, _)) => (statuses.to_vec(), *ended),
            None => (statuses(text("response")), case["closed"] == true),
        };
        if found != expected {
            wrong.push(format!("{name}: {found:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    process.stop();
}

/// A head that is too large or has too many fields gets 431, a target that is too long 414, and the connection ends.
pub fn heads_have_bounds(program: &str) {
    let origin = Origin::start();
    let (mut process, address) = gateway_at(program, "/", origin.address, &[]);
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nHost: g\r\nX: {}\r\n\r\n", "y".repeat(40_000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: g\r\n{many}\r\n"), 431),
    ] {
        let mut wire = Wire::connect(address);
        let reply = wire.ask(&request);
        assert_eq!(reply.status, status, "{}", reply.head);
        assert_eq!(wire.rest(), b"");
    }
    assert_eq!(origin.connections(), 0);
    process.stop();
}
