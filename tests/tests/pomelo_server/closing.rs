//! How connections end: answers first, then what is queued, then the reason, then nothing.

use std::time::Duration;

use bytes::Bytes;
use linkspan_core::pomelo::{ErrorBody, ServerCommand, ServerNotice};
use linkspan_core::{CloseReason, Delivery, Event, GroupId, Key, Limits, Mark, Overflow, Push, Route};
use linkspan_tests::harness::bench::{Bench, DATA, HANDSHAKE, JS_HELLO, KICK, notify, push, response};
use serde_json::{Value, json};

fn kick(bench: &mut Bench, reason: &'static str) {
    bench.command(ServerCommand::Kick { reason: Bytes::from_static(reason.as_bytes()) });
}

fn reason(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("the body of a kick is JSON")
}

/// Found by reading: who sends to a key that is bound while much waits was never told.
#[test]
fn a_key_that_is_bound_while_much_waits_is_congested() {
    let key = Key::new("late").unwrap();
    let mut bench = Bench::plain().working();
    for len in [2 << 20, 1] {
        bench.push("onBulk", vec![0; len], Overflow::Backpressure);
    }
    for expected in [2, 1] {
        bench.command(ServerCommand::Bind(key.clone()));
        let routes = bench.station.routes();
        assert_eq!(routes.len(), expected, "{routes:?}");
        assert!(matches!(&routes[0], Route::Register { key: bound, .. } if *bound == key));
        assert!(routes[1..].iter().all(|route| *route == Route::Congested(key.clone())));
    }
    bench.hear();
    assert_eq!(bench.station.routes(), [Route::Relieved(key)]);
}

#[test]
fn a_kick_goes_behind_the_queue_and_says_why() {
    let mut bench = Bench::plain().working();
    for _ in 0..5 {
        bench.push("onBye", "{}", Overflow::Close);
    }
    kick(&mut bench, "say \"goodbye\"");
    assert_eq!(bench.closed(), Some(CloseReason::Kicked));
    let heard = bench.hear();
    assert_eq!(heard.len(), 6);
    assert_eq!(heard[4], (DATA, push("onBye", b"{}").into()));
    assert_eq!(heard[5].0, KICK);
    assert_eq!(reason(&heard[5].1), json!({"reason": "say \"goodbye\""}));
}

#[test]
fn a_kick_waits_for_pending_answers() {
    let mut bench = Bench::plain().working();
    let first = bench.request(&[1], "a", b"");
    let second = bench.request(&[2], "b", b"");
    kick(&mut bench, "bye");
    assert_eq!(bench.closed(), None);
    assert!(!bench.station.connection().wants_read());
    bench.reply(second, b"two");
    assert_eq!(bench.closed(), None);
    bench.command(ServerCommand::Fail { ticket: first, error: ErrorBody::new("X", "y") });
    assert_eq!(bench.closed(), Some(CloseReason::Kicked));
    let kinds: Vec<_> = bench.hear().into_iter().map(|(kind, body)| (kind, body[0])).collect();
    assert_eq!(kinds, [(DATA, 0x04), (DATA, 0x24), (KICK, b'{')]);
}

#[test]
fn a_kick_waits_no_longer_than_the_grace() {
    let mut bench = Bench::plain().working();
    bench.request(&[1], "slow", b"");
    kick(&mut bench, "bye");
    bench.wait(Duration::from_micros(4_999_999));
    assert_eq!(bench.closed(), None);
    bench.wait(Duration::from_micros(1));
    assert_eq!(bench.closed(), Some(CloseReason::Kicked));
    let heard = bench.hear();
    assert_eq!((heard.len(), heard[0].0), (1, KICK));
}

#[test]
fn a_close_is_graceful_and_says_nothing() {
    let mut bench = Bench::plain().working();
    let ticket = bench.request(&[1], "a", b"");
    bench.command(ServerCommand::Close);
    bench.push("last", "x", Overflow::Close);
    bench.reply(ticket, b"answer");
    assert_eq!(bench.closed(), Some(CloseReason::Finished));
    assert_eq!(bench.hear(), [(DATA, push("last", b"x").into()), (DATA, response(&[1], b"answer").into())]);
}

#[test]
fn the_gateway_says_why_it_stops_or_replaces() {
    for (why, text) in
        [(CloseReason::Stopping, "server stopping"), (CloseReason::Replaced, "replaced by a newer session")]
    {
        let mut bench = Bench::plain().working();
        bench.station.event(bench.now, Event::Drain(why));
        assert_eq!(bench.closed(), Some(why));
        let heard = bench.hear();
        assert_eq!((heard[0].0, reason(&heard[0].1)), (KICK, json!({"reason": text})));
    }
}

#[test]
fn a_second_reason_changes_nothing_but_a_close_by_the_peer_does() {
    let mut bench = Bench::plain().working();
    bench.request(&[1], "a", b"");
    bench.station.event(bench.now, Event::Drain(CloseReason::Stopping));
    bench.station.event(bench.now, Event::Drain(CloseReason::Replaced));
    bench.command(ServerCommand::Close);
    assert_eq!(bench.closed(), None);
    bench.station.event(bench.now, Event::Closed(CloseReason::ConnectionLost));
    assert_eq!(bench.closed(), Some(CloseReason::ConnectionLost));
    assert_eq!(bench.hear(), [], "nobody is there to be told");
}

#[test]
fn while_it_ends_nothing_is_read_and_nothing_is_delivered() {
    let mut bench = Bench::plain().working();
    let ticket = bench.request(&[1], "a", b"");
    bench.command(ServerCommand::Close);
    bench.say(DATA, &notify("late", b""));
    bench.say(9, b"");
    bench.deliver(Push::new("late", "", Overflow::Close));
    assert_eq!(bench.station.notices(), []);
    assert_eq!(bench.marked(Mark::NotReady), 1, "what is dropped is counted");
    bench.reply(ticket, b"");
    assert_eq!(bench.hear(), [(DATA, response(&[1], b"").into())]);
}

/// Its peer is not read any more, so its silence is ours.
#[test]
fn a_graceful_end_is_not_cut_short_by_silence() {
    let mut bench = Bench::plain().working();
    bench.wait_reading(Duration::from_secs(31));
    let ticket = bench.request(&[1], "a", b"");
    bench.wait_reading(Duration::from_secs(29));
    // The request expires at 61 s, the silence would end at 91 s.
    bench.reply(ticket, b"");
    bench.wait_reading(Duration::from_micros(30_999_999));
    let ticket = bench.request(&[2], "b", b"");
    bench.wait_reading(Duration::from_secs(29));
    bench.hear();
    bench.reply(ticket, b"");
    assert_eq!(bench.closed(), None);

    let limits = Limits {
        close_grace: Duration::from_secs(100),
        request_timeout: Duration::from_secs(100),
        ..Limits::default()
    };
    let mut bench = Bench::new(Default::default(), limits).working();
    let ticket = bench.request(&[1], "a", b"");
    bench.command(ServerCommand::Close);
    bench.wait_reading(Duration::from_secs(99));
    assert_eq!(bench.closed(), None);
    bench.reply(ticket, b"late but here");
    assert_eq!(bench.hear(), [(DATA, response(&[1], b"late but here").into())]);
}

#[test]
fn before_the_handshake_is_over_an_end_is_silent() {
    let mut bench = Bench::plain();
    bench.say(HANDSHAKE, JS_HELLO);
    kick(&mut bench, "bye");
    assert_eq!(bench.closed(), Some(CloseReason::Kicked));
    assert_eq!(bench.hear(), []);
}

#[test]
fn registrations_are_undone_once_at_the_end() {
    let (key, group) = (Key::new("u1").expect("short"), GroupId::new("room").expect("short"));
    for close in [ServerCommand::Close, ServerCommand::Kick { reason: "x".into() }] {
        let mut bench = Bench::plain().working();
        bench.command(ServerCommand::Bind(key.clone()));
        bench.command(ServerCommand::Join(group.clone()));
        bench.command(ServerCommand::Join(group.clone()));
        assert_eq!(names(&bench.station.routes()), ["Register", "Join", "Join"]);
        bench.request(&[1], "a", b"");
        bench.command(close);
        assert_eq!(bench.station.routes(), [Route::Unregister(key.clone()), Route::Leave(group.clone())]);
        bench.command(ServerCommand::Join(group.clone()));
        bench.station.event(bench.now, Event::Closed(CloseReason::PeerClosed));
        assert_eq!(bench.station.routes(), [], "they went when the end began");
    }
}

fn names(routes: &[Route]) -> Vec<String> {
    let name =
        |text: String| text.split(|char: char| !char.is_alphabetic()).next().unwrap_or_default().to_owned();
    routes.iter().map(|route| name(format!("{route:?}"))).collect()
}

/// The hub's answer may come when nobody wants the key any more: then its entry must not stay.
#[test]
fn an_admission_that_nobody_waits_for_is_given_back() {
    let key = Key::new("u1").expect("short");
    let mut bench = Bench::plain().working();
    bench.command(ServerCommand::Bind(key.clone()));
    bench.command(ServerCommand::Unbind(key.clone()));
    assert_eq!(names(&bench.station.routes()), ["Register", "Unregister"]);
    bench.station.event(bench.now, Event::Delivered(Delivery::Admitted(key.clone())));
    assert_eq!(bench.station.routes(), [Route::Unregister(key.clone())]);
    assert_eq!(bench.station.notices(), []);
    bench.command(ServerCommand::Bind(key.clone()));
    bench.station.event(bench.now, Event::Delivered(Delivery::Admitted(key.clone())));
    assert_eq!(bench.station.notices(), [ServerNotice::Bound(key)]);
}
