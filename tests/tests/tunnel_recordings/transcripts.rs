//! Whole sessions between two originals, with ours in the place of either.
//!
//! Ours does the same with every stream, apart from what [`Story`] leaves out and from this: it does not say
//! `tunnel disconnect` into a connection that is closed, a dial that is not allowed costs no session, and a stream that ends
//! because the peer's list misses it does not end silently.

use std::fs;

use linkspan_core::Opcode;
use linkspan_core::tunnel::{Content, Role};
use linkspan_tests::vectors;
use serde_json::Value;

use super::sessions::{Actor, Deed, Story, messages};

struct Played {
    actor: Actor,
    recorded: Story,
    /// Pings of the original, pauses and resumes of it.
    signs: usize,
    pauses: usize,
}

/// Plays one connection of a recording with ours as `role`.
fn play(events: &[&Value], role: Role) -> Played {
    let own = if role == Role::Client { "c2s" } else { "s2c" };
    let start = events.first().and_then(|event| event["t_ms"].as_u64()).expect("a time");
    let mut played = Played { actor: Actor::new(role), recorded: Story::default(), signs: 0, pauses: 0 };
    let of_own = |event: &&&Value, kind: &str| event["dir"] == own && event["msg"]["type"] == kind;
    // Where the original was slow enough to pause its peer, ours reads nothing until the original resumed it.
    let resumed =
        events.iter().filter(|event| of_own(event, "Resume")).map(|event| event["n"].as_u64()).next();
    played.actor.reads = resumed.is_none();
    for event in events {
        let (is_own, kind) = (event["dir"] == own, event["kind"].as_str().expect("a kind"));
        played.actor.wait_until(event["t_ms"].as_u64().expect("a time") - start);
        match (kind, event["opcode"].as_u64()) {
            ("close", _) => {
                played.actor.lose();
                break;
            }
            ("frame", Some(9 | 10)) if is_own => played.signs += usize::from(event["opcode"] == 9),
            ("frame", Some(9)) => played.actor.hear_sign(Opcode::Ping),
            ("frame", Some(10)) => played.actor.hear_sign(Opcode::Pong),
            ("frame" | "data-run", _) => {
                for message in messages(event) {
                    if is_own {
                        played.recorded.add(message.stream, &message.content);
                        played.pauses += usize::from(message.content == Content::Pause);
                        played.actor.act(message);
                    } else if event["dropped"] != true {
                        played.actor.hear(message);
                    }
                }
                if resumed == Some(event["n"].as_u64()) {
                    played.actor.reads = true;
                    played.actor.read();
                }
            }
            _ => {}
        }
    }
    played
}

/// Every connection in a recording.
fn connections(recording: &Value) -> Vec<Vec<&Value>> {
    let events = recording["events"].as_array().expect("events");
    let mut numbers: Vec<_> = events.iter().filter_map(|event| event["tcp"].as_u64()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let of = |number: u64| events.iter().filter(|event| event["tcp"] == number).collect();
    numbers.into_iter().map(of).collect()
}

fn recordings() -> Vec<(String, Value)> {
    let names = fs::read_dir(vectors::path("vectors/tunnel")).expect("the vectors");
    let names = names.map(|entry| entry.expect("listed").file_name().into_string().expect("text"));
    let mut names: Vec<_> = names.filter(|name| name.starts_with("transcript-")).collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), vectors::load(&format!("tunnel/{name}")))).collect()
}

#[test]
fn either_end_does_as_the_original_did() {
    let recordings = recordings();
    assert!(recordings.len() >= 17, "{} transcripts", recordings.len());
    let mut stale = Vec::new();
    for (name, recording) in &recordings {
        for (role, events) in
            connections(recording).iter().flat_map(|events| [(Role::Server, events), (Role::Client, events)])
        {
            let played = play(events, role);
            let mut story = played.actor.story();
            if story.take_stale() > 0 {
                stale.push(name.as_str());
            }
            assert_eq!(story, played.recorded, "{name} as {role:?}");
            let pings = played.actor.end.pings;
            assert!(pings.abs_diff(played.signs) <= 1, "{name} as {role:?}: {pings} pings");
            assert_eq!(played.actor.count(&Content::Pause), played.pauses.min(1), "{name} as {role:?}");
            assert!(played.actor.count(&Content::Resume) >= played.pauses.min(1), "{name} as {role:?}");
            assert_eq!(played.actor.end.marks, [], "{name} as {role:?}");
        }
    }
    assert_eq!(stale, ["transcript-sync-stale.json"]);
}

#[test]
fn bulk_data_comes_whole() {
    for (name, recording) in
        recordings().iter().filter(|(name, _)| name.contains("m-") && name.contains("get-"))
    {
        let connections = connections(recording);
        let [events] = &connections[..] else { panic!("one connection") };
        let server = play(events, Role::Server);
        let client = play(events, Role::Client);
        let sent: usize = client
            .recorded
            .streams
            .values()
            .flatten()
            .map(|deed| match deed {
                Deed::Wrote(bytes) => *bytes,
                _ => 0,
            })
            .sum();
        assert_eq!(server.actor.received.values().sum::<usize>(), sent, "{name}");
        assert!(sent > 8 << 20, "{name}: {sent}");
    }
}
