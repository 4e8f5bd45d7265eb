//! Every bound of a connection and every mark, reached by a test of its name.

use std::time::Duration;

use linkspan_core::pomelo::{self, ErrorBody, ServerCommand, ServerConfig, ServerNotice};
use linkspan_core::{CloseReason, Event, GroupId, Key, Limits, Mark, Overflow, Push, Violation};
use linkspan_tests::harness::bench::{ACK, Bench, DATA, HANDSHAKE, HEARTBEAT, notify, request};
use linkspan_tests::harness::package;

fn with(change: impl FnOnce(&mut Limits)) -> Bench {
    let mut limits = Limits::default();
    change(&mut limits);
    Bench::new(ServerConfig::default(), limits)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn handshake_timeout() {
    let mut bench = with(|limits| limits.handshake_timeout = SECOND);
    bench.wait(SECOND);
    assert_eq!(bench.closed(), Some(CloseReason::HandshakeTimeout));
}

#[test]
fn heartbeat() {
    let mut bench = with(|limits| limits.heartbeat = Some(SECOND * 7)).working();
    assert_eq!(bench.wait_reading(SECOND * 21).len(), 3);
    let mut bench = with(|limits| limits.heartbeat = None).working();
    assert_eq!(bench.wait_reading(SECOND * 59), []);
}

#[test]
fn silence() {
    let mut bench = with(|limits| limits.silence = Some(SECOND * 90)).working();
    bench.wait_reading(SECOND * 90 - Duration::from_micros(1));
    assert_eq!(bench.closed(), None);
    bench.wait_reading(Duration::from_micros(1));
    assert_eq!(bench.closed(), Some(CloseReason::HeartbeatTimeout));
    let mut bench = with(|limits| limits.silence = None).working();
    bench.wait_reading(SECOND * 100_000);
    assert_eq!(bench.closed(), None);
}

#[test]
fn unfinished_timeout() {
    let mut bench = with(|limits| limits.unfinished_timeout = SECOND).working();
    bench.bytes(vec![HEARTBEAT]);
    bench.wait(SECOND);
    bench.assert_violation(Violation::Unfinished);
}

#[test]
fn write_timeout() {
    let mut bench = with(|limits| limits.write_timeout = SECOND).working();
    bench.push("a", "x", Overflow::Close);
    bench.wait(SECOND);
    assert_eq!(bench.closed(), Some(CloseReason::WriteTimeout));
}

#[test]
fn close_grace() {
    let mut bench = with(|limits| limits.close_grace = SECOND).working();
    bench.request(&[1], "slow", b"");
    bench.command(ServerCommand::Close);
    bench.wait(SECOND);
    assert_eq!(bench.closed(), Some(CloseReason::Finished));
}

#[test]
fn a_server_that_stops_waits_as_long_as_a_request_may_take() {
    let mut bench = with(|limits| limits.close_grace = SECOND).working();
    let ticket = bench.request(&[1], "slow", b"");
    bench.station.event(bench.now, Event::Drain(CloseReason::Stopping));
    bench.wait(20 * SECOND);
    assert_eq!(bench.closed(), None);
    bench.reply(ticket, b"x");
    assert_eq!(bench.closed(), Some(CloseReason::Stopping));
}

#[test]
fn receive_max() {
    let mut bench = with(|limits| limits.receive_max = 100).working();
    bench.say(HEARTBEAT, &[0; 100]);
    assert_eq!(bench.closed(), None);
    bench.bytes(vec![DATA, 0, 0, 101]);
    bench.assert_violation(Violation::PackageTooLarge);
    assert_eq!(bench.closed().map(CloseReason::code), Some(1009));
    let mut bench = Bench::plain();
    bench.bytes(vec![HANDSHAKE, 0x01, 0x00, 0x01]);
    bench.assert_violation(Violation::PackageTooLarge);
    assert_eq!(bench.station.connection().footprint(), 0, "nothing was kept for what was announced");
}

#[test]
fn send_max() {
    let mut bench = with(|limits| limits.send_max = 10).working();
    bench.push("onEcho", "12", Overflow::Close);
    bench.push("onEcho", "123", Overflow::Close);
    assert_eq!((bench.hear().len(), bench.marked(Mark::PushRefused)), (1, 1));
}

/// Found by reading: a form that one listener has made is within its limit, not within everybody's.
#[test]
fn a_shared_form_is_refused_where_it_is_too_large() {
    let push = Push::new("onEcho", "x".repeat(2000), Overflow::Close);
    let mut wide = Bench::plain().working();
    let mut narrow = with(|limits| limits.send_max = 1000).working();
    wide.deliver(push.clone());
    narrow.deliver(push);
    assert_eq!((wide.hear().len(), wide.marked(Mark::PushRefused)), (1, 0));
    assert_eq!((narrow.hear().len(), narrow.marked(Mark::PushRefused)), (0, 1));
}

#[test]
fn inflate_max() {
    let bomb = |size| [b"\x12\x01r", &pomelo::deflate(&vec![0; size]).expect("smaller")[..]].concat();
    let mut bench = with(|limits| limits.inflate_max = 50_000).working();
    bench.say(DATA, &bomb(50_000));
    assert_eq!(bench.closed(), None);
    bench.say(DATA, &bomb(50_001));
    bench.assert_violation(Violation::InflatedTooLarge);
    assert_eq!(bench.closed().map(CloseReason::code), Some(1009));
}

#[test]
fn send_queue_bytes() {
    let mut bench = with(|limits| limits.send_queue_bytes = 10_000).working();
    bench.push("a", vec![0; 10_000], Overflow::Close);
    bench.push("a", "", Overflow::Close);
    assert_eq!(bench.closed(), Some(CloseReason::SlowConsumer));
}

#[test]
fn pending_requests() {
    let mut bench = with(|limits| limits.pending_requests = 2).working();
    bench.request(&[1], "a", b"");
    assert!(bench.station.connection().wants_read());
    let ticket = bench.request(&[2], "a", b"");
    assert!(!bench.station.connection().wants_read());
    bench.say(DATA, &request(&[3], "a", b""));
    assert_eq!(bench.station.notices(), [], "it waits");
    bench.reply(ticket, b"");
    assert!(matches!(bench.station.notices()[..], [] | [ServerNotice::Request { .. }]));
}

#[test]
fn pending_bytes() {
    let mut bench = with(|limits| limits.pending_bytes = 1000).working();
    let ticket = bench.request(&[1], "a", &[0; 1000]);
    assert!(!bench.station.connection().wants_read());
    bench.say(DATA, &request(&[2], "a", &[0; 10]));
    assert_eq!(bench.station.notices(), []);
    bench.reply(ticket, b"");
    assert_eq!(bench.station.notices().len(), 1);
    assert!(bench.station.connection().wants_read());
}

/// What inflates counts for what it inflates to: one piece of input cannot bring a hundred large payloads at once.
#[test]
fn pending_bytes_of_deflated_requests() {
    let smaller = pomelo::deflate(&[0; 600_000]).expect("smaller");
    let bomb = package(DATA, &[b"\x10\x01\x01r", &smaller[..]].concat());
    let mut bench = Bench::plain().working();
    bench.bytes(bomb.repeat(60));
    assert!(bench.station.notices().len() <= 2);
    assert_eq!(bench.closed(), None);
}

#[test]
fn request_timeout() {
    let mut bench = with(|limits| limits.request_timeout = SECOND).working();
    bench.request(&[1], "slow", b"");
    assert_eq!(bench.wait_reading(SECOND).len(), 1);
    assert_eq!(bench.marked(Mark::RequestExpired), 1);
}

#[test]
fn keys_per_connection() {
    let key = |name: &str| Key::new(name).expect("short");
    let mut bench = with(|limits| limits.keys_per_connection = 1).working();
    bench.command(ServerCommand::Bind(key("a")));
    bench.command(ServerCommand::Bind(key("a")));
    assert_eq!(bench.station.notices(), [], "binding twice is binding once");
    bench.command(ServerCommand::Bind(key("b")));
    assert_eq!(bench.station.notices(), [ServerNotice::BindRefused(key("b"))]);
    assert_eq!(bench.marked(Mark::RegistrationRefused), 1);
    bench.command(ServerCommand::Unbind(key("a")));
    bench.command(ServerCommand::Bind(key("b")));
    assert_eq!(bench.marked(Mark::RegistrationRefused), 1);
}

#[test]
fn groups_per_connection() {
    let mut bench = with(|limits| limits.groups_per_connection = 2).working();
    for name in ["a", "b", "c", "a"] {
        bench.command(ServerCommand::Join(GroupId::new(name).expect("short")));
    }
    assert_eq!(bench.marked(Mark::RegistrationRefused), 1);
    assert_eq!(bench.station.routes().len(), 3);
}

#[test]
fn mark_push_dropped_and_oldest_dropped() {
    let mut bench = with(|limits| limits.send_queue_bytes = 512).working();
    for overflow in [Overflow::DropOldest, Overflow::DropOldest, Overflow::DropNewest, Overflow::DropOldest] {
        bench.push("a", "x", overflow);
    }
    assert_eq!((bench.marked(Mark::PushDropped), bench.marked(Mark::OldestDropped)), (1, 1));
}

#[test]
fn mark_read_paused() {
    let mut bench = with(|limits| limits.pending_requests = 1).working();
    bench.request(&[1], "a", b"");
    assert_eq!(bench.marked(Mark::ReadPaused), 1);
}

#[test]
fn mark_answer_late_answer_refused_and_request_expired() {
    let mut bench = with(|limits| limits.send_max = 100).working();
    let ticket = bench.request(&[1], "a", b"");
    bench.command(ServerCommand::Answer { ticket, body: vec![0; 100].into() });
    bench.command(ServerCommand::Fail { ticket, error: ErrorBody::new("X", "y") });
    bench.request(&[2], "a", b"");
    bench.wait_reading(SECOND * 30);
    let marks = [Mark::AnswerRefused, Mark::AnswerLate, Mark::RequestExpired].map(|mark| bench.marked(mark));
    assert_eq!(marks, [1, 1, 1]);
}

#[test]
fn mark_push_refused_not_ready_and_message_ignored() {
    let mut bench = Bench::plain();
    bench.deliver(Push::new("a", "", Overflow::Close));
    bench.accepted(b"");
    bench.say(ACK, b"");
    bench.deliver(Push::new(vec![b'r'; 256], "", Overflow::Close));
    bench.say(DATA, b"\x06\x01a");
    bench.say(DATA, &notify("a", b""));
    let marks = [Mark::NotReady, Mark::PushRefused, Mark::MessageIgnored].map(|mark| bench.marked(mark));
    assert_eq!(marks, [1, 1, 1]);
}

#[test]
fn mark_check_postponed() {
    let mut bench = Bench::plain().working();
    bench.station.timeout(bench.now + SECOND * 3600);
    assert_eq!(bench.marked(Mark::CheckPostponed), 1);
}
