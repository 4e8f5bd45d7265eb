//! Whom a connection speaks for, when proxies stand in front of the gateway.

use core::net::{IpAddr, SocketAddr};

use super::Network;

/// Where a client really is: the right-most address of the `X-Forwarded-For` headers that is no proxy of ours.
///
/// `peer` is where the connection comes from, `fields` are the values of the headers, first to last. Each proxy appends
/// whom it was asked by, so only what was appended by a trusted one counts: the list is read from its end while the
/// addresses are trusted, and what stands before the first that is not was written by who knows whom. If `peer` is not
/// trusted the headers say nothing; what is no address ends the list.
///
/// ```
/// use linkspan_core::edge::client_of;
///
/// let trusted = ["10.0.0.0/8".parse()?];
/// let client = |peer: &str, field| client_of(peer.parse().unwrap(), [field], &trusted).ip().to_string();
/// assert_eq!(client("10.0.0.1:80", "1.2.3.4, 5.6.7.8, 10.0.0.2"), "5.6.7.8");
/// assert_eq!(client("9.9.9.9:80", "1.2.3.4"), "9.9.9.9");
/// # Ok::<(), linkspan_core::edge::InvalidNetwork>(())
/// ```
pub fn client_of<'a>(
    peer: SocketAddr,
    fields: impl IntoIterator<Item = &'a str, IntoIter: DoubleEndedIterator>,
    trusted: &[Network],
) -> SocketAddr {
    let is_trusted = |address: SocketAddr| trusted.iter().any(|network| network.contains(address.ip()));
    let mut client = peer;
    for text in fields.into_iter().rev().flat_map(|field| field.rsplit(',')) {
        if !is_trusted(client) {
            break;
        }
        let Some(address) = address(text.trim()) else { break };
        client = address;
    }
    client
}

/// An address as proxies write it: alone, with a port, and in brackets; without a port it is 0.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let alone = bare.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 0));
    alone.or_else(|| text.parse().ok())
}
