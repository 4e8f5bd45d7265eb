//! Both ends of ours together, over links that cut and delay.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::pomelo::{
    ClientCommand, ClientConfig, ClientNotice, Dictionary, ErrorBody, RefuseCode, ServerCommand,
    ServerConfig, ServerNotice,
};
use linkspan_core::{CloseReason, Limits, Overflow};
use linkspan_tests::harness::Random;
use linkspan_tests::pair::{Pair, echo};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn two_hundred_requests_at_once_are_answered_in_order_over_any_link() {
    for seed in 0..20 {
        let mut pair = Pair::plain(seed);
        pair.run_echo(SECOND);
        pair.client.notices();
        for number in 0..200_u64 {
            let body = Bytes::from(vec![number as u8; 1 + number as usize * 7]);
            pair.client.command(
                pair.now,
                ClientCommand::Request { request: number, route: "Echo.Raw".into(), body },
            );
        }
        pair.run_echo(SECOND * 600);
        for (number, notice) in pair.client.notices().into_iter().enumerate() {
            let ClientNotice::Answer { request, body } = notice else { panic!("{notice:?}") };
            assert_eq!((request, body.len(), body[0]), (number as u64, 1 + number * 7, number as u8));
        }
        assert_eq!((pair.client.closed(), pair.server.closed()), (None, None));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    /// Every request has exactly one outcome while the connection lives, whatever the link and the application do.
    #[test]
    fn every_request_has_one_outcome(seed in any::<u64>(), delay in 0_u64..3_000_000, answers in 0_u64..40_000_000, pending in 1_u32..20) {
        let limits = [Limits { pending_requests: pending, ..Limits::default() }, Limits::default()];
        let mut pair = Pair::new(ServerConfig::default(), ClientConfig::default(), limits, Duration::from_micros(delay), seed);
        let mut random = Random::new(seed);
        let mut app = |notice: ServerNotice| match notice {
            ServerNotice::Request { ticket, body, .. } => {
                let after = Duration::from_micros(random.below(answers as usize + 1) as u64);
                let fails = random.once_in(5);
                let command = if fails { ServerCommand::Fail { ticket, error: ErrorBody::new("X", "y") } } else { ServerCommand::Answer { ticket, body } };
                vec![(after, command)]
            }
            other => echo(other),
        };
        pair.run(SECOND * 9, &mut app);
        let mut outcomes = BTreeMap::new();
        for number in 0..60_u64 {
            pair.client.command(pair.now, ClientCommand::Request { request: number, route: "a".into(), body: Bytes::from(number.to_be_bytes().to_vec()) });
            outcomes.insert(number, 0);
            pair.run(Duration::from_millis(300), &mut app);
        }
        pair.run(SECOND * 100, &mut app);
        for notice in pair.client.notices() {
            match notice {
                ClientNotice::Answer { request, body } => {
                    prop_assert_eq!(&body[..], request.to_be_bytes());
                    *outcomes.get_mut(&request).expect("it was asked") += 1;
                }
                ClientNotice::Failed { request, .. } => *outcomes.get_mut(&request).expect("it was asked") += 1,
                _ => {}
            }
        }
        prop_assert!(outcomes.values().all(|count| *count == 1), "{:?}", outcomes);
        prop_assert_eq!((pair.client.closed(), pair.server.closed()), (None, None));
    }
}

/// Two ends left alone for a day send one heartbeat per interval each, and stay (C4).
#[test]
fn heartbeats_never_ping_pong() {
    for passive_heartbeat in [false, true] {
        let client = ClientConfig { passive_heartbeat, ..ClientConfig::default() };
        let limits = [Limits::default(), Limits::default()];
        let mut pair = Pair::new(ServerConfig::default(), client, limits, Duration::from_millis(200), 7);
        pair.run_echo(Duration::from_secs(86_400));
        assert_eq!((pair.client.closed(), pair.server.closed()), (None, None));
        let most = 86_400 / 30 + 3;
        assert!(
            pair.server.sent <= most && pair.client.sent <= most,
            "{} {}",
            pair.server.sent,
            pair.client.sent
        );
        assert!(pair.server.sent > most - 20, "{}", pair.server.sent);
    }
}

/// A link that swallows everything is noticed by both ends before three intervals are over (N2).
#[test]
fn a_dead_link_is_noticed_by_both_ends() {
    let mut pair = Pair::plain(1);
    pair.run_echo(SECOND * 100);
    pair.cut();
    pair.run_echo(SECOND * 90);
    assert_eq!(pair.server.closed(), Some(CloseReason::HeartbeatTimeout));
    assert_eq!(pair.client.closed(), Some(CloseReason::HeartbeatTimeout));
}

#[test]
fn pushes_keep_their_order_and_a_kick_comes_last() {
    for seed in 0..50 {
        let mut pair = Pair::plain(seed);
        pair.run_echo(SECOND);
        pair.client.notices();
        for number in 0..300_u32 {
            let body = Bytes::from(number.to_be_bytes().to_vec());
            pair.server.command(
                pair.now,
                ServerCommand::Push { route: "n".into(), body, overflow: Overflow::Close },
            );
        }
        pair.server.command(pair.now, ServerCommand::Kick { reason: "enough".into() });
        pair.run_echo(SECOND * 60);
        let notices = pair.client.notices();
        assert_eq!(notices.len(), 301);
        for (number, notice) in notices[..300].iter().enumerate() {
            assert!(
                matches!(notice, ClientNotice::Push { body, .. } if body[..] == (number as u32).to_be_bytes())
            );
        }
        assert_eq!(notices[300], ClientNotice::Kicked(r#"{"reason":"enough"}"#.into()));
        assert_eq!(pair.client.closed(), Some(CloseReason::Kicked));
        assert_eq!(pair.server.closed(), Some(CloseReason::Kicked));
    }
}

#[test]
fn a_dictionary_is_learnt_and_used() {
    let server = ServerConfig {
        dictionary: Dictionary::numbered(["Echo.Raw", "onEcho"]).expect("two"),
        ..ServerConfig::default()
    };
    let handshake = Bytes::from_static(br#"{"sys":{"type":"linkspan","useDict":true,"useDeflate":true}}"#);
    let client = ClientConfig { handshake, ..ClientConfig::default() };
    let mut pair = Pair::new(server, client, [Limits::default(), Limits::default()], SECOND / 10, 3);
    pair.run_echo(SECOND);
    pair.client
        .command(pair.now, ClientCommand::Request { request: 1, route: "Echo.Raw".into(), body: "x".into() });
    pair.server.command(
        pair.now,
        ServerCommand::Push { route: "onEcho".into(), body: "y".into(), overflow: Overflow::Close },
    );
    pair.run_echo(SECOND);
    let notices = pair.client.notices();
    assert!(notices.contains(&ClientNotice::Answer { request: 1, body: "x".into() }), "{notices:?}");
    assert!(
        notices.contains(&ClientNotice::Push { route: "onEcho".into(), body: "y".into() }),
        "{notices:?}"
    );
}

#[test]
fn a_refusal_reaches_the_client_before_the_end() {
    for seed in 0..20 {
        let mut pair = Pair::plain(seed);
        pair.run(SECOND * 5, |notice| match notice {
            ServerNotice::Handshake(_) => {
                vec![(SECOND, ServerCommand::Refuse { code: RefuseCode::TooOld, user: None })]
            }
            _ => Vec::new(),
        });
        assert!(matches!(pair.client.notices()[..], [ClientNotice::Refused { code: 501, .. }]));
        assert_eq!(pair.client.closed(), Some(CloseReason::RefusedByServer));
        assert_eq!(pair.server.closed(), Some(CloseReason::HandshakeRefused));
    }
}
