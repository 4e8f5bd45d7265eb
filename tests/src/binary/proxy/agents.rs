//! Requests through the tunnel of a real agent.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::http::{Wire, field};
use super::origin::Origin;
use crate::binary::{Process, eventually};
use crate::vectors;

/// A gateway and an agent `foo` that may dial anything.
fn tunnel(program: &str, more: &[&str]) -> (Process, Process, SocketAddr) {
    let plain = ["serve", "--http", "127.0.0.1:0", "--tunnel"];
    let gateway = Process::start(program, &[&plain, more].concat());
    let address = gateway.listening("http");
    let url = format!("ws://{address}/connect");
    let agent = Process::start(program, &["agent", "--connect", &url, "--id", "foo", "--allow-any"]);
    eventually("the agent is there", || {
        Wire::connect(address).ask("GET /clients HTTP/1.1\r\nHost: g\r\n\r\n").text().contains("\"foo\"")
    });
    (gateway, agent, address)
}

fn get(origin: SocketAddr, rest: &str) -> String {
    format!("GET /client/foo/http/{origin}/{rest} HTTP/1.1\r\nHost: g\r\n\r\n")
}

/// Any method, streams, upgrades; errors in words; the health of a client as the original says it.
pub fn requests_go_through_an_agent(program: &str) {
    let origin = Origin::start();
    let (mut gateway, mut agent, address) = tunnel(program, &["--strict-health"]);
    let mut wire = Wire::connect(address);
    let reply = wire.ask(&get(origin.address, "a%2Fb%3F/head?x=1&timeout=5&y"));
    assert!(reply.text().starts_with("GET /a%2Fb%3F/head?x=1&y HTTP/1.1\r\n"), "{}", reply.text());
    let post = format!(
        "POST /client/foo/http/{}/echo HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\n\r\nhello",
        origin.address
    );
    assert_eq!(wire.ask(&post).text(), "hello");
    assert_eq!(wire.ask(&get(origin.address, "bytes-8000000")).body.len(), 8_000_000);
    for _ in 0..20 {
        assert_eq!(wire.ask(&get(origin.address, "plain")).text(), "fine");
    }
    assert_eq!(origin.connections(), 1, "the streams of the tunnel are used again");
    wire.send(get(origin.address, "events").as_bytes());
    wire.head().expect("an answer begins");
    assert_eq!(wire.chunk().expect("at once"), b"data: one\n");
    assert_eq!(Wire::connect(address).ask(&get(origin.address, "plain")).status, 200);
    assert_eq!(wire.chunk().expect("then the next"), b"data: two\n");

    let mut wire = Wire::connect(address);
    let upgrade = get(origin.address, "upgrade")
        .replace("\r\n\r\n", "\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n");
    assert_eq!(wire.ask(&upgrade).status, 101);
    wire.send(b"through the tunnel");
    assert_eq!(wire.exactly(24), b"HELLO THROUGH THE TUNNEL");

    for (rest, status, text) in [
        ("foo/http/127.0.0.1:1/", 502, "refused"),
        ("bar/http/127.0.0.1:1/", 503, "failed to find Session for client bar"),
        ("foo/ftp/127.0.0.1:1/", 400, "http or https"),
        ("foo/http/user@127.0.0.1:1/", 400, "host"),
        ("foo/http/a%20b/", 400, "host"),
        ("foo/http/127.0.0.1:99999/", 400, "port"),
        ("foo/http/127.0.0.1:1/%0d%0aX:y", 400, "control"),
    ] {
        let reply = Wire::connect(address).ask(&format!("GET /client/{rest} HTTP/1.1\r\nHost: g\r\n\r\n"));
        assert_eq!(reply.status, status, "{rest}: {}", reply.text());
        assert!(reply.text().contains(text), "{rest}: {}", reply.text());
    }
    let late = Wire::connect(address).ask(&get(origin.address, "slow-3000?timeout=1"));
    assert_eq!(late.status, 504, "{}", late.text());

    let health = |id: &str| {
        Wire::connect(address).ask(&format!("GET /client/{id}/healthz?name=bob HTTP/1.1\r\nHost: g\r\n\r\n"))
    };
    let healthy = health("foo");
    assert_eq!(
        (healthy.status, healthy.text()),
        (200, format!("addrss:{address} receive name=bob from client:foo\n"))
    );
    assert_eq!(health("bar").status, 503);

    let mut wire = Wire::connect(address);
    wire.send(get(origin.address, "wait").as_bytes());
    let waiting = origin.heads().len();
    eventually("the request is there", || {
        origin.heads().last().is_some_and(|head| head.contains("/wait")) || origin.heads().len() > waiting
    });
    drop(wire);
    eventually("the target hears of it", || origin.left() >= 1);
    agent.stop();
    gateway.stop();
}

/// The target of the recorded requests.
fn recorded_target() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let seen = Arc::clone(&shared);
            thread::spawn(move || answer_recorded(stream, &seen));
        }
    });
    (address, seen)
}

fn answer_recorded(stream: TcpStream, seen: &Mutex<Vec<String>>) {
    let mut wire = Wire::new(stream);
    while let Some(head) = wire.head() {
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
        let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
        let reply: &[u8] = match path.as_str() {
            "/redir" => b"HTTP/1.1 302 Found\r\nLocation: /multi\r\nContent-Length: 0\r\n\r\n",
            "/multi" => {
                b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 2\r\n\r\nok"
            }
            "/gzip" => {
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 30\r\n\r\n");
                &GZIP
            }
            "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
            "/trailer" => {
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
            }
            "/s404" => b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nnop",
            "/s304" => b"HTTP/1.1 304 Not Modified\r\nEtag: x\r\n\r\n",
            "/early" => {
                b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            }
            "/slowchunked" => {
                wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
                while wire.stream.write_all(b"3\r\ndef\r\n").is_ok() {
                    thread::sleep(Duration::from_millis(100));
                }
                return;
            }
            _ => {
                let length = path.len();
                let text = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{path}");
                wire.send(text.as_bytes());
                continue;
            }
        };
        wire.send(reply);
    }
}

/// `hello gzip`, packed.
const GZIP: [u8; 30] = [
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 203, 72, 205, 201, 201, 87, 72, 175, 202, 44, 0, 0, 25, 106, 210, 223,
    10, 0, 0, 0,
];

/// Where ours differs on purpose, and why; what is not listed must be the same in status, body, and what the target saw.
const DIFFERENCES: &[(&str, &str)] = &[
    ("dot segments", "redirects are 307: a POST stays one"),
    (
        "timeout=1 cuts a slow chunked body but ends the response normally",
        "a body that is cut can be seen to be cut",
    ),
    ("missing segments", "what there is is said in the text"),
    ("root", "the demo page"),
    ("unknown", "what there is is said in the text"),
];

/// A head without the order and case of its fields.
fn plain(head: &str) -> (String, BTreeSet<String>) {
    let mut lines = head.trim_end().lines();
    let first = lines.next().unwrap_or("").to_owned();
    let fields = lines.map(|line| match line.split_once(':') {
        Some((name, value)) => format!("{}:{}", name.to_ascii_lowercase(), value.trim()),
        None => line.to_owned(),
    });
    (first, fields.collect())
}

/// With `--compat remotedialer` the recorded requests get the recorded answers, and the target sees what it saw.
pub fn recorded_demo_requests(program: &str) {
    let (target, seen) = recorded_target();
    let (mut gateway, mut agent, address) = tunnel(program, &["--compat", "remotedialer"]);
    let vectors = vectors::load("tunnel/http-demo.json");
    let mut wrong = Vec::new();
    for case in vectors["cases"].as_array().expect("there are some") {
        let here = |text: &str| text.replace("127.0.0.1:22181", &target.to_string());
        let text = |name: &str| here(case[name].as_str().expect("it has one"));
        let name = text("name");
        seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let (request, extra) = (text("request"), text("request_extra_headers"));
        let reply = Wire::connect(address)
            .ask(&format!("{request} HTTP/1.1\r\nHost: h\r\n{extra}Connection: close\r\n\r\n"));
        if DIFFERENCES.iter().any(|(own, _)| *own == name) {
            assert!(!reply.is_whole || !name.starts_with("timeout=1"), "{name}: {reply:?}");
            continue;
        }
        let response = text("response");
        let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
        let status: u16 = head[9..12].parse().expect("a status");
        if (reply.status, reply.text().as_str()) != (status, body) {
            wrong.push(format!("{name}: {} {:?}, not {status} {body:?}", reply.status, reply.text()));
        }
        for once in ["Set-Cookie: a=1", "Set-Cookie: b=2", "X-A: 1", "X-A: 2", "Etag: x"] {
            if head.contains(once)
                && !plain(&reply.head).1.contains(
                    &once
                        .replacen(": ", ":", 1)
                        .replace("Set-C", "set-c")
                        .replace("X-A", "x-a")
                        .replace("Etag", "etag"),
                )
            {
                wrong.push(format!("{name}: no {once} in {}", reply.head));
            }
        }
        let saw: Vec<_> =
            seen.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|head| plain(head)).collect();
        let expected: Vec<_> = case["target_saw"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|head| plain(&here(head.as_str().expect("text"))))
            .collect();
        if saw != expected {
            wrong.push(format!("{name}: the target saw {saw:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let reply =
        Wire::connect(address).ask(&format!("GET /client/foo/http/{target}/a HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_eq!(field(&reply.head, "content-length"), Some("2"));
    let started = Instant::now();
    agent.stop();
    gateway.stop();
    assert!(started.elapsed() < Duration::from_secs(8));
}
