//! `/connect`: where agents and peers come in.

use std::future::ready;
use std::sync::Arc;

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use linkspan_core::http::router::RegisterError;
use linkspan_core::hub::directory::Event;
use linkspan_core::tunnel::{ClientSession, HEADER, Hello, Role, Tunnel, TunnelConfig, client_key};
use linkspan_core::{Key, Limits};
use linkspan_runtime::{Permit, Runtime, SocketTransport, spawn};

use super::config::{Config, Timers, session_limits};
use super::registry::{Guest, PeerLink, Registry, address};
use super::session::{Duty, Session};
use super::{Tunnels, dialer};
use crate::edge::too_many_failures;
use crate::http::{Answer, Asked, Reply, Routes, not_allowed, open_socket, text, upgrade};

/// Registers the endpoint.
pub(super) fn add<R: Runtime>(
    routes: &mut Routes<R>,
    tunnels: &Tunnels<R>,
    config: Arc<Config>,
) -> Result<(), RegisterError> {
    let registry = Arc::clone(tunnels.registry());
    let limits = Arc::new(session_limits(registry.host().limits()));
    routes.add("/connect", move |asked| ready(answer(&registry, &config, &limits, &asked)))
}

/// Who asks to come in.
enum Visitor {
    Agent(Key),
    Peer(Key),
}

fn answer<R: Runtime>(
    registry: &Arc<Registry>,
    config: &Config,
    limits: &Arc<Limits>,
    asked: &Asked<R>,
) -> Reply<R> {
    if asked.request.method() != Method::GET {
        return not_allowed("GET").into();
    }
    let (headers, host, client) = (asked.request.headers(), &asked.visit.host, asked.visit.client);
    if !host.allows_token(client.ip()) {
        return too_many_failures().into();
    }
    let visitor = match recognise(config, headers) {
        Ok(visitor) => visitor,
        Err(refusal) => {
            if refusal.status() == StatusCode::UNAUTHORIZED {
                host.count_wrong_token(client.ip());
            }
            tracing::info!(%client, status = refusal.status().as_u16(), "refused at /connect");
            return (*refusal).into();
        }
    };
    if let Visitor::Agent(key) = &visitor
        && !registry.can_add(key)
    {
        let mut refusal = text(StatusCode::SERVICE_UNAVAILABLE, "too many sessions of this client\n");
        refusal.headers_mut().insert("retry-after", HeaderValue::from_static("5"));
        return refusal.into();
    }
    let mut switch = match upgrade(&asked.request, &asked.visit) {
        Ok(switch) => switch,
        Err(mut refusal) => {
            // The originals know one status for everything that is wrong with a handshake.
            if refusal.status() == StatusCode::UPGRADE_REQUIRED {
                *refusal.status_mut() = StatusCode::BAD_REQUEST;
            }
            return refusal.into();
        }
    };
    let hello = headers.get(HEADER).map(|value| Hello::parse(value.as_bytes()));
    if hello.is_some() {
        switch.headers_mut().extend(dialer::hello(limits));
    }
    let (registry, limits, timers) = (Arc::clone(registry), Arc::clone(limits), config.timers);
    Reply::Upgrade(
        switch,
        Box::new(move |runtime, stream, rest, permit| {
            let permit = permit.with_limits(Arc::clone(&limits)).unpaced();
            open_socket(runtime, stream, rest, permit, limits, move |runtime, transport, permit| {
                open_session(runtime, &registry, visitor, hello, timers, transport, permit);
            });
        }),
    )
}

/// Who it is, or what is answered.
fn recognise(config: &Config, headers: &HeaderMap) -> Result<Visitor, Box<Answer>> {
    let refused = || Box::new(text(StatusCode::UNAUTHORIZED, "failed authentication"));
    let value = |name: &str| headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    let (peer, shown) = (value("x-api-tunnel-id"), value("x-api-tunnel-token"));
    if !peer.is_empty() && !shown.is_empty() {
        if let Some(peer) = find_peer(config, peer, shown) {
            return Ok(Visitor::Peer(peer));
        }
        tracing::warn!(peer = %peer.escape_ascii(), "a peer that is not known, or shows a wrong token");
        if config.strict_peers {
            return Err(refused());
        }
    }
    let id = value("x-tunnel-id");
    if id.is_empty() {
        return Err(refused());
    }
    if let Some(token) = &config.token {
        let shown = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let shown = shown.strip_prefix(b"Bearer ").unwrap_or_default();
        if !token.is(shown) {
            return Err(refused());
        }
    }
    match client_key(id) {
        Ok(key) => Ok(Visitor::Agent(key)),
        Err(error) => Err(Box::new(text(StatusCode::BAD_REQUEST, format!("X-Tunnel-ID: {error}\n")))),
    }
}

/// The peer of that name and token; an unknown name takes the same work as a wrong token.
fn find_peer(config: &Config, name: &[u8], shown: &[u8]) -> Option<Key> {
    config.own.as_ref()?;
    let mut found = None;
    for peer in &config.peers {
        let is_right = peer.token.is(shown);
        if is_right && peer.id.as_bytes() == name {
            found = Some(peer.id.clone());
        }
    }
    found
}

fn open_session<R: Runtime>(
    runtime: &R,
    registry: &Arc<Registry>,
    visitor: Visitor,
    hello: Option<Hello>,
    timers: Timers,
    transport: SocketTransport<R::Stream>,
    permit: Permit,
) {
    let conn = permit.conn();
    let number = i64::try_from(conn.0).unwrap_or(i64::MAX);
    let (key, is_peer) = match visitor {
        Visitor::Agent(key) => (key, false),
        Visitor::Peer(key) => (key, true),
    };
    let name = ClientSession { client: bytes::Bytes::copy_from_slice(key.as_bytes()), session: number };
    let config = TunnelConfig {
        is_peer_ours: hello.is_some(),
        peer_window: hello.and_then(|hello| hello.window),
        may_peer_announce: is_peer,
        name,
        ..timers.session(Role::Server)
    };
    let duty: Arc<dyn Duty> = match is_peer {
        true => Arc::new(PeerLink(Arc::clone(registry))),
        false => Arc::new(Guest(Arc::clone(registry))),
    };
    let (session, inbox, desk) = Session::open(&permit, &config, duty);
    let (client, ours) = (key.as_bytes().escape_ascii(), hello.is_some());
    tracing::info!(conn = conn.0, %client, is_peer, ours, "tunnel open");
    // Known before it runs, so that its end finds it.
    registry.enter(&session);
    registry.handle(match is_peer {
        true => Event::Link { from: address(&session), peer: key },
        false => Event::Add { from: address(&session), client: key, session: number },
    });
    spawn(runtime, permit, transport.bulk(), Tunnel::new(Arc::new(config)), inbox, desk);
}
