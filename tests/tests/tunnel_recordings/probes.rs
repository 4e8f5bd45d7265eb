//! Sequences of frames that were sent to a real server and a real client, and what came back.

use bytes::Bytes;
use linkspan_core::tunnel::{ClientSession, Role, TunnelCommand, TunnelConfig, TunnelNotice};
use linkspan_core::{Event, Limits};
use linkspan_tests::tunnel::End;
use linkspan_tests::tunnel::probes::{ECHO, expected, recorded, said};
use linkspan_tests::vectors::{self, name};
use serde_json::Value;

use super::frames::{self, Recorded};

/// The application of the recording: an echo service, and targets that fail as they did.
fn serve(end: &mut End, failure: &str) {
    for notice in std::mem::take(&mut end.notices) {
        match notice {
            TunnelNotice::DialRequested { stream, proto, address }
                if proto.starts_with(b"tcp") && address == ECHO.as_bytes() =>
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
        assert_eq!(outcome, expected(case), "{}", name(case));
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
