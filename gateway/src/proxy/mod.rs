//! The reverse proxy: requests go to hosts behind tunnels, or to upstreams the operator named, and their replies come
//! back.
//!
//! Both directions stream: nothing is read that the other side does not take, nothing is kept back, and whoever leaves
//! ends the exchange of the other. Connections to upstreams are pooled by [`linkspan_core::http::pool`]; what of a
//! message is passed on is decided by [`linkspan_core::http::forward`] and [`linkspan_core::http::upstream`].

mod body;
mod compat;
mod dial;
mod exchange;
mod fault;
mod gzip;
mod headers;
mod pool;
mod pulse;
mod upgrade;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::future::or;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode, Uri, Version};
use linkspan_core::http::pool::Config as PoolConfig;
use linkspan_core::http::router::RegisterError;
use linkspan_core::http::upstream::{
    Patience, Route, Scheme, Upstream, UpstreamFault, is_passable, without_timeout,
};
use linkspan_runtime::{Host, Runtime};

use self::body::Passing;
use self::dial::Dialer;
use self::exchange::exchange;
use self::fault::Fault;
use self::headers::{Origin, check_loop, pass_reply, pass_request, requested_upgrade};
use self::pool::{Destination, Pool};
use self::pulse::{Pulse, Sending};
use crate::http::{Asked, Reply, Routes, Visit, full, text};
use crate::tls::{Tls, TrustError};
use crate::tunnel::Tunnels;

/// What is proxied, and within which bounds.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Whether `/client/{id}/{scheme}/{host}/{path…}` leads to the hosts behind every agent.
    pub clients: bool,
    /// The operator's own routes.
    pub routes: Vec<Route>,
    /// Whether `/client/…` answers exactly as the demo server of the original.
    pub compat: bool,
    /// Whether `/client/{id}/healthz` says 503 while the client is not there. Default no, as with the Go gateway that this
    /// replaces.
    pub strict_health: bool,
    /// The bounds of the upstream connections. Default: those of the core, but 256 of one upstream, all of which it may
    /// keep: more requests at a time than it keeps would dial for the rest of them again and again.
    pub pool: PoolConfig,
    /// How long connecting to an upstream may take, TLS included. Default 30 s.
    pub dial_timeout: Duration,
    /// How long an upstream behind an agent may take to answer, unless `timeout` in the query says otherwise. Default
    /// 15 s, from the last of the request that was passed on.
    pub client_timeout: Duration,
    /// The same for the operator's routes. Default 60 s.
    pub route_timeout: Duration,
    /// How long a client that is not connected is waited for. Default: not at all.
    pub wait: Option<Duration>,
    /// The PEM file of the authorities that upstreams with TLS are judged by. Default: the system's.
    pub authorities: Option<PathBuf>,
    /// Whether upstreams with TLS need not prove who they are. Default no.
    pub unverified: bool,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            clients: true,
            routes: Vec::new(),
            compat: false,
            strict_health: false,
            pool: PoolConfig {
                per_key: Some(256),
                idle_per_key: 256,
                idle_max: Some(1_024),
                ..PoolConfig::default()
            },
            dial_timeout: Duration::from_secs(30),
            client_timeout: Duration::from_secs(15),
            route_timeout: Duration::from_secs(60),
            wait: None,
            authorities: None,
            unverified: false,
        }
    }
}

/// Why there is no proxy.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// A pattern is wrong, or taken.
    #[error("route {pattern}: {source}")]
    Route {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: RegisterError,
    },
    /// The authorities cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Registers all that is proxied.
///
/// # Errors
///
/// [`ProxyError`].
pub(crate) fn add<R: Runtime>(
    routes: &mut Routes<R>,
    config: ProxyConfig,
    tunnels: Option<Tunnels<R>>,
    host: &Arc<Host>,
    listen: Option<SocketAddr>,
) -> Result<(), ProxyError> {
    let taken = |pattern: &str| {
        let pattern = pattern.to_owned();
        move |source| ProxyError::Route { pattern, source }
    };
    let proxy = Arc::new(Proxy::new(&config, tunnels, host)?);
    if config.clients {
        for pattern in ["/client/{id}/{scheme}/{host}", "/client/{id}/{scheme}/{host}/{path...}"] {
            let (proxy, compat) = (Arc::clone(&proxy), config.compat);
            let handler = move |asked| {
                let proxy = Arc::clone(&proxy);
                async move { if compat { proxy.imitate(asked).await } else { proxy.pass_to_client(asked).await } }
            };
            routes.add(pattern, handler).map_err(taken(pattern))?;
        }
        let pattern = "GET /client/{id}/healthz";
        let (proxy, strict) = (Arc::clone(&proxy), config.strict_health);
        let handler = move |asked| {
            let proxy = Arc::clone(&proxy);
            async move { proxy.health(&asked, listen, strict) }
        };
        routes.add(pattern, handler).map_err(taken(pattern))?;
    }
    for route in config.routes {
        let (proxy, pattern, route) = (Arc::clone(&proxy), route.pattern.clone(), Arc::new(route));
        let upstream = Arc::new(route.upstream.clone());
        let handler = move |asked| {
            let (proxy, route, upstream) = (Arc::clone(&proxy), Arc::clone(&route), Arc::clone(&upstream));
            async move { proxy.pass_along(asked, &route, upstream).await }
        };
        routes.add(&pattern, handler).map_err(taken(&pattern))?;
    }
    Ok(())
}

/// What all proxied requests share.
struct Proxy<R: Runtime> {
    pool: Pool<R>,
    tunnels: Option<Tunnels<R>>,
    client_timeout: Duration,
    route_timeout: Duration,
}

impl<R: Runtime> Proxy<R> {
    fn new(config: &ProxyConfig, tunnels: Option<Tunnels<R>>, host: &Arc<Host>) -> Result<Self, ProxyError> {
        let tls =
            match if config.unverified { Tls::unverified() } else { Tls::new(config.authorities.as_deref()) }
            {
                Ok(tls) => Some(tls),
                // A system without authorities is no reason not to proxy what needs none.
                Err(TrustError::Empty(_)) if config.authorities.is_none() => None,
                Err(error) => return Err(error.into()),
            };
        let dialer = Dialer { tunnels: tunnels.clone(), tls, wait: config.wait };
        let pool = Pool::new(dialer, config.pool.clone(), config.dial_timeout, Arc::clone(host));
        let (client_timeout, route_timeout) = (config.client_timeout, config.route_timeout);
        Ok(Self { pool, tunnels, client_timeout, route_timeout })
    }

    /// `/client/{id}/{scheme}/{host}/{path…}`.
    async fn pass_to_client(&self, asked: Asked<R>) -> Reply<R> {
        let upstream = match upstream_of(&asked) {
            Ok(upstream) => Arc::new(upstream),
            Err(fault) => return Fault::from(fault).answer(None).into(),
        };
        let uri = asked.request.uri();
        let patience = Patience::of(uri.query());
        let path = after_segments(uri.path(), 4);
        let query = uri.query().map(without_timeout).filter(|query| !query.is_empty());
        let target = target(path, query.as_deref());
        let patience = match patience {
            Patience::Usual => Limit::Answer(self.client_timeout),
            Patience::Endless => Limit::Never,
            Patience::Whole(span) => Limit::Whole(span),
        };
        self.answer(&asked.visit, asked.request, upstream, target, patience).await
    }

    /// A route of the operator.
    async fn pass_along(&self, asked: Asked<R>, route: &Route, upstream: Destination) -> Reply<R> {
        let uri = asked.request.uri();
        let target = target(&route.path(uri.path()), uri.query());
        self.answer(&asked.visit, asked.request, upstream, target, Limit::Answer(self.route_timeout)).await
    }

    async fn answer(
        &self,
        visit: &Visit<R>,
        request: Request<Incoming>,
        upstream: Destination,
        target: String,
        limit: Limit,
    ) -> Reply<R> {
        match self.pass(visit, request, &upstream, target, limit).await {
            Ok(reply) => reply,
            Err(fault) => fault.answer(Some(&upstream)).into(),
        }
    }

    async fn pass(
        &self,
        visit: &Visit<R>,
        request: Request<Incoming>,
        upstream: &Destination,
        target: String,
        limit: Limit,
    ) -> Result<Reply<R>, Fault> {
        let (mut head, body) = request.into_parts();
        check_loop(&head.headers)?;
        if !is_passable(target.split('?').next().unwrap_or("")) {
            return Err(UpstreamFault::Path.into());
        }
        let target = Uri::try_from(target).map_err(|_| UpstreamFault::Path)?;
        let switches = requested_upgrade(&head.headers, head.version).is_some();
        let origin = Origin { client: visit.client, host: head.headers.get(HOST).cloned() };
        let is_streamed = !body.is_end_stream() && body.size_hint().exact().is_none();
        pass_request(&mut head, upstream, target, &origin, is_streamed);
        let pulse = Pulse::new();
        let body = if body.is_end_stream() {
            full(Bytes::new())
        } else {
            Sending::new(body, Arc::clone(&pulse)).boxed_unsync()
        };
        let started = Instant::now();
        let late = async {
            match limit {
                Limit::Never => std::future::pending().await,
                Limit::Answer(span) => pulse.stopped(&visit.runtime, span).await,
                Limit::Whole(span) => visit.runtime.sleep_until(started + span).await,
            }
            Err(Fault::Late)
        };
        let (mut reply, lease, reusable) =
            or(exchange(&self.pool, &visit.runtime, upstream, head, body), late).await?;
        if reply.status() == StatusCode::SWITCHING_PROTOCOLS {
            if !switches {
                return Err(Fault::Switched);
            }
            let upgraded = hyper::upgrade::on(&mut reply).await.map_err(Fault::Exchange)?;
            lease.release(false);
            return take_over(reply, upgraded);
        }
        let deadline = match limit {
            Limit::Whole(span) => Some(Box::pin(visit.runtime.sleep_until(started + span))),
            _ => None,
        };
        let (mut head, body) = reply.into_parts();
        pass_reply(&mut head.headers, false);
        head.version = Version::HTTP_11;
        let body = Passing::new(body, lease, reusable, deadline).boxed_unsync();
        Ok(Reply::Answer(Response::from_parts(head, body)))
    }

    /// The health of a client, in the words of the Go gateway that this replaces.
    fn health(&self, asked: &Asked<R>, listen: Option<SocketAddr>, strict: bool) -> Reply<R> {
        let id = asked.params.text("id").unwrap_or_default();
        if strict && !self.tunnels.as_ref().is_some_and(|tunnels| tunnels.has_client(id.as_bytes())) {
            let missing = format!("failed to find Session for client {}\n", id.escape_debug());
            return text(StatusCode::SERVICE_UNAVAILABLE, missing).into();
        }
        let name = asked.request.uri().query().and_then(name_of).unwrap_or_default();
        let listen = listen.map(|address| address.to_string()).unwrap_or_default();
        text(StatusCode::OK, format!("addrss:{listen} receive name={name} from client:{id}\n")).into()
    }
}

/// How long an exchange may take.
#[derive(Clone, Copy)]
enum Limit {
    Never,
    /// To the head of the answer, from the last of the request.
    Answer(Duration),
    /// From its start to its end.
    Whole(Duration),
}

/// Both connections are bytes from now on.
fn take_over<R: Runtime>(
    reply: Response<Incoming>,
    upgraded: hyper::upgrade::Upgraded,
) -> Result<Reply<R>, Fault> {
    let (link, early) = upgrade::bare(upgraded).ok_or(Fault::Ended)?;
    let (mut head, _) = reply.into_parts();
    pass_reply(&mut head.headers, true);
    head.version = Version::HTTP_11;
    let answer = Response::from_parts(head, full(Bytes::new()));
    Ok(Reply::Upgrade(
        answer,
        Box::new(move |runtime, stream, rest, permit| {
            runtime.spawn(upgrade::join::<R>(stream, rest, link, early, permit));
        }),
    ))
}

/// What `/client/{id}/{scheme}/{host}` names.
fn upstream_of<R>(asked: &Asked<R>) -> Result<Upstream, UpstreamFault> {
    let part = |name, fault| asked.params.text(name).ok_or(fault);
    let client = part("id", UpstreamFault::Client)?;
    let scheme = Scheme::parse(part("scheme", UpstreamFault::Scheme)?)?;
    Upstream::new(Some(client), scheme, part("host", UpstreamFault::Host)?)
}

/// The path behind its first `count` segments, as it came.
fn after_segments(path: &str, count: usize) -> &str {
    let slash = path.match_indices('/').nth(count);
    slash.map_or("/", |(at, _)| &path[at..])
}

fn target(path: &str, query: Option<&str>) -> String {
    let path = if path.is_empty() { "/" } else { path };
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// The decoded `name` of a query.
fn name_of(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("name="))?.replace('+', " ");
    let decoded = linkspan_core::http::path::decode(&value).ok()?;
    let text = String::from_utf8_lossy(&decoded).into_owned();
    // A reader of the answer must be able to tell its lines.
    Some(text.chars().filter(|char| !char.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_path_is_passed_as_it_came() {
        assert_eq!(after_segments("/client/a/http/h/x%2Fy/", 4), "/x%2Fy/");
        assert_eq!(after_segments("/client/a/http/h", 4), "/");
        assert_eq!(target("", Some("a=1")), "/?a=1");
        assert_eq!(name_of("x=1&name=a+b%0a%C3%A4"), Some("a bä".into()));
    }
}
