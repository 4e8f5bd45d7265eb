//! Heartbeats, silence, unfinished packages, stalled writes, frozen processes.

use std::time::Duration;

use linkspan_core::pomelo::{ServerCommand, ServerNotice};
use linkspan_core::{CloseReason, Event, Flushed, Limits, Mark, Overflow, Violation};
use linkspan_tests::harness::bench::{ACK, Bench, DATA, HEARTBEAT, JS_HELLO, KICK, notify, request};
use linkspan_tests::harness::package;
use proptest::collection::vec;
use proptest::prelude::*;

const T: Duration = Duration::from_secs(30);
/// After how much silence a peer is gone.
const SILENCE: Duration = Duration::from_secs(75);
const MICRO: Duration = Duration::from_micros(1);

#[test]
fn heartbeats_go_every_interval_from_working_on() {
    let mut bench = Bench::plain();
    bench.accepted(JS_HELLO);
    assert_eq!(bench.wait_reading(Duration::from_secs(9)), [], "none before working");
    bench.say(ACK, b"");
    assert_eq!(bench.wait_reading(T - MICRO), []);
    assert_eq!(bench.wait_reading(MICRO), [(HEARTBEAT, "".into())]);
    bench.say(HEARTBEAT, b"");
    assert_eq!(bench.wait_reading(T), [(HEARTBEAT, "".into())]);
}

/// A crowd that took nine seconds to come takes nine seconds of each interval, and no instant of it is everybody's (O10).
#[test]
fn heartbeats_are_as_far_apart_as_the_handshakes_were() {
    let apart = Duration::from_millis(3);
    for number in 0..3_000 {
        let mut bench = Bench::plain();
        bench.now = bench.now + apart * number;
        let mut bench = bench.working();
        let opened = bench.now;
        for beat in 1..=2 {
            bench.wait_reading(T - MICRO);
            assert_eq!(bench.station.next_timeout(), Some(opened + T * beat));
            assert_eq!(bench.wait_reading(MICRO), [(HEARTBEAT, "".into())]);
        }
    }
}

#[test]
fn a_silent_peer_gets_two_heartbeats_then_the_reason() {
    let mut bench = Bench::plain().working();
    let heard = bench.wait_reading(SILENCE - MICRO);
    assert_eq!(heard, [(HEARTBEAT, "".into()), (HEARTBEAT, "".into())]);
    assert_eq!(bench.closed(), None);
    bench.wait(MICRO);
    assert_eq!(bench.closed(), Some(CloseReason::HeartbeatTimeout));
    assert_eq!(bench.hear(), [(KICK, r#"{"reason":"heartbeat timeout"}"#.into())]);
}

#[test]
fn a_peer_that_does_not_read_is_not_told() {
    let mut bench = Bench::plain().working();
    let limits = Limits { write_timeout: T * 10, ..Limits::default() };
    let mut other = Bench::new(Default::default(), limits).working();
    other.wait(SILENCE);
    assert_eq!(other.closed(), Some(CloseReason::HeartbeatTimeout));
    assert_eq!(other.hear(), [(HEARTBEAT, "".into()), (HEARTBEAT, "".into())]);
    bench.wait(T + Duration::from_secs(10));
    assert_eq!(bench.closed(), Some(CloseReason::WriteTimeout), "a stalled write has its own limit");
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    /// A peer from which something complete comes at least every T stays; silence ends it between 2T and 3T (C3), also
    /// when the connection is woken late.
    #[test]
    fn silence_ends_between_two_and_three_intervals(gaps in vec(0_u64..=30_000_000, 0..50), late in 0_u64..14_000_000) {
        let mut bench = Bench::plain().working();
        for gap in gaps {
            bench.wait_reading(Duration::from_micros(gap));
            bench.say(HEARTBEAT, b"");
            prop_assert_eq!(bench.closed(), None);
        }
        let last = bench.now;
        let mut now = last;
        while bench.closed().is_none() {
            let next = bench.station.next_timeout().expect("something is due");
            now = next + Duration::from_micros(late);
            bench.station.timeout(now);
            bench.station.flush(now, usize::MAX);
        }
        prop_assert!(now - last >= T * 2, "{:?}", now - last);
        prop_assert!(now - last < T * 3, "{:?}", now - last);
    }
}

#[test]
fn only_complete_valid_packages_end_a_silence() {
    let mut bench = Bench::plain().working();
    bench.wait_reading(T * 2);
    bench.bytes(package(DATA, &notify("a", b"12"))[..6].to_vec());
    bench.wait_reading(SILENCE - T * 2 - MICRO);
    assert_eq!(bench.closed(), None);
    bench.wait_reading(MICRO);
    assert_ne!(bench.closed(), None, "the begun package did not count");
}

#[test]
fn any_message_ends_a_silence() {
    let bodies = [notify("a", b""), request(&[1], "a", b""), b"\x04\x01".to_vec()];
    for body in bodies {
        let mut bench = Bench::plain().working();
        bench.wait_reading(SILENCE - MICRO);
        bench.say(DATA, &body);
        bench.wait_reading(SILENCE - MICRO);
        assert_eq!(bench.closed(), None);
        bench.wait_reading(MICRO);
        assert_eq!(bench.closed(), Some(CloseReason::HeartbeatTimeout));
    }
}

/// After a freeze of the whole process every peer seems silent: what they sent is read first, then they are judged.
#[test]
fn a_frozen_process_reads_before_it_judges() {
    let mut bench = Bench::plain().working();
    bench.now = bench.now + Duration::from_secs(600);
    bench.station.timeout(bench.now);
    assert_eq!(bench.closed(), None);
    assert_eq!(bench.marked(Mark::CheckPostponed), 1);
    bench.hear();
    bench.say(HEARTBEAT, b"");
    bench.wait_reading(T);
    assert_eq!(bench.closed(), None, "it was alive");

    let mut dead = Bench::plain().working();
    dead.now = dead.now + Duration::from_secs(600);
    dead.station.timeout(dead.now);
    dead.wait_reading(SILENCE / 8);
    assert_eq!(dead.closed(), Some(CloseReason::HeartbeatTimeout), "postponed once, by an eighth");
}

/// Found by reading: a pause in that time took what was left of it, and nothing had been read.
#[test]
fn what_is_left_to_read_after_a_freeze_outlives_a_pause() {
    let mut bench = Bench::plain().working();
    bench.now = bench.now + Duration::from_secs(600);
    bench.station.timeout(bench.now);
    assert_eq!(bench.marked(Mark::CheckPostponed), 1);
    bench.push("onBulk", vec![0; 600 << 10], Overflow::Close);
    assert!(!bench.station.connection().wants_read());
    bench.hear();
    assert!(bench.station.connection().wants_read());
    bench.station.timeout(bench.now);
    assert_eq!(bench.closed(), None, "it has not been read yet");
    bench.wait_reading(SILENCE / 8);
    assert_eq!(bench.closed(), Some(CloseReason::HeartbeatTimeout));
}

/// Dribbling does not extend the deadline of a package, nor that of the handshake (T1, C2).
#[test]
fn an_unfinished_package_has_a_deadline_of_its_own() {
    let mut bench = Bench::plain().working();
    let whole = package(DATA, &notify("a", &[b'x'; 100]));
    for byte in &whole[..29] {
        bench.bytes(vec![*byte]);
        bench.wait_reading(Duration::from_secs(1));
        assert_eq!(bench.closed(), None);
    }
    bench.bytes(vec![whole[29]]);
    bench.wait_reading(Duration::from_secs(1));
    bench.assert_violation(Violation::Unfinished);
}

#[test]
fn each_package_has_its_full_time() {
    let mut bench = Bench::plain().working();
    for _ in 0..5 {
        bench.bytes(vec![HEARTBEAT, 0]);
        bench.wait_reading(T - MICRO);
        // The end of one and the beginning of the next in one piece.
        bench.bytes(vec![0, 0, HEARTBEAT]);
        bench.wait_reading(T - MICRO);
        bench.bytes(vec![0, 0, 0]);
    }
    assert_eq!(bench.closed(), None);
}

#[test]
fn a_dribbled_handshake_does_not_extend_its_deadline() {
    let mut bench = Bench::plain();
    for byte in &package(1, JS_HELLO)[..9] {
        bench.bytes(vec![*byte]);
        bench.wait(Duration::from_secs(1));
        assert_eq!(bench.closed(), None);
    }
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.closed(), Some(CloseReason::HandshakeTimeout));
}

#[test]
fn the_handshake_deadline_covers_every_stage() {
    let stages: [fn(&mut Bench); 4] = [
        |_| {},
        |bench| bench.bytes(vec![1, 0]),
        |bench| bench.say(1, JS_HELLO),
        |bench| _ = bench.accepted(JS_HELLO),
    ];
    for stage in stages {
        let mut bench = Bench::plain();
        bench.wait(Duration::from_secs(1));
        stage(&mut bench);
        bench.wait_reading(Duration::from_micros(8_999_999));
        assert_eq!(bench.closed(), None);
        bench.wait_reading(MICRO);
        assert_eq!(bench.closed(), Some(CloseReason::HandshakeTimeout));
        assert_eq!(bench.hear(), []);
    }
}

#[test]
fn a_write_that_makes_progress_is_not_stalled() {
    let mut bench = Bench::plain().working();
    for _ in 0..10 {
        bench.push("a", vec![0; 1000], Overflow::Close);
    }
    for _ in 0..9 {
        bench.wait(Duration::from_micros(9_999_999));
        bench.say(HEARTBEAT, b"");
        bench.station.flush(bench.now, 1);
    }
    // A part of a large frame is progress, too.
    bench.wait(Duration::from_secs(9));
    bench.station.event(bench.now, Event::Flushed(Flushed::default()));
    bench.wait(Duration::from_secs(9));
    assert_eq!(bench.closed(), None);
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.closed(), Some(CloseReason::WriteTimeout));
}

#[test]
fn dropping_for_a_stalled_peer_is_no_progress() {
    let mut bench =
        Bench::new(Default::default(), Limits { send_queue_bytes: 1024, ..Limits::default() }).working();
    for _ in 0..40 {
        bench.push("a", "x", Overflow::DropOldest);
        bench.wait(Duration::from_millis(250));
    }
    assert!(bench.marked(Mark::OldestDropped) > 20);
    assert_eq!(bench.closed(), Some(CloseReason::WriteTimeout));
}

/// While we do not read, heartbeats wait in the socket: that silence is ours.
#[test]
fn a_peer_that_is_not_read_is_not_judged() {
    let limits = Limits {
        pending_requests: 1,
        heartbeat: Some(Duration::from_secs(1)),
        silence: Some(Duration::from_secs(2)),
        unfinished_timeout: Duration::from_secs(3),
        ..Limits::default()
    };
    let mut bench = Bench::new(Default::default(), limits).working();
    bench.bytes([package(DATA, &request(&[1], "slow", b"")), vec![HEARTBEAT]].concat());
    let notices = bench.station.notices();
    let [ServerNotice::Request { ticket, .. }] = &notices[..] else { panic!("{notices:?}") };
    assert!(!bench.station.connection().wants_read());
    bench.wait_reading(Duration::from_secs(20));
    assert_eq!(bench.closed(), None);
    bench.command(ServerCommand::Answer { ticket: *ticket, body: "".into() });
    assert!(bench.station.connection().wants_read());
    // Now the clocks go on where they stood: nothing was silent, and the package has its three seconds.
    bench.wait_reading(Duration::from_micros(1_999_999));
    assert_eq!(bench.closed(), None);
    bench.wait_reading(MICRO);
    assert_eq!(bench.closed(), Some(CloseReason::HeartbeatTimeout));
}

#[test]
fn a_pause_does_not_buy_an_unfinished_package_more_than_its_time() {
    let mut bench =
        Bench::new(Default::default(), Limits { send_queue_bytes: 4096, ..Limits::default() }).working();
    bench.bytes(vec![DATA, 0]);
    for _ in 0..4 {
        bench.wait_reading(Duration::from_secs(7));
        bench.push("a", vec![0; 3000], Overflow::Close);
        assert!(!bench.station.connection().wants_read());
        bench.wait(Duration::from_secs(5));
        assert_eq!(bench.closed(), None);
        bench.station.flush(bench.now, usize::MAX);
    }
    bench.wait_reading(Duration::from_secs(2));
    bench.assert_violation(Violation::Unfinished);
}

#[test]
fn a_clock_that_jumps_back_stands_still() {
    let mut bench = Bench::plain().working();
    bench.wait_reading(T);
    let there = bench.now;
    bench.now = linkspan_core::Instant::ORIGIN;
    bench.say(HEARTBEAT, b"");
    bench.station.timeout(bench.now);
    bench.now = there;
    assert_eq!(bench.wait_reading(T * 2).len(), 2);
    bench.wait_reading(SILENCE - T * 2 - MICRO);
    assert_eq!(bench.closed(), None, "the heartbeat counts from the latest time seen");
}

/// Found by reading: a driver that did not read because its application was full had its peer judged by what it left
/// unread.
#[test]
fn who_is_not_read_because_the_application_is_full_is_not_judged() {
    let mut bench = Bench::plain().working();
    // Half a package is there, and the application is full.
    bench.bytes(&[4, 0, 0, 9, 1][..]);
    bench.station.event(bench.now, Event::Held(true));
    assert!(!bench.station.connection().wants_read());
    bench.wait_reading(Duration::from_secs(600));
    assert_eq!(bench.closed(), None);
    bench.station.event(bench.now, Event::Held(false));
    assert!(bench.station.connection().wants_read());
    bench.wait_reading(Duration::from_secs(31));
    assert_eq!(bench.closed(), Some(CloseReason::Violation(Violation::Unfinished)));
}
