//! `/clients`: who is connected, for people and programs on the same machine.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::StatusCode;
use linkspan_core::ConnId;
use linkspan_core::http::router::RegisterError;
use linkspan_runtime::Runtime;
use serde::Serialize;

use super::Tunnels;
use super::registry::Registry;
use crate::http::{Asked, Reply, Routes, json, text};

/// One session of an agent.
#[derive(Serialize)]
struct Row {
    client: String,
    session: i64,
    peer: String,
    /// Whether something was heard of it in the last seconds.
    lively: bool,
    seconds: u64,
    streams: u64,
    opened: u64,
    bytes_in: u64,
    bytes_out: u64,
    /// What came in and was not read.
    unread: u64,
    /// What was written and is not sent.
    unsent: u64,
}

/// Registers the page. It names agents and where they come from, so it answers only whoever asks from the machine
/// itself.
pub(super) fn add<R: Runtime>(routes: &mut Routes<R>, tunnels: &Tunnels<R>) -> Result<(), RegisterError> {
    let registry = Arc::clone(tunnels.registry());
    routes.add("GET /clients", move |asked: Asked<R>| ready(answer(&registry, &asked)))
}

fn answer<R: Runtime>(registry: &Registry, asked: &Asked<R>) -> Reply<R> {
    if !asked.visit.is_local() {
        return text(StatusCode::FORBIDDEN, "This page is for the machine itself.\n").into();
    }
    let rows: Vec<_> = registry.clients().into_iter().filter_map(|client| row(registry, client)).collect();
    match serde_json::to_vec(&rows) {
        Ok(body) => json(StatusCode::OK, body).into(),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "").into(),
    }
}

fn row(registry: &Registry, (key, session, lively): (linkspan_core::Key, i64, bool)) -> Option<Row> {
    let found = registry.session(ConnId(u64::try_from(session).ok()?))?;
    let (unread, unsent) = found.waiting();
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let traffic = &found.traffic;
    Some(Row {
        client: String::from_utf8_lossy(key.as_bytes()).into_owned(),
        session,
        peer: found.peer.to_string(),
        lively,
        seconds: found.opened_at.elapsed().as_secs(),
        streams: count(&traffic.streams),
        opened: count(&traffic.opened),
        bytes_in: count(&traffic.bytes_in),
        bytes_out: count(&traffic.bytes_out),
        unread,
        unsent,
    })
}
