//! The small chat protocol at `/ws/{id}` of the HTTP address.

use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::{Method, StatusCode};
use linkspan_core::CloseReason;
use linkspan_core::chat::{Server, ServerCommand, ServerConfig, ServerNotice, parse_user, user_key};
use linkspan_core::http::router::RegisterError;
use linkspan_core::hub::Admission;
use linkspan_runtime::{App, Permit, Runtime, SocketTransport, mailbox, spawn};

use crate::http::{Asked, Reply, Routes, not_allowed, open_socket, text, upgrade};

/// Registers the endpoint.
///
/// # Errors
///
/// [`RegisterError`] if another route has the path.
pub(crate) fn add<R: Runtime>(routes: &mut Routes<R>, config: ServerConfig) -> Result<(), RegisterError> {
    let config = Arc::new(config);
    routes.add("/ws/{id}", move |asked| ready(answer(&config, &asked)))
}

fn answer<R: Runtime>(config: &Arc<ServerConfig>, asked: &Asked<R>) -> Reply<R> {
    if asked.request.method() != Method::GET {
        return not_allowed("GET").into();
    }
    let user = asked.params.text("id").unwrap_or_default();
    let Ok(user) = parse_user(user) else {
        return text(StatusCode::BAD_REQUEST, "invalid user id\n").into();
    };
    // Two that ask in the same moment may both be let in here; then the hub refuses one, with close code 4002.
    let rejects = config.on_duplicate == Admission::RejectNew;
    if rejects && asked.visit.host.shards().sessions_of(&user_key(user)) > 0 {
        return text(StatusCode::CONFLICT, "user already connected\n").into();
    }
    let switch = match upgrade(&asked.request, &asked.visit) {
        Ok(switch) => switch,
        Err(refusal) => return refusal.into(),
    };
    let config = Arc::clone(config);
    Reply::Upgrade(
        switch,
        Box::new(move |runtime, stream, rest, permit| {
            let limits = Arc::clone(permit.host().limits());
            open_socket(runtime, stream, rest, permit, limits, move |runtime, transport, permit| {
                open_session(runtime, config, user, transport, permit);
            });
        }),
    )
}

fn open_session<R: Runtime>(
    runtime: &R,
    config: Arc<ServerConfig>,
    user: u64,
    transport: SocketTransport<R::Stream>,
    permit: Permit,
) {
    let capacity = permit.host().limits().mailbox;
    let (_, inbox) = mailbox(capacity);
    spawn(runtime, permit, transport, Server::new(config, user), inbox, Nobody);
}

/// Chat needs no application: the hub brings messages to their receivers.
struct Nobody;

impl App<Server> for Nobody {
    fn handle_notice(&mut self, _notice: ServerNotice) {}

    fn poll_command(&mut self, _cx: &mut Context<'_>, _has_room: bool) -> Poll<ServerCommand> {
        Poll::Pending
    }

    fn handle_closed(&mut self, _reason: CloseReason) {}
}
