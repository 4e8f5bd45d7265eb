//! The bodies of the fuzz targets of what strangers and operators write in one line: addresses, origins, greetings,
//! routes, queries, lines of a log.

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};

use linkspan_core::edge::{Network, Origins, client_of};
use linkspan_core::http::upstream::{Patience, Route, Upstream, is_passable, without_timeout};
use linkspan_core::http::{forward, path};
use linkspan_core::hub::{self, Hub};
use linkspan_core::record::{Entry, replay};
use linkspan_core::tunnel::{Hello, TunnelCommand};
use linkspan_core::{Event, Frame, Instant, chat, im, pomelo};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Lines of text; byte 0 says what they are.
///
/// # Panics
///
/// If what is read is not read again from how it is written, or a stranger gets a say that nobody gave it.
pub fn edge_and_hello(data: &[u8]) {
    let [first, rest @ ..] = data else { return };
    let hello = Hello::parse(rest);
    assert!(hello.window.is_none_or(|window| window >= Frame::COST_MIN));
    assert_eq!(Hello::parse(hello.to_string().as_bytes()), hello);
    let Ok(text) = std::str::from_utf8(rest) else { return };
    assert_eq!(Hello::parse(format!("2; x=1;{text}").as_bytes()), hello, "what is unknown is passed over");
    let lines: Vec<&str> = text.lines().collect();
    match first % 3 {
        0 => network(&lines),
        1 => forwarded(&lines),
        _ => origins(&lines),
    }
}

/// A network, and addresses that may be in it.
fn network(lines: &[&str]) {
    let [first, addresses @ ..] = lines else { return };
    let Ok(network) = first.parse::<Network>() else { return };
    let text = network.to_string();
    assert_eq!(text.parse(), Ok(network), "read again from how it is written");
    let (base, bits) = text.split_once('/').expect("written so");
    let base: IpAddr = base.parse().expect("written so");
    let bits: usize = bits.parse().expect("written so");
    // A network of IPv6 holds no IPv4 address, however it is written.
    let is_own = network.contains(base) || base.to_canonical() != base;
    assert!(is_own, "{text} has the address that it begins with");
    for address in addresses.iter().filter_map(|line| line.parse::<IpAddr>().ok()) {
        let (own, other) = (binary(base), binary(address.to_canonical()));
        assert_eq!(network.contains(address), own.len() == other.len() && own[..bits] == other[..bits]);
    }
}

/// The bits of an address, as text.
fn binary(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{:032b}", address.to_bits()),
        IpAddr::V6(address) => format!("{:0128b}", address.to_bits()),
    }
}

/// The trusted networks, the peer, and the fields that it sends.
fn forwarded(lines: &[&str]) {
    let [trusted, peer, fields @ ..] = lines else { return };
    let trusted: Vec<Network> = trusted.split(' ').filter_map(|one| one.parse().ok()).collect();
    let Ok(peer) = peer.parse::<SocketAddr>() else { return };
    let is_trusted = |address: SocketAddr| trusted.iter().any(|network| network.contains(address.ip()));
    let client = |peer, fields: &[&str]| client_of(peer, fields.iter().copied(), &trusted);
    let found = client(peer, fields);
    if !is_trusted(peer) {
        assert_eq!(found, peer, "who is not trusted speaks for nobody");
    }
    if !is_trusted(found) {
        let more = [&["127.0.0.1, 9.9.9.9"], fields].concat();
        assert_eq!(client(peer, &more), found, "what a client writes changes nothing");
    }
    // A proxy that we trust appends whom it was asked by.
    if let Some(proxy) =
        trusted.iter().find_map(|network| network.to_string().split_once('/')?.0.parse().ok())
    {
        let proxy = SocketAddr::new(proxy, 1);
        if is_trusted(proxy) {
            let last = peer.to_string();
            assert_eq!(client(proxy, &[fields, &[&last]].concat()), found, "one proxy more");
            if let Some((end, rest)) = fields.split_last() {
                let joined = format!("{end},{last}");
                assert_eq!(client(proxy, &[rest, &[&joined]].concat()), found, "in one field or in two");
            }
        }
    }
}

/// The host of the request, an origin, and a list of origins.
fn origins(lines: &[&str]) {
    let [host, origin, listed @ ..] = lines else { return };
    let (own, any) = (Origins::SameHost, Origins::Any);
    assert!(own.allows(None, host) && any.allows(Some(origin), host));
    assert_eq!(own.allows(Some(&origin.to_ascii_uppercase()), host), own.allows(Some(origin), host));
    if own.allows(Some(origin), host) {
        let (_, authority) = origin.split_once("://").expect("an origin has a scheme");
        let own_host = path::strip_port(host).trim_matches(['[', ']']).to_ascii_lowercase();
        assert!(authority.to_ascii_lowercase().trim_start_matches('[').starts_with(&own_host));
        let is_address = authority.starts_with('[') && authority.ends_with(']');
        if is_address || !authority.contains([':', '/', '[', ']']) {
            assert!(own.allows(Some(&format!("{origin}:8080")), host), "on any port");
        }
        if !host.contains([':', '[', ']']) || host.parse::<std::net::Ipv6Addr>().is_ok() {
            let host = if host.contains(':') { format!("[{host}]") } else { (*host).to_owned() };
            assert!(own.allows(Some(origin), &format!("{host}:8080")), "whatever the port of the host");
        }
    }
    let Ok(list) = Origins::listed(listed.iter().copied()) else { return };
    assert!(
        !own.allows(Some(origin), host) || list.allows(Some(origin), host),
        "its own host is always fine"
    );
    assert!(listed.iter().all(|one| *one == "*" || list.allows(Some(one), "")), "{listed:?} allows itself");
    if list != Origins::Any && list.allows(Some(origin), "") {
        let bare = |text: &str| {
            let text = text.trim_end_matches('/').to_ascii_lowercase();
            text.trim_end_matches(":80").trim_end_matches(":443").to_owned()
        };
        assert!(listed.iter().any(|one| bare(one) == bare(origin)), "{origin} is none of {listed:?}");
    }
}

/// Lines: a route, a path, a query, a list of tokens.
///
/// # Panics
///
/// If what is read is not read again from how it is written, or something passes that no target should see.
pub fn http_upstream(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let mut line = || lines.next().unwrap_or_default();
    let (route_line, path, query, list) = (line(), line(), line(), line());
    if let Ok(route) = Route::parse(route_line) {
        route_is_read_again(&route);
        assert!(is_passable(&route.base) && (route.base.is_empty() || route.base.starts_with('/')));
        let asked = route.path(path);
        assert!(!is_passable(path) || is_passable(&asked), "{path} is passed on as {asked}");
        assert!(!path.starts_with('/') || asked.starts_with('/'));
    }
    if is_passable(path) {
        assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "it fits into a request line");
    }
    let rest = without_timeout(query);
    assert_eq!(Patience::of(Some(&rest)), Patience::Usual);
    // Pairs that say nothing may go.
    let is_other = |pair: &&str| !pair.is_empty() && *pair != "timeout" && !pair.starts_with("timeout=");
    assert!(rest.split('&').filter(|pair| !pair.is_empty()).eq(query.split('&').filter(is_other)), "{rest}");
    assert!(!matches!(Patience::of(Some(query)), Patience::Whole(span) if span.is_zero()));
    headers(list);
}

/// What names an upstream leads to the same one, and fits into a request.
fn route_is_read_again(route: &Route) {
    let upstream = &route.upstream;
    for authority in [upstream.address(), upstream.authority()] {
        let again = Upstream::new(upstream.client(), upstream.scheme(), &authority);
        assert_eq!(again.as_ref(), Ok(upstream), "{authority}");
        assert!(authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte)));
    }
    assert!(!upstream.to_string().chars().any(char::is_control));
    let (scheme, address) = (upstream.scheme().name(), upstream.address());
    let target = match upstream.client() {
        Some(client) => format!("tunnel://{client}/{scheme}/{address}"),
        None => format!("{scheme}://{address}"),
    };
    let again = Route::parse(&format!("{}={target}{}", route.pattern, route.base));
    assert_eq!(again.as_ref(), Ok(route));
}

/// A list of tokens, as a name, as `Connection`, as `Via` and as a length.
fn headers(list: &str) {
    for token in forward::tokens(list) {
        assert!(!token.is_empty() && !token.contains(',') && token.trim_matches([' ', '\t']) == token);
        assert!(forward::has_token(list, &token.to_ascii_uppercase()), "whatever its case");
    }
    let joined: Vec<&str> = forward::tokens(list).collect();
    assert!(
        forward::tokens(&joined.join(",")).eq(joined.iter().copied()),
        "blanks and empty ones do not count"
    );
    let via = format!("{list}, 1.1 {}", forward::PSEUDONYM);
    assert_eq!(forward::passes(&via), forward::passes(list) + 1);
    // RFC 9110 §7.6.1 and what is older than it; `Trailer` is passed on.
    let name = list.to_ascii_lowercase();
    let ends_here = [
        "connection keep-alive proxy-connection te transfer-encoding upgrade",
        "proxy-authenticate proxy-authorization http2-settings",
    ];
    let ends_here = ends_here.iter().any(|names| names.split(' ').any(|one| one == name));
    assert_eq!(forward::is_hop_by_hop(&name), ends_here, "{name}");
    let is_length = !list.is_empty() && list.bytes().all(|byte| byte.is_ascii_digit()) && list.len() < 20;
    assert_eq!(forward::is_length(list.as_bytes()), is_length);
    assert!(!is_length || list.parse::<u64>().is_ok());
}

/// Lines of a log; byte 0 says of which machine.
///
/// # Panics
///
/// If a line that is read is not read again from how it is written, or a log breaks the hub that lives by it.
pub fn record_line(data: &[u8]) {
    let [first, text @ ..] = data else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    match first % 8 {
        0 => drop(entries::<Event<pomelo::ServerCommand>>(text)),
        1 => drop(entries::<Event<pomelo::ClientCommand>>(text)),
        2 => drop(entries::<Event<chat::ServerCommand>>(text)),
        3 => drop(entries::<Event<im::ServerCommand>>(text)),
        4 => drop(entries::<Event<im::ClientCommand>>(text)),
        5 => drop(entries::<Event<TunnelCommand>>(text)),
        6 => drop(entries::<linkspan_core::wheel::Event<u32>>(text)),
        _ => {
            let log = entries::<hub::Event<u64>>(text);
            let make = |_: Instant| Hub::<u64>::new(hub::Config::default());
            // What it says of the actions is mostly wrong, so the log is read to its first lie, and without them.
            let _ = replay(make, log.clone(), |_, _| {});
            let _ = replay(
                make,
                log.into_iter().filter(|entry| !matches!(entry, Entry::Acted { .. })),
                |_, _| {},
            );
        }
    }
}

fn entries<E: Serialize + DeserializeOwned + PartialEq + Debug>(text: &str) -> Vec<Entry<E>> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let Ok(entry) = Entry::<E>::from_line(line) else { continue };
        let written = entry.to_line().expect("our events can be written");
        assert!(!written.contains('\n'), "one line");
        let again = Entry::<E>::from_line(&written).expect("what is written can be read");
        assert_eq!(again, entry, "{written}");
        entries.push(entry);
    }
    entries
}
