//! The chat dialect with a hub: policies, order, liveness, limits, and what other dialects hear of it.

mod basics;
mod client;
mod cross;
mod liveness;
mod slow;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::chat::{
    self, Client, ClientCommand, ClientConfig, ClientNotice, Kind, OnBadMessage, Relay, Server,
    ServerCommand, ServerConfig, ServerNotice, user_key,
};
use linkspan_core::hub::{Admission, Config};
use linkspan_core::{
    CloseReason, ConnId, GroupId, Instant, Limits, Mark, Opcode, Overflow, Push, Route, To, Violation, pomelo,
};
use linkspan_tests::harness::package;
use linkspan_tests::memory::{Arrival, Gateway, Patience};

/// A chat server in memory.
struct Chat {
    gateway: Gateway,
    config: Arc<ServerConfig>,
}

impl Chat {
    fn new(config: ServerConfig, limits: Limits) -> Self {
        assert_eq!(limits.validate(), Ok(()));
        let hub = Config { limits: Arc::new(limits), ..Config::default() };
        Self { gateway: Gateway::new(hub), config: Arc::new(config) }
    }

    fn standard() -> Self {
        Self::new(ServerConfig::default(), Limits::default())
    }

    fn connect(&mut self, user: u64) -> ConnId {
        let conn = self.gateway.connect(Server::new(Arc::clone(&self.config), user));
        self.gateway.run();
        conn
    }

    fn say(&mut self, conn: ConnId, text: &str) {
        self.gateway.receive(conn, Opcode::Text, text.to_owned());
        self.gateway.run();
    }

    /// The texts that a peer got since the last look, and nothing else.
    fn texts(&mut self, conn: ConnId) -> Vec<String> {
        let text = |arrival| match arrival {
            Arrival::Frame(Opcode::Text, data) => String::from_utf8(data.to_vec()).expect("text"),
            other => panic!("got {other:?}"),
        };
        self.gateway.arrivals(conn).into_iter().map(text).collect()
    }
}

fn send(sender: u64, receiver: u64, content: &str) -> String {
    String::from_utf8(chat::encode(Kind::Send, sender, receiver, content).to_vec()).expect("text")
}

fn closed(code: u16, text: &str) -> Vec<Arrival> {
    vec![Arrival::Closed { code, text: text.to_owned() }]
}
