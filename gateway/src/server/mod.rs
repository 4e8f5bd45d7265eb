//! A running gateway: listeners, sessions, the way to the end.

mod desk;
mod listen;
mod pomelo;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use linkspan_core::chat;
use linkspan_core::http::router::RegisterError;
use linkspan_core::pomelo::ServerConfig;
use linkspan_core::{CloseReason, GroupId, Key, LimitsError, Overflow, Push, Route, To};
use linkspan_runtime::{Drained, Host, HostConfig, Runtime, SocketOptions, Workers, stop};

use self::listen::{Listeners, serve_http, serve_sockets, serve_tcp};
use self::pomelo::Pomelo;
use crate::demo::origin;
pub use crate::edge::EdgeConfig;
use crate::http::{Pages, Reachable, Routes, WebSockets};
use crate::im::{self, ImDoor, Office, ReservedName};
use crate::proxy::{self, ProxyConfig, ProxyError};
use crate::services::{Services, ServicesError, Table};
use crate::tunnel::{self, Forwards, Tunnels};

/// What a gateway is built from.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where to listen for pomelo over TCP.
    pub pomelo_tcp: Option<SocketAddr>,
    /// Where to listen for pomelo over WebSocket, on every path.
    pub pomelo_ws: Option<SocketAddr>,
    /// Where to listen for HTTP: health, readiness, the demo page, and every feature that lives on a path.
    pub http: Option<SocketAddr>,
    /// The small chat protocol at `/ws/{id}` of the HTTP address; `None` serves none.
    pub chat: Option<chat::ServerConfig>,
    /// The IM listener; `None` serves none. Its functions are those of [`Services::im`].
    pub im: Option<im::Config>,
    /// Tunnels: `/connect` of the HTTP address, peers, and ports that lead through agents; `None` has none.
    pub tunnel: Option<tunnel::Config>,
    /// What the HTTP address passes on to others; `None` passes nothing on.
    pub proxy: Option<ProxyConfig>,
    /// Where the demo's private origin listens, to be reached through a tunnel.
    pub origin: Option<SocketAddr>,
    /// Who may come in.
    pub edge: EdgeConfig,
    /// Bounds, admission, trusted proxies, the way to stop.
    pub host: HostConfig,
    /// The dialect. Its wall clock is set by the gateway.
    pub pomelo: ServerConfig,
    /// The sockets.
    pub sockets: SocketOptions,
}

/// Where a gateway listens, with the ports it really got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Pomelo over TCP.
    pub pomelo_tcp: Option<SocketAddr>,
    /// Pomelo over WebSocket.
    pub pomelo_ws: Option<SocketAddr>,
    /// HTTP.
    pub http: Option<SocketAddr>,
    /// IM.
    pub im: Option<SocketAddr>,
    /// The demo's private origin.
    pub origin: Option<SocketAddr>,
}

impl Addresses {
    const POMELO_TCP: &str = "pomelo-tcp";
    const POMELO_WS: &str = "pomelo-ws";
    const HTTP: &str = "http";
    const IM: &str = "im";
    const ORIGIN: &str = "origin";

    /// What listens where.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let all = [
            (Self::POMELO_TCP, self.pomelo_tcp),
            (Self::POMELO_WS, self.pomelo_ws),
            (Self::HTTP, self.http),
            (Self::IM, self.im),
            (Self::ORIGIN, self.origin),
        ];
        all.into_iter().filter_map(|(name, address)| Some((name, address?)))
    }
}

/// A running gateway. Dropping it does not stop it: the executors own its tasks.
#[derive(Clone)]
pub struct Gateway<R> {
    runtime: R,
    host: Arc<Host>,
    addresses: Addresses,
    forwards: Arc<[SocketAddr]>,
    tunnels: Option<Tunnels<R>>,
}

impl<R: Runtime> Gateway<R> {
    /// Listens on all addresses, with one listener per worker, and serves whoever connects.
    ///
    /// # Errors
    ///
    /// [`StartError`]; then nothing listens.
    pub fn start(workers: &Workers<R>, config: Config, mut services: Services) -> Result<Self, StartError> {
        config.host.limits.validate()?;
        let functions = std::mem::take(&mut services.im);
        functions.check()?;
        config.im.as_ref().map_or(Ok(()), im::Config::check)?;
        let table = Arc::new(Table::new(services)?);
        let listeners = Listeners::bind(&config, workers.count())?;
        let addresses = listeners.addresses;
        let forwards = config.tunnel.as_ref().map_or(&[][..], |tunnel| &tunnel.forwards);
        let forwards = Forwards::bind(forwards, workers.count(), &config.sockets)
            .map_err(|(address, source)| StartError::Listen { name: "forward", address, source })?;
        let host = Host::new(config.host);
        let origin_unix = host.clock().origin_unix();
        let pomelo = Pomelo::new(table, ServerConfig { origin_unix, ..config.pomelo });
        let im = config.im.map(|im| Office::new(&host, im, functions));
        let runtime = workers.first();
        let tunnels = config.tunnel.map(|tunnel| Tunnels::new(runtime.clone(), &host, tunnel));
        let mut routes = Some(routes(&host, addresses, config.chat, tunnels.as_ref(), config.proxy)?);
        let mut origin = Some(origin::routes()?);
        let edge = &config.edge;
        listeners.serve(workers, &host, edge, |name| {
            let pomelo = pomelo.clone();
            Some(match name {
                Addresses::POMELO_TCP => {
                    serve_tcp(move |runtime, stream, permit| pomelo.serve_tcp(runtime, stream, permit))
                }
                Addresses::POMELO_WS => serve_sockets(WebSockets::new(move || pomelo.takeover()), edge),
                Addresses::HTTP => serve_http(routes.take()?, edge),
                Addresses::ORIGIN => serve_http(origin.take()?, edge),
                Addresses::IM => serve_sockets(ImDoor::new(Arc::clone(im.as_ref()?)), edge),
                _ => return None,
            })
        })?;
        let ports = forwards.addresses().into();
        if let Some(tunnels) = &tunnels {
            forwards.serve(workers, tunnels).map_err(|(address, source)| {
                host.closed_door().raise();
                StartError::Listen { name: "forward", address, source }
            })?;
            tunnels.start();
        }
        Ok(Self { runtime: runtime.clone(), host, addresses, forwards: ports, tunnels })
    }

    /// Where the gateway listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The local ports that lead through agents, in the order of [`tunnel::Config::forwards`].
    pub fn forwards(&self) -> &[SocketAddr] {
        &self.forwards
    }

    /// The way to what agents reach, if there are tunnels.
    pub fn tunnels(&self) -> Option<&Tunnels<R>> {
        self.tunnels.as_ref()
    }

    /// What all connections share: counters, the hub, how far the stop is.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The way to sessions for who is none.
    pub fn switchboard(&self) -> Switchboard {
        Switchboard::new(Arc::clone(&self.host))
    }

    /// Stops gracefully; [`Host::force`] shortens it.
    pub async fn stop(&self) -> Drained {
        stop(&self.runtime, &self.host, CloseReason::Stopping).await
    }
}

/// What the HTTP address answers: each feature registers its own.
fn routes<R: Runtime>(
    host: &Arc<Host>,
    addresses: Addresses,
    chat: Option<chat::ServerConfig>,
    tunnels: Option<&Tunnels<R>>,
    proxy: Option<ProxyConfig>,
) -> Result<Routes<R>, StartError> {
    let mut routes = Routes::new();
    let Addresses { pomelo_ws, im, .. } = addresses;
    Pages::new(Arc::clone(host), Reachable { pomelo_ws, im, chat: chat.is_some() }).add(&mut routes)?;
    if let Some(chat) = chat {
        crate::chat::add(&mut routes, chat)?;
    }
    if let Some(tunnels) = tunnels {
        tunnels.add(&mut routes)?;
    }
    if let Some(proxy) = proxy {
        proxy::add(&mut routes, proxy, tunnels.cloned(), host, addresses.http)?;
    }
    Ok(routes)
}

/// Reaches sessions from outside of any session: timers, other connections, an administrator.
#[derive(Clone)]
pub struct Switchboard(Arc<Host>);

impl Switchboard {
    pub(crate) fn new(host: Arc<Host>) -> Self {
        Self(host)
    }

    /// Sends a message to every member of a group.
    pub fn broadcast(&self, group: &GroupId, route: impl Into<Bytes>, body: impl Into<Bytes>) {
        self.publish(To::Group(group.clone()), Push::new(route, body, Overflow::Close));
    }

    /// Sends a message to every session bound to `uid`.
    pub fn push_to(&self, uid: &Key, route: impl Into<Bytes>, body: impl Into<Bytes>) {
        self.publish(To::Key(uid.clone()), Push::new(route, body, Overflow::Close));
    }

    /// Sends a message to a key or a group.
    pub fn publish(&self, to: To, push: Push) {
        self.0.route(None, Route::Publish { to, push });
    }

    /// Removes every session bound to `uid`.
    pub fn kick(&self, uid: &Key) {
        self.0.route(None, Route::Close { to: To::Key(uid.clone()), reason: CloseReason::Kicked });
    }
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A limit is wrong.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// The services are wrong.
    #[error(transparent)]
    Services(#[from] ServicesError),
    /// The functions for IM clients are wrong.
    #[error(transparent)]
    Functions(#[from] ReservedName),
    /// Two features want the same path.
    #[error(transparent)]
    Routes(#[from] RegisterError),
    /// What is to be proxied is wrong.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// An address cannot be used.
    #[error("cannot listen for {name} on {address}: {source}")]
    Listen {
        /// What was to listen.
        name: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}
