//! Upgrades to WebSockets; whoever asks for something else is told what is missing.

use std::sync::Arc;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::protocol::Role;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, Request, StatusCode, Version};
use linkspan_core::edge::Origins;
use linkspan_core::{Limits, Mark};
use linkspan_runtime::{Permit, Runtime, SocketTransport};

use super::{Answer, Reply, Site, Takeover, Visit, empty, not_allowed, text};

/// A site that upgrades every path to a WebSocket.
pub(crate) struct WebSockets<R>(Box<dyn Fn() -> Takeover<R> + Send + Sync>)
where
    R: Runtime;

impl<R: Runtime> WebSockets<R> {
    /// Hands every WebSocket to what `takeover` makes.
    pub(crate) fn new(takeover: impl Fn() -> Takeover<R> + Send + Sync + 'static) -> Self {
        Self(Box::new(takeover))
    }
}

impl<R: Runtime> Site<R> for WebSockets<R> {
    async fn answer(&self, request: Request<Incoming>, visit: &Visit<R>) -> Reply<R> {
        match upgrade(&request, visit) {
            Ok(answer) => Reply::Upgrade(answer, (self.0)()),
            Err(refusal) => refusal.into(),
        }
    }
}

/// The answer to an opening handshake (RFC 6455 §4.2): the 101, or why there is none. Pages of a foreign origin are
/// refused.
pub(crate) fn upgrade<R>(request: &Request<Incoming>, visit: &Visit<R>) -> Result<Answer, Answer> {
    if request.method() != Method::GET {
        return Err(not_allowed("GET"));
    }
    if !is_own_page(request.headers(), &visit.edge.origins) {
        visit.host.stats().mark(Mark::OriginRefused);
        return Err(text(StatusCode::FORBIDDEN, FOREIGN));
    }
    handshake(request.version(), request.headers())
}

/// Makes a WebSocket of the stream of an upgrade, in a task of its own, and hands it to `start`.
pub(crate) fn open_socket<R: Runtime>(
    runtime: &R,
    stream: R::Stream,
    rest: Bytes,
    permit: Permit,
    limits: Arc<Limits>,
    start: impl FnOnce(&R, SocketTransport<R::Stream>, Permit) + Send + 'static,
) {
    let own = runtime.clone();
    runtime.spawn(async move {
        let transport = SocketTransport::new(stream, Role::Server, rest.to_vec(), &limits).await;
        start(&own, transport, permit);
    });
}

const FOREIGN: &str = "Pages of this origin may not connect here. The operator can allow it: --origin URL.\n";

/// Whether the page that asks, if it is one, may connect.
fn is_own_page(headers: &HeaderMap, origins: &Origins) -> bool {
    // A text of other than visible ASCII is nobody's origin.
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    origins.allows(text(ORIGIN), text(HOST).unwrap_or_default())
}

fn handshake(version: Version, headers: &HeaderMap) -> Result<Answer, Answer> {
    if version != Version::HTTP_11 || !has_token(headers, &UPGRADE, "websocket") {
        return Err(required(
            "This address speaks WebSocket: connect with `new WebSocket(\"ws://…\")` (RFC 6455).\n",
        ));
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        let why = "The header `Connection: Upgrade` is missing; does a proxy remove it?\n";
        return Err(text(StatusCode::BAD_REQUEST, why));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(required("The header `Sec-WebSocket-Version` must be 13.\n"));
    }
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes())) else {
        let why = "The header `Sec-WebSocket-Key` must be 16 bytes in base64.\n";
        return Err(text(StatusCode::BAD_REQUEST, why));
    };
    let Ok(accept) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) else {
        return Err(text(StatusCode::INTERNAL_SERVER_ERROR, ""));
    };
    let mut answer = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(answer)
}

fn required(why: &'static str) -> Answer {
    let mut answer = text(StatusCode::UPGRADE_REQUIRED, why);
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    answer
}

/// Whether a header that lists tokens has this one.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}

/// Whether `key` is base64 of 16 bytes: 22 digits, of which the last carries four bits, and two signs of padding.
fn is_key(key: &[u8]) -> bool {
    let Some((digits, b"==")) = key.split_last_chunk::<2>().map(|(digits, end)| (digits, end.as_slice()))
    else {
        return false;
    };
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    digits.len() == 22 && digits.iter().all(digit) && matches!(digits[21], b'A' | b'Q' | b'g' | b'w')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(changes: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("connection", HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert("upgrade", HeaderValue::from_static("WebSocket"));
        headers.insert("sec-websocket-version", HeaderValue::from_static("13"));
        headers.insert("sec-websocket-key", HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        for (name, value) in changes {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_example_of_the_standard() {
        let answer = handshake(Version::HTTP_11, &headers(&[])).expect("it is complete");
        assert_eq!(answer.status(), 101);
        assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    fn refusal(version: Version, changes: &[(&'static str, &'static str)]) -> Option<u16> {
        handshake(version, &headers(changes)).err().map(|answer| answer.status().as_u16())
    }

    #[test]
    fn what_is_missing_is_told() {
        for (change, status) in [
            (("upgrade", "h2c"), 426),
            (("connection", "keep-alive"), 400),
            (("sec-websocket-version", "8"), 426),
            (("sec-websocket-key", ""), 400),
            (("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ"), 400),
            (("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZX=="), 400),
        ] {
            assert_eq!(refusal(Version::HTTP_11, &[change]), Some(status), "{change:?}");
        }
        assert_eq!(refusal(Version::HTTP_10, &[]), Some(426));
    }
}
