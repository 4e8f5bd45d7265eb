//! Sessions that were recorded between the originals, with one of the two ends replaced by ours.
//!
//! What must be as recorded: what is dialled, the bytes of each stream in each direction, and how it ends. What differs
//! on purpose: message ids, stream numbers, how bytes are cut into messages, one error per stream and side where the
//! originals send up to three, and nothing for data that crossed an end.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::tunnel::{Content, EOF, Message, Target};
use serde_json::Value;

use crate::original::Session;
use crate::site::{AgentConfig, AgentSite, Kind, PATIENCE, Server, forwards, is_over, loopback, target};

/// The recordings whose messages are complete.
const RECORDINGS: [&str; 7] = [
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
    let path = format!("vectors/tunnel/transcript-{name}.json");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut streams: Vec<(i64, Recorded)> = Vec::new();
    for event in file["events"].as_array().unwrap() {
        let Some(hex) = event["hex"].as_str().filter(|_| event["opcode"] == 2) else {
            // Of a large message only its sum was kept: its stream cannot be played.
            let id = event["msg"]["conn"].as_str().or(event["conn"].as_str());
            let id = id.and_then(|id| id.parse::<i64>().ok());
            streams.retain(|(own, _)| Some(*own) != id);
            continue;
        };
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        let message = Message::decode(&bytes.collect::<Bytes>()).unwrap();
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
fn hear_bytes(session: &mut Session, stream: i64, count: usize) -> Vec<u8> {
    let mut heard = Vec::new();
    while heard.len() < count {
        let message = session.until(|message| message.stream == stream);
        match message.content {
            Content::Data(body) => heard.extend_from_slice(&body),
            other => panic!("{other:?} after {} of {count} bytes", heard.len()),
        }
    }
    heard
}

/// Hears one error of a stream, and nothing more for a while.
fn hear_end(session: &mut Session, stream: i64) -> Bytes {
    let message =
        session.until(|message| message.stream == stream && matches!(message.content, Content::Error(_)));
    while let Ok(Some(more)) = session.hear(Duration::from_millis(50)) {
        assert!(more.stream != stream || !matches!(more.content, Content::Error(_)), "a second {more:?}");
    }
    match message.content {
        Content::Error(text) => text,
        _ => unreachable!(),
    }
}

/// Our server at the recorded agent.
pub(crate) fn our_server(kind: Kind) {
    for name in RECORDINGS {
        for recorded in read(name) {
            let server = Server::start(kind, forwards(std::slice::from_ref(&recorded.target)));
            let mut agent = Session::open(&server, "foo");
            server.until_clients(1);
            let mut user = server.dial();
            user.write_all(&recorded.down).unwrap();
            let (id, Target { proto, address, .. }) = agent.until_connect();
            let asked = format!("{}/{}", proto.escape_ascii(), address.escape_ascii());
            assert_eq!(asked, recorded.target, "{name}");
            assert_eq!(hear_bytes(&mut agent, id, recorded.down.len()), recorded.down, "{name}");
            for content in &recorded.said {
                // Answers to what crossed an end are for streams that are gone.
                agent.say(id, content.clone());
            }
            let mut answer = vec![0; recorded.up.len()];
            user.read_exact(&mut answer).unwrap();
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

/// Our agent at the recorded server.
pub(crate) fn our_agent(kind: Kind) {
    for name in RECORDINGS {
        for recorded in read(name) {
            let listener = TcpListener::bind(loopback()).unwrap();
            let door = format!("ws://{}/connect", listener.local_addr().unwrap()).parse().unwrap();
            let _agent = AgentSite::start_with(kind, AgentConfig::new(door));
            let (stream, _) = listener.accept().unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            let mut server = Session::over(tungstenite::accept(stream).unwrap());
            replay_at_agent(name, &recorded, &mut server);
        }
    }
}

fn replay_at_agent(name: &str, recorded: &Recorded, server: &mut Session) {
    let is_refused = matches!(&recorded.end, Some((text, true)) if text.starts_with(b"dial"));
    let ends_itself = matches!(&recorded.end, Some((_, true)));
    let to = if is_refused { free() } else { play_target(recorded, ends_itself) };
    let asked = Target { proto: Bytes::from_static(b"tcp"), address: to.to_string().into(), is_cut: false };
    server.say(2, Content::Connect(asked));
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
    let to = play_target(recorded, false);
    let asked = Target { proto: Bytes::from_static(b"tcp"), address: to.to_string().into(), is_cut: false };
    server.say(4, Content::Connect(asked));
    server.say(4, Content::Data(Bytes::copy_from_slice(&recorded.down)));
    assert_eq!(hear_bytes(server, 4, recorded.up.len()), recorded.up, "{name}");
}

fn free() -> SocketAddr {
    TcpListener::bind(loopback()).unwrap().local_addr().unwrap()
}

/// A target that answers the recorded bytes with the recorded bytes.
fn play_target(recorded: &Recorded, ends_itself: bool) -> SocketAddr {
    let (asked, answer) = (recorded.down.len(), recorded.up.clone());
    target(move |mut stream| {
        let mut question = vec![0; asked];
        if stream.read_exact(&mut question).is_ok() {
            let _ = stream.write_all(&answer);
        }
        if !ends_itself {
            let _ = stream.read(&mut [0; 1]);
        }
    })
}
