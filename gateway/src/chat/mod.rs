//! The small chat protocol at `/ws/{id}` of the HTTP address.

use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::{Method, StatusCode};
use linkspan_core::CloseReason;
use linkspan_core::chat::{Server, ServerCommand, ServerConfig, ServerNotice, parse_user, user_key};
use linkspan_core::http::router::RegisterError;
use linkspan_core::hub::{Admission, Refusal};
use linkspan_runtime::{App, Permit, Runtime, SocketTransport, mailbox, spawn};

use crate::edge::too_many;
use crate::http::{Asked, Reply, Routes, Visit, not_allowed, open_socket, text, upgrade};
use crate::reservation::Reservation;

/// Registers the endpoint.
///
/// # Errors
///
/// [`RegisterError`] if another route has the path.
pub(crate) fn add<R: Runtime>(routes: &mut Routes<R>, config: ServerConfig) -> Result<(), RegisterError> {
    let config = Arc::new(config);
    routes.add_moved("/ws/{id}", move |asked| ready(answer(&config, &asked)))
}

fn answer<R: Runtime>(config: &Arc<ServerConfig>, asked: &Asked<R>) -> Reply<R> {
    if asked.request.method() != Method::GET {
        return not_allowed("GET").into();
    }
    let user = asked.params.text("id").unwrap_or_default();
    let Ok(user) = parse_user(user) else {
        return text(StatusCode::BAD_REQUEST, "invalid user id\n").into();
    };
    let switch = match upgrade(&asked.request, &asked.visit) {
        Ok(switch) => switch,
        Err(refusal) => return refusal.into(),
    };
    let reservation = match reserve(config, user, &asked.visit) {
        Ok(reservation) => reservation,
        Err(Refusal::Taken) => return text(StatusCode::CONFLICT, "user already connected\n").into(),
        Err(why) => return too_many(why.close_reason()).into(),
    };
    let config = Arc::clone(config);
    Reply::Upgrade(
        switch,
        Box::new(move |runtime, stream, rest, permit| {
            let limits = Arc::clone(permit.host().limits());
            open_socket(runtime, stream, rest, permit, limits, move |runtime, transport, permit| {
                open_session(runtime, config, user, transport, permit);
                if let Some(reservation) = reservation {
                    reservation.use_up();
                }
            });
        }),
    )
}

/// Where only the first may have an id it is decided here, while whoever comes second can still be told by a status.
fn reserve<R>(config: &ServerConfig, user: u64, visit: &Visit<R>) -> Result<Option<Reservation>, Refusal> {
    let badge = config.badge();
    if badge.admission != Some(Admission::RejectNew) {
        return Ok(None);
    }
    Reservation::take(&visit.host, visit.conn, user_key(user), badge).map(Some)
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
