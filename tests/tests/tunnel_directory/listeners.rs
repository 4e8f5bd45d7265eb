//! What peers are told of the clients here.

use std::collections::BTreeSet;

use linkspan_core::hub::directory::Change;

use super::*;

fn listen(desk: &mut Desk, conn: u64) -> Vec<Change> {
    let actions = desk.event(Event::Listen(address(conn)));
    announced(&actions, conn)
}

fn ready(desk: &mut Desk, conn: u64) -> Vec<Change> {
    let actions = desk.event(Event::Ready(ConnId(conn)));
    announced(&actions, conn)
}

/// The one announcement to `conn` among the actions; there is no other.
fn announced(actions: &[Action<u64>], conn: u64) -> Vec<Change> {
    match actions {
        [] => Vec::new(),
        [Action::Announce { to, changes }] if to.mailbox == conn && !changes.is_empty() => changes.clone(),
        other => panic!("{other:?}"),
    }
}

fn came(client: &str, number: i64) -> Change {
    Change { session: session(client, number), is_added: true }
}

fn went(client: &str, number: i64) -> Change {
    Change { session: session(client, number), is_added: false }
}

#[test]
fn a_listener_hears_first_what_is_there_and_then_what_changes() {
    let mut desk = Desk::plain();
    desk.add(1, "foo");
    desk.add(2, "bar");
    desk.link(3, "second");
    desk.announced(3, "elsewhere", 7);
    assert_eq!(
        listen(&mut desk, 9),
        [came("bar", 2), came("foo", 1)],
        "peers and their clients are not ours"
    );
    assert_eq!(ready(&mut desk, 9), []);
    let actions = desk.add(4, "foo");
    assert_eq!(announced(&actions, 9), [came("foo", 4)]);
    assert_eq!(desk.gone(1), [], "it has not passed on what it was told");
    assert_eq!(ready(&mut desk, 9), [went("foo", 1)]);
    assert_eq!(ready(&mut desk, 9), []);
    desk.gone(9);
    assert_eq!((desk.add(5, "foo"), desk.event(Event::Ready(ConnId(9)))), (vec![], vec![]));
}

#[test]
fn what_came_and_went_meanwhile_is_not_told() {
    let mut desk = Desk::plain();
    desk.add(1, "foo");
    assert_eq!(listen(&mut desk, 9), [came("foo", 1)]);
    for conn in 100..10_000 {
        assert_eq!((desk.add(conn, "churn"), desk.gone(conn)), (vec![], vec![]));
    }
    let footprint = desk.directory.footprint();
    assert!(footprint < 8192, "{footprint} bytes for a listener that does not listen");
    desk.add(20_000, "last");
    assert_eq!(ready(&mut desk, 9), [came("last", 20_000)]);
}

#[test]
fn no_event_tells_of_more_than_a_few_hundred_and_what_changes_meanwhile_is_told_once() {
    let mut desk = Desk::plain();
    for conn in 1..=1000 {
        desk.add(conn, &format!("client{conn:04}"));
    }
    let mut view = BTreeSet::new();
    let mut changes = listen(&mut desk, 5000);
    let mut told = 0;
    // Both behind and before what it has heard of.
    for (conn, client) in [(2001, "aaa"), (2002, "client0500x"), (2003, "zzz")] {
        assert_eq!(desk.add(conn, client), []);
    }
    for conn in [1, 600, 1000] {
        assert_eq!(desk.gone(conn), []);
    }
    while !changes.is_empty() {
        assert!(changes.len() <= 256 + 63, "{}", changes.len());
        told += changes.len();
        for Change { session, is_added } in changes {
            let known = (session.client, session.session);
            let is_news = if is_added { view.insert(known) } else { view.remove(&known) };
            assert!(is_news);
        }
        changes = ready(&mut desk, 5000);
    }
    let real = desk
        .directory
        .clients()
        .map(|(client, number, _)| (Bytes::copy_from_slice(client.as_bytes()), number));
    assert_eq!(view, real.collect());
    assert_eq!(told, 1000 + 3 - 2 + 1, "600 and 1000 went before it heard of them");
}

#[test]
fn an_announcement_of_changes_is_full_with_256() {
    let mut desk = Desk::plain();
    assert_eq!((listen(&mut desk, 9), ready(&mut desk, 9)), (vec![], vec![]));
    for conn in 100..=400 {
        desk.add(conn, &format!("client{conn}"));
    }
    // The first one was told at once.
    assert_eq!([(); 3].map(|()| ready(&mut desk, 9).len()), [256, 44, 0]);
}
