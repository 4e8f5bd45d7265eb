//! Requests and answers: ids, tickets, errors, deadlines.

use std::time::Duration;

use bytes::Bytes;
use linkspan_core::pomelo::{self, ErrorAnswers, ErrorBody, ServerCommand, ServerConfig, ServerNotice};
use linkspan_core::{CloseReason, Limits, Mark, Overflow};
use linkspan_tests::harness::bench::{Bench, DATA, HEARTBEAT, JS_HELLO, notify, push, request, response};
use linkspan_tests::harness::package;

fn fail(bench: &mut Bench, id: u8, error: ErrorBody) -> Vec<(u8, Bytes)> {
    let ticket = bench.request(&[id], "a", b"");
    bench.command(ServerCommand::Fail { ticket, error });
    bench.hear()
}

/// The bytes of an id come back as they came: reversed groups, padding, ten bytes (pomelo-client-websocket writes the
/// groups the other way round, and multiples of 128 end in an empty one).
#[test]
fn ids_are_echoed_byte_by_byte() {
    let ids: [&[u8]; 8] = [
        &[1],
        &[0x7f],
        &[0x80, 0x01],
        &[0x81, 0x00],
        &[0x81, 0x80, 0x80, 0x00],
        &[0xff, 0xff, 0xff, 0xff, 0x07],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    ];
    let mut bench = Bench::plain().working();
    for id in ids {
        let ticket = bench.request(id, "Echo.Raw", b"x");
        bench.reply(ticket, b"x");
        assert_eq!(bench.hear(), [(DATA, response(id, b"x").into())]);
    }
}

/// All ids that a client with reversed groups writes for its first thousand requests.
#[test]
fn a_client_with_reversed_ids_loses_no_answer() {
    let mut bench = Bench::plain().working();
    for number in 1..=1000_u32 {
        let id = match number {
            0..=127 => vec![number as u8],
            _ => vec![(number >> 7) as u8 | 0x80, number as u8 & 0x7f],
        };
        let ticket = bench.request(&id, "Echo.Raw", b"x");
        bench.reply(ticket, b"x");
        assert_eq!(bench.hear(), [(DATA, response(&id, b"x").into())]);
    }
}

#[test]
fn equal_ids_are_two_requests() {
    let mut bench = Bench::plain().working();
    let first = bench.request(&[5], "a", b"one");
    let second = bench.request(&[5], "a", b"two");
    assert_ne!(first, second);
    bench.reply(second, b"2");
    bench.reply(first, b"1");
    assert_eq!(bench.hear(), [(DATA, response(&[5], b"2").into()), (DATA, response(&[5], b"1").into())]);
    assert_eq!(bench.station.connection().dialect().pending_requests(), 0);
}

/// What lies with the application counts, whether it wants an answer or not: one read of tiny or inflating messages
/// must not become more than the limits.
#[test]
fn messages_without_an_answer_are_bounded_like_requests() {
    let limits = Limits { pending_requests: 4, ..Limits::default() };
    let mut bench = Bench::new(Default::default(), limits).working();
    let smaller = pomelo::deflate(&[0; 400_000]).expect("it gets smaller");
    let message = package(DATA, &[b"\x12\x01r", &smaller[..]].concat());
    bench.bytes(message.repeat(10));
    let mut taken = Vec::new();
    for round in 0..10 {
        for notice in bench.station.notices() {
            if let ServerNotice::Notify { receipt, body, .. } = notice {
                assert_eq!(body.len(), 400_000);
                assert!(receipt.size() >= 400_000, "it counts with what it inflates to");
                taken.push(receipt);
            }
        }
        assert!(
            taken.len() <= round + 3,
            "1 MiB is reached by the third, and each one done lets one more in"
        );
        assert_eq!(bench.station.connection().wants_read(), taken.len() == 10 && round > 7);
        bench.command(ServerCommand::Done(taken[round]));
    }
    assert_eq!(taken.len(), 10);
    assert!(bench.station.connection().wants_read());
}

/// A message of some bytes keeps the whole piece of input alive in which it came.
#[test]
fn a_tiny_request_counts_with_the_piece_it_keeps_alive() {
    let limits = Limits { pending_bytes: 100_000, ..Limits::default() };
    let mut bench = Bench::new(Default::default(), limits).working();
    for _ in 0..2 {
        assert!(bench.station.connection().wants_read());
        let mut piece = package(DATA, &request(&[1], "r", b""));
        piece.extend(package(HEARTBEAT, b"").repeat(15_000));
        bench.bytes(piece);
    }
    assert!(!bench.station.connection().wants_read());
}

/// Found by reading: only the first message of a piece was charged with it, and those behind it kept it alive for nothing.
#[test]
fn what_comes_behind_it_does_not_keep_the_piece_alive() {
    let mut bench = Bench::plain().working();
    let mut piece = package(DATA, &request(&[1], "first", b""));
    piece.extend(package(DATA, &request(&[2], "second", b"body")));
    piece.extend(package(DATA, &notify("third", b"body")));
    piece.extend(package(HEARTBEAT, b"").repeat(15_000));
    bench.bytes(piece);
    let kept = bench.station.notices().into_iter().skip(1).map(|notice| match notice {
        ServerNotice::Request { route, body, .. } | ServerNotice::Notify { route, body, .. } => (route, body),
        other => panic!("{other:?}"),
    });
    let kept: Vec<_> = kept.collect();
    let texts: Vec<_> = kept.iter().map(|(route, body)| (&route[..], &body[..])).collect();
    assert_eq!(texts, [(&b"second"[..], &b"body"[..]), (b"third", b"body")]);
    assert!(kept.iter().all(|(route, body)| route.is_unique() && body.is_unique()), "copies of their own");
}

fn notified(notices: Vec<ServerNotice>) -> Vec<(Bytes, Bytes)> {
    let message = |notice| match notice {
        ServerNotice::Notify { route, body, .. } => Some((route, body)),
        _ => None,
    };
    notices.into_iter().filter_map(message).collect()
}

/// An answer with id 0 would read as a push.
#[test]
fn a_request_with_id_zero_is_a_notify() {
    let mut bench = Bench::plain().working();
    for id in [&[0][..], &[0x80, 0x00]] {
        bench.say(DATA, &request(id, "Echo.Raw", b"x"));
        assert_eq!(notified(bench.station.notices()), [("Echo.Raw".into(), "x".into())]);
    }
    assert_eq!(bench.hear(), []);
}

#[test]
fn routes_and_bodies_are_bytes() {
    let mut bench = Bench::plain().working();
    let long = "r".repeat(255);
    for route in ["", "nodot", long.as_str(), "a.b.c"] {
        bench.request(&[1], route, b"\xff\x00\xfe");
        bench.say(DATA, &notify(route, b"\xff"));
        let notices = bench.station.notices();
        assert_eq!(notified(notices), [(Bytes::from(route.to_owned()), Bytes::from_static(b"\xff"))]);
    }
}

#[test]
fn an_empty_answer_is_an_answer() {
    let mut bench = Bench::plain().working();
    let ticket = bench.request(&[4], "Echo.Empty", b"");
    bench.reply(ticket, b"");
    assert_eq!(bench.hear(), [(DATA, Bytes::from_static(&[4, 4]))]);
}

#[test]
fn late_and_second_answers_are_counted_and_go_nowhere() {
    let mut bench = Bench::plain().working();
    let first = bench.request(&[1], "a", b"");
    bench.reply(first, b"1");
    bench.reply(first, b"again");
    bench.command(ServerCommand::Fail { ticket: first, error: ErrorBody::new("X", "again") });
    let second = bench.request(&[1], "a", b"");
    bench.reply(first, b"not for the second");
    bench.reply(second, b"2");
    assert_eq!(bench.marked(Mark::AnswerLate), 3);
    assert_eq!(bench.hear(), [(DATA, response(&[1], b"1").into()), (DATA, response(&[1], b"2").into())]);
}

#[test]
fn a_request_that_nobody_answers_fails_by_itself() {
    let mut bench = Bench::plain().working();
    let ticket = bench.request(&[9], "slow", b"");
    bench.wait_reading(Duration::from_micros(29_999_999));
    assert_eq!(bench.marked(Mark::RequestExpired), 0);
    let heard = bench.wait_reading(Duration::from_micros(1));
    let error = r#"{"code":"PIT-408","msg":"request timed out"}"#;
    assert!(heard.contains(&(DATA, [b"\x24\x09", error.as_bytes()].concat().into())), "{heard:?}");
    assert_eq!(bench.marked(Mark::RequestExpired), 1);
    // The application is told, so that it need not go on.
    assert_eq!(bench.station.notices(), [ServerNotice::Expired(ticket)]);
    bench.reply(ticket, b"too late");
    assert_eq!(bench.marked(Mark::AnswerLate), 1);
}

#[test]
fn errors_have_pitayas_form() {
    let mut bench = Bench::plain().working();
    let error = ErrorBody::new("ECHO-1", "asked to fail");
    assert_eq!(
        fail(&mut bench, 1, error.clone()),
        [(DATA, Bytes::from_static(b"\x24\x01{\"code\":\"ECHO-1\",\"msg\":\"asked to fail\"}"))]
    );
    let mut detailed = error;
    detailed.metadata.insert("k".into(), "v".into());
    let body = br#"{"code":"ECHO-1","msg":"asked to fail","metadata":{"k":"v"}}"#;
    assert_eq!(fail(&mut bench, 2, detailed), [(DATA, [b"\x24\x02", &body[..]].concat().into())]);
}

#[test]
fn errors_follow_the_serializer() {
    let config = ServerConfig { serializer: "protobuf".into(), ..ServerConfig::default() };
    let mut bench = Bench::new(config, Limits::default());
    assert_eq!(bench.accepted(JS_HELLO)["sys"]["serializer"], "protobuf");
    bench.say(2, b"");
    bench.station.notices();
    let mut error = ErrorBody::new("PIT-404", "no");
    error.metadata.insert("k".into(), "v".into());
    let body = b"\x0a\x07PIT-404\x12\x02no\x1a\x06\x0a\x01k\x12\x01v";
    assert_eq!(fail(&mut bench, 1, error), [(DATA, [b"\x24\x01", &body[..]].concat().into())]);
    // A length of more than seven bits.
    let message = "x".repeat(300);
    let body = [b"\x0a\x07PIT-500\x12\xac\x02", message.as_bytes()].concat();
    let said = fail(&mut bench, 2, ErrorBody::new("PIT-500", message));
    assert_eq!(said, [(DATA, [b"\x24\x02", &body[..]].concat().into())]);
}

#[test]
fn as_nano_a_failed_request_is_not_answered() {
    let config = ServerConfig { errors: ErrorAnswers::None, ..ServerConfig::default() };
    let mut bench = Bench::new(config, Limits::default()).working();
    assert_eq!(fail(&mut bench, 1, ErrorBody::new("X", "y")), []);
    let ticket = bench.request(&[2], "slow", b"");
    bench.wait_reading(Duration::from_secs(30));
    assert_eq!(bench.station.notices(), [ServerNotice::Expired(ticket)]);
    assert_eq!(bench.marked(Mark::RequestExpired), 1);
    assert_eq!(bench.station.connection().dialect().pending_requests(), 0);
    bench.assert_alive();
}

#[test]
fn an_answer_that_cannot_be_said_becomes_an_error() {
    let limits = Limits { send_max: 200, ..Limits::default() };
    let mut bench = Bench::new(ServerConfig::default(), limits).working();
    let ticket = bench.request(&[1], "Echo.Big", b"");
    bench.command(ServerCommand::Answer { ticket, body: vec![0; 199].into() });
    let heard = bench.hear();
    assert_eq!((heard[0].1[0], bench.marked(Mark::AnswerRefused)), (0x24, 1));
    assert!(heard[0].1.windows(7).any(|window| window == b"PIT-500"), "{heard:?}");
    // An error too large for the limit becomes a short one.
    let heard = fail(&mut bench, 2, ErrorBody::new("X", "y".repeat(300)));
    assert!(heard[0].1.ends_with(br#"{"code":"PIT-500","msg":"error too large"}"#), "{heard:?}");
    bench.assert_alive();
}

#[test]
fn a_push_that_cannot_be_said_is_dropped_and_counted() {
    let mut bench =
        Bench::new(ServerConfig::default(), Limits { send_max: 200, ..Limits::default() }).working();
    bench.command(ServerCommand::Push {
        route: vec![b'r'; 256].into(),
        body: "".into(),
        overflow: Overflow::Close,
    });
    bench.push("a", vec![0; 300], Overflow::Close);
    assert_eq!(bench.marked(Mark::PushRefused), 2);
    bench.push("a", "b", Overflow::Close);
    assert_eq!(bench.hear(), [(DATA, push("a", b"b").into())]);
}

/// Answers and pushes keep the order in which the application gave them.
#[test]
fn order_is_kept() {
    let mut bench = Bench::plain().working();
    let ticket = bench.request(&[1], "Echo.PushN", b"");
    for _ in 0..3 {
        bench.push("onPush", "x", Overflow::DropNewest);
    }
    bench.reply(ticket, b"done");
    let heard = bench.hear();
    assert_eq!(heard[3], (DATA, response(&[1], b"done").into()));
    assert_eq!(heard.len(), 4);
}

/// Each request of a life ends in exactly one answer, or with the connection (C7).
#[test]
fn pending_requests_end_with_the_connection() {
    let mut bench = Bench::plain().working();
    let ticket = bench.request(&[1], "a", b"");
    bench.bytes(package(9, b""));
    assert!(matches!(bench.closed(), Some(CloseReason::Violation(_))));
    bench.reply(ticket, b"late");
    assert_eq!(bench.hear(), []);
    assert_eq!(bench.marked(Mark::AnswerLate), 0, "after its end a connection is silent");
}
