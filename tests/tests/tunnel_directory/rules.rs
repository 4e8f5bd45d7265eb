//! Rule by rule.

use std::collections::BTreeSet;

use linkspan_core::hub::directory::SeekError;
use linkspan_core::{CloseReason, Mark};

use super::*;

#[test]
fn the_oldest_lively_session_is_used_and_the_others_wait_for_their_turn() {
    let mut desk = Desk::plain();
    for conn in 1..=3 {
        assert_eq!(desk.add(conn, "foo"), []);
    }
    assert_eq!(desk.anywhere("foo"), Answer::Here(1));
    desk.health(1, false);
    assert_eq!(desk.anywhere("foo"), Answer::Here(2));
    desk.health(2, false);
    desk.health(3, false);
    assert_eq!(desk.anywhere("foo"), Answer::Here(1), "a quiet one rather than none");
    desk.health(3, true);
    assert_eq!(desk.anywhere("foo"), Answer::Here(3));
    desk.gone(3);
    desk.gone(1);
    assert_eq!(desk.anywhere("foo"), Answer::Here(2));
    desk.gone(2);
    assert_eq!((desk.anywhere("foo"), desk.directory.sessions()), (Answer::Nowhere, 0));
}

#[test]
fn other_orders_prefer_others() {
    let mut newest = Desk::ordered(Order::NewestFirst);
    let mut turns = Desk::ordered(Order::RoundRobin);
    for conn in 1..=3 {
        newest.add(conn, "foo");
        turns.add(conn, "foo");
    }
    assert_eq!(newest.anywhere("foo"), Answer::Here(3));
    newest.health(3, false);
    assert_eq!(newest.anywhere("foo"), Answer::Here(2));
    let mut take = |count: usize| (0..count).map(|_| turns.anywhere("foo")).collect::<Vec<_>>();
    assert_eq!(take(4), [1, 2, 3, 1].map(Answer::Here));
    turns.health(2, false);
    let taken: Vec<_> = (0..4).map(|_| turns.anywhere("foo")).collect();
    assert_eq!(taken, [3, 1, 3, 1].map(Answer::Here));
}

#[test]
fn a_client_here_goes_before_one_at_a_peer_whatever_the_peer_says() {
    let mut desk = Desk::plain();
    desk.link(10, "second");
    desk.link(11, "third");
    desk.announced(10, "foo", 1);
    desk.announced(11, "foo", 2);
    assert_eq!(desk.anywhere("foo"), Answer::Peer(10));
    desk.health(10, false);
    assert_eq!(desk.anywhere("foo"), Answer::Peer(11));
    assert_eq!(desk.seek("foo", Scope::LocalOnly), Answer::Nowhere, "one hop");
    desk.add(1, "foo");
    assert_eq!(desk.anywhere("foo"), Answer::Here(1));
    desk.health(1, false);
    assert_eq!(desk.anywhere("foo"), Answer::Peer(11), "one that was heard goes before one that is quiet");
    assert_eq!(desk.seek("foo", Scope::LocalOnly), Answer::Here(1), "not for a peer");
    desk.health(11, false);
    assert_eq!(desk.anywhere("foo"), Answer::Here(1), "all are quiet");
}

#[test]
fn a_lost_link_takes_all_that_was_learnt_on_it_and_nothing_else() {
    let mut desk = Desk::plain();
    desk.link(10, "second");
    desk.link(11, "third");
    for number in 0..5 {
        desk.announced(10, "foo", number);
    }
    desk.announced(10, "foo", 0);
    desk.announced(11, "foo", 0);
    desk.announced(10, "bar", 0);
    assert_eq!(desk.directory.announced(), 7, "twice is once");
    desk.withdrawn(11, "bar", 0);
    desk.withdrawn(10, "foo", 99);
    desk.withdrawn(9, "foo", 0);
    assert_eq!(desk.directory.announced(), 7, "what is not theirs they cannot take back");
    for number in 0..4 {
        desk.withdrawn(10, "foo", number);
    }
    assert_eq!(desk.anywhere("foo"), Answer::Peer(10), "one session is left");
    desk.gone(10);
    assert_eq!((desk.anywhere("foo"), desk.anywhere("bar")), (Answer::Peer(11), Answer::Nowhere));
    desk.announced(10, "bar", 0);
    assert_eq!(
        (desk.anywhere("bar"), desk.directory.announced()),
        (Answer::Nowhere, 1),
        "a link that is gone"
    );
}

#[test]
fn a_peer_has_one_link_and_nobody_is_his_own_peer() {
    let mut desk = Desk::new(Config { own: Some(key("first")), ..Config::default() });
    let refused = [
        Action::Mark(Mark::LinkRefused),
        Action::Close { to: address(9), reason: CloseReason::HandshakeRefused },
    ];
    assert_eq!(desk.link(9, "first"), refused);
    assert_eq!(desk.link(10, "second"), []);
    desk.announced(10, "foo", 1);
    let replaced =
        [Action::Mark(Mark::LinkReplaced), Action::Close { to: address(10), reason: CloseReason::Replaced }];
    assert_eq!(desk.link(11, "second"), replaced);
    assert_eq!(desk.anywhere("foo"), Answer::Nowhere);
    desk.announced(11, "foo", 1);
    desk.gone(10);
    assert_eq!(desk.anywhere("foo"), Answer::Peer(11), "the end of the older link means nothing");
}

/// The originals announce their peers as clients, and theirs forward what they are asked to: in a mesh a request for a
/// peer never ended.
#[test]
fn servers_are_no_clients() {
    let config =
        Config { own: Some(key("first")), peers: BTreeSet::from([key("third")]), ..Config::default() };
    let mut desk = Desk::new(config);
    desk.link(10, "second");
    for name in ["first", "second", "third"] {
        assert_eq!(desk.announced(10, name, 1), [Action::Mark(Mark::AnnouncementRefused)]);
        assert_eq!(desk.anywhere(name), Answer::Nowhere);
    }
    for malformed in ["", "a/b", "a::b"] {
        assert_eq!(desk.announced(10, malformed, 1), [Action::Mark(Mark::AnnouncementRefused)]);
    }
    assert_eq!(desk.directory.announced(), 0);
}

#[test]
fn a_peer_announces_so_many_and_a_client_connects_so_often() {
    let limits = Limits { tunnel_announced: 2, tunnel_sessions_per_client: 2, ..Limits::default() };
    let mut desk = Desk::with(limits);
    desk.link(10, "second");
    desk.link(11, "third");
    for client in ["a", "b"] {
        assert_eq!(desk.announced(10, client, 1), []);
    }
    assert_eq!(desk.announced(10, "c", 1), [Action::Mark(Mark::AnnouncementRefused)]);
    assert_eq!(desk.announced(11, "c", 1), [], "each peer for itself");
    desk.withdrawn(10, "a", 1);
    assert_eq!(desk.announced(10, "d", 1), []);

    assert_eq!((desk.add(1, "foo"), desk.add(2, "foo")), (vec![], vec![]));
    assert!(!desk.directory.can_add(&key("foo")) && desk.directory.can_add(&key("bar")));
    let full =
        [Action::Mark(Mark::KeyFull), Action::Close { to: address(3), reason: CloseReason::Overloaded }];
    assert_eq!(desk.add(3, "foo"), full);
    assert_eq!(desk.add(2, "foo"), [], "it is there already");
    desk.gone(1);
    assert_eq!(desk.add(3, "foo"), []);
    assert_eq!(desk.directory.sessions(), 2);
}

#[test]
fn a_request_may_wait_for_its_client() {
    let mut desk = Desk::plain();
    desk.link(10, "second");
    let soon = Some(Instant::ORIGIN + Duration::from_secs(5));
    assert_eq!(desk.seek_until("foo", Scope::Anywhere, soon), Answer::Waits);
    assert_eq!(desk.seek_until("foo", Scope::LocalOnly, soon), Answer::Waits);
    assert_eq!(desk.seek_until("bar", Scope::Anywhere, soon), Answer::Waits);
    assert_eq!(desk.seek_until("foo", Scope::Anywhere, Some(desk.now)), Answer::Nowhere, "that is now");
    assert_eq!(desk.announced(10, "foo", 1), [Action::Found { ticket: 1, via: address(10), is_peer: true }]);
    assert_eq!(desk.add(1, "foo"), [Action::Found { ticket: 2, via: address(1), is_peer: false }]);
    assert_eq!((desk.pass(Duration::from_millis(4_999)), desk.directory.waiting()), (vec![], 1));
    let why = SeekError::Unknown(key("bar"));
    assert_eq!(why.to_string(), "failed to find Session for client bar");
    assert_eq!(desk.pass(Duration::from_millis(1)), [Action::NotFound { ticket: 3, why }]);
    assert_eq!((desk.add(2, "bar"), desk.directory.next_timeout()), (vec![], None), "answered once");
}

#[test]
fn who_waits_no_longer_is_not_answered_and_not_too_many_wait() {
    let mut desk = Desk::with(Limits { tunnel_seeks: 2, ..Limits::default() });
    let later = Some(Instant::ORIGIN + Duration::from_secs(60));
    assert_eq!(desk.seek_until("foo", Scope::Anywhere, later), Answer::Waits);
    assert_eq!(desk.seek_until("foo", Scope::Anywhere, later), Answer::Waits);
    let seek = Event::Seek { ticket: 9, client: key("foo"), scope: Scope::Anywhere, until: later };
    let refused = [Action::Mark(Mark::SeekRefused), Action::NotFound { ticket: 9, why: SeekError::TooMany }];
    assert_eq!(desk.event(seek), refused);
    assert_eq!(desk.event(Event::Forgo(1)), []);
    assert_eq!(desk.event(Event::Forgo(1)), []);
    assert_eq!(desk.seek_until("bar", Scope::Anywhere, later), Answer::Waits);
    assert_eq!(desk.add(1, "foo"), [Action::Found { ticket: 2, via: address(1), is_peer: false }]);
}

#[test]
fn a_directory_in_words_says_how_much_it_knows() {
    let mut desk = Desk::plain();
    desk.add(1, "foo");
    let text = format!("{:?}", desk.directory);
    assert!(text.contains("sessions: 1") && text.contains("waiting: 0"), "{text}");
}
