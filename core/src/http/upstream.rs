//! Where a proxied request goes: a host behind a client's tunnel, or one the operator named.

use alloc::borrow::{Cow, ToOwned};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::path;

/// How an upstream is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// HTTP/1.1 over the bare stream.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
}

impl Scheme {
    /// The scheme of this name; no other than `http` and `https` is proxied.
    ///
    /// # Errors
    ///
    /// [`UpstreamFault::Scheme`].
    pub fn parse(name: &str) -> Result<Self, UpstreamFault> {
        if name.eq_ignore_ascii_case("http") {
            Ok(Self::Http)
        } else if name.eq_ignore_ascii_case("https") {
            Ok(Self::Https)
        } else {
            Err(UpstreamFault::Scheme)
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where none is given.
    pub const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// What is wrong with where a request is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamFault {
    /// Neither http nor https.
    #[error("the scheme must be http or https")]
    Scheme,
    /// No host, one with user information, or one with bytes that no host has.
    #[error("the host must be a name or an address, with a port or without")]
    Host,
    /// No number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// Not the form of a route, or its target is none.
    #[error(
        "a route is PATTERN=http://HOST[:PORT][/PATH], =https://… or =tunnel://CLIENT/http/HOST[:PORT][/PATH]"
    )]
    Form,
    /// The path has bytes that no path has, or a broken escape.
    #[error("the path has a control character or a broken escape")]
    Path,
    /// The name of a tunnel's client is empty or has bytes that no name has.
    #[error("the name of the client is empty or has a control character")]
    Client,
}

/// One upstream: all connections to it are interchangeable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Upstream {
    client: Option<Box<str>>,
    scheme: Scheme,
    /// In lower case; an IPv6 address without its brackets.
    host: Box<str>,
    port: u16,
}

impl Upstream {
    /// The upstream of this scheme at `authority`, a host with a port or without; behind `client`'s tunnel if there is
    /// one.
    ///
    /// ```
    /// use linkspan_core::http::upstream::{Scheme, Upstream, UpstreamFault};
    ///
    /// let upstream = Upstream::new(Some("foo"), Scheme::Http, "[::1]:8080").expect("it is one");
    /// assert_eq!((upstream.address().as_str(), upstream.client()), ("[::1]:8080", Some("foo")));
    /// assert_eq!(Upstream::new(None, Scheme::Http, "user@host"), Err(UpstreamFault::Host));
    /// ```
    ///
    /// # Errors
    ///
    /// [`UpstreamFault`]: user information, blanks, control characters and everything else that no host has is
    /// refused, as it would have to be quoted on the way (threats of header and request-line injection).
    pub fn new(client: Option<&str>, scheme: Scheme, authority: &str) -> Result<Self, UpstreamFault> {
        if client.is_some_and(|client| client.is_empty() || client.chars().any(char::is_control)) {
            return Err(UpstreamFault::Client);
        }
        let (host, port) = split(authority)?;
        let port = match port {
            None => scheme.port(),
            Some(port) => parse_port(port).ok_or(UpstreamFault::Port)?,
        };
        Ok(Self {
            client: client.map(Box::from),
            scheme,
            host: host.to_ascii_lowercase().into_boxed_str(),
            port,
        })
    }

    /// The client behind whose tunnel it is.
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }

    /// How it is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its host: a name, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, as they are dialled.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The `Host` header of a request: without the port where it is the usual one.
    pub fn authority(&self) -> String {
        let mut authority = self.address();
        if self.port == self.scheme.port() {
            authority.truncate(authority.rfind(':').unwrap_or(authority.len()));
        }
        authority
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.authority())?;
        match &self.client {
            Some(client) => write!(f, " behind {}", client.escape_debug()),
            None => Ok(()),
        }
    }
}

/// Host and port of an authority; the host without brackets.
fn split(authority: &str) -> Result<(&str, Option<&str>), UpstreamFault> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or(UpstreamFault::Host)?;
        address.parse::<Ipv6Addr>().map_err(|_| UpstreamFault::Host)?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((address, Some(port))),
            None if rest.is_empty() => Ok((address, None)),
            None => Err(UpstreamFault::Host),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let named = !host.is_empty() && host.len() <= 253 && host.bytes().all(harmless);
    // Other spellings of addresses mean something else to every resolver: `127.1`, `0x7f.1`, `2130706433`.
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or("");
    let numeric =
        last.starts_with("0x") || last.starts_with("0X") || last.bytes().all(|b| b.is_ascii_digit());
    if !named || last.is_empty() || (numeric && host.parse::<Ipv4Addr>().is_err()) {
        return Err(UpstreamFault::Host);
    }
    Ok((host, port))
}

fn parse_port(port: &str) -> Option<u16> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|port| digits && *port != 0)
}

/// A route of the operator: requests that match `pattern` go to `upstream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The pattern for the [route table](super::router).
    pub pattern: Box<str>,
    /// Where requests go.
    pub upstream: Upstream,
    /// The escaped path that replaces the fixed beginning of the pattern; empty if paths stay as they are.
    pub base: Box<str>,
}

impl Route {
    /// Reads `PATTERN=http://HOST[:PORT][/PATH]`, `=https://…` or `=tunnel://CLIENT/http/HOST[:PORT][/PATH]`.
    ///
    /// ```
    /// use linkspan_core::http::upstream::Route;
    ///
    /// let route = Route::parse("api.example.com/v1/=tunnel://foo/http/127.0.0.1:9000")?;
    /// assert_eq!(&*route.pattern, "api.example.com/v1/");
    /// assert_eq!((route.upstream.client(), route.upstream.address().as_str()), (Some("foo"), "127.0.0.1:9000"));
    /// assert_eq!(route.path("/v1/users%2F1"), "/v1/users%2F1");
    ///
    /// let route = Route::parse("/files/=http://10.0.0.7/public")?;
    /// assert_eq!(route.path("/files/a/b"), "/public/a/b");
    /// # Ok::<(), linkspan_core::http::upstream::UpstreamFault>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UpstreamFault`]. Whether the pattern is one is for the route table to say.
    pub fn parse(text: &str) -> Result<Self, UpstreamFault> {
        let starts = ["=http://", "=https://", "=tunnel://"];
        let at = starts.iter().filter_map(|start| text.find(start)).min().ok_or(UpstreamFault::Form)?;
        let (pattern, target) = (&text[..at], &text[at + 1..]);
        let (scheme, rest) = target.split_once("://").ok_or(UpstreamFault::Form)?;
        let (client, scheme, rest) = if scheme == "tunnel" {
            let (client, rest) = rest.split_once('/').ok_or(UpstreamFault::Form)?;
            let (scheme, rest) = rest.split_once('/').ok_or(UpstreamFault::Form)?;
            (Some(client), scheme, rest)
        } else {
            (None, scheme, rest)
        };
        let (authority, base) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let upstream = Upstream::new(client, Scheme::parse(scheme)?, authority)?;
        if pattern.is_empty() || base.contains(['?', '#']) || !is_passable(base) {
            return Err(if pattern.is_empty() { UpstreamFault::Form } else { UpstreamFault::Path });
        }
        Ok(Self { pattern: pattern.into(), upstream, base: base.into() })
    }

    /// The escaped path that is asked for upstream.
    pub fn path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        if self.base.is_empty() {
            return Cow::Borrowed(path);
        }
        let fixed = self.fixed();
        let rest = path.strip_prefix(fixed).unwrap_or(path);
        let base = self.base.trim_end_matches('/');
        match (rest.is_empty(), fixed.ends_with('/')) {
            (true, false) => Cow::Owned((*self.base).to_owned()),
            _ => Cow::Owned(format!("{base}/{}", rest.trim_start_matches('/'))),
        }
    }

    /// The path of the pattern up to its first wildcard.
    fn fixed(&self) -> &str {
        let path = self.pattern.find('/').map_or("", |at| &self.pattern[at..]);
        path.split('{').next().unwrap_or("")
    }
}

/// Whether an escaped path can be passed on as it is: whole escapes, of which none is a control character.
///
/// What is passed on is what came, escapes and all, so nothing can be taken for something else on the way; a target that
/// decodes a line end or a NUL is not to be trusted with it.
pub fn is_passable(path: &str) -> bool {
    let visible = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    visible && path::decode(path).is_ok_and(|decoded| !decoded.iter().any(u8::is_ascii_control))
}

/// How long a proxied exchange may take, as the `timeout` of its query says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Nothing was said.
    Usual,
    /// There is no bound: it is 0, negative, or no number.
    Endless,
    /// The whole exchange, body and all.
    Whole(Duration),
}

impl Patience {
    /// Reads the first `timeout` of a query, in seconds, as the demo server of the original does (its default is 15 s).
    ///
    /// ```
    /// use core::time::Duration;
    /// use linkspan_core::http::upstream::Patience;
    ///
    /// assert_eq!(Patience::of(Some("q=1&timeout=2")), Patience::Whole(Duration::from_secs(2)));
    /// assert_eq!(Patience::of(Some("timeout=abc")), Patience::Endless);
    /// assert_eq!(Patience::of(Some("timeout=")), Patience::Usual);
    /// ```
    pub fn of(query: Option<&str>) -> Self {
        let mut pairs = query.unwrap_or("").split('&');
        let Some(value) = pairs.find_map(timeout_of).filter(|value| !value.is_empty()) else {
            return Self::Usual;
        };
        let digits = value.strip_prefix('+').unwrap_or(value);
        match digits.parse::<u32>() {
            Ok(seconds) if seconds > 0 && !digits.starts_with('+') => {
                Self::Whole(Duration::from_secs(seconds.into()))
            }
            _ => Self::Endless,
        }
    }
}

/// The query that is passed on: without the `timeout`, which is said to the proxy.
pub fn without_timeout(query: &str) -> Cow<'_, str> {
    if !query.split('&').any(|pair| timeout_of(pair).is_some()) {
        return Cow::Borrowed(query);
    }
    let mut rest = String::with_capacity(query.len());
    for pair in query.split('&').filter(|pair| timeout_of(pair).is_none()) {
        if !rest.is_empty() {
            rest.push('&');
        }
        rest.push_str(pair);
    }
    Cow::Owned(rest)
}

fn timeout_of(pair: &str) -> Option<&str> {
    pair.strip_prefix("timeout")
        .and_then(|rest| if rest.is_empty() { Some("") } else { rest.strip_prefix('=') })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_none() {
        for odd in [
            "",
            ":80",
            "a b",
            "a@b",
            "user:pw@b",
            "a#b",
            "a?b",
            "a/b",
            "a\\b",
            "a:0",
            "a:65536",
            "a:+1",
            "a:",
            "a:1:2",
            "[::1",
            "[::1]x",
            "[1.2.3.4]",
            "[::1%eth0]:80",
            "127.1",
            "0x7f.1",
            "2130706433",
            "127.0.0.1.",
            "a\0b",
            "ä",
            ".",
            "a%2fb",
        ] {
            assert!(Upstream::new(None, Scheme::Http, odd).is_err(), "{odd}");
        }
        for (good, address) in [
            ("127.0.0.1:8125", "127.0.0.1:8125"),
            ("LocalHost", "localhost:80"),
            ("a_b.example.com.:81", "a_b.example.com.:81"),
            ("[::ffff:7f00:1]:1", "[::ffff:7f00:1]:1"),
        ] {
            assert_eq!(Upstream::new(None, Scheme::Http, good).expect(good).address(), address);
        }
    }

    #[test]
    fn the_usual_port_is_not_said() {
        let authority = |scheme, host| Upstream::new(None, scheme, host).expect(host).authority();
        assert_eq!(authority(Scheme::Http, "a:80"), "a");
        assert_eq!(authority(Scheme::Https, "a:80"), "a:80");
        assert_eq!(authority(Scheme::Https, "[::1]:443"), "[::1]");
    }

    #[test]
    fn routes_that_are_none() {
        for odd in [
            "",
            "/a/",
            "/a/=ftp://x",
            "=http://x",
            "/a/=http://",
            "/a/=tunnel://x",
            "/a/=tunnel://x/ftp/y",
            "/a/=http://h/a?b",
            "/a/=http://h/%zz",
            "/a/=tunnel:///http/h",
        ] {
            assert!(Route::parse(odd).is_err(), "{odd}");
        }
        let route = Route::parse("GET /exact=http://h/other").expect("it is one");
        assert_eq!(route.path("/exact"), "/other");
    }

    #[test]
    fn paths_that_are_not_passed() {
        for odd in ["/%0d%0aX:", "/a%00", "/%", "/%zz", "/a b", "/\u{7f}", "/%7f", "/a#b"] {
            assert!(!is_passable(odd), "{odd}");
        }
        assert!(is_passable("/a%20b%2F%3F%23//"));
    }

    #[test]
    fn a_timeout_is_taken_out() {
        assert_eq!(without_timeout("a=1&timeout=2&b"), "a=1&b");
        assert_eq!(without_timeout("timeout"), "");
        assert_eq!(without_timeout("timeouts=2"), "timeouts=2");
    }
}
