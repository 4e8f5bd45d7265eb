//! Agents that fall silent, gateways that stop, and callers that ask for everything.

use std::io::{Read, Write};
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::tunnel::Content;

use super::{Gateway, ask, dial, echo, eventually, get};
use crate::binary::PATIENCE;
use crate::binary::proxy::http::Wire;
use crate::tunnel::{Heard, Link};

/// An agent behind a line that is dead: soon nothing goes that way if there is another, and then the session is over.
pub fn a_dead_line_is_noticed(program: &str) {
    let target = echo();
    let forward = format!("127.0.0.1:0=foo/tcp/{target}");
    let times = ["--tunnel-ping", "100ms", "--tunnel-quiet", "600ms", "--tunnel-silence", "4s"];
    let mut gateway = Gateway::start(program, &[&["--forward", &forward], &times[..]].concat());
    // It is the oldest, and says nothing: what goes to it is lost.
    let mut dead = Link::open(gateway.http, "foo");
    gateway.until_sessions(1);
    let mut agent = gateway.agent(program, &["--tunnel-ping", "100ms"], 2);
    eventually("the other is used", || ask_briefly(&gateway));
    eventually("which is which is shown", || {
        let listed = get(gateway.http, "/clients");
        listed.contains("\"lively\":false") && listed.contains("\"lively\":true")
    });
    // No pong, no ping: the session ends by itself, and hears why.
    gateway.until_sessions(1);
    assert!(ask(gateway.forward()));
    let mut last = Heard::Nothing;
    while let Heard::Frame(opcode, payload) = dead.next(PATIENCE) {
        last = Heard::Frame(opcode, payload);
    }
    assert!(
        matches!(&last, Heard::Frame(8, payload) if payload.starts_with(&1008_u16.to_be_bytes())),
        "{last:?}"
    );
    agent.stop();
    gateway.process.stop();
}

fn ask_briefly(gateway: &Gateway) -> bool {
    let mut stream = dial(gateway.forward());
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("it can be set");
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut [0; 4]).is_ok()
}

/// A gateway that stops tells every stream and every session; nothing new comes in meanwhile.
pub fn a_stop_is_told(program: &str) {
    let forward = ["--forward", "127.0.0.1:0=foo/tcp/127.0.0.1:1", "--close-grace", "300ms"];
    let gateway = Gateway::start(program, &forward);
    let mut agent = Link::open(gateway.http, "foo");
    let mut process = {
        gateway.until_sessions(1);
        let mut user = dial(gateway.forward());
        user.write_all(b"question").expect("it is taken");
        let (id, _) = agent.until_connect();
        agent.say(id, Content::Data(Bytes::from_static(b"answer")));
        user.read_exact(&mut [0; 6]).expect("an answer");
        gateway.process.signal("TERM");
        let end = agent.until(|message| message.stream == id && matches!(message.content, Content::Error(_)));
        assert_eq!(end.content, Content::Error(Bytes::from_static(b"tunnel disconnect")));
        let mut code = None;
        while let Heard::Frame(opcode, payload) = agent.next(PATIENCE) {
            if opcode == 8 {
                code = payload.first_chunk().copied().map(u16::from_be_bytes);
                agent.send_frame(8, &payload);
            }
        }
        assert_eq!(code, Some(1001));
        assert!(matches!(user.read(&mut [0; 16]), Ok(0) | Err(_)));
        gateway.process
    };
    assert_eq!(process.wait().code(), Some(0), "{:#?}", process.stderr.all());
}

/// Whoever asks for ever new agents and times leaves nothing behind.
pub fn ids_and_times_cost_nothing(program: &str) {
    let mut gateway = Gateway::start(program, &[]);
    let mut wire = Wire::connect(gateway.http);
    let mut flood = |from: usize, to: usize| {
        for number in from..to {
            let path = format!("/client/id-{number}/http/127.0.0.{}:1/?timeout={number}", number % 250 + 1);
            let reply = wire.ask(&format!("GET {path} HTTP/1.1\r\nHost: g\r\n\r\n"));
            assert_eq!(reply.status, 503, "{}", reply.text());
        }
    };
    flood(0, 200);
    let before = (gateway.process.memory(), gateway.process.sockets());
    flood(200, 3_000);
    let after = (gateway.process.memory(), gateway.process.sockets());
    assert!(
        after.0 < before.0 + 2 * 1024 && after.1 <= before.1,
        "{before:?} KiB and sockets, then {after:?}"
    );
    gateway.process.stop();
}
