//! Requests through the proxy, to an upstream that the tests control.

mod agents;
pub(super) mod http;
pub(super) mod origin;
mod raw;
mod redirects;
mod smuggling;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

pub use self::agents::{recorded_demo_requests, requests_go_through_an_agent};
use self::http::{Wire, field};
use self::origin::Origin;
pub use self::raw::{heads_have_bounds, recorded_requests};
pub use self::redirects::hostile_redirects;
pub use self::smuggling::{clear_requests_are_made_plain, doubtful_requests_are_refused};
use super::{PATIENCE, Process, eventually};

/// A gateway that passes everything below `/o/` on.
fn gateway(program: &str, origin: SocketAddr, more: &[&str]) -> (Process, SocketAddr) {
    gateway_at(program, "/o/", origin, more)
}

/// A gateway that passes everything on that matches `pattern`.
fn gateway_at(program: &str, pattern: &str, origin: SocketAddr, more: &[&str]) -> (Process, SocketAddr) {
    let route = format!("{pattern}=http://{origin}");
    let plain = ["serve", "--http", "127.0.0.1:0", "--route", &route];
    let process = Process::start(program, &[&plain, more].concat());
    let address = process.listening("http");
    (process, address)
}

fn get(name: &str) -> String {
    format!("GET /o/{name} HTTP/1.1\r\nHost: gateway\r\n\r\n")
}

/// What is passed on, what ends here, what is added; connections of both sides are used again.
pub fn heads_are_passed_on(program: &str) {
    let origin = Origin::start();
    let (mut process, address) = gateway(program, origin.address, &[]);
    let mut wire = Wire::connect(address);
    let reply = wire.ask(
        "GET /o/a%2Fb/head?x=1&timeout=3 HTTP/1.1\r\nHost: Gateway:1\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\n\
         TE: trailers\r\nX-Forwarded-For: 1.2.3.4\r\nProxy-Authorization: Basic x\r\nCookie: a=1\r\n\r\n",
    );
    let head = reply.text().to_ascii_lowercase();
    assert!(head.starts_with("get /o/a%2fb/head?x=1&timeout=3 http/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", Some(origin.address.to_string())),
        ("x-forwarded-for", Some("127.0.0.1".into())),
        ("x-forwarded-host", Some("gateway:1".into())),
        ("x-forwarded-proto", Some("http".into())),
        ("via", Some("1.1 linkspan".into())),
        ("cookie", Some("a=1".into())),
        ("te", Some("trailers".into())),
        ("x-secret", None),
        ("proxy-authorization", None),
    ] {
        assert_eq!(field(&head, name).map(str::to_owned), value, "{name} in {head}");
    }
    let reply = wire.ask(&get("hops"));
    assert_eq!((reply.status, reply.text().as_str()), (203, "ok"));
    let kept: Vec<_> = reply
        .head
        .lines()
        .filter(|line| line.starts_with("x-kept") || line.starts_with("set-cookie"))
        .collect();
    assert_eq!(kept, ["x-kept: a", "x-kept: b", "set-cookie: c=1", "set-cookie: d=2"]);
    for name in ["x-secret", "keep-alive", "proxy-authenticate"] {
        assert_eq!(field(&reply.head, name), None, "{name}");
    }
    for _ in 0..50 {
        assert_eq!(wire.ask(&get("plain")).text(), "fine");
    }
    assert_eq!(origin.connections(), 1, "one connection carries them all");
    let reply = wire.ask("HEAD /o/bytes-1000 HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(field(&reply.head, "content-length"), Some("1000"));
    assert_eq!(Wire::connect(address).ask("GET /p/ HTTP/1.1\r\nHost: g\r\n\r\n").status, 404);
    assert_eq!(Wire::connect(address).ask(&get("old")).text(), "up to the end", "a reply without a length");
    process.stop();
}

/// The host of an absolute target counts and not the field's: for the route, and for what the upstream is told.
pub fn absolute_targets_name_their_host(program: &str) {
    let origin = Origin::start();
    let (mut process, address) = gateway_at(program, "public.example/o/", origin.address, &[]);
    for (target, host, seen) in [
        ("http://public.example/o/head", "other.example", Some("public.example")),
        ("http://public.example:81/o/head", "other.example", Some("public.example:81")),
        ("/o/head", "public.example", Some("public.example")),
        ("http://other.example/o/head", "public.example", None),
        ("/o/head", "other.example", None),
    ] {
        let reply = Wire::connect(address).ask(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let status = if seen.is_some() { 200 } else { 404 };
        let said = reply.text();
        assert_eq!(reply.status, status, "{target} {host}: {said}");
        assert_eq!(field(&said, "x-forwarded-host"), seen, "{target} {host}: {said}");
    }
    process.stop();
}

/// Bodies go both ways piece by piece, with trailers, and asked for with 100-continue.
pub fn bodies_stream_both_ways(program: &str) {
    let origin = Origin::start();
    let (mut process, address) = gateway(program, origin.address, &[]);
    let mut wire = Wire::connect(address);
    wire.send(
        b"POST /o/echo HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nabc\r\n",
    );
    eventually("the head is there before the body", || !origin.heads().is_empty());
    wire.send(b"3\r\ndef\r\n0\r\nX-T: 1\r\n\r\n");
    let echo = wire.reply(false).text();
    assert!(echo.eq_ignore_ascii_case("abcdefx-t: 1\n"), "{echo}");

    wire.send(b"POST /o/echo HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(wire.head().as_deref(), Some("HTTP/1.1 100 Continue\r\n\r\n"));
    wire.send(b"hello");
    assert_eq!(wire.reply(false).text(), "hello");
    assert_eq!(field(&origin.heads()[1], "expect"), None, "it is answered here");

    let reply = wire.ask("GET /o/trailers HTTP/1.1\r\nHost: g\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    assert_eq!((reply.text().as_str(), reply.trailers.to_ascii_lowercase().as_str()), ("abc", "x-sum: 6\n"));

    let reply = wire.ask(&get("both"));
    assert_eq!((reply.text().as_str(), field(&reply.head, "content-length")), ("abcdef", None));

    wire.send(get("events").as_bytes());
    let head = wire.head().expect("an answer begins");
    assert_eq!(field(&head, "content-type"), Some("text/event-stream"));
    assert_eq!(wire.chunk().expect("at once"), b"data: one\n");
    assert_eq!(Wire::connect(address).ask(&get("plain")).status, 200);
    assert_eq!(wire.chunk().expect("then the next"), b"data: two\n");

    let big = vec![b'y'; 8 * 1024 * 1024];
    let mut wire = Wire::connect(address);
    wire.send(format!("PUT /o/echo HTTP/1.1\r\nHost: g\r\nContent-Length: {}\r\n\r\n", big.len()).as_bytes());
    let mut sender = wire.stream.try_clone().expect("a socket can be had twice");
    let sent = big.clone();
    let sending = thread::spawn(move || std::io::Write::write_all(&mut sender, &sent));
    assert!(wire.reply(false).body == big, "eight MiB there and back");
    sending.join().expect("it ends").expect("all was taken");
    process.stop();
}

/// A client that does not read costs a bounded amount, whatever the upstream has to say.
pub fn a_slow_reader_is_waited_for(program: &str) {
    const SIZE: usize = 64 * 1024 * 1024;
    let origin = Origin::start();
    let (mut process, address) = gateway(program, origin.address, &[]);
    assert_eq!(Wire::connect(address).ask(&get("bytes-1000000")).body.len(), 1_000_000);
    let before = process.memory();
    let mut wire = Wire::connect(address);
    wire.send(get(&format!("bytes-{SIZE}")).as_bytes());
    wire.head().expect("an answer begins");
    thread::sleep(Duration::from_millis(500));
    let grown = process.memory().saturating_sub(before);
    assert!(grown < 4 * 1024, "{grown} KiB for a reader that does not read");
    assert_eq!(wire.exactly(SIZE).len(), SIZE);
    process.stop();
}

/// Upstreams that do not answer, or answer nonsense: 502 or 504 and why; a cut body can be seen to be cut.
pub fn bad_upstreams_are_told(program: &str) {
    let origin = Origin::start();
    let (mut process, address) = gateway(
        program,
        origin.address,
        &[
            "--proxy-timeout",
            "300ms",
            "--route",
            "/none/=http://127.0.0.1:1",
            "--route",
            "/nameless/=http://no-such-host.invalid",
        ],
    );
    for (name, status, text) in [
        ("garbage", 502, "does not speak HTTP"),
        ("endless", 502, "does not speak HTTP"),
        ("early", 502, "ended the connection"),
        ("halflength", 502, "does not speak HTTP"),
        ("unasked", 502, ""),
        ("slow-2000", 504, "in time"),
    ] {
        let reply = Wire::connect(address).ask(&get(name));
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
        assert!(reply.text().contains(text), "{name}: {}", reply.text());
    }
    let reply = Wire::connect(address).ask("GET /none/ HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(reply.status, 502);
    assert!(reply.text().contains("refused"), "{}", reply.text());
    // A name server may say so at once, or not at all.
    let reply = Wire::connect(address).ask("GET /nameless/ HTTP/1.1\r\nHost: g\r\n\r\n");
    assert!(matches!(reply.status, 502 | 504), "{}", reply.text());
    for name in ["cut", "cutchunk"] {
        let reply = Wire::connect(address).ask(&get(name));
        assert_eq!((reply.status, reply.is_whole), (200, false), "{name}: {reply:?}");
    }
    assert_eq!(Wire::connect(address).ask(&get("plain")).text(), "fine", "the others notice nothing");
    process.stop();
}

/// A client that leaves ends the exchange upstream: before the answer, and within its body.
pub fn a_client_that_leaves_cancels(program: &str) {
    let origin = Origin::start();
    let (mut process, address) = gateway(program, origin.address, &[]);
    let mut wire = Wire::connect(address);
    wire.send(get("wait").as_bytes());
    eventually("the request is there", || origin.heads().len() == 1);
    drop(wire);
    eventually("the upstream hears of it", || origin.left() == 1);
    let mut wire = Wire::connect(address);
    wire.send(get("bytes-1000000000").as_bytes());
    wire.exactly(100_000);
    drop(wire);
    eventually("the upstream hears of it", || origin.left() == 2);
    process.stop();
}

/// An upgraded connection is bytes both ways; it ends with the process.
pub fn upgrades_pass(program: &str) {
    let origin = Origin::start();
    let (mut process, address) = gateway(program, origin.address, &[]);
    let upgrade = "GET /o/upgrade HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nearly ";
    let mut wire = Wire::connect(address);
    let reply = wire.ask(upgrade);
    assert_eq!((reply.status, field(&reply.head, "upgrade")), (101, Some("shout")), "{}", reply.head);
    assert_eq!(wire.exactly(12), b"HELLO EARLY ");
    for _ in 0..100 {
        wire.send(b"more ");
        assert_eq!(wire.exactly(5), b"MORE ");
    }
    wire.stream.shutdown(std::net::Shutdown::Write).expect("it is open");
    assert_eq!(wire.rest(), b"");
    let mut wire = Wire::connect(address);
    assert_eq!(wire.ask(upgrade).status, 101);
    assert_eq!(wire.exactly(12), b"HELLO EARLY ");
    let started = Instant::now();
    process.stop();
    assert!(started.elapsed() < PATIENCE / 6, "an upgraded connection holds nobody up");
    assert_eq!(wire.rest(), b"");
}

/// A kept connection that turns out to be dead costs an idempotent request nothing, and any other a 502.
pub fn stale_connections_are_retried(program: &str) {
    let origin = Origin::start();
    let (mut process, address) = gateway(program, origin.address, &[]);
    let mut wire = Wire::connect(address);
    assert_eq!(wire.ask(&get("stale")).text(), "fine");
    assert_eq!(wire.ask(&get("stale")).text(), "fine", "tried again on a new connection");
    assert_eq!(origin.connections(), 2);
    let post = "POST /o/stale HTTP/1.1\r\nHost: g\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(wire.ask(post).status, 502, "it may have been acted on");
    assert_eq!(origin.heads().len(), 4, "and was sent once");
    process.stop();
}

/// Many at once share connections, and all get their own answers.
pub fn many_at_once_share_connections(program: &str) {
    const CLIENTS: usize = 64;
    let origin = Origin::start();
    let (mut process, address) =
        gateway(program, origin.address, &["--proxy-connections-per-upstream", "16"]);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut wire = Wire::connect(address);
                for turn in 0..20 {
                    let body = format!("{client} {turn}");
                    let length = body.len();
                    let post =
                        format!("POST /o/echo HTTP/1.1\r\nHost: g\r\nContent-Length: {length}\r\n\r\n{body}");
                    assert_eq!(wire.ask(&post).text(), body);
                }
            });
        }
    });
    assert!(origin.connections() <= 16, "{} connections", origin.connections());
    process.stop();
}

/// Routes that cannot be are told when the program starts, with the flag or the pattern; exit code 2.
pub fn wrong_routes(program: &str) {
    for (route, text) in [
        ("/a/=ftp://x", "PATTERN=http://HOST"),
        ("/a/=http://user@x", "host"),
        ("GET /healthz=http://x", "/healthz"),
        ("/{a}/{a}=http://x", "duplicate wildcard"),
    ] {
        let mut process = Process::start(program, &["serve", "--http", "127.0.0.1:0", "--route", route]);
        assert_eq!(process.wait().code(), Some(2), "{route}");
        let said = process.stderr.all().concat();
        assert!(said.contains(text), "{route}: {said}");
    }
}
