//! The laws of a machine, over chat connections; and random schedules of whole gateways.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use linkspan_core::chat::{self, Kind, Server, ServerConfig, user_key};
use linkspan_core::hub::{Admission, Config};
use linkspan_core::{CloseReason, ConnId, Limits, Opcode, Overflow};
use linkspan_tests::fuzz_chat::{self, ChatPlayer};
use linkspan_tests::harness::Random;
use linkspan_tests::memory::{Arrival, Gateway, Patience};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    /// Total, bounded, no spin, early is free, close is last, bounded memory; what is published is what was sent.
    #[test]
    fn a_server_keeps_the_laws_of_every_step(data in vec(any::<u8>(), 0..1500)) {
        fuzz_chat::chat_server(&data);
    }

    #[test]
    fn a_client_keeps_the_laws_of_every_step(data in vec(any::<u8>(), 0..1500)) {
        fuzz_chat::chat_client(&data);
    }

    #[test]
    fn same_in_same_out(data in vec(any::<u8>(), 0..1500)) {
        let history = || {
            let mut player = ChatPlayer::new(&data);
            while player.step() {}
            player.history().to_vec()
        };
        prop_assert_eq!(history(), history());
    }
}

/// A random life of a whole gateway: connects, messages, slow readers, closes and cuts, in any order.
fn schedule(seed: u64) -> (u64, BTreeMap<ConnId, Vec<Arrival>>) {
    let mut random = Random::new(seed);
    let on_duplicate = [Admission::NewestWins, Admission::RejectNew, Admission::Many][random.below(3)];
    let on_slow = [Overflow::Close, Overflow::DropNewest, Overflow::DropOldest, Overflow::Backpressure]
        [random.below(4)];
    let config = Arc::new(ServerConfig { on_duplicate, on_slow, ..ServerConfig::default() });
    let limits =
        Limits { send_queue_bytes: 2048, send_max: 512, receive_max: 512, mailbox: 8, ..Limits::default() };
    let hub = Config { limits: Arc::new(limits), ..Config::default() };
    let mut gateway = Gateway::new(hub).in_any_order(seed);
    let mut conns: Vec<ConnId> = Vec::new();
    let mut number = 0;
    for _ in 0..60 {
        let conn = conns.get(random.below(conns.len())).copied();
        match (random.below(12), conn) {
            (0..=2, _) | (_, None) => {
                let user = random.below(4) as u64;
                conns.push(gateway.connect(Server::new(Arc::clone(&config), user)));
            }
            (3..=7, Some(conn)) => {
                number += 1;
                // The sender's place carries the connection, so that a receiver can tell them apart.
                let text = chat::encode(Kind::Send, conn.0, random.below(4) as u64, &number.to_string());
                gateway.receive(conn, Opcode::Text, text);
            }
            (8, Some(conn)) => {
                let patience = [Patience::All, Patience::None, Patience::Some(1)][random.below(3)];
                gateway.read_with(conn, patience);
            }
            (9, Some(conn)) => {
                gateway.receive(conn, Opcode::Text, [&b"{\"type\":3}"[..], b"x"][random.below(2)]);
            }
            (10, Some(conn)) => {
                let reason = [CloseReason::PeerClosed, CloseReason::ConnectionLost][random.below(2)];
                gateway.hang_up(conn, reason);
            }
            (_, Some(_)) => gateway.advance(Duration::from_secs([0, 1, 31][random.below(3)])),
        }
        if random.once_in(2) {
            gateway.run();
        }
        if on_duplicate != Admission::Many {
            assert!((0..4).all(|user| gateway.hub().sessions_of(&user_key(user)) <= 1), "seed {seed}");
        }
    }
    for conn in &conns {
        gateway.read_with(*conn, Patience::All);
    }
    gateway.run();
    let stuck = conns.iter().find(|conn| gateway.closed(**conn).is_none() && !gateway.wants_read(**conn));
    assert_eq!((stuck, gateway.hub().waiting()), (None, 0), "seed {seed}: waits for ever");
    let arrived: BTreeMap<_, _> = conns.iter().map(|conn| (*conn, gateway.arrivals(*conn))).collect();
    let received = arrived.values().map(|got| check_arrivals(seed, got)).sum();
    gateway.finish();
    (received, arrived)
}

/// Nothing comes behind the end, and what comes from one connection comes in its order; how many messages there are.
fn check_arrivals(seed: u64, got: &[Arrival]) -> u64 {
    let end = got.iter().position(|arrival| matches!(arrival, Arrival::Closed { .. } | Arrival::Aborted));
    assert!(end.is_none_or(|end| end + 1 == got.len()), "seed {seed}: something behind the end");
    let (mut last, mut received) = (BTreeMap::<u64, u64>::new(), 0);
    for arrival in got {
        let Arrival::Frame(Opcode::Text, data) = arrival else { continue };
        let message = chat::Message::decode(data).expect("a message");
        let number: u64 = message.content().parse().expect("a number");
        let before = last.insert(message.sender, number).unwrap_or_default();
        assert!(before < number, "seed {seed}: {number} behind {before}");
        received += 1;
    }
    received
}

#[test]
fn random_schedules_keep_order_and_leave_nothing() {
    let received: u64 = (0..2_000).map(|seed| schedule(seed).0).sum();
    assert!(received > 10_000, "only {received} messages got through");
}

#[test]
fn a_seed_is_a_schedule() {
    for seed in [1, 7, 42] {
        assert_eq!(schedule(seed), schedule(seed));
    }
}
