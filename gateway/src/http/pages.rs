//! The listener for people and probes: health, readiness, the demo page.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use linkspan_core::drain::Phase;
use linkspan_runtime::Host;

use super::{Answer, Site, not_allowed, text};

/// The demo page and what it loads: path, content type, content.
const FILES: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", include_str!("../../web/index.html")),
    ("/demo.js", "text/javascript; charset=utf-8", include_str!("../../web/demo.js")),
    ("/demo.css", "text/css; charset=utf-8", include_str!("../../web/demo.css")),
    ("/codec.js", "text/javascript; charset=utf-8", include_str!("../../web/codec.js")),
    ("/connection.js", "text/javascript; charset=utf-8", include_str!("../../web/connection.js")),
    ("/linkspan.js", "text/javascript; charset=utf-8", include_str!("../../web/linkspan.js")),
    ("/linkspan.d.ts", "text/plain; charset=utf-8", include_str!("../../web/linkspan.d.ts")),
];

/// Health, readiness, the demo page.
pub(crate) struct Pages {
    host: Arc<Host>,
    pomelo_ws: Option<SocketAddr>,
}

impl Pages {
    /// Pages that turn unready once the host stops, with a demo page that connects to `pomelo_ws`.
    pub(crate) fn new(host: Arc<Host>, pomelo_ws: Option<SocketAddr>) -> Self {
        Self { host, pomelo_ws }
    }

    fn is_draining(&self) -> bool {
        self.host.phase() != Phase::Running
    }

    fn page(&self, path: &str, host: Option<&HeaderValue>) -> Answer {
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.is_draining() => {
                json(StatusCode::SERVICE_UNAVAILABLE, r#"{"ready":false,"reasons":["draining"]}"#)
            }
            "/readyz" => json(StatusCode::OK, r#"{"ready":true,"reasons":[]}"#),
            "/config.json" => self.config(host),
            _ => match FILES.iter().find(|(name, _, _)| *name == path) {
                Some((_, kind, content)) => file(kind, content),
                None => text(StatusCode::NOT_FOUND, "There is nothing here. Try /, /healthz or /readyz.\n"),
            },
        }
    }

    /// Where the demo page finds the WebSocket: the host as the browser reached us, our port.
    fn config(&self, host: Option<&HeaderValue>) -> Answer {
        let Some(address) = self.pomelo_ws else {
            return json(StatusCode::OK, r#"{"pomelo_ws":null}"#);
        };
        let host = host.and_then(|host| host.to_str().ok()).and_then(host_name);
        let target = match host {
            Some(host) => format!("{host}:{}", address.port()),
            None => address.to_string(),
        };
        json(StatusCode::OK, format!(r#"{{"pomelo_ws":"ws://{target}/"}}"#))
    }
}

impl Site for Pages {
    fn answer(&self, request: &Request<Incoming>) -> Answer {
        let mut answer = match *request.method() {
            Method::GET | Method::HEAD => self.page(request.uri().path(), request.headers().get(HOST)),
            _ => not_allowed("GET, HEAD"),
        };
        let headers = answer.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.is_draining() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// The host without its port, if it is nothing but a name or an address.
fn host_name(host: &str) -> Option<&str> {
    let end = match host.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(end);
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    let port_ok = port.strip_prefix(':').is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    (!name.is_empty() && name.chars().all(harmless) && port_ok).then_some(name)
}

fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn file(kind: &'static str, content: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(content.as_bytes())));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'"),
    );
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_there_once() {
        for (at, (name, _, _)) in FILES.iter().enumerate() {
            assert!(FILES[..at].iter().all(|(other, _, _)| other != name), "{name}");
        }
    }

    #[test]
    fn only_harmless_hosts_are_repeated() {
        assert_eq!(host_name("localhost:8080"), Some("localhost"));
        assert_eq!(host_name("[::1]:8080"), Some("[::1]"));
        assert_eq!(host_name("example.com"), Some("example.com"));
        for odd in ["", ":80", "a\"b", "a b", "a:b:c", "<x>"] {
            assert_eq!(host_name(odd), None, "{odd}");
        }
    }
}
