//! Who reaches which tunnel client: here, through a peer, now or after a wait.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod listeners;
mod machine;
mod mesh;
mod model;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::hub::Address;
use linkspan_core::hub::directory::{Action, Config, Directory, Event, Order, Scope};
use linkspan_core::tunnel::ClientSession;
use linkspan_core::{ConnId, Instant, Key, Limits, Machine};
use linkspan_tests::harness::Checked;

/// A directory whose mailboxes are the connections' numbers.
struct Desk {
    directory: Checked<Directory<u64>>,
    now: Instant,
    tickets: u64,
}

/// How a seek was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Here(u64),
    Peer(u64),
    Nowhere,
    Waits,
}

impl Desk {
    fn new(config: Config) -> Self {
        Self { directory: Checked::idle(Directory::new(config)), now: Instant::ORIGIN, tickets: 0 }
    }

    fn plain() -> Self {
        Self::new(Config::default())
    }

    fn with(limits: Limits) -> Self {
        limits.validate().expect("valid limits");
        Self::new(Config { limits: Arc::new(limits), ..Config::default() })
    }

    fn ordered(order: Order) -> Self {
        Self::new(Config { order, ..Config::default() })
    }

    fn event(&mut self, event: Event<u64>) -> Vec<Action<u64>> {
        self.directory.step(self.now, event)
    }

    /// Lets time pass, timer by timer.
    fn pass(&mut self, span: Duration) -> Vec<Action<u64>> {
        let end = self.now + span;
        let mut actions = Vec::new();
        while let Some(due) = self.directory.next_timeout().filter(|due| *due <= end) {
            self.now = due;
            actions.extend(self.directory.pass_time(due));
        }
        self.now = end;
        actions
    }

    fn add(&mut self, conn: u64, client: &str) -> Vec<Action<u64>> {
        self.event(Event::Add { from: address(conn), client: key(client), session: conn as i64 })
    }

    fn link(&mut self, conn: u64, peer: &str) -> Vec<Action<u64>> {
        self.event(Event::Link { from: address(conn), peer: key(peer) })
    }

    fn announced(&mut self, link: u64, client: &str, number: i64) -> Vec<Action<u64>> {
        self.event(Event::Announced { link: ConnId(link), session: session(client, number) })
    }

    fn withdrawn(&mut self, link: u64, client: &str, number: i64) -> Vec<Action<u64>> {
        self.event(Event::Withdrawn { link: ConnId(link), session: session(client, number) })
    }

    fn gone(&mut self, conn: u64) -> Vec<Action<u64>> {
        self.event(Event::Gone(ConnId(conn)))
    }

    fn health(&mut self, conn: u64, is_lively: bool) {
        assert_eq!(self.event(Event::Health { conn: ConnId(conn), is_lively }), []);
    }

    fn seek(&mut self, client: &str, scope: Scope) -> Answer {
        self.seek_until(client, scope, None)
    }

    fn seek_until(&mut self, client: &str, scope: Scope, until: Option<Instant>) -> Answer {
        self.tickets += 1;
        let ticket = self.tickets;
        let actions = self.event(Event::Seek { ticket, client: key(client), scope, until });
        let answers: Vec<_> = actions.iter().filter_map(|action| answer(action, ticket)).collect();
        match answers[..] {
            [] => Answer::Waits,
            [answer] => answer,
            _ => panic!("{actions:?}"),
        }
    }

    fn anywhere(&mut self, client: &str) -> Answer {
        self.seek(client, Scope::Anywhere)
    }
}

fn answer(action: &Action<u64>, wanted: u64) -> Option<Answer> {
    match action {
        Action::Found { ticket, via, is_peer } if *ticket == wanted => {
            assert_eq!(via.conn.0, via.mailbox);
            Some(if *is_peer { Answer::Peer(via.mailbox) } else { Answer::Here(via.mailbox) })
        }
        Action::NotFound { ticket, .. } if *ticket == wanted => Some(Answer::Nowhere),
        _ => None,
    }
}

fn key(name: &str) -> Key {
    Key::new(name).expect("not empty")
}

fn address(conn: u64) -> Address<u64> {
    Address { conn: ConnId(conn), mailbox: conn }
}

fn session(client: &str, session: i64) -> ClientSession {
    ClientSession { client: Bytes::copy_from_slice(client.as_bytes()), session }
}
