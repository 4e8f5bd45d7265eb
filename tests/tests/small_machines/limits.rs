//! Every bound is checked before it is kept, and the sums say what they add up.

use std::time::Duration;

use linkspan_core::{Frame, Limits};

fn wrong(change: impl FnOnce(&mut Limits)) -> Option<&'static str> {
    let mut limits = Limits::default();
    change(&mut limits);
    limits.validate().err().map(|error| {
        let text = error.to_string();
        assert!(text.contains(error.field) && text.contains(error.fix), "{text}");
        error.field
    })
}

#[test]
fn spans_are_neither_too_short_for_a_driver_nor_too_long_to_add_up() {
    type Span = (&'static str, fn(&mut Limits) -> &mut Duration);
    let spans: [Span; 8] = [
        ("handshake_timeout", |limits| &mut limits.handshake_timeout),
        ("unfinished_timeout", |limits| &mut limits.unfinished_timeout),
        ("write_timeout", |limits| &mut limits.write_timeout),
        ("close_grace", |limits| &mut limits.close_grace),
        ("request_timeout", |limits| &mut limits.request_timeout),
        ("replacement_window", |limits| &mut limits.replacement_window),
        ("tunnel_dial_timeout", |limits| &mut limits.tunnel_dial_timeout),
        ("tunnel_stall_timeout", |limits| &mut limits.tunnel_stall_timeout),
    ];
    let (least, most) = (Duration::from_millis(1), Duration::from_secs(365 * 24 * 3600));
    let bit = Duration::from_nanos(1);
    for (name, field) in spans {
        for (span, is_wrong) in [(least - bit, true), (least, false), (most, false), (most + bit, true)] {
            assert_eq!(wrong(|limits| *field(limits) = span), is_wrong.then_some(name), "{span:?}");
        }
    }
    let beats =
        |heartbeat, silence| wrong(|limits| (limits.heartbeat, limits.silence) = (heartbeat, silence));
    assert_eq!(beats(Some(least - bit), None), Some("heartbeat"));
    assert_eq!(beats(None, Some(most + bit)), Some("silence"));
    assert_eq!(beats(None, Some(least)), None);
    assert_eq!(beats(Some(least), Some(least * 2)), None);
    assert_eq!(
        beats(Some(least), Some(least * 2 - bit)),
        Some("silence"),
        "an idle client must come to speak"
    );
}

#[test]
fn counts_without_which_nothing_works_are_not_zero() {
    type Count = (&'static str, fn(&mut Limits) -> &mut u32);
    let counts: [Count; 26] = [
        ("receive_max", |limits| &mut limits.receive_max),
        ("send_max", |limits| &mut limits.send_max),
        ("inflate_max", |limits| &mut limits.inflate_max),
        ("pending_requests", |limits| &mut limits.pending_requests),
        ("pending_bytes", |limits| &mut limits.pending_bytes),
        ("sessions_per_platform", |limits| &mut limits.sessions_per_platform),
        ("sessions_per_key", |limits| &mut limits.sessions_per_key),
        ("sessions_per_shard", |limits| &mut limits.sessions_per_shard),
        ("watchers_per_key", |limits| &mut limits.watchers_per_key),
        ("replacements_remembered", |limits| &mut limits.replacements_remembered),
        ("group_members", |limits| &mut limits.group_members),
        ("mailbox", |limits| &mut limits.mailbox),
        ("connections", |limits| &mut limits.connections),
        ("connections_per_address", |limits| &mut limits.connections_per_address),
        ("connects_burst", |limits| &mut limits.connects_burst),
        ("messages_burst", |limits| &mut limits.messages_burst),
        ("tunnel_streams", |limits| &mut limits.tunnel_streams),
        ("tunnel_dials", |limits| &mut limits.tunnel_dials),
        ("tunnel_stream_pause", |limits| &mut limits.tunnel_stream_pause),
        ("tunnel_window", |limits| &mut limits.tunnel_window),
        ("tunnel_connects_burst", |limits| &mut limits.tunnel_connects_burst),
        ("tunnel_flips", |limits| &mut limits.tunnel_flips),
        ("tunnel_malformed", |limits| &mut limits.tunnel_malformed),
        ("tunnel_sessions_per_client", |limits| &mut limits.tunnel_sessions_per_client),
        ("tunnel_announced", |limits| &mut limits.tunnel_announced),
        ("tunnel_seeks", |limits| &mut limits.tunnel_seeks),
    ];
    for (name, field) in counts {
        assert_eq!(wrong(|limits| *field(limits) = 0), Some(name));
        assert_eq!(wrong(|limits| *field(limits) = 1), None, "{name}");
    }
    assert_eq!(wrong(|limits| limits.buffered_bytes = 0), Some("buffered_bytes"));
    assert_eq!(wrong(|limits| limits.tunnel_session_bytes = 0), Some("tunnel_session_bytes"));
    let may_be_none = |limits: &mut Limits| {
        (limits.keys_per_connection, limits.groups_per_connection, limits.watches_per_connection) = (0, 0, 0);
        (limits.replacements, limits.connects_per_second, limits.messages_per_second) = (0, 0, 0);
        (limits.refusals, limits.tunnel_connects_per_second) = (0, 0);
    };
    assert_eq!(wrong(may_be_none), None);
}

#[test]
fn sizes_fit_the_wire_and_each_other() {
    let most = Limits::BODY_MAX;
    assert_eq!(most, 16_777_215, "three bytes of length");
    assert_eq!(wrong(|limits| (limits.receive_max, limits.send_max) = (most, most)), None);
    assert_eq!(wrong(|limits| limits.receive_max = most + 1), Some("receive_max"));
    assert_eq!(wrong(|limits| limits.send_max = most + 1), Some("send_max"));
    assert_eq!(wrong(|limits| limits.send_queue_bytes = 511), Some("send_queue_bytes"));
    assert_eq!(wrong(|limits| limits.send_queue_bytes = 512), None);
    let streams = |bytes, pause| {
        wrong(|limits| (limits.tunnel_stream_bytes, limits.tunnel_stream_pause) = (bytes, pause))
    };
    assert_eq!(
        [streams(5, 5), streams(4, 5), streams(0, 5)],
        [None, Some("tunnel_stream_bytes"), Some("tunnel_stream_bytes")]
    );
}

/// Every number is a different power of ten or so: none can stand for another.
#[test]
fn what_a_connection_may_cost_is_the_sum_that_is_written_out() {
    let limits = Limits {
        receive_max: 1_000,
        inflate_max: 20_000,
        send_queue_bytes: 300_000,
        send_max: 4_000_000,
        pending_bytes: 50_000_000,
        pending_requests: 7,
        keys_per_connection: 3,
        groups_per_connection: 11,
        watches_per_connection: 13,
        mailbox: 17,
        tunnel_streams: 19,
        tunnel_session_bytes: 6_000_000_000,
        ..Limits::default()
    };
    let queue = 300_000 + 4_000_000 + Frame::HEAD_MAX as u64 + 2;
    assert_eq!(limits.send_queue_max(), queue);
    let small = Limits { send_max: 1, ..limits.clone() };
    assert_eq!(
        small.send_queue_max(),
        300_000 + u64::from(Frame::COST_MIN),
        "a small frame counts as one of 256"
    );
    let input = 1_000 + 4 + 100 + 30_000 + 11 * 1024;
    let requests = 2 * (50_000_000 + 100) + 7 * (48 + 96);
    let others = (2 * 3 + 11 + 13) * 320 + 17 * 96;
    assert_eq!(limits.connection_bytes_max(100), input + queue + requests + others);
    let keyless = Limits { keys_per_connection: 0, ..limits.clone() };
    assert_eq!(
        limits.connection_bytes_max(100) - keyless.connection_bytes_max(100),
        2 * 2 * 320,
        "room for one stays"
    );
    assert_eq!(limits.tunnel_bytes_max(100), limits.connection_bytes_max(100) + 12_000_000_000 + 19 * 1024);
}
