//! Where a client connects to.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// What carries the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A TCP stream: `tcp://host:port`.
    Tcp,
    /// A WebSocket: `ws://host:port/path`.
    WebSocket,
}

/// Where a client connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub(super) carrier: Carrier,
    pub(super) address: SocketAddr,
    /// As it was written, for the `Host` of a WebSocket's handshake.
    pub(super) authority: String,
    pub(super) path: String,
}

/// What is wrong with an address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Not a form that we know.
    #[error("`{0}` is not tcp://HOST:PORT or ws://HOST:PORT[/PATH]")]
    Malformed(String),
    /// The name does not resolve.
    #[error("cannot resolve `{name}`: {source}")]
    Unresolved {
        /// The name and the port.
        name: String,
        /// Why.
        source: io::Error,
    },
}

impl Target {
    /// The listener at `address`.
    pub fn new(carrier: Carrier, address: SocketAddr) -> Self {
        Self { carrier, address, authority: address.to_string(), path: "/".into() }
    }

    /// Reads `tcp://host:port` or `ws://host:port/path`. Blocks while the system resolves a name.
    ///
    /// # Errors
    ///
    /// [`TargetError`].
    pub fn resolve(url: &str) -> Result<Self, TargetError> {
        let malformed = || TargetError::Malformed(url.into());
        let (carrier, rest) = match url.split_once("://").ok_or_else(malformed)? {
            ("tcp", rest) => (Carrier::Tcp, rest.trim_end_matches('/')),
            ("ws", rest) => (Carrier::WebSocket, rest),
            _ => return Err(malformed()),
        };
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let name = match (port, carrier) {
            (Some(_), _) => authority.to_owned(),
            (None, Carrier::WebSocket) if !authority.is_empty() => format!("{authority}:80"),
            _ => return Err(malformed()),
        };
        if path.contains(|c: char| c.is_ascii_control() || c == ' ')
            || (carrier == Carrier::Tcp && path != "/")
        {
            return Err(malformed());
        }
        let unresolved = |source| TargetError::Unresolved { name: name.clone(), source };
        let address = name.to_socket_addrs().map_err(unresolved)?.next();
        let address = address.ok_or_else(|| unresolved(io::ErrorKind::NotFound.into()))?;
        Ok(Self { carrier, address, authority: authority.into(), path: path.into() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.carrier {
            Carrier::Tcp => write!(f, "tcp://{}", self.authority),
            Carrier::WebSocket => write!(f, "ws://{}{}", self.authority, self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (url, shown) in [
            ("tcp://127.0.0.1:3250", "tcp://127.0.0.1:3250"),
            ("tcp://127.0.0.1:3250/", "tcp://127.0.0.1:3250"),
            ("ws://127.0.0.1:3251", "ws://127.0.0.1:3251/"),
            ("ws://[::1]:3251/a?b=c", "ws://[::1]:3251/a?b=c"),
            ("ws://127.0.0.1", "ws://127.0.0.1/"),
        ] {
            assert_eq!(Target::resolve(url).expect(url).to_string(), shown);
        }
        for url in [
            "",
            "127.0.0.1:1",
            "http://127.0.0.1:1",
            "tcp://127.0.0.1",
            "ws://",
            "tcp://127.0.0.1:1/x",
            "ws://a b",
        ] {
            assert!(Target::resolve(url).is_err(), "{url}");
        }
    }
}
