//! Sessions that were recorded between the originals, with one of the two ends replaced by a real program of ours.
//!
//! What must be as recorded: what is dialled, the bytes of each stream in each direction, and how it ends. What differs
//! on purpose: message ids, stream numbers, how bytes are cut into messages, one error per stream and side where the
//! originals send up to three, and nothing for data that crossed an end.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::tunnel::{Content, EOF, Message, Target};

use super::Link;
use crate::vectors;

const PATIENCE: Duration = Duration::from_secs(20);

/// The recordings whose messages are complete.
pub const RECORDINGS: [&str; 7] = [
    "get-small",
    "target-refused",
    "target-closes-at-once",
    "target-connection-close",
    "target-half-close",
    "old-client-v0.2.5-new-server",
    "new-client-old-server-v0.2.5",
];

/// One stream as it was recorded.
#[derive(Debug, Default)]
struct Recorded {
    /// `proto/address`.
    target: String,
    /// What the server's end sent, and what the agent's end sent.
    down: Vec<u8>,
    up: Vec<u8>,
    /// The messages of the agent's end.
    said: Vec<Content>,
    /// The error that came first, and whether it is the agent's.
    end: Option<(Bytes, bool)>,
}

/// The streams of a recording, in the order in which they were dialled.
fn read(name: &str) -> Vec<Recorded> {
    let file = vectors::load(&format!("tunnel/transcript-{name}.json"));
    let mut streams: Vec<(i64, Recorded)> = Vec::new();
    for event in file["events"].as_array().expect("events") {
        let Some(hex) = event["hex"].as_str().filter(|_| event["opcode"] == 2) else {
            // Of a large message only its sum was kept: its stream cannot be played.
            let id = event["msg"]["conn"].as_str().or(event["conn"].as_str());
            let id = id.and_then(|id| id.parse::<i64>().ok());
            streams.retain(|(own, _)| Some(*own) != id);
            continue;
        };
        let message = Message::decode(&vectors::hex(hex).into()).expect("readable");
        let is_up = event["dir"] == "c2s";
        if let Content::Connect(Target { proto, address, .. }) = &message.content {
            let target = format!("{}/{}", proto.escape_ascii(), address.escape_ascii());
            streams.push((message.stream, Recorded { target, ..Recorded::default() }));
            continue;
        }
        let Some((_, stream)) = streams.iter_mut().rev().find(|(id, _)| *id == message.stream) else {
            continue;
        };
        if is_up {
            stream.said.push(message.content.clone());
        }
        match message.content {
            Content::Data(body) if stream.end.is_none() => {
                if is_up { &mut stream.up } else { &mut stream.down }.extend_from_slice(&body);
            }
            Content::Error(text) => _ = stream.end.get_or_insert((text, is_up)),
            _ => {}
        }
    }
    let streams: Vec<_> = streams.into_iter().map(|(_, stream)| stream).collect();
    assert!(!streams.is_empty(), "{name} has no stream");
    streams
}

/// Hears so many bytes of a stream.
fn hear_bytes(link: &mut Link, stream: i64, count: usize) -> Vec<u8> {
    let mut heard = Vec::new();
    while heard.len() < count {
        let message = link.until(|message| message.stream == stream);
        match message.content {
            Content::Data(body) => heard.extend_from_slice(&body),
            other => panic!("{other:?} after {} of {count} bytes", heard.len()),
        }
    }
    heard
}

/// Hears one error of a stream, and nothing more for a while.
fn hear_end(link: &mut Link, stream: i64) -> Bytes {
    let is_end = |message: &Message| message.stream == stream && matches!(message.content, Content::Error(_));
    let message = link.until(is_end);
    while let Ok(Some(more)) = link.hear(Duration::from_millis(50)) {
        assert!(!is_end(&more), "a second {more:?}");
    }
    match message.content {
        Content::Error(text) => text,
        _ => unreachable!(),
    }
}

fn dial(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
    stream
}

/// Whether nothing follows: the end, or a reset.
fn is_over(stream: &mut TcpStream) -> bool {
    let outcome = stream.read(&mut [0]);
    outcome.map_or_else(
        |error| !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
        |count| count == 0,
    )
}

/// A server of ours at the recorded agent. `start` gives one with a port that leads to `foo/TARGET`: what ends it, its
/// HTTP address, and that port.
pub fn our_server<G>(mut start: impl FnMut(&str) -> (G, SocketAddr, SocketAddr)) {
    for name in RECORDINGS {
        for recorded in read(name) {
            let (_guard, http, forward) = start(&recorded.target);
            let mut agent = Link::open(http, "foo");
            let mut user = dial(forward);
            user.write_all(&recorded.down).expect("it is taken");
            let (id, Target { proto, address, .. }) = agent.until_connect();
            let asked = format!("{}/{}", proto.escape_ascii(), address.escape_ascii());
            assert_eq!(asked, recorded.target, "{name}");
            assert_eq!(hear_bytes(&mut agent, id, recorded.down.len()), recorded.down, "{name}");
            for content in &recorded.said {
                // Answers to what crossed an end are for streams that are gone.
                agent.say(id, content.clone());
            }
            let mut answer = vec![0; recorded.up.len()];
            user.read_exact(&mut answer).expect("an answer");
            assert_eq!(answer, recorded.up, "{name}");
            match &recorded.end {
                Some((text, true)) => {
                    assert!(is_over(&mut user), "{name}");
                    assert_eq!(hear_end(&mut agent, id), *text, "{name}");
                }
                _ if recorded.said.iter().any(|content| matches!(content, Content::Error(_))) => {}
                _ => {
                    drop(user);
                    assert_eq!(hear_end(&mut agent, id), EOF, "{name}");
                }
            }
        }
    }
}

/// An agent of ours at the recorded server. `start` starts one that may dial anything, for a URL.
pub fn our_agent<G>(mut start: impl FnMut(&str) -> G) {
    for name in RECORDINGS {
        for recorded in read(name) {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let _agent = start(&format!("ws://{}/connect", listener.local_addr().expect("bound")));
            let (stream, _) = listener.accept().expect("it comes");
            replay_at_agent(name, &recorded, &mut Link::accept(stream));
        }
    }
}

fn replay_at_agent(name: &str, recorded: &Recorded, server: &mut Link) {
    let is_refused = matches!(&recorded.end, Some((text, true)) if text.starts_with(b"dial"));
    let ends_itself = matches!(&recorded.end, Some((_, true)));
    let to = if is_refused { free() } else { play_target(recorded, ends_itself) };
    let connect = |to: SocketAddr| {
        let (proto, address) = (Bytes::from_static(b"tcp"), to.to_string().into());
        Content::Connect(Target { proto, address, is_cut: false })
    };
    server.say(2, connect(to));
    if !recorded.down.is_empty() && !is_refused {
        server.say(2, Content::Data(Bytes::copy_from_slice(&recorded.down)));
    }
    assert_eq!(hear_bytes(server, 2, recorded.up.len()), recorded.up, "{name}");
    if ends_itself {
        let text = hear_end(server, 2);
        match is_refused {
            true => assert_eq!(text, format!("dial tcp {to}: connect: connection refused"), "{name}"),
            false => assert_eq!(text, EOF, "{name}"),
        }
        server.say(2, Content::Error(text));
    } else {
        server.say(2, Content::Error(Bytes::from_static(EOF)));
        assert_eq!(hear_end(server, 2), EOF, "{name}");
    }
    // The session lives: it opens another stream.
    server.say(4, connect(play_target(recorded, false)));
    server.say(4, Content::Data(Bytes::copy_from_slice(&recorded.down)));
    assert_eq!(hear_bytes(server, 4, recorded.up.len()), recorded.up, "{name}");
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound")
}

/// A target that answers the recorded bytes with the recorded bytes.
fn play_target(recorded: &Recorded, ends_itself: bool) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (asked, answer) = (recorded.down.len(), recorded.up.clone());
    thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else { return };
        let mut question = vec![0; asked];
        if stream.read_exact(&mut question).is_ok() {
            let _ = stream.write_all(&answer);
        }
        if !ends_itself {
            let _ = stream.read(&mut [0; 1]);
        }
    });
    address
}

/// Every recorded list at a server of ours, which must end the streams that are missing, whatever the order of the
/// list. `start` gives a server whose port leads to an agent `foo`, and which waits no time before a stream that is
/// missing counts as gone.
///
/// Our stream numbers are even ones from 2 on; the recorded ones stand for them in their order.
pub fn lists_of_streams<G>(mut start: impl FnMut() -> (G, SocketAddr, SocketAddr)) {
    let file = vectors::load("tunnel/sync-diff.json");
    let (_guard, http, forward) = start();
    let mut agent = Link::open(http, "foo");
    let mut fence = 900_000;
    for case in file["vectors"].as_array().expect("lists") {
        let numbers = |name: &str| -> Vec<i64> {
            let list = case[name].as_array().into_iter().flatten();
            list.map(|number| number.as_i64().expect("a number")).collect()
        };
        let (known, listed) = (numbers("Server"), numbers("Client"));
        let mut open = Vec::new();
        for number in &known {
            let user = dial(forward);
            open.push((*number, agent.until_connect().0, user));
        }
        let own = |number: &i64| {
            let found = open.iter().find(|(recorded, ..)| recorded == number);
            found.map_or(1_000_000 + number, |(_, own, _)| *own)
        };
        agent.say(0, Content::sync(listed.iter().map(own).collect::<Vec<_>>().into_iter()));
        // What was sent before an answer has been acted on when the answer is there.
        fence += 1;
        agent.say(fence, Content::Data(Bytes::from_static(b"?")));
        agent.until(|message| message.stream == fence);
        for (number, own, mut user) in open {
            let is_missing = !listed.contains(&number);
            if !is_missing {
                user.set_read_timeout(Some(Duration::from_millis(20))).expect("it can be set");
                assert!(!is_over(&mut user), "{case}: {number}");
                user.set_read_timeout(Some(PATIENCE)).expect("it can be set");
                agent.say(own, Content::Error(Bytes::from_static(EOF)));
            }
            assert!(is_over(&mut user), "{case}: {number}");
        }
    }
}
