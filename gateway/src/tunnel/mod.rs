//! Reverse tunnels: agents connect from private networks, and what they reach is dialled through them.
//!
//! [`Tunnels::dial`] opens a [`TunnelStream`] to something that an agent reaches; it is a byte stream like any other.
//! [`Agent`] is the other end.

mod agent;
mod carrier;
mod config;
mod connect;
mod datagrams;
mod dialer;
mod door;
mod forward;
mod keep;
mod line;
mod peers;
mod pipe;
mod registry;
mod senders;
mod session;
mod status;
mod stream;
mod targets;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use linkspan_core::http::router::RegisterError;
use linkspan_core::hub::directory::{self, Scope, SeekError};
use linkspan_core::tunnel::{DialError, EncodeError, forward_proto};
use linkspan_core::{CloseReason, Key};
use linkspan_runtime::{Host, Runtime};

pub use self::agent::Agent;
pub use self::config::{Config, ConfigError, Forward, Own, Peer, Secret, Timers, parse_name};
pub use self::door::{Door, DoorError};
pub(crate) use self::forward::Forwards;
use self::registry::Registry;
pub use self::stream::{StreamError, TunnelStream};
use crate::http::Routes;

/// How often a session that ends just when it is dialled through is replaced by another.
const TRIES: usize = 3;

/// The way to everything that agents reach. Clones are the same.
pub struct Tunnels<R> {
    runtime: R,
    registry: Arc<Registry>,
    config: Arc<Config>,
}

impl<R: Clone> Clone for Tunnels<R> {
    fn clone(&self) -> Self {
        let (registry, config) = (Arc::clone(&self.registry), Arc::clone(&self.config));
        Self { runtime: self.runtime.clone(), registry, config }
    }
}

impl<R: Runtime> Tunnels<R> {
    /// The tunnels of the process of `host`, which nobody has entered yet.
    pub(crate) fn new(runtime: R, host: &Arc<Host>, config: Config) -> Self {
        let directory = directory::Config {
            own: config.own.as_ref().map(|own| own.id.clone()),
            peers: config.peers.iter().map(|peer| peer.id.clone()).collect(),
            order: config.order,
            limits: Arc::clone(host.limits()),
        };
        let registry = Arc::new(Registry::new(Arc::clone(host), directory));
        Self { runtime, registry, config: Arc::new(config) }
    }

    /// Registers what agents, peers and people ask for.
    pub(crate) fn add(&self, routes: &mut Routes<R>) -> Result<(), RegisterError> {
        connect::add(routes, self, Arc::clone(&self.config))?;
        status::add(routes, self)
    }

    /// Opens the links to peers, and sees to it that all sessions end when the process stops.
    pub(crate) fn start(&self) {
        peers::open_links(self, &self.config);
        let (runtime, registry) = (self.runtime.clone(), Arc::clone(&self.registry));
        self.runtime.spawn(async move {
            let host = registry.host();
            host.closed_door().raised().await;
            // Each is told in its turn; those that still have streams by then have had time for them.
            runtime.sleep_until(Instant::now() + host.limits().close_grace).await;
            registry.end_all(CloseReason::Stopping);
        });
    }

    /// Whether an agent of this name is connected here.
    pub fn has_client(&self, client: &[u8]) -> bool {
        self.registry.clients().iter().any(|(key, ..)| key.as_bytes() == client)
    }

    /// Opens a stream to what the agent `client` reaches as `proto` (`tcp`, `udp`, `unix`) and `address` (`host:port`,
    /// or a path), here or through a peer. If there is no such agent, it may come within `wait`.
    ///
    /// Dropping the future gives up.
    ///
    /// # Errors
    ///
    /// [`DialFailure`]. That the agent cannot reach the address shows only when the stream is read.
    pub async fn dial(
        &self,
        client: &[u8],
        proto: &str,
        address: &str,
        wait: Option<Duration>,
    ) -> Result<TunnelStream, DialFailure> {
        let key = Key::new(client).map_err(|_| DialFailure::NoSession(Bytes::copy_from_slice(client)))?;
        let [proto, address] = [proto, address].map(|text| Bytes::copy_from_slice(text.as_bytes()));
        self.dial_in(Scope::Anywhere, key, proto, address, wait).await
    }

    async fn dial_in(
        &self,
        scope: Scope,
        client: Key,
        proto: Bytes,
        address: Bytes,
        wait: Option<Duration>,
    ) -> Result<TunnelStream, DialFailure> {
        let mut failure = DialFailure::SessionEnded;
        for _ in 0..TRIES {
            let found = self.registry.seek(&self.runtime, client.clone(), scope, wait).await;
            let (session, is_peer) = found?;
            let proto = if is_peer { forward_proto(&client, &proto) } else { proto.clone() };
            match session.dial(proto, address.clone()).await {
                Err(DialFailure::SessionEnded) => failure = DialFailure::SessionEnded,
                outcome => return outcome,
            }
        }
        Err(failure)
    }

    fn runtime(&self) -> &R {
        &self.runtime
    }

    fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }
}

/// Why there is no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialFailure {
    /// Neither here nor at a peer is a session of the client, named as it was asked for.
    #[error("failed to find Session for client {}", .0.escape_ascii())]
    NoSession(Bytes),
    /// As many requests as may wait for clients.
    #[error("too many requests wait for clients")]
    TooManyWait,
    /// As many streams are open, or wait, as may.
    #[error("too many streams")]
    TooMany,
    /// The wire cannot say what was asked for.
    #[error("{0}")]
    Unsayable(EncodeError),
    /// The session ended before the stream was open.
    #[error("tunnel disconnect")]
    SessionEnded,
}

impl From<DialError> for DialFailure {
    fn from(error: DialError) -> Self {
        match error {
            DialError::TooMany => Self::TooMany,
            DialError::Unsayable(error) => Self::Unsayable(error),
            _ => Self::SessionEnded,
        }
    }
}

impl From<SeekError> for DialFailure {
    fn from(error: SeekError) -> Self {
        match error {
            SeekError::Unknown(key) => Self::NoSession(Bytes::copy_from_slice(key.as_bytes())),
            _ => Self::TooManyWait,
        }
    }
}
