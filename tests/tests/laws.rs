//! The laws of a machine, over connections of every dialect and role.
//!
//! The harness checks most of them after every step (see `linkspan_tests::harness`); here are the lives that it is led
//! through, and the laws that compare two lives.

#[path = "laws/late.rs"]
mod late;
#[path = "laws/unlawful.rs"]
mod unlawful;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::pomelo::{Client, ClientConfig, Server, ServerCommand, ServerConfig, ServerNotice};
use linkspan_core::{
    Action, Actions, CloseReason, Connection, Event, Flushed, Frame, Instant, Limits, Machine, Mark, Opcode,
};
use linkspan_tests::fuzz_connection;
use linkspan_tests::harness::{
    Checked, ClientPlayer, Random, Script, ServerPlayer, Station, Toy, ToyPlayer, footprint_max, package,
    unit,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// The choices of one life.
fn life() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..1500)
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    /// Total, bounded, no spin, early is free, close is last, bounded memory, one outcome per request.
    #[test]
    fn a_server_keeps_the_laws_of_every_step(data in life()) {
        fuzz_connection::pomelo_server(&data);
    }

    #[test]
    fn a_client_keeps_the_laws_of_every_step(data in life()) {
        fuzz_connection::pomelo_client(&data);
    }

    #[test]
    fn a_toy_keeps_the_laws_of_every_step(data in life()) {
        let mut player = ToyPlayer::new(&data);
        while player.step() {}
        let now = player.station.now();
        player.station.event(now, Event::Closed(CloseReason::ConnectionLost));
        prop_assert!(player.station.closed().is_some());
    }

    #[test]
    fn same_in_same_out(data in life()) {
        let server = || { let mut player = ServerPlayer::new(&data).without_digests(); while player.step() {} player.history().to_vec() };
        prop_assert_eq!(server(), server());
        let client = || { let mut player = ClientPlayer::new(&data).without_digests(); while player.step() {} player.history().to_vec() };
        prop_assert_eq!(client(), client());
        let toy = || { let mut player = ToyPlayer::new(&data); while player.step() {} player.station.log() };
        prop_assert_eq!(toy(), toy());
    }

    #[test]
    fn connections_do_not_notice_each_other(data in life()) {
        fuzz_connection::pomelo_bystanders(&data);
    }

    /// A driver that reports nonsense breaks nothing but its own counts.
    #[test]
    fn reports_of_a_lying_driver_are_harmless(data in life()) {
        let mut script = Script::new(&data);
        let limits = Arc::new(script.limits());
        let (mut actions, now) = (Actions::new(), script.now());
        let server = Server::new(Arc::new(ServerConfig { ack_without_handshake: true, ..ServerConfig::default() }));
        let connection = Connection::new(server, Arc::clone(&limits), now, &mut actions);
        let mut checked = Checked::new(connection, actions, now, footprint_max(&limits));
        checked.step(now, Event::Received(Opcode::Stream, package(2, b"").into()));
        while !script.is_over() {
            let flushed = Flushed { cost: (script.choose(1 << 16) as u32) << script.choose(17), lossy: script.choose(3) as u32 };
            let event = match script.choose(6) {
                0 => Event::Flushed(flushed),
                1 => Event::Dropped(flushed),
                2 => Event::Received(Opcode::Stream, package(4, b"\x00\x01\x01aa").into()),
                3 => Event::Command(ServerCommand::Push { route: script.route(), body: script.body(), overflow: script.overflow() }),
                _ => { let now = script.tick(); checked.timeout(now); continue }
            };
            let now = script.tick();
            checked.step(now, event);
        }
    }

    #[test]
    fn chunks_do_not_matter_to_a_server(data in vec(any::<u8>(), 0..400), cuts in any::<u64>(), early in any::<bool>()) {
        let stream = stream(&data, CLIENT_SAYS);
        let whole = server_history(std::slice::from_ref(&stream), early);
        prop_assert_eq!(&whole, &server_history(&pieces(&stream, cuts), early));
        let bytes: Vec<_> = (0..stream.len()).map(|at| stream.slice(at..=at)).collect();
        prop_assert_eq!(&whole, &server_history(&bytes, early));
    }

    #[test]
    fn chunks_do_not_matter_to_a_client(data in vec(any::<u8>(), 0..400), cuts in any::<u64>()) {
        let stream = stream(&data, SERVER_SAYS);
        let history = |pieces: &[Bytes]| {
            let config = Arc::new(ClientConfig::default());
            let mut station = Station::new(Client::new(config), Arc::default(), Instant::ORIGIN).logged().without_digests();
            for piece in pieces {
                station.receive(Instant::ORIGIN, piece.clone());
            }
            station.log()
        };
        prop_assert_eq!(history(std::slice::from_ref(&stream)), history(&pieces(&stream, cuts)));
    }

    #[test]
    fn chunks_do_not_matter_to_a_toy(bodies in vec(vec(any::<u8>(), 0..40), 0..20), tail in vec(any::<u8>(), 0..3), cuts in any::<u64>()) {
        let mut stream = vec![Toy::READY];
        stream.extend(bodies.iter().flat_map(|body| unit(body)));
        stream.extend(tail);
        let stream = Bytes::from(stream);
        let history = |pieces: &[Bytes]| {
            let mut station = Station::new(Toy::default(), Arc::default(), Instant::ORIGIN).logged().without_digests();
            for piece in pieces {
                station.receive(Instant::ORIGIN, piece.clone());
            }
            station.log()
        };
        prop_assert_eq!(history(std::slice::from_ref(&stream)), history(&pieces(&stream, cuts)));
    }

    /// Heartbeats are timed by us alone: as many arrive as they like, we send at most one per interval (C4).
    #[test]
    fn heartbeats_are_never_echoed(arrivals in vec(0_u64..5_000_000, 0..200)) {
        let mut station = working(Limits::default());
        let start = station.now();
        let mut now = start;
        let mut sent = 0;
        for after in arrivals {
            now = now + Duration::from_micros(after);
            sent += station.run_reading(now).len();
            station.receive(now, package(3, b""));
        }
        sent += station.flush(now, usize::MAX).len();
        prop_assert!(sent as u64 <= (now - start).as_secs() / 30);
        prop_assert_eq!(station.closed(), None);
    }
}

const CLIENT_SAYS: [(u8, &[u8]); 8] = [
    (2, b""),
    (3, b""),
    (4, b"\x00\x01\x08Echo.Rawhello"),
    (4, b"\x02\x0bEcho.PushMe{}"),
    (4, b"\x00\x80\x01\x01a"),
    (4, b"\x04\x01a"),
    (5, b""),
    (4, b""),
];

const SERVER_SAYS: [(u8, &[u8]); 8] = [
    (1, br#"{"code":200,"sys":{"heartbeat":30}}"#),
    (3, b""),
    (4, b"\x06\x06onEcho{}"),
    (4, b"\x04\x01a"),
    (4, b"\x06\x06onEcho"),
    (5, b"{}"),
    (4, b"\x00\x01\x01a"),
    (2, b""),
];

/// A run of packages; the last ones are seldom wrong.
fn stream(data: &[u8], says: [(u8, &[u8]); 8]) -> Bytes {
    let mut stream = package(1, if says[0].0 == 1 { says[0].1 } else { b"{}" });
    if says[0].0 == 2 {
        stream.extend(package(2, b""));
    }
    for byte in data {
        // Rare ones: what ends the connection.
        let at = if byte % 32 == 0 { usize::from(byte / 32) } else { 1 + usize::from(byte % 4) };
        stream.extend(package(says[at].0, says[at].1));
    }
    stream.into()
}

fn pieces(stream: &Bytes, seed: u64) -> Vec<Bytes> {
    let mut random = Random::new(seed);
    let (mut rest, mut pieces) = (stream.clone(), Vec::new());
    while !rest.is_empty() {
        pieces.push(rest.split_to((1 + random.below(40)).min(rest.len())));
    }
    pieces
}

/// What a server does with these pieces; the handshake is answered at once or when all is there. That reading should
/// pause is told between two calls, so it depends on where the calls are.
fn server_history(pieces: &[Bytes], early: bool) -> Vec<Action<ServerNotice>> {
    let now = Instant::ORIGIN;
    let limits = Limits { pending_requests: 1000, ..Limits::default() };
    let mut station =
        Station::new(Server::new(Arc::default()), Arc::new(limits), now).logged().without_digests();
    let mut asked = false;
    for piece in pieces {
        station.receive(now, piece.clone());
        if early && !asked && !station.notices().is_empty() {
            asked = true;
            station.command(now, ServerCommand::Accept { user: None });
        }
    }
    if !asked {
        station.command(now, ServerCommand::Accept { user: None });
    }
    let mut log = station.log();
    log.retain(|action| *action != Action::Mark(Mark::ReadPaused));
    log
}

fn working(limits: Limits) -> Station<Server> {
    let now = Instant::from_micros(1_000_000);
    let mut station = Station::new(Server::new(Arc::default()), Arc::new(limits), now);
    station.receive(now, package(1, b"{}"));
    station.command(now, ServerCommand::Accept { user: None });
    station.receive(now, package(2, b""));
    station.flush(now, usize::MAX);
    station
}

#[test]
fn time_at_its_end_is_no_trap() {
    let last = Instant::from_micros(u64::MAX);
    for start in [Instant::ORIGIN, last] {
        let (mut actions, limits) = (Actions::new(), Arc::new(Limits::default()));
        let mut connection = Connection::new(Server::new(Arc::default()), limits, start, &mut actions);
        for piece in [package(1, b"{}"), package(2, b""), package(4, b"\x00\x01\x01a")] {
            connection.handle_event(last, Event::Received(Opcode::Stream, piece.into()), &mut actions);
            connection.handle_event(last, Event::Command(ServerCommand::Accept { user: None }), &mut actions);
        }
        connection.handle_timeout(last, &mut actions);
        assert!(connection.next_timeout().is_none_or(|next| next > last));
    }
}

#[test]
fn mutated_inputs_end_in_a_clear_close() {
    let outcomes = fuzz_connection::mutated_inputs(2026, 100_000);
    assert!(outcomes.violations > 20_000, "{outcomes:?}");
    assert!(outcomes.survivors > 5_000, "{outcomes:?}");
    assert!(outcomes.lives > 5_000 && outcomes.decoded > 5_000, "{outcomes:?}");
}

#[test]
fn a_frame_counts_for_its_size_and_never_for_nothing() {
    let frame = |len| Frame::new(Opcode::Binary, Bytes::from(vec![0; len]));
    assert_eq!([0, 1, 255, 256, 257].map(|len| frame(len).cost()), [256, 256, 256, 256, 257]);
}

/// A generator that never reaches a limit proves nothing about it.
#[test]
fn scripts_reach_every_mark_and_every_reason() {
    let (mut marks, mut reasons) = (BTreeSet::<Mark>::new(), BTreeSet::new());
    for seed in 0..3000 {
        let mut random = Random::new(seed);
        let len = 40 + random.below(400);
        let data = random.bytes(len);
        let mut server = ServerPlayer::new(&data).without_digests();
        while server.step() {}
        server.finish();
        let mut client = ClientPlayer::new(&data).without_digests();
        while client.step() {}
        client.finish();
        reasons
            .extend([server.station.closed(), client.station.closed()].map(|reason| format!("{reason:?}")));
        marks.extend(Mark::ALL.iter().filter(|mark| server.station.marked(**mark) > 0).copied());
    }
    for mark in [
        Mark::PushDropped,
        Mark::OldestDropped,
        Mark::ReadPaused,
        Mark::RequestExpired,
        Mark::AnswerLate,
        Mark::AnswerRefused,
        Mark::PushRefused,
        Mark::NotReady,
        Mark::MessageIgnored,
        Mark::CheckPostponed,
        Mark::RegistrationRefused,
    ] {
        assert!(marks.contains(&mark), "{mark:?} is never reached");
    }
    let violations = [
        "PackageType",
        "PackageTooLarge",
        "PackageOutOfOrder",
        "PackageBoundary",
        "Truncated",
        "Unfinished",
        "MessageInvalid",
        "MessageId",
        "RouteCode",
        "Deflate",
        "InflatedTooLarge",
        "Handshake",
    ];
    for violation in violations {
        assert!(reasons.contains(&format!("Some(Violation({violation}))")), "{violation}: {reasons:?}");
    }
    for reason in [
        "PeerClosed",
        "HandshakeTimeout",
        "HeartbeatTimeout",
        "WriteTimeout",
        "SlowConsumer",
        "HandshakeRefused",
        "Kicked",
        "Finished",
        "Stopping",
        "RefusedByServer",
    ] {
        assert!(reasons.contains(&format!("Some({reason})")), "{reason}: {reasons:?}");
    }
}
