//! What the tunnels of a gateway are built from.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use linkspan_core::hub::directory::Order;
use linkspan_core::tunnel::{Role, TunnelConfig, client_key};
use linkspan_core::{Key, Limits};

use super::door::{Door, DoorError};
use crate::tls::Tls;

/// The tunnels of a gateway.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The name and the token by which peers know this server; without them there are no peers.
    pub own: Option<Own>,
    /// The other servers.
    pub peers: Vec<Peer>,
    /// What agents must show as `Authorization: Bearer …`; `None` takes anyone who has a name.
    pub token: Option<Secret>,
    /// Whether whoever shows a peer's name with a wrong token is refused, even with the name of an agent. The originals
    /// take it for an agent.
    pub strict_peers: bool,
    /// How peers prove who they are; `None` trusts whom the system trusts.
    pub tls: Option<Tls>,
    /// Which of an agent's sessions is used.
    pub order: Order,
    /// Local ports that lead to what agents reach.
    pub forwards: Vec<Forward>,
    /// How long whoever connects to such a port waits for an agent that is not there; zero waits not at all.
    pub wait: Duration,
    /// The times of sessions.
    pub timers: Timers,
}

/// The times of sessions; the defaults are those of the originals, as [`TunnelConfig`] has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// How often an agent, or the opener of a link, pings. Default 5 s.
    pub ping: Duration,
    /// After how long without a ping or pong a session ends. Default 60 s.
    pub silence: Duration,
    /// After how long without anything a session is used only where there is no other. Default 15 s.
    pub quiet: Duration,
    /// How often an agent lists its streams. Default 60 s.
    pub sync: Duration,
    /// How long a stream may be missing from such a list before it counts as gone. Default 10 s.
    pub sync_grace: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        let TunnelConfig { ping, silence, quiet, sync, sync_grace, .. } = TunnelConfig::new(Role::Client);
        Self { ping, silence, quiet, sync, sync_grace }
    }
}

impl Timers {
    /// The settings of one end of a session with these times.
    pub(super) fn session(self, role: Role) -> TunnelConfig {
        let Self { ping, silence, quiet, sync, sync_grace } = self;
        TunnelConfig { ping, silence, quiet, sync, sync_grace, ..TunnelConfig::new(role) }
    }
}

/// Who this server is among its peers.
#[derive(Clone, Debug)]
pub struct Own {
    /// Its name.
    pub id: Key,
    /// What it shows to peers.
    pub token: Secret,
}

/// Another server.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its name.
    pub id: Key,
    /// What it must show.
    pub token: Secret,
    /// Where it listens.
    pub door: Door,
}

/// What is not shown in logs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `shown` is the secret; how long it takes does not tell how much of it is right.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        use subtle::ConstantTimeEq as _;
        bool::from(self.0.as_bytes().ct_eq(shown))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A local port that leads to what an agent reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where to listen; over UDP for a `udp` target, over TCP for every other.
    pub listen: SocketAddr,
    /// The agent.
    pub client: Key,
    /// How the agent dials: `tcp`, `udp`, `unix` …
    pub proto: String,
    /// What it dials: `host:port`, or a path.
    pub address: String,
}

/// What is wrong with a setting of the tunnels.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The name of an agent or a server.
    #[error("`{0}`: {1}")]
    Name(String, linkspan_core::tunnel::EncodeError),
    /// A peer is not what it should look like.
    #[error("`{0}` is not ID:TOKEN:URL, such as second:secret:ws://10.0.0.2:8123/connect")]
    Peer(String),
    /// The address of a server.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// A forward is not what it should look like.
    #[error("`{0}` is not LISTEN=AGENT/PROTO/TARGET, such as 127.0.0.1:5432=foo/tcp/10.0.0.7:5432")]
    Forward(String),
}

/// Reads the name of an agent or a server.
///
/// # Errors
///
/// [`ConfigError::Name`] if it cannot be announced to peers.
pub fn parse_name(name: &str) -> Result<Key, ConfigError> {
    client_key(name.as_bytes()).map_err(|error| ConfigError::Name(name.into(), error))
}

impl std::str::FromStr for Peer {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let malformed = || ConfigError::Peer(text.split_once(':').map_or(text, |(id, _)| id).into());
        let (id, rest) = text.split_once(':').ok_or_else(malformed)?;
        let (token, url) = rest.split_once(':').ok_or_else(malformed)?;
        if token.is_empty() {
            return Err(malformed());
        }
        Ok(Self { id: parse_name(id)?, token: Secret::new(token), door: url.parse()? })
    }
}

impl std::str::FromStr for Forward {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let malformed = || ConfigError::Forward(text.into());
        let (listen, target) = text.split_once('=').ok_or_else(malformed)?;
        let mut parts = target.splitn(3, '/');
        let (Some(client), Some(proto), Some(address)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed());
        };
        if proto.is_empty() || address.is_empty() {
            return Err(malformed());
        }
        Ok(Self {
            listen: listen.parse().map_err(|_| malformed())?,
            client: parse_name(client)?,
            proto: proto.into(),
            address: address.into(),
        })
    }
}

/// The bounds of tunnel sessions: those of the process, but for a send queue that has room for a window of data and for
/// what must be said beside it.
pub(super) fn session_limits(limits: &Limits) -> Limits {
    let least = limits.tunnel_window.saturating_mul(2);
    Limits {
        receive_max: limits.tunnel_receive_max,
        send_queue_bytes: limits.send_queue_bytes.max(least),
        ..limits.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let peer: Peer = "second:bbb:ws://127.0.0.1:8124/connect".parse().expect("a peer");
        assert_eq!((peer.id.as_bytes(), peer.token.as_str()), (&b"second"[..], "bbb"));
        assert_eq!(peer.door.to_string(), "ws://127.0.0.1:8124/connect");
        assert!(!format!("{peer:?}").contains("bbb"));
        let forward: Forward = "127.0.0.1:5432=foo/unix//run/x.sock".parse().expect("a forward");
        assert_eq!((forward.proto.as_str(), forward.address.as_str()), ("unix", "/run/x.sock"));
        for text in ["", "a", "a:b", "a::ws://h/", "a/b:t:ws://h/", "a:b:http://h/"] {
            assert!(text.parse::<Peer>().is_err(), "{text}");
        }
        for text in [
            "",
            "127.0.0.1:1",
            "127.0.0.1:1=foo",
            "127.0.0.1:1=foo/tcp",
            "x=foo/tcp/a:1",
            "127.0.0.1:1=/tcp/a:1",
        ] {
            assert!(text.parse::<Forward>().is_err(), "{text}");
        }
    }

    #[test]
    fn secrets() {
        let secret = Secret::new("abc");
        assert!(secret.is(b"abc"));
        assert!(!secret.is(b"abd") && !secret.is(b"ab") && !secret.is(b""));
    }
}
