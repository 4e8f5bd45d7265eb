//! The pomelo dialect on its listeners.

use std::sync::Arc;

use linkspan_core::pomelo::{Server, ServerConfig};
use linkspan_runtime::{Permit, Runtime, StreamTransport, Transport, mailbox, spawn};

use super::desk::Desk;
use crate::http::{Takeover, open_socket};
use crate::services::Table;
use crate::session::Session;

/// What a connection needs to become a session.
#[derive(Clone)]
pub(super) struct Pomelo {
    table: Arc<Table>,
    config: Arc<ServerConfig>,
}

impl Pomelo {
    pub(super) fn new(table: Arc<Table>, config: ServerConfig) -> Self {
        Self { table, config: Arc::new(config) }
    }

    /// Makes a session of a TCP connection.
    pub(super) fn serve_tcp<R: Runtime>(&self, runtime: &R, stream: R::Stream, permit: Permit) {
        self.open_session(runtime, StreamTransport::new(stream), permit);
    }

    /// Makes a session of an upgraded connection. It gets a task of its own: nothing of HTTP stays in memory.
    pub(super) fn takeover<R: Runtime>(&self) -> Takeover<R> {
        let own = self.clone();
        Box::new(move |runtime, stream, rest, permit| {
            let limits = Arc::clone(permit.host().limits());
            open_socket(runtime, stream, rest, permit, limits, move |runtime, transport, permit| {
                own.open_session(runtime, transport, permit);
            });
        })
    }

    /// Makes a session of a connection and runs it in a task of its own.
    fn open_session<R: Runtime>(&self, runtime: &R, transport: impl Transport + 'static, permit: Permit) {
        let limits = Arc::clone(permit.host().limits());
        let (mailbox, inbox) = mailbox(limits.mailbox);
        let session = Session::new(permit.conn(), permit.peer(), mailbox);
        let desk = Desk::new(runtime.clone(), Arc::clone(&self.table), session, limits);
        spawn(runtime, permit, transport, Server::new(Arc::clone(&self.config)), inbox, desk);
    }
}
