//! A running gateway: listeners, sessions, the way to the end.

mod desk;
mod listen;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use linkspan_core::pomelo::ServerConfig;
use linkspan_core::{CloseReason, GroupId, Key, LimitsError, Overflow, Push, Route, To};
use linkspan_runtime::{Drained, Host, HostConfig, Runtime, SocketOptions, Workers, stop};

use self::listen::Listeners;
use crate::services::{Services, ServicesError, Table};

/// What a gateway is built from.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where to listen for pomelo over TCP.
    pub pomelo_tcp: Option<SocketAddr>,
    /// Where to listen for pomelo over WebSocket, on every path.
    pub pomelo_ws: Option<SocketAddr>,
    /// Where to listen for HTTP: health, readiness, the demo page.
    pub http: Option<SocketAddr>,
    /// Bounds, admission, the way to stop.
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
}

impl Addresses {
    /// What listens where.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let all = [("pomelo-tcp", self.pomelo_tcp), ("pomelo-ws", self.pomelo_ws), ("http", self.http)];
        all.into_iter().filter_map(|(name, address)| Some((name, address?)))
    }
}

/// A running gateway. Dropping it does not stop it: the executors own its tasks.
#[derive(Clone)]
pub struct Gateway<R> {
    runtime: R,
    host: Arc<Host>,
    addresses: Addresses,
}

impl<R: Runtime> Gateway<R> {
    /// Listens on all addresses, with one listener per worker, and serves whoever connects.
    ///
    /// # Errors
    ///
    /// [`StartError`]; then nothing listens.
    pub fn start(workers: &Workers<R>, config: Config, services: Services) -> Result<Self, StartError> {
        config.host.limits.validate()?;
        let table = Arc::new(Table::new(services)?);
        let listeners = Listeners::bind(&config, workers.count())?;
        let addresses = listeners.addresses;
        let host = Host::new(config.host);
        listeners.serve(workers, &host, &table, config.pomelo)?;
        Ok(Self { runtime: workers.first().clone(), host, addresses })
    }

    /// Where the gateway listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What all connections share: counters, the hub, how far the stop is.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The way to sessions for who is none.
    pub fn switchboard(&self) -> Switchboard {
        Switchboard(Arc::clone(&self.host))
    }

    /// Stops gracefully; [`Host::force`] shortens it.
    pub async fn stop(&self) -> Drained {
        stop(&self.runtime, &self.host, CloseReason::Stopping).await
    }
}

/// Reaches sessions from outside of any session: timers, other connections, an administrator.
#[derive(Clone)]
pub struct Switchboard(Arc<Host>);

impl Switchboard {
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
