//! The ends of connections, and what stands at their doors.

use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Arbitrary as _, Unstructured};
use linkspan_core::hub::{Badge, Platform};
use linkspan_core::im::{
    self, Arguments, Checks, ChecksConfig, Deliver, Door, DoorConfig, Proof, Request, ServerConfig,
    UpgradeCheck, User, UserEvent, Visitor,
};
use linkspan_core::pomelo::{Client, ClientCommand};
use linkspan_core::{
    Actions, Bytes, ConnId, Connection, Delivery, Dialect, Event, Frame, Instant, Limits, Machine, Opcode,
    Outbox, chat,
};

use super::{Cases, key, name, weigh};

/// What a connection's end says it holds after these events.
fn an_end<D: Dialect>(
    dialect: impl FnOnce() -> D,
    events: impl FnOnce() -> Vec<Event<D::Command>>,
) -> (usize, usize) {
    let limits = Arc::new(Limits { pending_requests: 1_000, ..Limits::default() });
    let build = || {
        let mut actions = Actions::new();
        let mut end = Connection::new(dialect(), limits, Instant::ORIGIN, &mut actions);
        for event in events() {
            end.handle_event(Instant::ORIGIN, event, &mut actions);
            drop(actions.drain());
        }
        end
    };
    weigh(build, Connection::footprint)
}

fn a_pomelo_client() -> (usize, usize) {
    let config = Arc::default();
    let received = |bytes: Vec<u8>| Event::Received(Opcode::Stream, bytes.into());
    let events = || {
        let mut events = vec![received(b"\x01\0\0\x0c{\"code\":200}".to_vec())];
        events.extend((0..300).map(|request| {
            let (route, body) = (Bytes::from_static(b"Echo.Raw"), Bytes::from_static(b"x"));
            Event::Command(ClientCommand::Request { request, route, body })
        }));
        // The beginning of a package of 4 KiB.
        events.push(received([&[4, 0, 0x10, 0][..], &[0; 3000]].concat()));
        events
    };
    an_end(|| Client::new(config), events)
}

fn an_im_client() -> (usize, usize) {
    let call = |operation| {
        let (function, data) = ("F".into(), String::new());
        Event::Command(im::ClientCommand::Call { operation, function, data })
    };
    an_end(|| im::Client::new(&name(1)), || (0..300).map(|number| call(name(number))).collect())
}

fn an_im_server() -> (usize, usize) {
    let config = Arc::new(ServerConfig::default());
    let visitor = Visitor { user: key(1), badge: Badge::default() };
    let admitted = Event::Delivered(Delivery::Admitted(visitor.user.clone()));
    let events = || {
        let mut events = vec![admitted];
        events.extend((0..200).map(|number| {
            let request =
                format!(r#"{{"reqFuncName":"F","userID":"{}","operationID":"{number:05000}"}}"#, name(1));
            Event::Received(Opcode::Text, request.into())
        }));
        events
    };
    an_end(|| im::Server::new(config, visitor, 1), events)
}

fn a_door() -> (usize, usize) {
    let query = format!("sendID=u1&platformID=5&token={:09999}&operationID={:07777}", 0, 0);
    let build = || {
        let (config, limits, mut actions) = (DoorConfig::default(), Limits::default(), Actions::new());
        let (arguments, now) = (Arguments::parse(&query), Instant::ORIGIN);
        Door::new(&config, &limits, arguments, UpgradeCheck::Valid, 9, now, &mut actions)
    };
    weigh(build, Door::footprint)
}

fn a_user(count: u64, asks: bool) -> (usize, usize) {
    let user = key(1);
    let ticket = im::Ticket::arbitrary(&mut Unstructured::new(&[0; 4])).unwrap();
    let build = || {
        let (mut user, mut actions) =
            (User::new(user.clone(), Deliver::default(), &Limits::default()), Actions::new());
        let mut give = |event| {
            user.handle_event(Instant::ORIGIN, event, &mut actions);
            drop(actions.drain());
        };
        (0..count).for_each(|conn| give(UserEvent::Opened { conn: ConnId(conn), platform: Platform::WEB }));
        if asks {
            let login = im::Call::Login { token: Ok("token".into()), batch: false };
            let request = Request { operation: name(1), call: login };
            give(UserEvent::Requested { conn: ConnId(0), ticket, request });
        }
        user
    };
    weigh(build, User::footprint)
}

fn some_checks() -> (usize, usize) {
    let build = || {
        let mut checks = Checks::new(ChecksConfig::default(), 1);
        for number in 0..1_000_u64 {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_le_bytes());
            let proof = Proof { user: name(number), platform: None, lifetime: None };
            // Some are proven twice.
            for _ in 0..=number % 2 {
                checks.begin(Instant::ORIGIN, &digest);
                checks.end(Instant::ORIGIN + Duration::from_millis(number), &digest, Some(&proof));
            }
        }
        checks
    };
    weigh(build, Checks::footprint)
}

fn some_actions() -> (usize, usize) {
    let build = || {
        let mut actions = Actions::new();
        (0..100_u64).for_each(|number| actions.push(number));
        drop(actions.drain());
        actions
    };
    weigh(build, |actions| actions.capacity() * size_of::<u64>())
}

/// Nothing is left of it once it has shrunk.
fn an_outbox() -> (usize, usize) {
    let build = || {
        let mut outbox = Outbox::default();
        for _ in 0..100 {
            outbox.push(Frame::new(Opcode::Text, Bytes::from_static(b"x")));
        }
        while outbox.pop().is_some() {}
        outbox.shrink();
        outbox
    };
    weigh(build, |_| 0)
}

/// Everything here is counted to the byte.
pub(super) fn cases() -> Cases {
    vec![
        ("a client that asks much", a_pomelo_client()),
        ("an im client that asks much", an_im_client()),
        ("an im server that is asked much", an_im_server()),
        ("a door", a_door()),
        ("a user with many connections", a_user(300, false)),
        ("a user that logs in", a_user(1, true)),
        ("tokens that were proven", some_checks()),
        ("ends of a chat", an_end(|| chat::Client::new(chat::ClientConfig::default()), Vec::new)),
        ("actions", some_actions()),
        ("a send queue that is empty again", an_outbox()),
    ]
}
