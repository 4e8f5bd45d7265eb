//! One line of what is allowed.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::str::FromStr;

use super::destination::{Transport, parse_path, parse_port};
use super::host::Host;
use super::network::Network;

/// One thing that may be dialled.
///
/// `tcp/HOST:PORTS` or `udp/HOST:PORTS`, where `HOST` is an address (IPv6 in brackets), a network (`10.0.0.0/8`,
/// `[fd00::]/8`), a name, all names below a domain (`*.internal`) or everything (`*`), and `PORTS` is `*` or a list of
/// ports and spans (`80,443,8000-8999`); or `unix/PATH`, where a `*` at the end stands for one last step of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(super) scope: Scope,
}

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Host { transport: Transport, host: HostPattern, ports: Vec<RangeInclusive<u16>> },
    Unix(PathPattern),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostPattern {
    Any,
    Network(Network),
    Name(String),
    /// The names below a domain, which begins with its dot.
    Below(String),
}

/// A path, or the folder in which every socket is allowed, with its last slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PathPattern {
    One(String),
    In(String),
}

impl PathPattern {
    pub(super) fn covers(&self, path: &str) -> bool {
        match self {
            Self::One(one) => one == path,
            Self::In(folder) => path.strip_prefix(folder.as_str()).is_some_and(|last| !last.contains('/')),
        }
    }
}

/// Why a line is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{rule}`: {fix}")]
pub struct RuleError {
    /// The line.
    pub rule: String,
    /// What to write instead.
    pub fix: &'static str,
}

impl Rule {
    /// TCP to this machine.
    pub(super) fn loopback() -> [Self; 2] {
        Network::LOOPBACK.map(|network| {
            let host = HostPattern::Network(network);
            Self { scope: Scope::Host { transport: Transport::Tcp, host, ports: all_ports() } }
        })
    }

    pub(super) fn covers(&self, by: Transport, port: u16) -> bool {
        match &self.scope {
            Scope::Host { transport, ports, .. } => {
                *transport == by && ports.iter().any(|span| span.contains(&port))
            }
            Scope::Unix(_) => false,
        }
    }

    fn parse(line: &str) -> Result<Self, &'static str> {
        const FORM: &str = "must be tcp/HOST:PORTS, udp/HOST:PORTS or unix/PATH";
        let (proto, rest) = line.split_once('/').ok_or(FORM)?;
        let transport = match proto {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            "unix" => return parse_pattern(rest).map(|pattern| Self { scope: Scope::Unix(pattern) }),
            _ => return Err(FORM),
        };
        let (host, ports) = rest.rsplit_once(':').ok_or(FORM)?;
        let ports = parse_ports(ports)?;
        Ok(Self { scope: Scope::Host { transport, host: parse_host(host)?, ports } })
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(line: &str) -> Result<Self, RuleError> {
        Self::parse(line).map_err(|fix| RuleError { rule: line.to_owned(), fix })
    }
}

fn all_ports() -> Vec<RangeInclusive<u16>> {
    Vec::from([1..=u16::MAX])
}

fn parse_ports(text: &str) -> Result<Vec<RangeInclusive<u16>>, &'static str> {
    if text == "*" {
        return Ok(all_ports());
    }
    let parse = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let span = parse_port(first)?..=parse_port(last)?;
        (!span.is_empty()).then_some(span)
    };
    text.split(',').map(parse).collect::<Option<_>>().ok_or("PORTS must be * or a list like 80,443,8000-8999")
}

fn parse_host(text: &str) -> Result<HostPattern, &'static str> {
    const HOST: &str =
        "HOST must be an address, a network like 10.0.0.0/8 or [fd00::]/8, a name, *.domain or *";
    if text == "*" {
        return Ok(HostPattern::Any);
    }
    if let Some(domain) = text.strip_prefix('*') {
        let name = domain.strip_prefix('.').and_then(Host::parse).ok_or(HOST)?;
        let Host::Name(name) = name else { return Err(HOST) };
        return Ok(HostPattern::Below(alloc::format!(".{name}")));
    }
    if let Some((address, prefix)) = text.split_once('/') {
        let prefix = prefix.parse().ok().filter(|_| prefix.bytes().all(|byte| byte.is_ascii_digit()));
        let (Some(Host::Address(address)), Some(prefix)) = (Host::parse(address), prefix) else {
            return Err(HOST);
        };
        let network = Network::new(address, prefix);
        return network.map(HostPattern::Network).ok_or("a network must have no bits set behind its prefix");
    }
    match Host::parse(text).ok_or(HOST)? {
        Host::Address(address) => Ok(HostPattern::Network(Network::one(address))),
        Host::Name(name) => Ok(HostPattern::Name(name)),
    }
}

fn parse_pattern(text: &str) -> Result<PathPattern, &'static str> {
    const PATH: &str = "PATH must be absolute, without .. and with * only as its last step";
    if let Some(folder) = text.strip_suffix("/*") {
        let folder = if folder.is_empty() { Ok("") } else { parse_path(folder.as_bytes()) };
        let folder = folder.map_err(|_| PATH)?;
        return if folder.contains('*') {
            Err(PATH)
        } else {
            Ok(PathPattern::In(alloc::format!("{folder}/")))
        };
    }
    let path = parse_path(text.as_bytes()).map_err(|_| PATH)?;
    if path.contains('*') { Err(PATH) } else { Ok(PathPattern::One(path.to_owned())) }
}
