//! The listeners, and what becomes of a connection that comes in.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;

use async_tungstenite::tungstenite::protocol::Role;
use linkspan_core::pomelo::{Server, ServerConfig};
use linkspan_runtime::{
    Host, Permit, Runtime, SocketTransport, StreamTransport, Transport, Workers, accept, bind, mailbox, spawn,
};

use super::desk::Desk;
use super::{Addresses, Config, StartError};
use crate::http::{Bounds, Pages, WebSockets, exchange};
use crate::services::Table;
use crate::session::Session;

/// How long a connection to the pages may live, however busy it is.
const PAGES_LIFETIME: std::time::Duration = std::time::Duration::from_secs(300);

/// Sockets that listen, one per worker and address; nothing is accepted yet.
pub(super) struct Listeners {
    pub(super) addresses: Addresses,
    pomelo_tcp: Vec<TcpListener>,
    pomelo_ws: Vec<TcpListener>,
    http: Vec<TcpListener>,
}

impl Listeners {
    pub(super) fn bind(config: &Config, count: NonZeroUsize) -> Result<Self, StartError> {
        let one = |name, address: Option<SocketAddr>| {
            let Some(address) = address else { return Ok::<_, StartError>((None, Vec::new())) };
            let error = |source| StartError::Listen { name, address, source };
            let sockets = bind(address, count, &config.sockets).map_err(error)?;
            let real = sockets.first().map(TcpListener::local_addr).transpose().map_err(error)?;
            Ok((real, sockets))
        };
        let (tcp, pomelo_tcp) = one("pomelo-tcp", config.pomelo_tcp)?;
        let (ws, pomelo_ws) = one("pomelo-ws", config.pomelo_ws)?;
        let (pages, http) = one("http", config.http)?;
        let addresses = Addresses { pomelo_tcp: tcp, pomelo_ws: ws, http: pages };
        Ok(Self { addresses, pomelo_tcp, pomelo_ws, http })
    }

    /// Accepts on all sockets.
    pub(super) fn serve<R: Runtime>(
        self,
        workers: &Workers<R>,
        host: &Arc<Host>,
        table: &Arc<Table>,
        mut pomelo: ServerConfig,
    ) -> Result<(), StartError> {
        pomelo.origin_unix = host.clock().origin_unix();
        let pomelo = Arc::new(pomelo);
        let pages = Arc::new(Pages::new(Arc::clone(host), self.addresses.pomelo_ws));
        let reception = |runtime: &R| Reception {
            runtime: runtime.clone(),
            table: Arc::clone(table),
            pomelo: Arc::clone(&pomelo),
            sockets: Arc::new(WebSockets),
            pages: Arc::clone(&pages),
        };
        let kinds: [(_, Serve<R>, _, _); 3] = [
            ("pomelo-tcp", Reception::serve_tcp, self.addresses.pomelo_tcp, self.pomelo_tcp),
            ("pomelo-ws", Reception::serve_ws, self.addresses.pomelo_ws, self.pomelo_ws),
            ("http", Reception::serve_http, self.addresses.http, self.http),
        ];
        for (name, serve, address, sockets) in kinds {
            for (runtime, socket) in workers.iter().zip(sockets) {
                let listener = runtime.listen(socket).map_err(|source| {
                    host.closed_door().raise();
                    StartError::Listen { name, address: address.unwrap_or_else(unspecified), source }
                })?;
                let (reception, host) = (reception(runtime), Arc::clone(host));
                runtime.spawn(async move {
                    let runtime = reception.runtime.clone();
                    accept(&runtime, &host, &listener, |stream, permit| serve(&reception, stream, permit))
                        .await;
                });
            }
        }
        Ok(())
    }
}

fn unspecified() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

type Serve<R> = fn(&Reception<R>, <R as Runtime>::Stream, Permit);

/// What a worker needs to make a session of a connection.
struct Reception<R> {
    runtime: R,
    table: Arc<Table>,
    pomelo: Arc<ServerConfig>,
    sockets: Arc<WebSockets>,
    pages: Arc<Pages>,
}

impl<R: Runtime> Reception<R> {
    fn serve_tcp(&self, stream: R::Stream, permit: Permit) {
        open_session(&self.runtime, &self.table, &self.pomelo, permit, StreamTransport::new(stream));
    }

    fn serve_ws(&self, stream: R::Stream, permit: Permit) {
        let (runtime, table, pomelo) =
            (self.runtime.clone(), Arc::clone(&self.table), Arc::clone(&self.pomelo));
        let sockets = Arc::clone(&self.sockets);
        let limits = Arc::clone(permit.host().limits());
        // The session gets a task of its own: this one, and all that HTTP needs, ends with the upgrade.
        self.runtime.spawn(async move {
            let head_timeout = limits.handshake_timeout;
            let bounds = Bounds { head_timeout, lifetime: head_timeout.saturating_mul(2) };
            let Some((stream, rest)) = exchange(runtime.clone(), stream, &permit, sockets, bounds).await
            else {
                return;
            };
            let transport = SocketTransport::new(stream, Role::Server, rest.to_vec(), &limits).await;
            open_session(&runtime, &table, &pomelo, permit, transport);
        });
    }

    fn serve_http(&self, stream: R::Stream, permit: Permit) {
        let (runtime, pages) = (self.runtime.clone(), Arc::clone(&self.pages));
        self.runtime.spawn(async move {
            let head_timeout = permit.host().limits().handshake_timeout;
            let bounds = Bounds { head_timeout, lifetime: PAGES_LIFETIME };
            exchange(runtime, stream, &permit, pages, bounds).await;
        });
    }
}

/// Makes a session of a connection and runs it in a task of its own.
fn open_session<R: Runtime, T: Transport + 'static>(
    runtime: &R,
    table: &Arc<Table>,
    pomelo: &Arc<ServerConfig>,
    permit: Permit,
    transport: T,
) {
    let limits = Arc::clone(permit.host().limits());
    let (mailbox, inbox) = mailbox(limits.mailbox);
    let session = Session::new(permit.conn(), permit.peer(), mailbox);
    let desk = Desk::new(runtime.clone(), Arc::clone(table), session, limits);
    spawn(runtime, permit, transport, Server::new(Arc::clone(pomelo)), inbox, desk);
}
