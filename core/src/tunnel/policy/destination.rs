//! What is to be dialled, in one form.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str;

use super::host::Host;

/// The longest path of a socket in the file system, in bytes, on the systems that allow least but one.
const PATH_MAX: usize = 107;

/// How bytes get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams, to one address.
    Udp,
}

/// A version of the Internet protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    pub(super) const fn has(self, address: IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

/// What is to be dialled.
///
/// Written as `proto/address` in its one form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// An address and a port.
    Socket {
        /// How.
        transport: Transport,
        /// Where; never an IPv4 address in an IPv6 form, and never port 0.
        address: SocketAddr,
    },
    /// A name and a port.
    Name {
        /// How.
        transport: Transport,
        /// The only family that is wanted, if one is.
        family: Option<Family>,
        /// The name, in lower case, without a dot at its end.
        host: String,
        /// The port; never 0.
        port: u16,
    },
    /// A stream socket in the file system.
    Unix {
        /// Its path, from the root, without steps back.
        path: String,
    },
}

/// Why something cannot be dialled, whatever is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DestinationError {
    /// The protocol is none of `tcp`, `tcp4`, `tcp6`, `udp`, `udp4`, `udp6` and `unix`.
    #[error("unknown network")]
    Protocol,
    /// The address is not `host:port` with one colon outside brackets, or the port is not from 1 to 65535.
    #[error("the address must be host:port with a port from 1 to 65535")]
    Port,
    /// The host is neither an address nor a name.
    #[error("the host is neither an address nor a name")]
    Host,
    /// An address of the other family than the protocol asks for.
    #[error("no suitable address")]
    Family,
    /// The path does not begin with `/`, or has `..`, control bytes or too many bytes.
    #[error("the path must be absolute, plain, and at most 107 bytes long")]
    Path,
}

impl Destination {
    /// Reads what a peer asks for, as both are on the wire.
    ///
    /// # Errors
    ///
    /// [`DestinationError`] where two readers could understand two things, or nothing at all.
    pub fn parse(proto: &[u8], address: &[u8]) -> Result<Self, DestinationError> {
        let (transport, family) = match proto {
            b"tcp" => (Transport::Tcp, None),
            b"tcp4" => (Transport::Tcp, Some(Family::V4)),
            b"tcp6" => (Transport::Tcp, Some(Family::V6)),
            b"udp" => (Transport::Udp, None),
            b"udp4" => (Transport::Udp, Some(Family::V4)),
            b"udp6" => (Transport::Udp, Some(Family::V6)),
            b"unix" => return parse_path(address).map(|path| Self::Unix { path: path.to_owned() }),
            _ => return Err(DestinationError::Protocol),
        };
        let text = str::from_utf8(address).map_err(|_| DestinationError::Host)?;
        let (host, port) = text.rsplit_once(':').ok_or(DestinationError::Port)?;
        let port = parse_port(port).ok_or(DestinationError::Port)?;
        if host.contains(':') && !host.starts_with('[') {
            return Err(DestinationError::Port);
        }
        match Host::parse(host).ok_or(DestinationError::Host)? {
            Host::Address(ip) if family.is_some_and(|family| !family.has(ip)) => {
                Err(DestinationError::Family)
            }
            Host::Address(ip) => Ok(Self::Socket { transport, address: SocketAddr::new(ip, port) }),
            Host::Name(host) => Ok(Self::Name { transport, family, host, port }),
        }
    }
}

/// A port in decimal digits; never 0.
pub(super) fn parse_port(text: &str) -> Option<u16> {
    let is_plain = text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| *port > 0 && is_plain)
}

/// A path that means one socket.
pub(super) fn parse_path(path: &[u8]) -> Result<&str, DestinationError> {
    let text = str::from_utf8(path).map_err(|_| DestinationError::Path)?;
    let is_plain =
        |step: &str| !matches!(step, "" | "." | "..") && !step.bytes().any(|byte| byte.is_ascii_control());
    let steps = text.strip_prefix('/').ok_or(DestinationError::Path)?;
    if text.len() <= PATH_MAX && steps.split('/').all(is_plain) {
        Ok(text)
    } else {
        Err(DestinationError::Path)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { transport, address } => write!(f, "{transport}/{address}"),
            Self::Name { transport, family, host, port } => {
                let family = match family {
                    Some(Family::V4) => "4",
                    Some(Family::V6) => "6",
                    None => "",
                };
                write!(f, "{transport}{family}/{host}:{port}")
            }
            Self::Unix { path } => write!(f, "unix/{path}"),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}
