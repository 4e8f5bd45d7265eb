//! Reverse tunnels: agents connect from private networks, and what they reach is dialled through them.
//!
//! [`Tunnels::dial`] opens a [`TunnelStream`] to something that an agent reaches; it is a byte stream like any other.

mod dialing;
mod line;
mod session;
mod stream;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::Key;
use linkspan_core::tunnel::DialError;
use linkspan_runtime::Runtime;

use self::session::Session;
pub use self::stream::{StreamError, TunnelStream};

/// The way to everything that agents reach. Clones are the same.
pub struct Tunnels<R> {
    runtime: R,
    sessions: Arc<Mutex<Vec<(Key, Arc<Session>)>>>,
}

impl<R: Clone> Clone for Tunnels<R> {
    fn clone(&self) -> Self {
        Self { runtime: self.runtime.clone(), sessions: Arc::clone(&self.sessions) }
    }
}

impl<R: Runtime> Tunnels<R> {
    /// Without any session.
    pub fn new(runtime: R) -> Self {
        Self { runtime, sessions: Arc::default() }
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
        let _ = (&self.runtime, wait);
        let session = {
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.iter().find(|(key, _)| key.as_bytes() == client).map(|(_, session)| Arc::clone(session))
        };
        let none = || DialFailure::NoSession(Bytes::copy_from_slice(client));
        let session = session.ok_or_else(none)?;
        session
            .dial(Bytes::copy_from_slice(proto.as_bytes()), Bytes::copy_from_slice(address.as_bytes()))
            .await
    }
}

/// Why there is no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialFailure {
    /// Neither here nor at a peer is a session of the client, named as it was asked for.
    #[error("failed to find Session for client {}", .0.escape_ascii())]
    NoSession(Bytes),
    /// As many streams are open, or wait, as may.
    #[error("too many streams")]
    TooMany,
    /// The wire cannot say what was asked for.
    #[error("{0}")]
    Unsayable(linkspan_core::tunnel::EncodeError),
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
