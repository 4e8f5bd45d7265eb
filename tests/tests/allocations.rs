//! No allocation per event in the core's steady state.
//!
//! The counters are the whole process's, so everything here is one test.

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::hub::{self, Hub};
use linkspan_core::pomelo::{Client, ClientCommand, ClientNotice, Server, ServerCommand, ServerNotice};
use linkspan_core::{
    Action, Actions, ConnId, Connection, Delivery, Dialect, Event, Flushed, GroupId, Instant, Key, Limits,
    Machine, Opcode, Overflow, Push, Route, To,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROUNDS: u64 = 10_000;

/// How often memory was asked for during `ROUNDS` calls, after enough of them to have grown what grows once.
fn allocations(mut round: impl FnMut(u64)) -> usize {
    (0..1_000).for_each(&mut round);
    let region = Region::new(ALLOCATOR);
    (1_000..1_000 + ROUNDS).for_each(&mut round);
    let change = region.change();
    change.allocations + change.reallocations
}

/// A connection whose peer takes every frame at once.
struct Peer<D: Dialect> {
    connection: Connection<D>,
    actions: Actions<Action<D::Notice>>,
    micros: u64,
}

impl<D: Dialect> Peer<D> {
    fn new(dialect: D) -> Self {
        let mut actions = Actions::new();
        let connection = Connection::new(dialect, Arc::new(Limits::default()), Instant::ORIGIN, &mut actions);
        let mut peer = Self { connection, actions, micros: 0 };
        peer.perform(|_| {});
        peer
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.micros)
    }

    /// Gives the connection one event, a little later than the one before, and performs what it asks for.
    fn give(&mut self, event: Event<D::Command>, notice: impl FnMut(D::Notice)) {
        self.micros += 10;
        self.connection.handle_event(self.now(), event, &mut self.actions);
        self.perform(notice);
    }

    fn receive(&mut self, bytes: &'static [u8], notice: impl FnMut(D::Notice)) {
        self.give(Event::Received(Opcode::Binary, Bytes::from_static(bytes)), notice);
    }

    fn perform(&mut self, mut notice: impl FnMut(D::Notice)) {
        let mut flushed = Flushed::default();
        for action in self.actions.drain() {
            match action {
                Action::Send(frame) => flushed.add(&frame),
                Action::Notify(said) => notice(said),
                Action::Close(reason) => panic!("closed: {reason:?}"),
                _ => {}
            }
        }
        if flushed.cost > 0 {
            let now = self.now();
            self.connection.handle_event(now, Event::Flushed(flushed), &mut self.actions);
            assert!(self.actions.is_empty());
        }
    }
}

fn working_server() -> Peer<Server> {
    let mut server = Peer::new(Server::new(Arc::default()));
    server.receive(b"\x01\0\0\x02{}", |_| {});
    server.give(Event::Command(ServerCommand::Accept { user: None }), |_| {});
    let mut opened = false;
    server.receive(b"\x02\0\0\0", |notice| opened = notice == ServerNotice::Opened);
    assert!(opened);
    server
}

fn requests() -> usize {
    let mut server = working_server();
    let mut answered = 0;
    let count = allocations(|_| {
        let mut asked = None;
        server.receive(b"\x04\0\0\x0d\x00\x81\x01\x08Echo.Rawx", |notice| {
            if let ServerNotice::Request { ticket, body, .. } = notice {
                asked = Some((ticket, body));
            }
        });
        let (ticket, body) = asked.expect("a request");
        server.give(Event::Command(ServerCommand::Answer { ticket, body }), |_| {});
        answered += 1;
    });
    assert!(answered > ROUNDS);
    count
}

fn split_requests() -> usize {
    let mut server = working_server();
    allocations(|_| {
        // Header and body in pieces: only a body in pieces is put together, in memory of its own.
        server.receive(b"\x04\0", |_| {});
        server.receive(b"\0\x0c", |_| {});
        let mut held = None;
        server.receive(b"\x02\x09Echo.Nonex", |notice| {
            if let ServerNotice::Notify { receipt, .. } = notice {
                held = Some(receipt);
            }
        });
        server.give(Event::Command(ServerCommand::Done(held.expect("a message"))), |_| {});
        server.receive(b"\x03\0\0\0", |_| {});
    })
}

fn pushes() -> usize {
    let mut server = working_server();
    let push = Push::new("onMessage", "hello", Overflow::DropNewest);
    allocations(|_| server.give(Event::Delivered(Delivery::Push(push.clone())), |_| {}))
}

fn heartbeats() -> usize {
    let mut server = working_server();
    allocations(|_| {
        server.receive(b"\x03\0\0\0", |_| {});
        let due = server.connection.next_timeout().expect("a heartbeat is always due");
        server.micros = server.micros.max(due.as_micros());
        let now = server.now();
        server.connection.handle_timeout(now, &mut server.actions);
        server.perform(|_| {});
    })
}

fn client_requests() -> usize {
    const ROUTE: Bytes = Bytes::from_static(b"Echo.Raw");
    let mut client = Peer::new(Client::new(Arc::default()));
    client.receive(b"\x01\0\0\x0c{\"code\":200}", |_| {});
    // The client's ids count from one; what the server says was there before the counting begins.
    let said: Vec<&[u8]> = (1..=1_000 + ROUNDS).map(|id| &*answer(id).leak()).collect();
    let mut answers = 0;
    let count = allocations(|round| {
        let request = ClientCommand::Request { request: round, route: ROUTE, body: Bytes::from_static(b"x") };
        client.give(Event::Command(request), |_| {});
        client.receive(said[usize::try_from(round).expect("few rounds")], |notice| {
            answers += u64::from(matches!(notice, ClientNotice::Answer { request, .. } if request == round));
        });
    });
    assert_eq!(answers, 1_000 + ROUNDS);
    count
}

/// The answer to a request whose id has at most 14 bits.
fn answer(id: u64) -> Vec<u8> {
    let byte = |value: u64| u8::try_from(value).expect("a byte");
    let id = if id < 0x80 { vec![byte(id)] } else { vec![byte(id & 0x7f) | 0x80, byte(id >> 7)] };
    [&[4, 0, 0, byte(id.len() as u64 + 2), 4], &id[..], b"x"].concat()
}

fn publishes(members: u64) -> usize {
    let mut hub: Hub<u64> = Hub::new(hub::Config::default());
    let mut actions = Actions::new();
    let key = |number: u64| Key::new(number.to_string()).expect("a number is a name");
    let group = GroupId::new("room").expect("a short name");
    let now = Instant::ORIGIN;
    for number in 0..members {
        let from = Some(hub::Address { conn: ConnId(number), mailbox: number });
        let register = Route::Register { key: key(number), badge: hub::Badge::default() };
        for route in [register, Route::Join(group.clone())] {
            hub.handle_event(now, hub::Event::Routed { from: from.clone(), route }, &mut actions);
        }
    }
    let push = Push::new("onMessage", "hello", Overflow::DropNewest);
    let first = key(0);
    let mut delivered = 0;
    let count = allocations(|round| {
        let to = if round % 2 == 0 { To::Group(group.clone()) } else { To::Key(first.clone()) };
        let route = Route::Publish { to, push: push.clone() };
        hub.handle_event(
            now + Duration::from_micros(round),
            hub::Event::Routed { from: None, route },
            &mut actions,
        );
        for action in actions.drain() {
            if let hub::Action::Deliver { to, .. } = action {
                delivered += to.as_slice().len() as u64;
            }
        }
    });
    assert!(delivered >= ROUNDS / 2 * members);
    count
}

#[test]
fn no_event_allocates() {
    assert!(allocations(|_| drop(std::hint::black_box(Box::new(1)))) >= 10_000, "the counter does not count");
    for (what, count) in [
        ("a request and its answer", requests()),
        ("a notify in pieces, and a heartbeat", split_requests()),
        ("a push that others get too", pushes()),
        ("a heartbeat, both ways", heartbeats()),
        ("a client's request and its answer", client_requests()),
        ("a publish to a group and to a key", publishes(100)),
    ] {
        assert_eq!(count, 0, "{what}: memory was asked for {count} times in {ROUNDS} rounds");
    }
}
