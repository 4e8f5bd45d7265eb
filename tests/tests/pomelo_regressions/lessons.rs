//! K, L and S.

use std::time::Duration;

use bytes::Bytes;
use linkspan_core::pomelo::{self, ClientCommand, ClientNotice, ErrorBody, ServerCommand, ServerNotice};
use linkspan_core::{CloseReason, Limits, Mark, Overflow, Violation};
use linkspan_tests::harness::bench::{
    ACK, Bench, DATA, HANDSHAKE, HEARTBEAT, JS_HELLO, KICK, notify, push, request, response,
};
use linkspan_tests::harness::package;
use linkspan_tests::pair::Pair;

const SECOND: Duration = Duration::from_secs(1);

// What kills or stops a server.

/// K1: a coded route of which one byte is there, at the end of an input of any size.
#[test]
fn k1_half_a_route_code_at_the_end_of_an_input() {
    for size in [64, 80, 96, 112, 128, 512, 1024, 2048] {
        let tail = package(DATA, b"\x03\x00");
        let filler = size - tail.len() - 4;
        let mut bench = Bench::plain().working();
        bench.bytes([package(HEARTBEAT, &vec![0; filler]), tail].concat());
        bench.assert_violation(Violation::MessageInvalid);
    }
}

/// K2: a request that ends after its id.
#[test]
fn k2_a_request_without_a_route() {
    let mut bench = Bench::plain().working();
    bench.bytes(vec![4, 0, 0, 2, 0, 1]);
    bench.assert_violation(Violation::MessageInvalid);
}

/// K3: repeated handshakes among requests.
#[test]
fn k3_a_second_handshake_ends_the_connection() {
    let mut bench = Bench::plain().working();
    bench.request(&[1], "Echo.Raw", b"x");
    bench.say(HANDSHAKE, JS_HELLO);
    bench.assert_violation(Violation::PackageOutOfOrder);
}

/// K4: closing from within a handler, with everything full.
#[test]
fn k4_closing_with_everything_full() {
    let limits = Limits { pending_requests: 2, send_queue_bytes: 512, ..Limits::default() };
    let mut bench = Bench::new(Default::default(), limits).working();
    bench.request(&[1], "a", b"");
    bench.request(&[2], "b", b"");
    bench.push("a", "x", Overflow::Close);
    bench.push("a", "x", Overflow::Close);
    bench.command(ServerCommand::Close);
    bench.wait(SECOND * 5);
    assert_eq!(bench.closed(), Some(CloseReason::Finished));
}

/// K6 and T6: a small body that inflates without bound.
#[test]
fn k6_a_compression_bomb_ends_at_the_limit() {
    let bomb = pomelo::deflate(&vec![0; 10 << 20]).expect("smaller");
    let mut bench = Bench::plain().working();
    bench.say(DATA, &[b"\x12\x01a", &bomb[..]].concat());
    bench.assert_violation(Violation::InflatedTooLarge);
    // Nested: the outside is small and inflates once only.
    let nested = pomelo::deflate(&bomb).unwrap_or(bomb);
    let mut bench = Bench::plain().working();
    bench.say(DATA, &[b"\x12\x01a", &nested[..]].concat());
    assert!(bench.station.connection().footprint() < 100_000);
    // No end, rubbish, a dictionary that nobody has.
    for body in [&b"\x78\x9c"[..], b"\x78\x9c\xff\xff\xff", b"\x78\xbb\x00\x00\x00\x01\x03\x00", b""] {
        let mut bench = Bench::plain().working();
        bench.say(DATA, &[b"\x12\x01a", body].concat());
        bench.assert_violation(Violation::Deflate);
    }
}

// What loses or corrupts messages.

/// L1: the payload of a request is not touched by what is read behind it.
#[test]
fn l1_two_payloads_of_one_read_stay_apart() {
    let mut bench = Bench::plain().working();
    let all: Vec<u8> =
        (1..=64).flat_map(|id| package(DATA, &request(&[id], "Echo.Raw", &[id; 33]))).collect();
    for piece in all.chunks(97) {
        bench.bytes(piece.to_vec());
    }
    for (at, notice) in bench.station.notices().into_iter().enumerate() {
        let ServerNotice::Request { ticket, body, .. } = notice else { panic!("{notice:?}") };
        assert_eq!(body, vec![at as u8 + 1; 33]);
        bench.command(ServerCommand::Answer { ticket, body });
    }
    let heard = bench.hear();
    assert!(heard.iter().enumerate().all(|(at, (_, body))| body[2..] == vec![at as u8 + 1; 33]));
    assert_eq!(heard.len(), 64);
}

/// L2: more than sixteen outstanding answers and pushes.
#[test]
fn l2_hundreds_of_answers_and_thousands_of_pushes_arrive() {
    let mut bench = Bench::plain().working();
    let tickets: Vec<_> = (0..250_u8).map(|at| bench.request(&[at % 127 + 1], "a", &[at])).collect();
    for ticket in tickets {
        bench.reply(ticket, b"x");
    }
    for _ in 0..3000 {
        bench.push("a", "x", Overflow::Close);
    }
    assert_eq!((bench.hear().len(), bench.closed()), (3250, None));
}

/// L3 and L10: a writer that gets stuck ends the connection; nothing goes on in the middle of a package.
#[test]
fn l3_l10_a_stuck_writer_ends_the_connection() {
    let mut bench = Bench::plain().working();
    bench.push("a", "x", Overflow::Close);
    bench.wait(SECOND * 10);
    assert_eq!(bench.closed(), Some(CloseReason::WriteTimeout));
    bench.push("a", "y", Overflow::Close);
    assert_eq!(bench.hear().len(), 1);
}

/// L4: what is queued at the end arrives, the answer of the very handler included.
#[test]
fn l4_nothing_queued_at_a_close_is_lost() {
    for end in [ServerCommand::Close, ServerCommand::Kick { reason: "bye".into() }] {
        let mut pair = Pair::plain(4);
        let mut ending = Some(end);
        pair.run_echo(SECOND);
        pair.client.notices();
        let ask = ClientCommand::Request { request: 1, route: "Echo.Bye".into(), body: "".into() };
        pair.client.command(pair.now, ask);
        pair.run(SECOND * 10, |notice| {
            let ServerNotice::Request { ticket, .. } = notice else { return Vec::new() };
            let push = || ServerCommand::Push {
                route: "onBye".into(),
                body: "{}".into(),
                overflow: Overflow::Close,
            };
            let mut commands: Vec<_> = (0..5).map(|_| (Duration::ZERO, push())).collect();
            commands.extend(ending.take().map(|end| (Duration::ZERO, end)));
            commands.push((Duration::ZERO, ServerCommand::Answer { ticket, body: "done".into() }));
            commands
        });
        let notices = pair.client.notices();
        assert!(notices[..5].iter().all(|notice| matches!(notice, ClientNotice::Push { .. })), "{notices:?}");
        assert_eq!(notices[5], ClientNotice::Answer { request: 1, body: "done".into() });
        assert!(pair.client.closed().is_some());
    }
}

/// L5: a kick at the moment of a heartbeat.
#[test]
fn l5_a_kick_does_not_collide_with_a_heartbeat() {
    let mut bench = Bench::plain().working();
    bench.wait(SECOND * 30);
    bench.command(ServerCommand::Kick { reason: "x".into() });
    let kinds: Vec<_> = bench.hear().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [HEARTBEAT, KICK]);
}

/// L6: a body of one to three bytes in a piece of its own.
#[test]
fn l6_a_short_body_in_its_own_piece_is_not_held_back() {
    for body in [&b"{}"[..], b"1", b"[1]"] {
        let mut bench = Bench::plain();
        bench.bytes(vec![HANDSHAKE, 0, 0, body.len() as u8]);
        bench.bytes(body.to_vec());
        assert!(matches!(bench.station.notices()[..], [ServerNotice::Handshake(_)]));
    }
}

/// L7: every failure is answered.
#[test]
fn l7_every_failure_is_answered() {
    let mut bench = Bench::plain().working();
    for code in [ErrorBody::NOT_FOUND, ErrorBody::BAD_REQUEST, ErrorBody::UNKNOWN, ErrorBody::INTERNAL] {
        let ticket = bench.request(&[1], "a", b"");
        bench.command(ServerCommand::Fail { ticket, error: ErrorBody::new(code, "why") });
        assert_eq!(bench.hear()[0].1[..2], [0x24, 1]);
    }
    bench.request(&[2], "never answered", b"");
    assert!(bench.wait_reading(SECOND * 30).iter().any(|(_, body)| body.starts_with(&[0x24, 2])));
}

/// L8: nothing is written with a length that does not fit; also pinned in `pomelo_codec`.
#[test]
fn l8_what_does_not_fit_its_length_field_is_refused() {
    let mut bench = Bench::plain().working();
    let long = Bytes::from(vec![b'r'; 256]);
    bench.command(ServerCommand::Push { route: long, body: "x".into(), overflow: Overflow::Close });
    let ticket = bench.request(&[1], "a", b"");
    bench.command(ServerCommand::Answer { ticket, body: vec![0; 1 << 24].into() });
    let heard = bench.hear();
    assert_eq!((heard.len(), heard[0].1[0]), (1, 0x24));
    assert_eq!((bench.marked(Mark::PushRefused), bench.marked(Mark::AnswerRefused)), (1, 1));
}

/// L9: an empty answer is read by our own client.
#[test]
fn l9_an_empty_answer_arrives() {
    let mut pair = Pair::plain(9);
    pair.run_echo(SECOND);
    pair.client.notices();
    let ask = ClientCommand::Request { request: 3, route: "a".into(), body: Bytes::new() };
    pair.client.command(pair.now, ask);
    pair.run_echo(SECOND);
    assert_eq!(pair.client.notices(), [ClientNotice::Answer { request: 3, body: Bytes::new() }]);
}

/// L11: answers leave in the order in which they are given.
#[test]
fn l11_answers_keep_their_order() {
    let mut bench = Bench::plain().working();
    let tickets: Vec<_> = (1..=100).map(|id| bench.request(&[id], "a", b"")).collect();
    tickets.into_iter().for_each(|ticket| bench.reply(ticket, b""));
    let ids: Vec<_> = bench.hear().into_iter().map(|(_, body)| body[1]).collect();
    assert_eq!(ids, (1..=100).collect::<Vec<u8>>());
}

// Security and accounting.

/// S1: an acknowledgement goes round no validator.
#[test]
fn s1_an_ack_without_a_handshake_ends_the_connection() {
    let mut bench = Bench::plain();
    bench.bytes([package(ACK, b""), package(DATA, &request(&[1], "Echo.Raw", b"x"))].concat());
    bench.assert_violation(Violation::PackageOutOfOrder);
    assert_eq!(bench.station.notices(), []);
    // Nor does one that comes while the validator still thinks.
    let mut bench = Bench::plain();
    bench.bytes([package(HANDSHAKE, b"{}"), package(ACK, b""), package(DATA, &notify("a", b""))].concat());
    assert!(matches!(bench.station.notices()[..], [ServerNotice::Handshake(_)]));
    bench.command(ServerCommand::Refuse { code: pomelo::RefuseCode::Denied, user: None });
    assert_eq!(bench.station.notices(), []);
}

/// S2: a peer that never speaks, speaks half, or never acknowledges.
#[test]
fn s2_mute_peers_are_ended_at_the_handshake_deadline() {
    for input in [vec![], vec![1, 0, 0], package(HANDSHAKE, JS_HELLO)] {
        let mut bench = Bench::plain();
        bench.bytes(input);
        bench.wait(SECOND * 10);
        assert_eq!(bench.closed(), Some(CloseReason::HandshakeTimeout));
    }
}

/// S3 and N2: a peer that stops reading, whatever it goes on sending.
#[test]
fn s3_a_peer_that_stops_reading_is_ended() {
    let mut bench = Bench::plain().working();
    let mut waited = 0;
    while bench.closed().is_none() {
        bench.wait(SECOND);
        bench.say(HEARTBEAT, b"");
        waited += 1;
    }
    assert_eq!(bench.closed(), Some(CloseReason::WriteTimeout));
    assert_eq!(waited, 40, "the first heartbeat at 30 s, ten seconds for it to move");
}

/// JavaScript clients take a message with id 0 for a push, parse the body of a kick, and look up the route of an answer
/// that has the code bit; libpitaya crashes on a coded push.
#[test]
fn traps_of_clients_are_never_sent() {
    let dictionary = pomelo::Dictionary::numbered(["a"]).expect("one");
    let config = pomelo::ServerConfig { dictionary, ..Default::default() };
    let mut bench = Bench::new(config, Limits::default()).working_as(b"{\"sys\":{\"libVersion\":\"1\"}}");
    bench.push("a", "x", Overflow::Close);
    assert_eq!(bench.hear(), [(DATA, push("a", b"x").into())]);
    bench.say(DATA, b"\x01\x07\x00\x01");
    let notices = bench.station.notices();
    let [ServerNotice::Request { ticket, .. }] = &notices[..] else { panic!("{notices:?}") };
    bench.reply(*ticket, b"");
    bench.command(ServerCommand::Kick { reason: Bytes::new() });
    let heard = bench.hear();
    assert_eq!(heard[0], (DATA, response(&[7], b"").into()));
    assert_eq!(heard[1], (KICK, r#"{"reason":""}"#.into()));
}
