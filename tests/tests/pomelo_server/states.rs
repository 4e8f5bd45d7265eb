//! Which package fits which state; everything else ends the connection, and only it.

use linkspan_core::pomelo::{ServerCommand, ServerConfig, ServerNotice};
use linkspan_core::{CloseReason, Event, Limits, Mark, Opcode, Violation};
use linkspan_tests::harness::bench::{
    ACK, Bench, DATA, HANDSHAKE, HEARTBEAT, JS_HELLO, KICK, notify, request,
};
use linkspan_tests::harness::package;

/// A connection in each state that a client can bring it to.
fn start() -> Bench {
    Bench::plain()
}

fn validating() -> Bench {
    let mut bench = Bench::plain();
    bench.say(HANDSHAKE, JS_HELLO);
    bench
}

fn answered() -> Bench {
    let mut bench = Bench::plain();
    bench.accepted(JS_HELLO);
    bench
}

fn working() -> Bench {
    Bench::plain().working()
}

/// What each package does in each state: `true` is taken, `false` ends the connection.
#[test]
fn every_package_in_every_state() {
    let rows: [(u8, [bool; 3]); 5] = [
        //           start  answered working
        (HANDSHAKE, [true, false, false]),
        (ACK, [false, true, false]),
        (HEARTBEAT, [false, true, true]),
        (DATA, [false, false, true]),
        (KICK, [false, false, false]),
    ];
    for (kind, fits) in rows {
        for (state, fits) in [start, answered, working].into_iter().zip(fits) {
            let mut bench = state();
            let body = match kind {
                DATA => notify("Echo.Note", b""),
                HANDSHAKE => JS_HELLO.to_vec(),
                _ => Vec::new(),
            };
            bench.say(kind, &body);
            let expected = (!fits).then_some(Violation::PackageOutOfOrder.into());
            assert_eq!(bench.closed(), expected, "package {kind}");
        }
    }
}

/// While the application looks at the handshake nothing is taken; what was read already waits.
#[test]
fn what_comes_behind_the_handshake_waits_for_the_application() {
    let mut bench = validating();
    assert!(!bench.station.connection().wants_read());
    bench.bytes([package(ACK, b""), package(DATA, &notify("a", b"1"))].concat());
    bench.bytes(package(DATA, &notify("b", b"2")));
    assert!(matches!(bench.station.notices()[..], [ServerNotice::Handshake(_)]));
    bench.command(ServerCommand::Accept { user: None });
    let notices = bench.station.notices().into_iter();
    let routes: Vec<_> = notices
        .filter_map(|notice| match notice {
            ServerNotice::Notify { route, .. } => Some(route),
            _ => None,
        })
        .collect();
    assert_eq!(routes, ["a", "b"]);
    assert!(bench.station.connection().wants_read());
    assert_eq!(bench.marked(Mark::ReadPaused), 0, "waiting for the application is no back-pressure");
}

#[test]
fn what_is_wrong_behind_the_handshake_ends_the_connection_after_its_answer() {
    let mut bench = validating();
    bench.bytes([package(ACK, b""), package(9, b"")].concat());
    assert_eq!(bench.closed(), None);
    bench.command(ServerCommand::Accept { user: None });
    bench.assert_violation(Violation::PackageType);
    assert_eq!(bench.hear().len(), 1, "the answer");
}

#[test]
fn nothing_leaves_before_working_but_the_answer() {
    let mut bench = answered();
    bench.push("onEcho", "x", Default::default());
    bench.deliver(linkspan_core::Push::new("onEcho", "x", Default::default()));
    assert_eq!(bench.hear(), []);
    assert_eq!(bench.marked(Mark::NotReady), 2);
    bench.station.event(bench.now, Event::Drain(CloseReason::Stopping));
    assert_eq!(bench.closed(), Some(CloseReason::Stopping));
    assert_eq!(bench.hear(), []);
}

#[test]
fn unknown_types_end_the_connection_at_their_first_byte() {
    for kind in [0, 6, 7, 71, 255] {
        let mut bench = working();
        bench.bytes(vec![kind]);
        bench.assert_violation(Violation::PackageType);
    }
}

#[test]
fn bodies_of_ack_and_heartbeat_are_ignored() {
    let mut bench = answered();
    bench.say(ACK, b"ignored");
    bench.say(HEARTBEAT, b"ignored");
    bench.station.notices();
    bench.assert_alive();
}

#[test]
fn good_packages_before_a_bad_one_count() {
    let mut bench = working();
    bench.bytes([package(DATA, &notify("a", b"1")), vec![9], package(DATA, &notify("b", b""))].concat());
    let notices = bench.station.notices();
    let [ServerNotice::Notify { route, body, .. }] = notices.as_slice() else { panic!("{notices:?}") };
    assert_eq!((&route[..], &body[..]), (&b"a"[..], &b"1"[..]));
    bench.assert_violation(Violation::PackageType);
}

#[test]
fn messages_that_only_servers_send_are_ignored_and_counted() {
    let mut bench = working();
    bench.say(DATA, b"\x04\x07r");
    bench.say(DATA, b"\x06\x08Echo.Rawr");
    assert_eq!(bench.station.notices(), []);
    assert_eq!(bench.marked(Mark::MessageIgnored), 2);
    bench.assert_alive();
}

#[test]
fn broken_messages_end_the_connection_with_what_is_wrong() {
    let rows: [(&[u8], Violation); 11] = [
        (b"", Violation::MessageInvalid),
        (b"\x00", Violation::MessageInvalid),
        (b"\x0a\x01\x01a", Violation::MessageInvalid),
        (b"\x02\x05abc", Violation::MessageInvalid),
        (b"\x00\x01", Violation::MessageInvalid),
        (b"\x03\x00", Violation::MessageInvalid),
        (b"\x03\x00\x07x", Violation::RouteCode),
        (b"\x01\x01\x00\x00", Violation::RouteCode),
        (b"\x00\xff\xff", Violation::MessageId),
        (b"\x12\x01aplain", Violation::Deflate),
        (b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01a", Violation::MessageId),
    ];
    for (message, violation) in rows {
        let mut bench = working();
        bench.say(DATA, message);
        bench.assert_violation(violation);
        assert!(!bench.closed().is_some_and(CloseReason::may_reconnect));
    }
}

#[test]
fn reserved_flag_bits_and_the_error_flag_of_a_request_are_ignored() {
    for flag in [0x40, 0x80, 0xc0, 0x20] {
        let mut bench = working();
        bench.say(DATA, &[&[flag, 0x01, 0x01], &b"ax"[..]].concat());
        assert!(matches!(bench.station.notices()[..], [ServerNotice::Request { .. }]), "flag {flag:#x}");
    }
}

#[test]
fn nanos_leniency_takes_an_ack_without_handshake_only_if_it_is_on() {
    let mut bench = start();
    bench.say(ACK, b"");
    bench.assert_violation(Violation::PackageOutOfOrder);
    let config = ServerConfig { ack_without_handshake: true, ..ServerConfig::default() };
    let mut bench = Bench::new(config, Limits::default());
    bench.say(ACK, b"");
    assert_eq!(bench.station.notices(), [ServerNotice::Opened]);
    bench.assert_alive();
    assert_eq!(bench.hear(), [], "no answer to a handshake that was not made");
}

#[test]
fn a_websocket_message_is_a_piece_of_the_stream() {
    let mut bench = working();
    let whole = [package(DATA, &request(&[1], "a", b"x")), package(DATA, &request(&[2], "b", b"y"))].concat();
    let (first, rest) = whole.split_at(9);
    bench.message(first.to_vec());
    bench.message(Vec::new());
    bench.station.event(bench.now, Event::Received(Opcode::Text, rest.to_vec().into()));
    bench.station.event(bench.now, Event::Received(Opcode::Ping, "ignored".into()));
    bench.station.event(bench.now, Event::Received(Opcode::Pong, "ignored".into()));
    assert_eq!(bench.station.notices().len(), 2);
    assert_eq!(bench.closed(), None);
}

#[test]
fn strict_boundaries_want_one_package_per_websocket_message() {
    let one = package(DATA, &notify("a", b"x"));
    let strict = || {
        let config = ServerConfig { strict_boundaries: true, ..ServerConfig::default() };
        Bench::new(config, Limits::default()).working()
    };
    let mut bench = strict();
    bench.message(one.clone());
    bench.bytes([one.clone(), one[..3].to_vec()].concat());
    bench.bytes(one[3..].to_vec());
    assert_eq!(bench.station.notices().len(), 3, "a stream has no boundaries");
    for bad in
        [Vec::new(), [one.clone(), one.clone()].concat(), one[..one.len() - 1].to_vec(), one[..2].to_vec()]
    {
        let mut bench = strict();
        bench.message(bad);
        bench.assert_violation(Violation::PackageBoundary);
    }
}

#[test]
fn the_end_of_the_peer_inside_a_package_is_called_truncated() {
    for (tail, reason) in [
        (&b""[..], CloseReason::PeerClosed),
        (b"\x04", Violation::Truncated.into()),
        (b"\x04\x00\x00\x02x", Violation::Truncated.into()),
    ] {
        let mut bench = working();
        bench.bytes(tail.to_vec());
        bench.station.event(bench.now, Event::Closed(CloseReason::PeerClosed));
        assert_eq!(bench.closed(), Some(reason));
    }
}
