//! T, O and N.

use std::time::Duration;

use bytes::Bytes;
use linkspan_core::pomelo::{ClientCommand, ServerCommand, ServerNotice};
use linkspan_core::{CloseReason, Event, Mark, Opcode, Overflow, Push, Violation};
use linkspan_tests::harness::bench::{
    ACK, Bench, DATA, HANDSHAKE, HEARTBEAT, JS_HELLO, KICK, notify, request, response,
};
use linkspan_tests::harness::package;
use linkspan_tests::pair::Pair;

const SECOND: Duration = Duration::from_secs(1);

/// T1 and T3: drips and silence in every stage; `pomelo_server::liveness` has each deadline to the microsecond.
#[test]
fn t1_a_dripping_peer_is_ended_in_every_stage() {
    for hello in [false, true] {
        let mut bench = if hello { Bench::plain().working() } else { Bench::plain() };
        let drip = package(if hello { DATA } else { HANDSHAKE }, &[b' '; 1000]);
        for byte in drip {
            bench.bytes(vec![byte]);
            bench.wait_reading(SECOND / 2);
            if bench.closed().is_some() {
                break;
            }
        }
        let reason = if hello { Violation::Unfinished.into() } else { CloseReason::HandshakeTimeout };
        assert_eq!(bench.closed(), Some(reason));
    }
}

/// T2: refused when the header is there, nothing reserved, and with a code that says why.
#[test]
fn t2_an_oversize_announcement_is_refused_at_the_header() {
    for length in [[1, 0, 1], [0xff, 0xff, 0xff]] {
        let mut bench = Bench::plain().working();
        bench.bytes([&[DATA], &length[..]].concat());
        bench.assert_violation(Violation::PackageTooLarge);
        assert_eq!(bench.closed().map(CloseReason::code), Some(1009));
        assert_eq!(bench.station.connection().footprint(), 0);
    }
}

/// T5: pings and pongs reach the core without effect; they end no silence.
#[test]
fn t5_pings_and_pongs_do_nothing() {
    let mut bench = Bench::plain().working();
    for _ in 0..75 {
        bench.wait_reading(SECOND);
        bench.station.event(bench.now, Event::Received(Opcode::Ping, "x".into()));
        bench.station.event(bench.now, Event::Received(Opcode::Pong, "x".into()));
    }
    assert_eq!(bench.closed(), Some(CloseReason::HeartbeatTimeout));
}

/// T7: ids that overflow, are padded, or never end.
#[test]
fn t7_odd_ids() {
    let mut bench = Bench::plain().working();
    for id in [&[0x81, 0x80, 0x80, 0x00][..], &[0xff; 9].into_iter().chain([0x7f]).collect::<Vec<_>>()] {
        let ticket = bench.request(id, "a", b"");
        bench.reply(ticket, b"");
        assert_eq!(bench.hear(), [(DATA, response(id, b"").into())]);
    }
    bench.say(DATA, &[&[0][..], &[0x80; 11]].concat());
    bench.assert_violation(Violation::MessageId);
}

/// T8: `pomelo_server::states` has the whole table.
#[test]
fn t8_what_does_not_fit_ends_the_connection() {
    for (kind, body) in [(KICK, &b"{}"[..]), (ACK, b""), (HANDSHAKE, b"{}"), (9, b"")] {
        let mut bench = Bench::plain().working();
        bench.say(kind, body);
        assert!(matches!(bench.closed(), Some(CloseReason::Violation(_))));
    }
}

/// T9 and G3: ids repeat; a late answer never goes to another request.
#[test]
fn t9_a_late_answer_never_reaches_another_request() {
    let mut bench = Bench::plain().working();
    let old = bench.request(&[5], "a", b"");
    bench.wait_reading(SECOND * 30);
    assert_eq!(bench.station.notices(), [ServerNotice::Expired(old)]);
    let new = bench.request(&[5], "b", b"");
    bench.hear();
    bench.reply(old, b"old");
    assert_eq!(bench.hear(), []);
    bench.reply(new, b"new");
    assert_eq!(bench.hear(), [(DATA, response(&[5], b"new").into())]);
    assert_eq!(bench.marked(Mark::AnswerLate), 1);
}

/// T26: one message for many, one buffer for all.
#[test]
fn t26_a_broadcast_shares_its_payload() {
    let message = Push::new("onMessage", vec![b'x'; 10_000], Overflow::DropNewest);
    let frames: Vec<_> = (0..50)
        .map(|_| {
            let mut bench = Bench::plain().working();
            bench.deliver(message.clone());
            bench.station.flush(bench.now, 1).remove(0)
        })
        .collect();
    assert!(frames.iter().all(|frame| frame.body().as_ptr() == frames[0].body().as_ptr()));
}

/// O3: a slow consumer costs only itself; its policy decides what it loses, and every loss is counted.
#[test]
fn o3_a_slow_consumer_costs_only_itself() {
    let mut slow = Bench::plain().working();
    let mut fast = Bench::plain().working();
    for number in 0..20_000_u32 {
        let message = Push::new("n", number.to_be_bytes().to_vec(), Overflow::DropNewest);
        slow.deliver(message.clone());
        fast.deliver(message);
        assert_eq!(fast.hear().len(), 1);
    }
    assert_eq!(slow.closed(), None);
    assert_eq!(slow.marked(Mark::PushDropped) + slow.hear().len() as u64, 20_000);
}

/// O7: whatever a peer sends, a connection owns no more than its computed sum (the harness checks each step).
#[test]
fn o7_a_connection_owns_no_more_than_its_sum() {
    let mut bench = Bench::plain().working();
    let ask = package(DATA, &request(&[1], "a", &[0; 1000]));
    for _ in 0..2000 {
        bench.bytes(ask.clone());
        if !bench.station.connection().wants_read() {
            break;
        }
    }
    assert!(!bench.station.connection().wants_read());
    assert_eq!(bench.station.notices().len(), 256);
    assert!(bench.station.connection().footprint() < 64 * 1024);
}

/// N1: delays and odd pieces change nothing but the time.
#[test]
fn n1_delays_change_nothing_but_the_time() {
    let answers = |seed| {
        let mut pair = Pair::plain(seed);
        pair.run_echo(SECOND);
        for number in 0..50 {
            let body = Bytes::from(vec![number as u8; 500]);
            let ask = ClientCommand::Request { request: number, route: "a".into(), body };
            pair.client.command(pair.now, ask);
        }
        pair.run_echo(SECOND * 60);
        pair.client.notices()
    };
    let first = answers(0);
    assert_eq!(first.len(), 51);
    assert!((1..10).all(|seed| answers(seed) == first));
}

/// N3: the peer goes at any byte of a whole session: one reason, nothing left.
#[test]
fn n3_a_reset_at_any_byte_is_one_end() {
    let session = [
        package(HANDSHAKE, JS_HELLO),
        package(ACK, b""),
        package(DATA, &request(&[1], "Echo.Raw", b"x")),
        package(HEARTBEAT, b""),
        package(DATA, &notify("a", b"y")),
    ]
    .concat();
    for at in 0..=session.len() {
        for reason in [CloseReason::PeerClosed, CloseReason::ConnectionLost] {
            let mut bench = Bench::plain();
            for byte in &session[..at] {
                bench.bytes(vec![*byte]);
                bench.command(ServerCommand::Accept { user: None });
            }
            bench.station.event(bench.now, Event::Closed(reason));
            let ended = bench.closed().expect("it ended");
            assert!(ended == reason || ended == Violation::Truncated.into(), "{ended:?} at {at}");
            assert_eq!(bench.station.next_timeout(), None);
        }
    }
}

/// N10 and O8: clocks that jump ahead or back, and a process that was frozen; more in `pomelo_server::liveness`.
#[test]
fn n10_clock_jumps_end_nobody_who_is_alive() {
    let mut bench = Bench::plain().working();
    for jump in [3600, 86_400, 10] {
        bench.now = bench.now + SECOND * jump;
        bench.station.timeout(bench.now);
        bench.say(HEARTBEAT, b"");
        bench.hear();
    }
    assert_eq!(bench.closed(), None);
    bench.assert_alive();
}

/// N11: what a connection does when the server stops; the rest is tested with sockets.
#[test]
fn n11_a_stop_answers_first_and_says_why() {
    let mut bench = Bench::plain().working();
    let ticket = bench.request(&[1], "a", b"");
    bench.station.event(bench.now, Event::Drain(CloseReason::Stopping));
    bench.reply(ticket, b"done");
    let heard = bench.hear();
    assert_eq!(heard[0], (DATA, response(&[1], b"done").into()));
    assert_eq!(heard[1], (KICK, r#"{"reason":"server stopping"}"#.into()));
    assert!(CloseReason::Stopping.may_reconnect());
}
