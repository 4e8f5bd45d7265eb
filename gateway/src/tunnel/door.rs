//! Where a server waits for agents and peers.

use std::fmt;
use std::str::FromStr;

/// The address of a server: `ws://host[:port]/path`, or `wss://…`. A path that is not given is `/connect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    pub(super) is_secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
}

/// What is wrong with the address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not ws://HOST[:PORT][/PATH] or wss://HOST[:PORT][/PATH]")]
pub struct DoorError(String);

impl FromStr for Door {
    type Err = DoorError;

    fn from_str(url: &str) -> Result<Self, DoorError> {
        let malformed = || DoorError(url.into());
        let (is_secure, rest) = match url.split_once("://").ok_or_else(malformed)? {
            ("ws", rest) => (false, rest),
            ("wss", rest) => (true, rest),
            _ => return Err(malformed()),
        };
        let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
        let path = match path {
            "" => "/connect".into(),
            path if path.starts_with('/') => path.into(),
            query => format!("/connect{query}"),
        };
        // The colons of an IPv6 address stand in brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| malformed())?),
            _ => (authority, if is_secure { 443 } else { 80 }),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '@' | '#' | '/' | '\\');
        if host.is_empty()
            || port == 0
            || host.contains(is_odd)
            || path.contains(|c: char| c.is_control() || c == ' ' || c == '#')
        {
            return Err(malformed());
        }
        Ok(Self { is_secure, host: host.into(), port, path })
    }
}

impl Door {
    /// As it stands in the `Host` of a request.
    pub(super) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (url, shown) in [
            ("ws://127.0.0.1:8123/connect", "ws://127.0.0.1:8123/connect"),
            ("ws://h", "ws://h:80/connect"),
            ("wss://h/a?b=c", "wss://h:443/a?b=c"),
            ("wss://h:8443?b", "wss://h:8443/connect?b"),
            ("ws://[::1]:8123/", "ws://[::1]:8123/"),
            ("ws://[::1]", "ws://[::1]:80/connect"),
        ] {
            assert_eq!(url.parse::<Door>().expect(url).to_string(), shown);
        }
        for url in [
            "",
            "h:1",
            "http://h",
            "ws://",
            "ws://:1",
            "ws://h:0",
            "ws://h:x",
            "ws://u@h",
            "ws://h/a b",
            "ws://h h/",
        ] {
            assert!(url.parse::<Door>().is_err(), "{url}");
        }
    }
}
