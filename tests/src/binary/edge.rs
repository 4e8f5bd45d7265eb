//! Who may come in: origins, proxies, rates, refusals.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::web::{Said, Web};
use super::{Client, Got, Process, eventually};

fn serve(program: &str, more: &[&str]) -> (Process, SocketAddr) {
    let chat = ["serve", "--http", "127.0.0.1:0", "--chat"];
    let process = Process::start(program, &[&chat, more].concat());
    let address = process.listening("http");
    (process, address)
}

/// A page of another host is told why it may not; no page at all may.
pub fn pages_of_other_hosts_are_refused(program: &str) {
    let any = "127.0.0.1:0";
    let listed = ["--origin", "https://game.example,http://localhost:7777"];
    let listeners = ["--pomelo-ws", any, "--im", any, "--im-token", "none"];
    let both = [&listeners[..], &listed].concat();
    for (more, listed) in [(&[][..], false), (&listeners, false), (&both, true)] {
        let (mut gateway, http) = serve(program, more);
        let mut listeners = vec![(http, "/ws/1")];
        if !more.is_empty() {
            listeners.push((gateway.listening("pomelo-ws"), "/"));
            listeners.push((gateway.listening("im"), "/?sendID=ann&token=any&platformID=5"));
        }
        for (address, path) in listeners {
            let ask = |origin: &str| Web::connect(address).upgrade(path, &format!("Origin: {origin}\r\n"));
            for (origin, allowed) in [
                ("http://localhost", true),
                ("http://localhost:3252", true),
                ("https://LOCALHOST", true),
                ("https://game.example", listed),
                ("https://GAME.example:443", listed),
                ("http://game.example", false),
                ("https://game.example.evil.example", false),
                ("https://evil.example", false),
                ("null", false),
                ("", false),
                ("localhost", false),
            ] {
                let answer = ask(origin);
                assert_eq!(answer.status, if allowed { 101 } else { 403 }, "{origin} {answer:?}");
                assert!(allowed || answer.body.contains("--origin"), "{answer:?}");
            }
            assert_eq!(Web::connect(address).upgrade(path, "").status, 101, "no page at all");
        }
        gateway.stop();
    }
    let (mut gateway, http) = serve(program, &["--origin", "*"]);
    assert_eq!(Web::connect(http).upgrade("/ws/1", "Origin: https://evil.example\r\n").status, 101);
    gateway.stop();
}

/// Behind a proxy that is trusted each client has limits of its own, and nobody else's word counts.
pub fn addresses_behind_proxies_are_limited(program: &str) {
    let more = [
        "--trust-proxy",
        "127.0.0.0/8,10.0.0.0/8",
        "--messages-per-second",
        "1",
        "--messages-burst",
        "20",
        "--connections-per-address",
        "2",
    ];
    let (mut gateway, address) = serve(program, &more);
    let from = |list: &str| format!("X-Forwarded-For: {list}\r\n");
    let mut quiet = Web::open_with(address, "/ws/1", &from("192.0.2.1"));
    let mut loud = Web::open_with(address, "/ws/2", &from("1.2.3.4, 192.0.2.2, 10.0.0.9"));
    let mut louder = Web::open_with(address, "/ws/3", &from("192.0.2.2"));
    let refused = Web::connect(address).upgrade("/ws/4", &from("192.0.2.2"));
    assert_eq!((refused.status, refused.body.as_str()), (503, "too many connections\n"));
    assert!(refused.head.contains("\r\nretry-after: "), "{refused:?}");
    // Both connections of one address are on one account.
    for at in 0..80 {
        let one = if at % 2 == 0 { &mut loud } else { &mut louder };
        let _ = one.text(r#"{"type":0}"#);
    }
    let mut ends = [loud.next(), louder.next()];
    ends.sort_by_key(|end| *end == Said::End);
    assert_eq!(ends[0], Said::Close(1008, "too many messages".to_owned()));
    quiet.text(r#"{"type":1,"receiver":1}"#).expect("it reads");
    assert_eq!(quiet.next(), Said::Text(r#"{"type":1,"receiver":1}"#.to_owned()), "another address");
    quiet.leave();
    gateway.stop();
    let log = gateway.stderr.all();
    assert!(log.iter().any(|line| line.contains("192.0.2.1:0")), "logs name the client: {log:#?}");

    // Whoever is not trusted is who it is, whatever it says.
    let (mut gateway, address) =
        serve(program, &["--connections-per-address", "1", "--trust-proxy", "10.0.0.0/8"]);
    let (one, two) = ("X-Forwarded-For: 192.0.2.1\r\n", "/ws/1");
    let both = [Web::open_with(address, two, one), Web::open_with(address, "/ws/2", one)];
    both.into_iter().for_each(Web::leave);
    gateway.stop();
    let log = gateway.stderr.all();
    assert!(!log.iter().any(|line| line.contains("192.0.2.1")), "{log:#?}");
}

/// PROXY headers of both versions, on every listener; what is none ends its own connection.
pub fn proxy_headers_name_the_client(program: &str) {
    let more = ["--trust-proxy", "127.0.0.1", "--proxy-protocol", "--handshake-timeout", "1s"];
    let mut gateway = Process::serve(program, &[&more[..], &["--http", "127.0.0.1:0", "--chat"]].concat());
    let (tcp, http) = (gateway.listening("pomelo-tcp"), gateway.listening("http"));
    let second =
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[192, 0, 2, 8, 10, 0, 0, 1, 0x13, 0x88, 0, 80]]
            .concat();
    for (header, client) in
        [(&b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 80\r\n"[..], "192.0.2.7:5000"), (&second, "192.0.2.8:5000")]
    {
        let mut client_of_proxy = Client::connect_behind(tcp, header).expect("the gateway serves");
        client_of_proxy.request(1, "Echo.Info", "").expect("it reads");
        let Got::Answer(1, body) = client_of_proxy.next().expect("an answer") else { panic!("no answer") };
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(body.contains(client), "{body}");
        let mut web = Web::connect(http);
        web.raw(header).expect("it reads");
        assert_eq!(web.ask("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").body, "ok\n");
    }
    // No header, a broken one, half a one: the end, within the time for a handshake.
    for odd in [&b"GET /healthz HTTP/1.1\r\n\r\n"[..], b"PROXY TCP9 x\r\n", b"PROXY TCP4 1.2.3.4"] {
        let mut web = Web::connect(http);
        web.raw(odd).expect("it reads");
        assert_eq!(web.next(), Said::End, "{odd:?}");
    }
    let mut honest = Client::connect_behind(tcp, b"PROXY UNKNOWN\r\n").expect("the gateway serves");
    honest.echo(1).expect("the right answer");
    gateway.stop();
}

/// Counters tell how the limits are set, and the list of agents who is there: both are told to the machine itself, and to
/// nobody whom a proxy on it speaks for.
pub fn what_is_counted_is_for_the_machine_itself(program: &str) {
    let (mut gateway, http) = serve(program, &["--tunnel", "--trust-proxy", "127.0.0.1"]);
    for page in ["/metrics", "/clients"] {
        for (from, status) in [
            ("", 200),
            ("X-Forwarded-For: 192.0.2.1\r\n", 403),
            ("X-Forwarded-For: 127.0.0.1, 192.0.2.1\r\n", 403),
            ("X-Forwarded-For: 192.0.2.1, 127.0.0.1\r\n", 403),
        ] {
            let answer = Web::connect(http).ask(&format!("GET {page} HTTP/1.1\r\nHost: x\r\n{from}\r\n"));
            assert_eq!(answer.status, status, "{page} {from:?}");
            assert!(status == 200 || !answer.body.contains("linkspan"), "{answer:?}");
        }
    }
    gateway.stop();
}

/// Over a listener for both families the machine itself has an address of IPv4 that is written as one of IPv6.
pub fn a_listener_for_both_families_knows_the_machine_itself(program: &str) {
    let serves_both = TcpListener::bind("[::]:0").is_ok_and(|probe| {
        let port = probe.local_addr().expect("it is bound").port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    if !serves_both {
        // A system with one family has no such listener.
        return;
    }
    let mut gateway = Process::start(program, &["serve", "--http", "[::]:0", "--tunnel"]);
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway.listening("http").port()));
    for page in ["/metrics", "/clients"] {
        let answer = Web::connect(http).ask(&format!("GET {page} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(answer.status, 200, "{page} {answer:?}");
    }
    gateway.stop();
}

/// Whoever finds the house full is told, and when to come again.
pub fn too_many_are_told(program: &str) {
    let (mut gateway, address) = serve(program, &["--connections", "2"]);
    let inside = [Web::open(address, "/ws/1"), Web::open(address, "/ws/2")];
    let mut outside = Web::connect(address);
    let refused = outside.ask("GET /ws/3 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        refused.head.contains("\r\nretry-after: 5\r\n") && refused.body.contains("no room"),
        "{refused:?}"
    );
    assert_eq!(outside.next(), Said::End);
    inside.into_iter().for_each(Web::leave);
    eventually("there is room again", || {
        Web::connect(address).ask("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").status == 200
    });
    gateway.stop();

    // A flood beyond the number of refusals is closed without a word, and costs no answer to those inside.
    let (mut gateway, address) = serve(program, &["--connections", "1", "--refusals", "0"]);
    let mut inside = Web::open(address, "/ws/1");
    for _ in 0..50 {
        assert_eq!(Web::connect(address).next(), Said::End);
    }
    assert!(inside.is_silent(Duration::from_millis(10)));
    inside.leave();
    gateway.stop();
}

/// What is wrong and what to write instead, with exit code 2.
pub fn wrong_settings_are_told(program: &str) {
    for (arguments, fix) in [
        (&["--http", "127.0.0.1:0", "--origin", "game.example"][..], "https://game.example"),
        (&["--http", "127.0.0.1:0", "--trust-proxy", "10.0.0.0/33"], "10.0.0.0/8"),
        (&["--http", "127.0.0.1:0", "--proxy-protocol"], "--trust-proxy"),
        (&["--pomelo-tcp", "127.0.0.1:0", "--chat"], "--http"),
        (&["--http", "127.0.0.1:0", "--chat", "--chat-on-slow", "wait"], "backpressure"),
    ] {
        let mut process = Process::start(program, &[&["serve"], arguments].concat());
        assert_eq!(process.wait().code(), Some(2), "{arguments:?}");
        let said = process.stderr.all().join("\n");
        assert!(said.contains(fix), "{arguments:?}: {said}");
    }
}
