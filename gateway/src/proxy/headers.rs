//! The head of a message on its way through: what is refused, what ends here, what is added.

use std::net::SocketAddr;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, Entry, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use hyper::http::request;
use hyper::{Uri, Version};
use linkspan_core::http::forward::{PASSES_MAX, PSEUDONYM, has_token, is_hop_by_hop, passes, tokens};
use linkspan_core::http::upstream::Upstream;

use super::fault::Fault;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is said about a client to an upstream.
pub(super) struct Origin {
    /// Where the client is.
    pub(super) client: SocketAddr,
    /// The host it asked for.
    pub(super) host: Option<HeaderValue>,
}

/// Refuses a request that has passed here too often.
pub(super) fn check_loop(headers: &HeaderMap) -> Result<(), Fault> {
    let all = headers.get_all(VIA).iter();
    let passed: usize = all.map(|via| passes(via.to_str().unwrap_or_default())).sum();
    if passed >= PASSES_MAX { Err(Fault::Loop) } else { Ok(()) }
}

/// Makes the head of a request that of the upstream: target, `Host`, and no header that was for us.
///
/// `is_streamed` says that the request has a body whose length is not known.
pub(super) fn pass_request(
    head: &mut request::Parts,
    upstream: &Upstream,
    target: Uri,
    origin: &Origin,
    is_streamed: bool,
) {
    let headers = &mut head.headers;
    let upgrade = requested_upgrade(headers, head.version);
    let trailers =
        headers.get_all(TE).iter().any(|te| has_token(te.to_str().unwrap_or_default(), "trailers"));
    strip(headers);
    headers.remove(EXPECT);
    headers.remove(FORWARDED);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if is_streamed {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    // Whatever the client said of itself is not passed on: what is trusted of it is in its address already.
    set(headers, X_FORWARDED_FOR, HeaderValue::try_from(origin.client.ip().to_canonical().to_string()).ok());
    set(headers, X_FORWARDED_HOST, origin.host.clone());
    set(headers, X_FORWARDED_PROTO, Some(HeaderValue::from_static("http")));
    set(headers, HOST, HeaderValue::try_from(upstream.authority()).ok());
    let hop = format!("1.{} {PSEUDONYM}", u8::from(head.version != Version::HTTP_10));
    if let Ok(hop) = HeaderValue::try_from(hop) {
        headers.append(VIA, hop);
    }
    head.uri = target;
    head.version = Version::HTTP_11;
}

/// Makes the head of a reply that of our answer.
pub(super) fn pass_reply(headers: &mut HeaderMap, is_upgrade: bool) {
    let upgrade = headers.get(UPGRADE).cloned();
    // The coding says where the body ends, whatever a length beside it says (RFC 9112 §6.3); the coding itself ends here.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    strip(headers);
    if let Some(protocol) = upgrade.filter(|_| is_upgrade) {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// The protocol a client wants to switch to.
pub(super) fn requested_upgrade(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    let asked = headers
        .get_all(CONNECTION)
        .iter()
        .any(|value| has_token(value.to_str().unwrap_or_default(), "upgrade"));
    headers.get(UPGRADE).filter(|_| asked && version == Version::HTTP_11).cloned()
}

/// Removes the headers that are about one connection, and those that `Connection` names.
fn strip(headers: &mut HeaderMap) {
    let mut named = Vec::new();
    for value in headers.get_all(CONNECTION) {
        let names = tokens(value.to_str().unwrap_or_default());
        named.extend(names.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()));
    }
    // The length is the message's, whatever a sender says of it.
    for name in named.into_iter().filter(|name| *name != CONTENT_LENGTH) {
        headers.remove(name);
    }
    let hops: Vec<_> = headers.keys().filter(|name| is_hop_by_hop(name.as_str())).cloned().collect();
    for name in hops {
        headers.remove(name);
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    match (headers.entry(name), value) {
        (Entry::Occupied(mut entry), Some(value)) => {
            entry.insert(value);
        }
        (Entry::Occupied(entry), None) => {
            entry.remove_entry_mult();
        }
        (Entry::Vacant(entry), Some(value)) => {
            entry.insert(value);
        }
        (Entry::Vacant(_), None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;
    use linkspan_core::http::upstream::Scheme;

    fn head(fields: &[(&'static str, &'static str)]) -> request::Parts {
        let mut request = Request::get("/a").body(()).expect("it is one");
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request.into_parts().0
    }

    fn passed(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut head = head(fields);
        let upstream = Upstream::new(None, Scheme::Http, "up:81").expect("it is one");
        let origin = Origin { client: ([10, 0, 0, 1], 1).into(), host: head.headers.get(HOST).cloned() };
        pass_request(&mut head, &upstream, Uri::from_static("/b"), &origin, false);
        head.headers
    }

    #[test]
    fn what_is_about_one_connection_ends_here() {
        let headers = passed(&[
            ("host", "gateway"),
            ("connection", "close, X-Secret, host"),
            ("connection", "content-length"),
            ("content-length", "3"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic x"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("x-forwarded-for", "1.2.3.4"),
            ("forwarded", "for=1.2.3.4"),
            ("x-kept", "a"),
            ("x-kept", "b"),
        ]);
        let mut all: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or(""))).collect();
        all.sort_unstable();
        assert_eq!(
            all,
            [
                ("content-length", "3"),
                ("host", "up:81"),
                ("via", "1.1 linkspan"),
                ("x-forwarded-for", "10.0.0.1"),
                ("x-forwarded-host", "gateway"),
                ("x-forwarded-proto", "http"),
                ("x-kept", "a"),
                ("x-kept", "b"),
            ]
        );
    }

    #[test]
    fn upgrades_and_trailers_are_asked_for_anew() {
        let headers = passed(&[
            ("host", "g"),
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("te", "trailers, gzip"),
        ]);
        assert_eq!(
            (headers["connection"].as_bytes(), headers["upgrade"].as_bytes()),
            (&b"Upgrade"[..], &b"websocket"[..])
        );
        assert_eq!(headers["te"], "trailers");
    }

    #[test]
    fn a_length_beside_a_coding_ends_here() {
        let both: &[_] = &[("transfer-encoding", "chunked"), ("content-length", "3")];
        for (fields, length) in [(both, None), (&both[1..], Some("3"))] {
            let mut headers = head(fields).headers;
            pass_reply(&mut headers, false);
            let kept = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
            assert_eq!(kept, length, "{fields:?}");
            assert!(!headers.contains_key(TRANSFER_ENCODING), "{fields:?}");
        }
    }

    #[test]
    fn a_loop_is_seen() {
        let via = |times: usize| {
            head(&[("via", ["1.1 linkspan, 1.1 other", "1.0 linkspan"][times % 2]); 9][..times])
        };
        assert!(check_loop(&via(7).headers).is_ok());
        assert!(check_loop(&via(8).headers).is_err());
    }
}
