//! What happens on the IM listener before the upgrade: one [`Door`] for each handshake.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use futures_lite::FutureExt;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue, LOCATION, RETRY_AFTER, SEC_WEBSOCKET_VERSION};
use hyper::{Method, Request, StatusCode};
use linkspan_core::http::router::{Decision, RedirectStatus, Router, Style};
use linkspan_core::im::{Arguments, Door, DoorAction, DoorEvent, Rejection, Server, UpgradeCheck, Visitor};
use linkspan_core::{Actions, ConnId, Machine, Route};
use linkspan_runtime::{HostConfig, Permit, Runtime, SocketTransport, mailbox, spawn};

use super::Caller;
use super::clerk::Clerk;
use super::office::Office;
use super::token::Outcome;
use crate::http::{Answer, Reply, Site, Takeover, Visit, empty, open_socket, text, typed, upgrade};
use crate::reservation;

/// Answers the handshakes of the IM listener, on every path.
pub(crate) struct ImDoor {
    office: Arc<Office>,
    /// Cleans paths; every clean one is ours.
    paths: Router<()>,
}

impl ImDoor {
    pub(crate) fn new(office: Arc<Office>) -> Self {
        let mut paths = Router::new(Style::Classic).with_redirect_status(RedirectStatus::MovedPermanently);
        // The one pattern of the table cannot conflict.
        let _ = paths.register("/", ());
        Self { office, paths }
    }

    /// Where a path that is not clean leads to.
    fn redirect(&self, request: &Request<Incoming>) -> Option<Answer> {
        let (method, uri) = (request.method().as_str(), request.uri());
        let decision = self.paths.route(method, "", uri.path(), uri.query());
        let Decision::Redirect(redirect) = &decision else { return None };
        let location = HeaderValue::from_str(&redirect.location).ok()?;
        let reply = decision.reply(method)?;
        let status = StatusCode::from_u16(reply.status).ok()?;
        let mut answer = match reply.content_type {
            Some(kind) => typed(status, kind, reply.body),
            None => empty(status),
        };
        answer.headers_mut().insert(LOCATION, location);
        Some(answer)
    }
}

impl<R: Runtime> Site<R> for ImDoor {
    async fn answer(&self, request: Request<Incoming>, visit: &Visit<R>) -> Reply<R> {
        if let Some(moved) = self.redirect(&request) {
            return moved.into();
        }
        let upgraded = upgrade(&request, visit);
        let check = match &upgraded {
            Ok(_) => UpgradeCheck::Valid,
            Err(_) if request.method() != Method::GET => UpgradeCheck::WrongMethod,
            // A page of a foreign origin is told at once; it could not read more in any case.
            Err(refusal) if refusal.status() == StatusCode::FORBIDDEN => {
                return upgraded.unwrap_or_else(|refusal| refusal).into();
            }
            Err(_) => UpgradeCheck::BadRequest,
        };
        let arguments = Arguments::parse(request.uri().query().unwrap_or_default());
        drop(request);
        let mut knock = Knock::new(&self.office, visit, arguments, check);
        match (knock.run(&visit.runtime).await, upgraded) {
            (Ok(visitor), Ok(answer)) => Reply::Upgrade(answer, take_over(knock, visitor)),
            (Ok(_), Err(refusal)) => refusal.into(),
            (Err(rejection), _) => {
                tracing::debug!(
                    conn = visit.conn.0,
                    peer = %visit.client,
                    status = rejection.status(),
                    body = rejection.body(),
                    "IM handshake refused"
                );
                reject(rejection).into()
            }
        }
    }
}

/// A refusal, worded as the original does.
fn reject(rejection: Rejection) -> Answer {
    let status = StatusCode::from_u16(rejection.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = text(status, format!("{}\n", rejection.body()));
    let headers = answer.headers_mut();
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(Door::VERSION_HEADER.1));
    match rejection {
        Rejection::MethodNotAllowed => _ = headers.insert(ALLOW, HeaderValue::from_static("GET")),
        Rejection::Unavailable | Rejection::TooManyFailures => {
            _ = headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        _ => {}
    }
    answer
}

/// One of the listener's places, given back when dropped.
pub(super) struct Place(Arc<Office>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places().give_back();
    }
}

/// One handshake on its way through the door; dropped, it gives back what it holds.
struct Knock {
    office: Arc<Office>,
    conn: ConnId,
    client: IpAddr,
    door: Door,
    actions: Actions<DoorAction>,
    place: Option<Place>,
}

impl Knock {
    fn new<R>(office: &Arc<Office>, visit: &Visit<R>, arguments: Arguments, check: UpgradeCheck) -> Self {
        let mut actions = Actions::new();
        let (now, seed) = (office.host.clock().now(), HostConfig::random_seed());
        let door = Door::new(&office.door, &office.limits, arguments, check, seed, now, &mut actions);
        let office = Arc::clone(office);
        let (conn, client) = (visit.conn, visit.client.ip());
        Self { office, conn, client, door, actions, place: None }
    }

    /// Goes through the door: who it is, or why not.
    async fn run<R: Runtime>(&mut self, runtime: &R) -> Result<Visitor, Rejection> {
        let mut due = VecDeque::new();
        loop {
            due.extend(self.actions.drain());
            match due.pop_front() {
                Some(DoorAction::Route(route)) => self.route(route),
                Some(DoorAction::CheckToken { .. }) if !self.office.host.allows_token(self.client) => {
                    self.step(DoorEvent::TooManyFailures);
                }
                Some(DoorAction::CheckToken { token, user, operation }) => {
                    let user = String::from_utf8_lossy(user.as_bytes()).into_owned();
                    let outcome = {
                        let (office, until) = (&self.office, self.door.next_timeout());
                        let check = office.tokens.check(runtime, &office.host, &token, &user, &operation);
                        let late = async {
                            match until {
                                Some(until) => runtime.sleep_until(office.host.clock().to_std(until)).await,
                                None => futures_lite::future::pending().await,
                            }
                            Outcome::Unknown
                        };
                        check.or(late).await
                    };
                    self.step(match outcome {
                        Outcome::Valid(proof) => {
                            DoorEvent::TokenChecked { user: proof.user, platform: proof.platform }
                        }
                        Outcome::Refused => DoorEvent::TokenRefused,
                        Outcome::Unknown => DoorEvent::TokenUnknown,
                    });
                }
                Some(DoorAction::Upgrade(visitor)) => return Ok(visitor),
                Some(DoorAction::Reject(rejection)) => {
                    // Not its user's is as wrong as not valid.
                    if rejection == Rejection::Unauthorized {
                        self.office.host.count_wrong_token(self.client);
                    }
                    return Err(rejection);
                }
                // Nothing is left to be done, which only happens to a handshake that has taken too long.
                Some(DoorAction::Abort) | None => return Err(Rejection::Unavailable),
            }
        }
    }

    fn step(&mut self, event: DoorEvent) {
        self.door.handle_event(self.office.host.clock().now(), event, &mut self.actions);
    }

    /// Asks the hub, which answers at once. Before that the listener itself must have a place.
    fn route(&mut self, route: Route) {
        if matches!(route, Route::Reserve { .. }) {
            let taken = self.office.places().take();
            if let Err((why, mark)) = taken {
                self.office.host.stats().mark(mark);
                return self.step(DoorEvent::Rejected(why));
            }
            self.place = Some(Place(Arc::clone(&self.office)));
        }
        match reservation::ask(&self.office.host, self.conn, route) {
            Some(Ok(())) => self.step(DoorEvent::Reserved),
            Some(Err(why)) => self.step(DoorEvent::Rejected(why)),
            None => {}
        }
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        self.step(DoorEvent::Aborted);
        let due: Vec<_> = self.actions.drain().collect();
        for action in due {
            if let DoorAction::Route(route) = action {
                self.route(route);
            }
        }
    }
}

/// What becomes of the stream of a handshake that was accepted.
fn take_over<R: Runtime>(knock: Knock, visitor: Visitor) -> Takeover<R> {
    Box::new(move |runtime, stream, rest, permit| {
        let limits = Arc::clone(&knock.office.limits);
        let permit = permit.with_limits(Arc::clone(&limits));
        open_socket(runtime, stream, rest, permit, limits, move |runtime, transport, permit| {
            enter(runtime, transport, permit, knock, visitor);
        });
    })
}

/// Opens the connection; it takes the place that is held for it.
fn enter<R: Runtime>(
    runtime: &R,
    transport: SocketTransport<R::Stream>,
    permit: Permit,
    mut knock: Knock,
    visitor: Visitor,
) {
    let office = Arc::clone(&knock.office);
    let Some(place) = knock.place.take() else { return };
    let (mailbox, inbox) = mailbox(office.limits.mailbox);
    let caller = Caller::new(&visitor, permit.conn(), mailbox, &office.host);
    tracing::debug!(conn = permit.conn().0, user = caller.user(), "IM connection");
    let server = Server::new(Arc::clone(&office.server), visitor, HostConfig::random_seed());
    let clerk = Clerk::new(office, runtime.clone(), caller, permit.peer().ip(), place);
    spawn(runtime, permit, transport, server, inbox, clerk);
    // It has registered by itself.
    knock.step(DoorEvent::Opened);
}
