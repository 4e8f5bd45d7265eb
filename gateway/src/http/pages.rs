//! The listener for people and probes: health, readiness, counters, the demo page.

use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderValue};
use linkspan_core::drain::Phase;
use linkspan_core::http::router::RegisterError;
use linkspan_runtime::{Host, Runtime};

use super::{Answer, Routes, json, text, typed};

/// The demo page and what it loads: path, content type, content.
const FILES: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", include_str!("../../web/index.html")),
    ("/demo.js", "text/javascript; charset=utf-8", include_str!("../../web/demo.js")),
    ("/tabs.js", "text/javascript; charset=utf-8", include_str!("../../web/tabs.js")),
    ("/direct.js", "text/javascript; charset=utf-8", include_str!("../../web/direct.js")),
    ("/demo.css", "text/css; charset=utf-8", include_str!("../../web/demo.css")),
    ("/codec.js", "text/javascript; charset=utf-8", include_str!("../../web/codec.js")),
    ("/connection.js", "text/javascript; charset=utf-8", include_str!("../../web/connection.js")),
    ("/im.html", "text/html; charset=utf-8", include_str!("../../web/im.html")),
    ("/im.js", "text/javascript; charset=utf-8", include_str!("../../web/im.js")),
    ("/linkspan.js", "text/javascript; charset=utf-8", include_str!("../../web/linkspan.js")),
    ("/linkspan.d.ts", "text/plain; charset=utf-8", include_str!("../../web/linkspan.d.ts")),
];

/// What the demo page can reach.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reachable {
    /// Where the pomelo WebSocket listens.
    pub(crate) pomelo_ws: Option<SocketAddr>,
    /// Where the IM listener is.
    pub(crate) im: Option<SocketAddr>,
    /// Whether chat is served beside the page.
    pub(crate) chat: bool,
}

/// Health, readiness, the demo page.
pub(crate) struct Pages {
    host: Arc<Host>,
    reachable: Reachable,
}

impl Pages {
    /// Pages that turn unready once the host stops, with a demo page for what is `reachable`.
    pub(crate) fn new(host: Arc<Host>, reachable: Reachable) -> Self {
        Self { host, reachable }
    }

    /// Registers all of them.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] if another route has one of their paths.
    pub(crate) fn add<R: Runtime>(self, routes: &mut Routes<R>) -> Result<(), RegisterError> {
        for (path, kind, content) in FILES {
            // A slash at the end would stand for everything below it.
            let pattern = if *path == "/" { "GET /{$}".into() } else { format!("GET {path}") };
            routes.add(&pattern, |_| ready(file(kind, content).into()))?;
        }
        routes.add("GET /healthz", |_| ready(text(StatusCode::OK, "ok\n").into()))?;
        let pages = Arc::new(self);
        let own = Arc::clone(&pages);
        routes.add("GET /readyz", move |_| ready(own.readiness().into()))?;
        let host = Arc::clone(&pages.host);
        routes.add("GET /metrics", move |asked| ready(super::metrics::answer(&host, &asked)))?;
        routes.add("GET /config.json", move |asked| {
            ready(pages.config(asked.request.headers().get(HOST)).into())
        })
    }

    fn readiness(&self) -> Answer {
        if self.host.phase() == Phase::Running {
            json(StatusCode::OK, r#"{"ready":true,"reasons":[]}"#)
        } else {
            json(StatusCode::SERVICE_UNAVAILABLE, r#"{"ready":false,"reasons":["draining"]}"#)
        }
    }

    /// Where the demo page finds the listeners: the host as the browser reached us, their ports.
    fn config(&self, host: Option<&HeaderValue>) -> Answer {
        let host = host.and_then(|host| host.to_str().ok()).and_then(host_name);
        let url = |address: SocketAddr| match host {
            Some(host) => format!("ws://{host}:{}/", address.port()),
            None => format!("ws://{address}/"),
        };
        let Reachable { pomelo_ws, im, chat } = self.reachable;
        let config = serde_json::json!({"pomelo_ws": pomelo_ws.map(url), "im": im.map(url), "chat": chat});
        json(StatusCode::OK, config.to_string())
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

fn file(kind: &'static str, content: &'static str) -> Answer {
    let mut answer = typed(StatusCode::OK, kind, Bytes::from_static(content.as_bytes()));
    let headers = answer.headers_mut();
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
