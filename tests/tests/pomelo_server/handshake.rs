//! The handshake: bodies of all known clients, answers, what each client can do.

use bytes::Bytes;
use linkspan_core::pomelo::{self, Dictionary, RefuseCode, ServerCommand, ServerConfig, ServerNotice};
use linkspan_core::{CloseReason, Limits, Mark, Overflow, Push, Violation};
use linkspan_tests::harness::bench::{
    ACK, Bench, DATA, HANDSHAKE, HEARTBEAT, JS_HELLO, PITAYA_HELLO, notify, push, request, response,
};
use linkspan_tests::harness::package;
use serde_json::{Value, json};
use std::time::Duration;

fn with_dictionary() -> ServerConfig {
    let dictionary = Dictionary::new([("Echo.Raw", 1), ("onEcho", 256)]).expect("two routes");
    ServerConfig { dictionary, deflate_above: Some(64), ..ServerConfig::default() }
}

#[test]
fn the_answer_has_what_every_client_needs() {
    let config =
        ServerConfig { origin_unix: Duration::from_millis(1_700_000_000_900), ..ServerConfig::default() };
    let mut bench = Bench::new(config, Limits::default());
    let answer = bench.accepted(JS_HELLO);
    // The bench begins at five seconds.
    let sys = json!({"heartbeat": 30, "serializer": "json", "servertime": 1_700_000_005});
    assert_eq!(answer, json!({"code": 200, "sys": sys}));
}

#[test]
fn servertime_is_that_of_the_connection() {
    let config = ServerConfig { origin_unix: Duration::from_secs(1000), ..ServerConfig::default() };
    let mut bench = Bench::new(config, Limits::default());
    bench.wait(Duration::from_secs(7));
    assert_eq!(bench.accepted(b"")["sys"]["servertime"], 1012);
}

#[test]
fn bodies_of_all_known_clients_are_taken() {
    let bodies: [&[u8]; 8] = [
        JS_HELLO,
        PITAYA_HELLO,
        b"",
        b"  ",
        b"{}",
        b"[1]",
        br#"{"sys":{"type":7,"rsa":null},"user":null}"#,
        "{\"user\":\"h\u{e9}\"}".as_bytes(),
    ];
    for body in bodies {
        let mut bench = Bench::plain();
        bench.say(HANDSHAKE, body);
        assert_eq!(bench.station.notices(), [ServerNotice::Handshake(Bytes::from_static(body))]);
    }
}

#[test]
fn text_beyond_the_basic_plane_comes_as_two_surrogates_and_is_read() {
    let mut bench = Bench::plain();
    bench.say(HANDSHAKE, b"{\"user\":\"\xed\xa0\xbd\xed\xb8\x80\"}");
    assert_eq!(bench.station.notices(), [ServerNotice::Handshake("{\"user\":\"\u{1f600}\"}".into())]);
}

#[test]
fn a_body_that_is_not_json_is_refused_with_400_and_a_close() {
    for body in [&b"not json"[..], b"{", b"{\"a\":1", b"\xff"] {
        let mut bench = Bench::plain();
        bench.say(HANDSHAKE, body);
        assert_eq!(bench.station.notices(), []);
        bench.assert_violation(Violation::Handshake);
        assert_eq!(bench.answer()["code"], 400);
    }
}

#[test]
fn the_application_refuses_with_each_code() {
    for (code, number) in [(RefuseCode::Invalid, 400), (RefuseCode::Denied, 500), (RefuseCode::TooOld, 501)] {
        let mut bench = Bench::plain();
        bench.say(HANDSHAKE, JS_HELLO);
        bench.command(ServerCommand::Refuse { code, user: Some("\"go away\"".into()) });
        assert_eq!(bench.closed(), Some(CloseReason::HandshakeRefused));
        let answer = bench.answer();
        assert_eq!((&answer["code"], &answer["user"]), (&json!(number), &json!("go away")));
        assert_eq!(answer["sys"]["serializer"], "json", "clients look into sys whatever the code is");
    }
}

#[test]
fn user_goes_into_the_answer_if_it_is_json() {
    for (user, expected) in [("{\"id\":7}", json!({"id": 7})), ("[1,2]", json!([1, 2])), ("{", Value::Null)] {
        let mut bench = Bench::plain();
        bench.say(HANDSHAKE, JS_HELLO);
        bench.command(ServerCommand::Accept { user: Some(user.into()) });
        assert_eq!(bench.answer()["user"], expected);
    }
}

#[test]
fn only_the_first_decision_counts() {
    let mut bench = Bench::plain();
    bench.command(ServerCommand::Accept { user: None });
    bench.command(ServerCommand::Refuse { code: RefuseCode::Denied, user: None });
    assert_eq!(bench.hear(), [], "nobody has asked");
    bench.accepted(JS_HELLO);
    bench.command(ServerCommand::Refuse { code: RefuseCode::Denied, user: None });
    bench.command(ServerCommand::Accept { user: None });
    assert_eq!(bench.hear(), []);
    bench.say(ACK, b"");
    bench.station.notices();
    bench.assert_alive();
}

/// Handshake, ack and messages in one piece, byte by byte, or with the decision at the very end.
#[test]
fn clients_may_send_everything_at_once() {
    let whole = [
        package(HANDSHAKE, JS_HELLO),
        package(ACK, b""),
        package(HEARTBEAT, b""),
        package(DATA, &request(&[1], "Echo.Raw", b"a")),
        package(DATA, &request(&[2], "Echo.Raw", b"b")),
    ]
    .concat();
    for (size, late) in [(whole.len(), false), (whole.len(), true), (1, false), (1, true), (7, false)] {
        let mut bench = Bench::plain();
        for piece in whole.chunks(size) {
            bench.bytes(piece.to_vec());
            if !late {
                bench.command(ServerCommand::Accept { user: None });
            }
        }
        bench.command(ServerCommand::Accept { user: None });
        let notices = bench.station.notices();
        let [ServerNotice::Handshake(_), ServerNotice::Opened, first, second] = &notices[..] else {
            panic!("{notices:?}");
        };
        for (notice, body) in [(first, "a"), (second, "b")] {
            let ServerNotice::Request { ticket, body: payload, .. } = notice else { panic!("{notice:?}") };
            assert_eq!(payload, body);
            bench.command(ServerCommand::Answer { ticket: *ticket, body: payload.clone() });
        }
        let heard = bench.hear();
        assert_eq!(heard[0].0, HANDSHAKE);
        assert_eq!(heard[1..], [(DATA, response(&[1], b"a").into()), (DATA, response(&[2], b"b").into())]);
    }
}

#[test]
fn heartbeats_are_announced_in_whole_seconds() {
    for (millis, seconds) in [(1, 1), (999, 1), (1000, 1), (1001, 2), (2500, 3), (30_000, 30)] {
        let heartbeat = Some(Duration::from_millis(millis));
        let silence = Some(Duration::from_millis(2 * millis));
        let mut bench =
            Bench::new(ServerConfig::default(), Limits { heartbeat, silence, ..Limits::default() });
        assert_eq!(bench.accepted(b"")["sys"]["heartbeat"], seconds, "{millis} ms");
    }
    let limits = Limits { heartbeat: None, silence: None, ..Limits::default() };
    assert_eq!(Bench::new(ServerConfig::default(), limits).accepted(b"")["sys"]["heartbeat"], 0);
}

#[test]
fn a_client_that_keeps_to_the_announced_seconds_is_not_too_slow() {
    let limits = Limits {
        heartbeat: Some(Duration::from_millis(300)),
        silence: Some(Duration::from_millis(600)),
        ..Limits::default()
    };
    let mut bench = Bench::new(ServerConfig::default(), limits).working();
    for _ in 0..20 {
        bench.wait_reading(Duration::from_millis(1000));
        bench.say(HEARTBEAT, b"");
    }
    assert_eq!(bench.closed(), None);
}

#[test]
fn the_dictionary_is_for_clients_that_can_read_it() {
    let dict = json!({"Echo.Raw": 1, "onEcho": 256});
    // hello, whether the dictionary is announced, whether pushes use it
    let rows: [(&[u8], bool, bool); 7] = [
        (JS_HELLO, true, true),
        (b"", true, false),
        (br#"{"sys":{"type":"other"}}"#, true, false),
        (br#"{"sys":{"type":"other","useDict":true}}"#, true, true),
        (PITAYA_HELLO, false, false),
        (br#"{"sys":{"type":"js-websocket","libVersion":"0.3.5"}}"#, false, false),
        (br#"{"sys":{"platform":"mac","useDict":true}}"#, false, false),
    ];
    for (hello, announced, coded) in rows {
        let mut bench = Bench::new(with_dictionary(), Limits::default());
        let answer = bench.accepted(hello);
        assert_eq!(answer["sys"].get("dict"), announced.then_some(&dict), "{:?}", Bytes::from_static(hello));
        bench.say(ACK, b"");
        bench.push("onEcho", "x", Overflow::Close);
        let expected = if coded { b"\x07\x01\x00x".to_vec() } else { push("onEcho", b"x") };
        assert_eq!(bench.hear(), [(DATA, expected.into())]);
    }
}

/// Whoever was told the codes may use them; an answer never does.
#[test]
fn codes_are_read_from_everybody_and_never_said_in_answers() {
    for hello in [JS_HELLO, PITAYA_HELLO] {
        let mut bench = Bench::new(with_dictionary(), Limits::default()).working_as(hello);
        bench.say(DATA, b"\x01\x05\x00\x01x");
        let notices = bench.station.notices();
        let [ServerNotice::Request { ticket, route, .. }] = &notices[..] else { panic!("{notices:?}") };
        assert_eq!(route, "Echo.Raw");
        bench.reply(*ticket, b"y");
        assert_eq!(bench.hear(), [(DATA, response(&[5], b"y").into())]);
    }
}

#[test]
fn one_push_is_said_to_each_client_in_its_own_form() {
    let long = "z".repeat(300);
    let shared = Push::new("onEcho", long.clone(), Overflow::Close);
    let mut plain = Bench::new(with_dictionary(), Limits::default()).working_as(b"");
    let mut coded = Bench::new(with_dictionary(), Limits::default()).working_as(JS_HELLO);
    let mut deflated = Bench::new(with_dictionary(), Limits::default()).working_as(PITAYA_HELLO);
    // Another listener gives the same route another code.
    let other =
        ServerConfig { dictionary: Dictionary::numbered(["onEcho"]).expect("one"), ..with_dictionary() };
    let mut other = Bench::new(other, Limits::default()).working_as(JS_HELLO);
    for _ in 0..2 {
        for bench in [&mut plain, &mut coded, &mut deflated, &mut other] {
            bench.deliver(shared.clone());
        }
        assert_eq!(plain.hear(), [(DATA, push("onEcho", long.as_bytes()).into())]);
        assert_eq!(coded.hear(), [(DATA, [b"\x07\x01\x00", long.as_bytes()].concat().into())]);
        assert_eq!(other.hear(), [(DATA, [b"\x07\x00\x01", long.as_bytes()].concat().into())]);
        let heard = deflated.hear();
        let body = heard[0].1.strip_prefix(b"\x16\x06onEcho").expect("deflated, route in full");
        assert_eq!(pomelo::inflate(body, 1000).expect("zlib"), long);
    }
}

#[test]
fn bodies_are_deflated_only_above_the_floor_and_for_clients_that_can() {
    let rows: [(&[u8], Option<u32>, bool); 5] = [
        (PITAYA_HELLO, Some(64), true),
        (br#"{"sys":{"useDeflate":true}}"#, Some(64), true),
        (PITAYA_HELLO, None, false),
        (PITAYA_HELLO, Some(1000), false),
        (JS_HELLO, Some(64), false),
    ];
    for (hello, deflate_above, expected) in rows {
        let config = ServerConfig { deflate_above, ..ServerConfig::default() };
        let mut bench = Bench::new(config, Limits::default()).working_as(hello);
        let ticket = bench.request(&[1], "Echo.Big", b"");
        bench.reply(ticket, &[b'B'; 200]);
        let flag = bench.hear()[0].1[0];
        assert_eq!(flag, if expected { 0x14 } else { 0x04 });
    }
    // What does not get smaller goes as it is.
    let config = ServerConfig { deflate_above: Some(0), ..ServerConfig::default() };
    let mut bench = Bench::new(config, Limits::default()).working_as(PITAYA_HELLO);
    bench.push("a", "q", Overflow::Close);
    assert_eq!(bench.hear(), [(DATA, push("a", b"q").into())]);
}

#[test]
fn deflated_requests_of_any_client_are_inflated() {
    let mut bench = Bench::plain().working();
    let smaller = pomelo::deflate(&[b'a'; 500]).expect("it gets smaller");
    bench.say(DATA, &[b"\x12\x01r", &smaller[..]].concat());
    let notices = bench.station.notices();
    let [ServerNotice::Notify { route, body, .. }] = notices.as_slice() else { panic!("{notices:?}") };
    assert_eq!((&route[..], &body[..]), (&b"r"[..], &[b'a'; 500][..]));
    bench.say(DATA, &notify("plain", b""));
    assert_eq!(bench.marked(Mark::MessageIgnored), 0);
}
