#![forbid(unsafe_code)]
//! A server and a client in one loop, without any host: no socket, no clock, no thread, nothing to import.
//!
//! ```sh
//! cargo run -p linkspan-core --example wasm_loop
//! cargo build -p linkspan-core --example wasm_loop --release --target wasm32-unknown-unknown
//! ```
//!
//! A page or a plug-in would hand over bytes from its own socket instead, and call `handle_timeout` from its own timer.

use std::sync::Arc;
use std::time::Duration;

use linkspan_core::pomelo::{Client, ClientCommand, ClientNotice, Server, ServerCommand, ServerNotice};
use linkspan_core::{
    Action, Actions, Bytes, Connection, Dialect, Event, Flushed, Instant, Limits, Machine, Opcode,
};

const REQUESTS: u64 = 1_000;

/// One end: its machine, and what it asks for.
struct End<D: Dialect> {
    connection: Connection<D>,
    actions: Actions<Action<D::Notice>>,
}

impl<D: Dialect> End<D> {
    fn new(dialect: D, now: Instant) -> Self {
        let mut actions = Actions::new();
        let connection = Connection::new(dialect, Arc::new(Limits::default()), now, &mut actions);
        Self { connection, actions }
    }

    fn event(&mut self, now: Instant, event: Event<D::Command>) {
        self.connection.handle_event(now, event, &mut self.actions);
    }

    /// Performs every action: frames go to the other end, notices to the application.
    fn perform(&mut self, now: Instant, wire: &mut Vec<Bytes>, mut notice: impl FnMut(D::Notice)) {
        let mut flushed = Flushed::default();
        for action in self.actions.drain() {
            match action {
                Action::Send(frame) => {
                    flushed.add(&frame);
                    wire.push(frame.into_bytes());
                }
                Action::Notify(said) => notice(said),
                Action::Close(reason) => panic!("closed: {reason}"),
                _ => {}
            }
        }
        if flushed.cost > 0 {
            self.event(now, Event::Flushed(flushed));
        }
    }
}

fn main() {
    let mut now = Instant::ORIGIN;
    let mut server = End::new(Server::new(Arc::default()), now);
    let mut client = End::new(Client::new(Arc::default()), now);
    let (mut asked, mut answered) = (0, 0);
    while answered < REQUESTS {
        now = now + Duration::from_millis(1);
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        let (mut commands, mut requests) = (Vec::new(), Vec::new());

        client.perform(now, &mut to_server, |notice| match notice {
            ClientNotice::Connected(_) => requests.push(asked),
            ClientNotice::Answer { request, body } => {
                assert_eq!(body, request.to_string().as_bytes());
                answered += 1;
                requests.push(request + 1);
            }
            other => panic!("unexpected: {other:?}"),
        });
        for request in requests {
            asked = request;
            let body = request.to_string().into();
            let route = Bytes::from_static(b"Echo.Raw");
            client.event(now, Event::Command(ClientCommand::Request { request, route, body }));
        }
        for bytes in to_server {
            server.event(now, Event::Received(Opcode::Binary, bytes));
        }

        server.perform(now, &mut to_client, |notice| match notice {
            ServerNotice::Handshake(_) => commands.push(ServerCommand::Accept { user: None }),
            ServerNotice::Request { ticket, body, .. } => {
                commands.push(ServerCommand::Answer { ticket, body });
            }
            _ => {}
        });
        for command in commands {
            server.event(now, Event::Command(command));
        }
        for bytes in to_client {
            client.event(now, Event::Received(Opcode::Binary, bytes));
        }
    }
    println!("{answered} answers, all of them right; last request {asked}");
}
