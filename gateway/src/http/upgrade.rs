//! The listener for WebSockets: every path upgrades, and whoever asks for something else is told what is missing.

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode, Version};

use super::{Answer, Site, not_allowed, text};

/// Upgrades every path to a WebSocket.
pub(crate) struct WebSockets;

impl Site for WebSockets {
    fn answer(&self, request: &Request<Incoming>) -> Answer {
        if request.method() != Method::GET {
            return not_allowed("GET");
        }
        upgrade(request.version(), request.headers())
    }
}

/// The answer to an opening handshake (RFC 6455 §4.2).
fn upgrade(version: Version, headers: &HeaderMap) -> Answer {
    if version != Version::HTTP_11 || !has_token(headers, &UPGRADE, "websocket") {
        return required(
            "This address speaks WebSocket: connect with `new WebSocket(\"ws://…\")` (RFC 6455).\n",
        );
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return text(
            StatusCode::BAD_REQUEST,
            "The header `Connection: Upgrade` is missing; does a proxy remove it?\n",
        );
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return required("The header `Sec-WebSocket-Version` must be 13.\n");
    }
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes())) else {
        return text(StatusCode::BAD_REQUEST, "The header `Sec-WebSocket-Key` must be 16 bytes in base64.\n");
    };
    let Ok(accept) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "");
    };
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    answer
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
        let answer = upgrade(Version::HTTP_11, &headers(&[]));
        assert_eq!(answer.status(), 101);
        assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
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
            assert_eq!(upgrade(Version::HTTP_11, &headers(&[change])).status(), status, "{change:?}");
        }
        assert_eq!(upgrade(Version::HTTP_10, &headers(&[])).status(), 426);
    }
}
