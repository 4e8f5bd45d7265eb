//! The client's end by itself: a test says what the server sends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::pomelo::{self, Client, ClientCommand, ClientConfig, ClientNotice, RequestError};
use linkspan_core::{CloseReason, Instant, Limits, Mark, Violation};
use linkspan_tests::harness::bench::{
    ACK, DATA, HANDSHAKE, HEARTBEAT, KICK, notify, push, read, request, response,
};
use linkspan_tests::harness::{Station, package};

const SECOND: Duration = Duration::from_secs(1);
const WELCOME: &[u8] = br#"{"code":200,"sys":{"heartbeat":30}}"#;

struct Bench {
    station: Station<Client>,
    now: Instant,
}

impl Bench {
    fn new(config: ClientConfig, limits: Limits) -> Self {
        let now = Instant::from_micros(1_000_000);
        Self { station: Station::new(Client::new(Arc::new(config)), Arc::new(limits), now), now }
    }

    fn plain() -> Self {
        Self::new(ClientConfig::default(), Limits::default())
    }

    fn welcomed(mut self, welcome: &[u8]) -> Self {
        self.say(HANDSHAKE, welcome);
        let heard = self.hear();
        assert_eq!(heard.last(), Some(&(ACK, Bytes::new())));
        assert!(matches!(self.station.notices()[..], [ClientNotice::Connected(_)]));
        self
    }

    fn connected() -> Self {
        Self::plain().welcomed(WELCOME)
    }

    fn say(&mut self, kind: u8, body: &[u8]) {
        self.station.receive(self.now, package(kind, body));
    }

    fn hear(&mut self) -> Vec<(u8, Bytes)> {
        self.station.flush(self.now, usize::MAX).into_iter().map(read).collect()
    }

    fn ask(&mut self, number: u64, body: &'static str) {
        let command = ClientCommand::Request { request: number, route: "Echo.Raw".into(), body: body.into() };
        self.station.command(self.now, command);
    }

    fn wait_reading(&mut self, span: Duration) -> Vec<(u8, Bytes)> {
        self.now = self.now + span;
        self.station.run_reading(self.now).into_iter().map(|(_, frame)| read(frame)).collect()
    }

    fn closed(&self) -> Option<CloseReason> {
        self.station.closed()
    }
}

#[test]
fn the_handshake_is_the_first_thing_said_and_the_ack_the_second() {
    let mut bench = Bench::plain();
    let heard = bench.hear();
    let [(HANDSHAKE, body)] = &heard[..] else { panic!("{heard:?}") };
    let hello: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    assert_eq!(hello["sys"]["type"], "linkspan");
    bench.say(HANDSHAKE, WELCOME);
    assert_eq!(bench.hear(), [(ACK, Bytes::new())]);
    assert_eq!(bench.station.notices(), [ClientNotice::Connected(Bytes::from_static(WELCOME))]);
}

#[test]
fn before_the_answer_requests_fail_and_notifies_are_counted() {
    let mut bench = Bench::plain();
    bench.ask(7, "x");
    bench.station.command(bench.now, ClientCommand::Notify { route: "a".into(), body: "".into() });
    let failed = ClientNotice::Failed { request: 7, error: RequestError::NotConnected };
    assert_eq!(bench.station.notices(), [failed]);
    assert_eq!(bench.station.marked(Mark::NotReady), 1);
    assert_eq!(bench.hear().len(), 1);
}

#[test]
fn every_package_in_every_state() {
    // package, fits before the answer, fits when working
    let rows = [
        (HANDSHAKE, true, false),
        (ACK, false, false),
        (HEARTBEAT, true, true),
        (DATA, false, true),
        (KICK, true, true),
    ];
    for (kind, early, working) in rows {
        for (mut bench, fits) in [(Bench::plain(), early), (Bench::connected(), working)] {
            bench.say(kind, if kind == DATA { b"\x06\x01ab" } else { WELCOME });
            let violation = Some(CloseReason::Violation(Violation::PackageOutOfOrder));
            assert_eq!(bench.closed() != violation, fits, "package {kind}: {:?}", bench.closed());
        }
    }
}

#[test]
fn refusals_of_all_servers_are_told_and_close() {
    for (body, code) in [
        ("{\"code\":500}", 500),
        ("{\"code\":501,\"sys\":{}}", 501),
        ("{\"code\":400,\"sys\":{\"dict\":{}}}", 400),
    ] {
        let mut bench = Bench::plain();
        bench.hear();
        bench.say(HANDSHAKE, body.as_bytes());
        assert_eq!(bench.station.notices(), [ClientNotice::Refused { code, body: body.into() }]);
        assert_eq!(bench.closed(), Some(CloseReason::RefusedByServer));
        assert_eq!(bench.hear(), [], "no ack");
    }
    for body in ["", "null", "{}", "{\"code\":\"200\"}", "not json"] {
        let mut bench = Bench::plain();
        bench.say(HANDSHAKE, body.as_bytes());
        assert_eq!(bench.closed(), Some(Violation::Handshake.into()), "{body}");
    }
}

#[test]
fn a_server_that_never_answers_is_left() {
    let mut bench = Bench::plain();
    bench.wait_reading(SECOND * 10);
    assert_eq!(bench.closed(), Some(CloseReason::HandshakeTimeout));
}

/// pitaya deflates the answer without a flag; the first two bytes tell.
#[test]
fn a_deflated_answer_is_read() {
    let welcome = format!(r#"{{"code":200,"sys":{{"heartbeat":1,"x":"{}"}}}}"#, "y".repeat(200));
    let body = pomelo::deflate(welcome.as_bytes()).expect("smaller");
    let mut bench = Bench::plain();
    bench.say(HANDSHAKE, &body);
    assert_eq!(bench.station.notices(), [ClientNotice::Connected(welcome.into())]);
    let bomb = pomelo::deflate(&[b' '; 1_000_000]).expect("smaller");
    let mut bench = Bench::plain();
    bench.say(HANDSHAKE, &bomb);
    assert_eq!(bench.closed(), Some(Violation::InflatedTooLarge.into()));
}

#[test]
fn one_odd_field_of_the_answer_does_not_cost_the_others() {
    let welcome = br#"{"code":200,"sys":{"dict":{"a":99999},"heartbeat":3,"protos":7},"user":"\u0000"}"#;
    let mut bench = Bench::plain().welcomed(welcome);
    assert_eq!(bench.wait_reading(SECOND * 3), [(HEARTBEAT, "".into())]);
    let welcome = br#"{"code":200,"sys":{"dict":{"Echo.Raw":9,"zero":0,"":3},"heartbeat":"soon"}}"#;
    let mut bench = Bench::plain().welcomed(welcome);
    bench.ask(1, "x");
    assert_eq!(bench.hear(), [(DATA, Bytes::from_static(b"\x01\x01\x00\x09x"))]);
    // Servers in JavaScript write text beyond the basic plane as two surrogates.
    Bench::plain().welcomed(b"{\"code\":200,\"user\":\"\xed\xa0\xbd\xed\xb8\x80\"}");
}

#[test]
fn heartbeats_follow_the_servers_interval() {
    for (announced, interval) in [("1", 1000), ("0.5", 500), ("2.5", 2500), ("30", 30_000)] {
        let mut bench = Bench::plain()
            .welcomed(format!(r#"{{"code":200,"sys":{{"heartbeat":{announced}}}}}"#).as_bytes());
        let interval = Duration::from_millis(interval);
        for _ in 0..5 {
            assert_eq!(bench.wait_reading(interval), [(HEARTBEAT, "".into())]);
            bench.say(HEARTBEAT, b"");
            assert_eq!(bench.hear(), [], "no echo");
        }
        bench.wait_reading(interval * 5 / 2 - Duration::from_micros(1));
        assert_eq!(bench.closed(), None);
        bench.wait_reading(Duration::from_micros(1));
        assert_eq!(bench.closed(), Some(CloseReason::HeartbeatTimeout));
    }
    for none in ["", "\"heartbeat\":0", "\"heartbeat\":null", "\"heartbeat\":-1", "\"heartbeat\":1e300"] {
        let mut bench = Bench::plain().welcomed(format!(r#"{{"code":200,"sys":{{{none}}}}}"#).as_bytes());
        assert_eq!(bench.wait_reading(SECOND * 100_000), []);
        assert_eq!(bench.closed(), None);
    }
}

/// As JavaScript clients: a heartbeat goes one interval after the server's, never by itself.
#[test]
fn a_passive_client_only_answers_and_only_after_an_interval() {
    let config = ClientConfig { passive_heartbeat: true, ..ClientConfig::default() };
    let mut bench = Bench::new(config, Limits::default()).welcomed(WELCOME);
    assert_eq!(bench.wait_reading(SECOND * 40), []);
    bench.say(HEARTBEAT, b"");
    bench.say(HEARTBEAT, b"");
    assert_eq!(bench.wait_reading(SECOND * 30 - Duration::from_micros(1)), []);
    assert_eq!(bench.wait_reading(Duration::from_micros(1)), [(HEARTBEAT, "".into())], "one for both");
    assert_eq!(bench.wait_reading(SECOND * 30), []);
}

/// nano's ticker runs from the first moment of a connection.
#[test]
fn a_heartbeat_before_the_answer_is_taken() {
    let mut bench = Bench::plain();
    bench.say(HEARTBEAT, b"");
    let mut bench = bench.welcomed(WELCOME);
    bench.ask(1, "x");
    assert_eq!(bench.hear(), [(DATA, request(&[1], "Echo.Raw", b"x").into())]);
}

#[test]
fn answers_errors_and_pushes_reach_the_caller() {
    let mut bench = Bench::connected();
    bench.ask(10, "a");
    bench.ask(11, "b");
    bench.say(DATA, b"\x24\x02{\"code\":\"PIT-404\"}");
    bench.say(DATA, &push("onEcho", b"{}"));
    bench.say(DATA, &response(&[0x81, 0x00], b""));
    assert_eq!(
        bench.station.notices(),
        [
            ClientNotice::Failed {
                request: 11,
                error: RequestError::Server("{\"code\":\"PIT-404\"}".into())
            },
            ClientNotice::Push { route: "onEcho".into(), body: "{}".into() },
            ClientNotice::Answer { request: 10, body: "".into() },
        ],
        "also if the id comes back in a longer form"
    );
    bench.say(DATA, &response(&[1], b"again"));
    bench.say(DATA, &response(&[77], b"never asked"));
    assert_eq!((bench.station.notices(), bench.station.marked(Mark::AnswerLate)), (vec![], 2));
    bench.say(DATA, &notify("a", b""));
    bench.say(DATA, &request(&[1], "a", b""));
    assert_eq!(bench.station.marked(Mark::MessageIgnored), 2);
    assert_eq!(bench.closed(), None);
}

/// Go servers set the code bit on an answer whose route is known; it means nothing there.
#[test]
fn the_code_bit_of_an_answer_is_ignored() {
    let mut bench = Bench::connected();
    bench.ask(1, "a");
    bench.say(DATA, b"\x05\x01body");
    assert_eq!(bench.station.notices(), [ClientNotice::Answer { request: 1, body: "body".into() }]);
}

#[test]
fn deflated_bodies_are_inflated_within_the_limit() {
    let mut bench = Bench::connected();
    bench.ask(1, "a");
    let smaller = pomelo::deflate(&[b'B'; 200]).expect("smaller");
    bench.say(DATA, &[b"\x14\x01", &smaller[..]].concat());
    assert_eq!(
        bench.station.notices(),
        [ClientNotice::Answer { request: 1, body: Bytes::from_static(&[b'B'; 200]) }]
    );
    let bomb = pomelo::deflate(&vec![0; 700_000]).expect("smaller");
    bench.say(DATA, &[b"\x16\x01a", &bomb[..]].concat());
    assert_eq!(bench.closed(), Some(Violation::InflatedTooLarge.into()));
}

#[test]
fn codes_of_the_server_are_used_both_ways() {
    // A code that is there twice, or cannot be one, costs its own route and no other.
    let dict = br#"{"code":200,"sys":{"dict":{"Echo.Raw":1,"again":1,"large":65536,"text":"2","onEcho":256,"onEcho":7}}}"#;
    let mut bench = Bench::plain().welcomed(dict);
    bench.ask(1, "x");
    assert_eq!(bench.hear(), [(DATA, Bytes::from_static(b"\x01\x01\x00\x01x"))]);
    bench.say(DATA, b"\x07\x01\x00y");
    assert_eq!(bench.station.notices(), [ClientNotice::Push { route: "onEcho".into(), body: "y".into() }]);
    bench.say(DATA, b"\x07\x00\x07y");
    assert_eq!(bench.closed(), Some(Violation::RouteCode.into()));
}

#[test]
fn kicks_with_and_without_a_reason_are_told() {
    for body in ["{\"reason\":\"x\"}", ""] {
        let mut bench = Bench::connected();
        bench.say(KICK, body.as_bytes());
        assert_eq!(bench.station.notices(), [ClientNotice::Kicked(body.into())]);
        assert_eq!(bench.closed(), Some(CloseReason::Kicked));
        assert!(!CloseReason::Kicked.may_reconnect());
    }
}

#[test]
fn a_request_has_its_time_and_a_late_answer_goes_nowhere() {
    let mut bench = Bench::connected();
    bench.ask(5, "x");
    bench.wait_reading(SECOND * 29);
    bench.say(HEARTBEAT, b"");
    bench.wait_reading(SECOND);
    assert_eq!(bench.station.notices(), [ClientNotice::Failed { request: 5, error: RequestError::TimedOut }]);
    bench.say(DATA, &response(&[1], b"late"));
    assert_eq!((bench.station.notices(), bench.station.marked(Mark::AnswerLate)), (vec![], 1));
    assert_eq!(bench.station.marked(Mark::RequestExpired), 1);
}

#[test]
fn what_cannot_be_said_fails_at_once() {
    let limits = Limits { pending_requests: 1, send_max: 20, ..Limits::default() };
    let mut bench = Bench::new(ClientConfig::default(), limits).welcomed(WELCOME);
    bench.ask(1, "this body is too long");
    bench.station.command(
        bench.now,
        ClientCommand::Request { request: 2, route: vec![b'r'; 256].into(), body: "".into() },
    );
    bench.ask(3, "fits");
    bench.ask(4, "");
    let notices = bench.station.notices();
    let errors: Vec<_> = notices
        .iter()
        .map(|notice| matches!(notice, ClientNotice::Failed { error: RequestError::Unsayable(_), .. }))
        .collect();
    assert_eq!(errors, [true, true, false]);
    assert_eq!(notices[2], ClientNotice::Failed { request: 4, error: RequestError::TooMany });
    bench
        .station
        .command(bench.now, ClientCommand::Notify { route: vec![b'r'; 256].into(), body: "".into() });
    assert_eq!(bench.station.marked(Mark::PushRefused), 1);
}

/// After the last id the first comes again, unless it still waits.
#[test]
fn ids_wrap_and_skip_what_waits() {
    let config = ClientConfig { id_max: 5, ..ClientConfig::default() };
    let mut bench = Bench::new(config, Limits::default()).welcomed(WELCOME);
    let mut ids = Vec::new();
    for number in 1..=12 {
        bench.ask(number, "");
        let id = bench.hear()[0].1[1];
        ids.push(id);
        // Requests 1 and 5 (with these ids) are never answered.
        if number != 1 && number != 5 {
            bench.say(DATA, &response(&[id], b""));
        }
    }
    assert_eq!(ids, [1, 2, 3, 4, 5, 2, 3, 4, 2, 3, 4, 2]);
    for number in 13..=16 {
        bench.ask(number, "");
    }
    let failed =
        |notice: &ClientNotice| matches!(notice, ClientNotice::Failed { error: RequestError::TooMany, .. });
    assert_eq!(
        bench.station.notices().iter().filter(|notice| failed(notice)).count(),
        1,
        "all five ids wait"
    );
}

#[test]
fn a_close_sends_what_is_queued() {
    let mut bench = Bench::connected();
    bench.ask(1, "x");
    bench.station.command(bench.now, ClientCommand::Close);
    assert_eq!(bench.closed(), Some(CloseReason::Finished));
    assert_eq!(bench.hear().len(), 1);
}

/// What a driver delivers from a hub goes to the server as a notify; a key that was refused is one.
#[test]
fn a_delivery_is_said_to_the_server() {
    let mut bench = Bench::connected();
    let message = linkspan_core::Push::new("Room.Say", "hello", linkspan_core::Overflow::Close);
    bench.station.event(bench.now, linkspan_core::Event::Delivered(linkspan_core::Delivery::Push(message)));
    assert_eq!(bench.hear(), [(DATA, Bytes::from(notify("Room.Say", b"hello")))]);
}

#[test]
fn a_package_that_has_begun_is_no_boundary() {
    let mut bench = Bench::connected();
    let package = package(DATA, &push("r", b"body"));
    let (head, rest) = package.split_at(package.len() - 1);
    bench.station.receive(bench.now, head.to_vec());
    assert!(bench.station.connection().footprint() > 0, "what has come is kept");
    let mut other = Bench::connected();
    other.station.receive(other.now, head.to_vec());
    other.station.event(other.now, linkspan_core::Event::Closed(CloseReason::PeerClosed));
    assert_eq!(other.closed(), Some(CloseReason::Violation(Violation::Truncated)));
    bench.station.receive(bench.now, rest.to_vec());
    let said =
        bench.station.notices().into_iter().filter(|notice| matches!(notice, ClientNotice::Push { .. }));
    assert_eq!(said.count(), 1);
}
