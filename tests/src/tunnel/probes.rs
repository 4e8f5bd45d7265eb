//! Frames that were sent to the real server and the real client, and what came back.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::tunnel::{Content, Message};
use serde_json::Value;

use super::Link;
use crate::vectors::{self, name};

/// What ours does otherwise, and why: the messages as `stream type text`, and whether the session lives.
const DIFFERENCES: [(&str, &[&str], bool, &str); 6] = [
    (
        "RemoveClient malformed ends a client session",
        &[],
        true,
        "what this end cannot use does not end the session",
    ),
    (
        "Sync without a live connection closes it silently on the client too",
        &["2 1 x"],
        true,
        "a list that may have crossed the dial ends nothing",
    ),
    (
        "Connect from the tunnel client (server has no ClientConnectAuthorizer)",
        &["5 3 connect not allowed"],
        true,
        "a refusal ends the stream, not the session",
    ),
    (
        "Connect bad host name",
        &["2 3 dial tcp: lookup no-such-host.invalid on <dns-server>:53: no such host"],
        true,
        "the name server was slow: recorded are a list and the end of a silent session, too",
    ),
    ("AddClient without slash", &[], true, "what this end cannot use does not end the session"),
    ("RemoveClient without slash", &[], true, "what this end cannot use does not end the session"),
];

/// The echo service of the recording.
pub const ECHO: &str = "127.0.0.1:22161";

/// A message as the expectations are written: `stream type text`.
///
/// # Panics
///
/// If it is one that no probe is answered with.
pub fn said(message: &Message) -> String {
    let (kind, body) = match &message.content {
        Content::Data(body) => (1, body.clone()),
        Content::Error(text) => (3, text.clone()),
        Content::Pause => (6, Bytes::new()),
        Content::Resume => (7, Bytes::new()),
        other => panic!("{other:?}"),
    };
    format!("{} {kind} {}", message.stream, String::from_utf8_lossy(&body))
}

/// What came back, of the originals' up to three errors per stream the first.
pub fn recorded(case: &Value) -> Vec<String> {
    let mut ended = BTreeSet::new();
    let frames = case["received"].as_array().expect("what came back");
    let messages = frames.iter().filter_map(|frame| frame.get("msg"));
    let first = messages.filter(|message| message["type"] != 3 || ended.insert(message["conn"].to_string()));
    first
        .map(|message| {
            format!("{} {} {}", message["conn"], message["type"], message["body"].as_str().expect("text"))
        })
        .collect()
}

fn is_alive(case: &Value) -> bool {
    match case.get("session_after") {
        Some(after) => after.as_str().expect("text").starts_with("alive"),
        None => !case["received"].to_string().contains("tcp closed"),
    }
}

/// What ours answers to a case, and whether its session lives afterwards.
pub fn expected(case: &Value) -> (Vec<String>, bool) {
    match DIFFERENCES.iter().find(|difference| difference.0 == name(case)) {
        Some((_, said, is_alive, _)) => (said.iter().map(ToString::to_string).collect(), *is_alive),
        None => (recorded(case), is_alive(case)),
    }
}

/// How long anything may take that takes no time.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the last frame of the probe with datagrams is.
const LAST: usize = 9;
/// A stream that no probe names.
const FENCE: i64 = 424_242;

/// Every sequence of frames, and every handshake, at a server of ours that takes any agent.
pub fn our_server(http: SocketAddr) {
    let file = vectors::load("tunnel/probes-server.json");
    let mut count = 0;
    for case in file["cases"].as_array().expect("cases") {
        count += 1;
        if case.get("sent_frames_hex").is_some() {
            check(case, &mut Link::open(http, "probe"), frames(case));
            continue;
        }
        let text = |name: &str| case[name].as_str().expect("text");
        let mut stream = TcpStream::connect(http).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
        stream.write_all(text("http_request").as_bytes()).expect("it is taken");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("an answer");
        let expected = match name(case) {
            // A page of another host: who wants it in says so.
            "foreign Origin accepted" => b"HTTP/1.1 403",
            _ => &text("http_response").as_bytes()[..12],
        };
        assert_eq!(status.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{}", name(case));
    }
    assert!(count >= 30, "{count} cases");
}

/// Every sequence of frames at an agent of ours; `start` starts one that may dial anything, for a URL.
pub fn our_agent<G>(mut start: impl FnMut(&str) -> G) {
    let echo = echo().to_string();
    assert_eq!(echo.len(), ECHO.len(), "the lengths in the frames stay right");
    let file = vectors::load("tunnel/probes-client.json");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let url = format!("ws://{}/connect", listener.local_addr().expect("bound"));
    let _agent = start(&url);
    for case in file["cases"].as_array().expect("cases") {
        // It comes again after each session that ends.
        let (stream, _) = listener.accept().expect("it comes");
        let mut frames = frames(case);
        for frame in &mut frames {
            if let Some(at) = frame.windows(ECHO.len()).position(|window| window == ECHO.as_bytes()) {
                frame[at..at + ECHO.len()].copy_from_slice(echo.as_bytes());
            }
        }
        check(case, &mut Link::accept(stream), frames);
    }
}

fn frames(case: &Value) -> Vec<Vec<u8>> {
    let frames = case["sent_frames_hex"].as_array().expect("frames");
    frames.iter().map(|frame| vectors::hex(frame.as_str().expect("hex"))).collect()
}

/// An echo service at a port of five digits.
fn echo() -> SocketAddr {
    let listener = (0..100).find_map(|_| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        listener.local_addr().ok().filter(|address| address.port() >= 10_000).map(|_| listener)
    });
    let listener = listener.expect("a port of five digits");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut some = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut some) {
                    if stream.write_all(&some[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// Plays one case. What is sent goes in one piece, but for an end: what was asked for comes before it.
fn check(case: &Value, link: &mut Link, frames: Vec<Vec<u8>>) {
    let (wanted, is_alive) = expected(case);
    let wanted: Vec<_> = wanted.iter().map(|line| plain(line)).collect();
    let answers = wanted.iter().filter(|line| line.split(' ').nth(1) == Some("1")).count();
    let mut heard = Vec::new();
    let mut pending = Vec::new();
    for frame in frames {
        if frame.len() >= 2 && frame[1] & 0x80 == 0 && is_error(&frame[2..]) {
            link.send_bytes(&std::mem::take(&mut pending));
            listen(link, &mut heard, |heard| heard.len() >= answers);
        }
        pending.extend(frame);
    }
    link.send_bytes(&pending);
    if name(case).starts_with("Connect udp") {
        // That nobody listens is known to the system at once, and not every runtime asks before the next datagram.
        thread::sleep(Duration::from_millis(100));
        link.send_bytes(&pending[pending.len() - LAST..]);
    }
    let lives = listen(link, &mut heard, |heard| heard.len() >= wanted.len());
    // Nothing more comes before the answer to what is sent now.
    link.say(FENCE, Content::Data(Bytes::from_static(b"?")));
    let fence = format!("{FENCE} 3 connection not found");
    let lives = lives && listen(link, &mut heard, |heard| heard.last() == Some(&fence));
    heard.retain(|line| *line != fence);
    assert_eq!((heard, lives), (wanted, is_alive), "{}", name(case));
}

/// Listens until `done`; false if the session ends before, or nothing comes.
fn listen(link: &mut Link, heard: &mut Vec<String>, done: impl Fn(&[String]) -> bool) -> bool {
    while !done(heard) {
        match link.hear(PATIENCE) {
            Ok(Some(message)) => heard.push(plain(&said(&message))),
            Ok(None) | Err(_) => return false,
        }
    }
    true
}

fn is_error(payload: &[u8]) -> bool {
    let message = Message::decode(&Bytes::copy_from_slice(payload));
    message.is_ok_and(|message| matches!(message.content, Content::Error(_)))
}

/// Without what differs from run to run: numbers of sessions, and the words of systems about what cannot be dialled.
fn plain(line: &str) -> String {
    let mut parts = line.splitn(3, ' ');
    let (stream, kind, text) = (parts.next(), parts.next(), parts.next());
    let text = match (kind, text.unwrap_or_default()) {
        (Some("3"), text) if text.starts_with("connection not found") => "connection not found",
        (Some("3"), text) if text != "EOF" && text != "connect not allowed" => "failed",
        (_, text) => text,
    };
    format!("{} {} {text}", stream.unwrap_or_default(), kind.unwrap_or_default())
}
