//! Agents and peers that misbehave: they harm only themselves.

use std::io::{Read, Write};
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::tunnel::{ClientSession, Content};

use crate::original::{Session, handshake};
use crate::site::{AgentSite, Kind, Server, dial, echo, eventually, forwards, is_over, loopback, tcp};

/// A server with an honest agent that is asked after each attack.
struct Scene {
    server: Server,
    _agent: AgentSite,
}

impl Scene {
    fn new(kind: Kind) -> Self {
        let server = Server::start(kind, forwards(&[tcp(echo())]));
        let agent = AgentSite::start(kind, &server);
        Self { server, _agent: agent }
    }

    fn is_well(&self) {
        let mut stream = self.server.dial();
        stream.write_all(b"well?").unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"well?");
    }
}

pub(crate) fn bad_messages_end_their_own_session(kind: Kind) {
    let scene = Scene::new(kind);
    let bad: [&[u8]; 6] = [
        // Nothing at all, a number cut off, one of eleven bytes, one beyond 64 bits.
        b"",
        b"\x80",
        b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x02",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x02\x02",
        // A dial of nothing, and a list that is cut off.
        b"\x02\x04\x04\x00no slash",
        b"\x02\x00\x10abc",
    ];
    for message in bad {
        let mut session = Session::open(&scene.server, "bad");
        session.say_bytes(message);
        session.until_over();
        scene.is_well();
    }
    let mut session = Session::open(&scene.server, "bad");
    session.socket.send(tungstenite::Message::text("text")).unwrap();
    session.until_over();
    scene.is_well();
    // Bytes that are no frame at all.
    let mut session = Session::open(&scene.server, "bad");
    session.socket.get_mut().write_all(&[0xff; 64]).unwrap();
    session.until_over();
    scene.server.until_clients(1);
    scene.is_well();
}

/// Streams that nobody opened, ended twice, or that the agent opens itself.
pub(crate) fn numbers_used_twice(kind: Kind) {
    let server = Server::start(kind, forwards(&[tcp(loopback())]));
    let mut session = Session::open(&server, "foo");
    server.until_clients(1);
    let mut user = server.dial();
    user.write_all(b"question").unwrap();
    let (id, _) = session.until_connect();
    // Unknown numbers are answered once.
    session.say(id + 100, Content::Data(Bytes::from_static(b"?")));
    session.say(id + 100, Content::Data(Bytes::from_static(b"?")));
    let answer = session.until(|message| message.stream == id + 100);
    let Content::Error(text) = answer.content else { panic!("{answer:?}") };
    assert!(text.starts_with(b"connection not found"), "{}", text.escape_ascii());
    // An agent may not dial a server, and the stream that has the number lives on.
    let target = linkspan_core::tunnel::Target {
        proto: Bytes::from_static(b"tcp"),
        address: Bytes::from_static(b"127.0.0.1:1"),
        is_cut: false,
    };
    session.say(id, Content::Connect(target.clone()));
    session.say(id + 200, Content::Connect(target));
    let refusal = session.until(|message| message.stream == id + 200);
    assert_eq!(refusal.content, Content::Error(Bytes::from_static(b"connect not allowed")));
    session.say(id, Content::Data(Bytes::from_static(b"answer")));
    let mut answer = [0; 6];
    user.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"answer");
    // The end comes once; what follows is nobody's.
    session.say(id, Content::Error(Bytes::from_static(b"EOF")));
    session.say(id, Content::Error(Bytes::from_static(b"EOF")));
    session.say(id, Content::Data(Bytes::from_static(b"late")));
    assert!(is_over(&mut user));
    server.until_clients(1);
}

/// A server that asks an agent for more than it may: refused one by one, and the session lives on.
pub(crate) fn a_flood_of_dials(kind: Kind) {
    // Nobody answers at this address: the dials hang.
    let config = forwards(&["tcp/10.255.255.1:9".to_owned(), tcp(echo())]);
    let server = Server::start(kind, config);
    let _agent = AgentSite::start(kind, &server);
    let hanging: Vec<_> = (0..200).map(|_| dial(server.forwards[0])).collect();
    // No more than 64 are dialled at a time; the others are told at once.
    let mut refused = 0;
    eventually("refusals", || {
        refused = 0;
        for stream in &hanging {
            stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            let mut stream = stream.try_clone().unwrap();
            refused += usize::from(is_over(&mut stream));
        }
        refused >= 100
    });
    let mut stream = dial(server.forwards[1]);
    drop(hanging);
    stream.write_all(b"x").unwrap();
    assert!(stream.read(&mut [0; 1]).is_ok());
}

/// Announcements of what is not so, or cannot be.
pub(crate) fn lies_about_clients(kind: Kind) {
    let mut config = forwards(&[tcp(echo())]);
    config.own = Some(linkspan_gateway::tunnel::Own {
        id: linkspan_gateway::tunnel::parse_name("first").unwrap(),
        token: linkspan_gateway::tunnel::Secret::new("aaa"),
    });
    config.peers = vec!["liar:lll:ws://127.0.0.1:9/connect".parse().unwrap()];
    let server = Server::start(kind, config);
    let agent = AgentSite::start(kind, &server);
    let headers = [("x-api-tunnel-id", "liar"), ("x-api-tunnel-token", "lll")];
    let mut liar = handshake(server.http, &headers).unwrap().0;
    let announce = |client: &'static [u8], session| {
        Content::add_client(&ClientSession { client: Bytes::from_static(client), session }).unwrap()
    };
    // That it has our own client: ours goes first. That it has ourselves: nonsense.
    liar.say(0, announce(b"foo", 1));
    liar.say(0, announce(b"first", 2));
    liar.say(0, announce(b"liar", 3));
    for text in [&b"no number"[..], b"a/b/1", b"/1", b"x::y/1"] {
        liar.say_bytes(&[&b"\x02\x00\x08"[..], text].concat());
    }
    let scene = Scene { server, _agent: agent };
    scene.is_well();
    // An agent is no peer: what it announces counts for nothing.
    let mut pretender = Session::open(&scene.server, "pretender");
    pretender.say(0, announce(b"bank", 1));
    scene.is_well();
    // A name that could not be announced does not come in.
    for name in ["a/b", "a::b", &"k".repeat(81)] {
        let text = format!(
            "GET /connect HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             X-Tunnel-ID: {name}\r\n\r\n"
        );
        let mut stream = dial(scene.server.http);
        stream.write_all(text.as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 400", "{name}");
    }
    scene.is_well();
}
