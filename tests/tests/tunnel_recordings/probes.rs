//! Sequences of frames that were sent to a real server and a real client, and what came back.

use std::collections::BTreeSet;

use bytes::Bytes;
use linkspan_core::tunnel::{
    ClientSession, Content, Message, Role, TunnelCommand, TunnelConfig, TunnelNotice,
};
use linkspan_core::{Event, Limits};
use linkspan_tests::tunnel::End;
use linkspan_tests::vectors::{self, name};
use serde_json::Value;

use super::frames::{self, Recorded};

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
const ECHO: &[u8] = b"127.0.0.1:22161";

fn said(message: &Message) -> String {
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
fn recorded(case: &Value) -> Vec<String> {
    let mut ended = BTreeSet::new();
    let frames = case["received"].as_array().expect("what came back");
    let messages = frames.iter().filter_map(|frame| frame.get("msg"));
    let first = messages.filter(|message| message["type"] != 3 || ended.insert(message["conn"].to_string()));
    first
        .map(|message| {
            format!("{} {} {}", message["conn"], message["type"], message["body"].as_str().unwrap())
        })
        .collect()
}

fn is_alive(case: &Value) -> bool {
    match case.get("session_after") {
        Some(after) => after.as_str().expect("text").starts_with("alive"),
        None => !case["received"].to_string().contains("tcp closed"),
    }
}

/// The application of the recording: an echo service, and targets that fail as they did.
fn serve(end: &mut End, failure: &str) {
    for notice in std::mem::take(&mut end.notices) {
        match notice {
            TunnelNotice::DialRequested { stream, proto, address }
                if proto.starts_with(b"tcp") && address == ECHO =>
            {
                end.command(TunnelCommand::Dialed(stream));
            }
            TunnelNotice::DialRequested { stream, .. } => {
                let error = Bytes::copy_from_slice(failure.as_bytes());
                end.command(TunnelCommand::DialFailed { stream, error });
            }
            TunnelNotice::Data { stream, body } => end.command(TunnelCommand::Data { stream, body }),
            TunnelNotice::Ended { .. } | TunnelNotice::Sent { .. } => {}
            TunnelNotice::ClientAdded(_) | TunnelNotice::ClientRemoved(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Plays one case; `None` if it is about framing.
fn play(case: &Value, role: Role) -> Option<(Vec<String>, bool)> {
    let expected = recorded(case);
    let failure = expected.first().and_then(|first| first.splitn(3, ' ').nth(2)).unwrap_or_default();
    let mut config = TunnelConfig { may_peer_announce: role == Role::Server, ..TunnelConfig::new(role) };
    if role == Role::Server {
        let session = failure.split('/').nth(1).and_then(|number| number.parse().ok()).unwrap_or(1);
        config.name = ClientSession { client: Bytes::from_static(b"probe"), session };
    }
    let mut end = End::new(config, Limits::default());
    for text in case["sent_frames_hex"].as_array().expect("frames") {
        for frame in frames::parse(text.as_str().expect("hex"), role == Role::Server) {
            let Recorded::Message(opcode, data) = frame else { return None };
            end.event(Event::Received(opcode, data));
        }
        serve(&mut end, failure);
    }
    Some((end.sent.iter().map(said).collect(), end.closed.is_none()))
}

fn check(file: &str, role: Role, framing: usize) {
    let cases = vectors::load(file);
    let cases = cases["cases"].as_array().expect("cases");
    let sequences: Vec<_> = cases.iter().filter(|case| case.get("sent_frames_hex").is_some()).collect();
    let mut below = 0;
    for case in sequences {
        let Some(outcome) = play(case, role) else {
            below += 1;
            continue;
        };
        let difference = DIFFERENCES.iter().find(|difference| difference.0 == name(case));
        let expected = match difference {
            Some((_, said, is_alive, _)) => (said.iter().map(ToString::to_string).collect(), *is_alive),
            None => (recorded(case), is_alive(case)),
        };
        assert_eq!(outcome, expected, "{}", name(case));
    }
    assert_eq!(below, framing, "cases about framing, which the binaries are tested with");
}

#[test]
fn a_client_answers_the_probes_as_the_original_or_as_documented() {
    check("tunnel/probes-client.json", Role::Client, 2);
}

#[test]
fn a_server_answers_the_probes_as_the_original_or_as_documented() {
    check("tunnel/probes-server.json", Role::Server, 6);
}
