//! One connection's application side: its calls, one after the other.

use std::collections::VecDeque;
use std::future::Future;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::FutureExt;
use linkspan_core::CloseReason;
use linkspan_core::im::{
    Answer, Audience, Fault, Server, ServerCommand, ServerNotice, SessionId, Ticket, Token,
};
use linkspan_runtime::{App, Runtime, Stop};
use tracing::Span;

use super::door::Place;
use super::office::Office;
use super::token::Outcome;
use super::users::Errand;
use super::{Call, Caller, Login};
use crate::services::BoxFuture;

/// A call that waits for its turn.
struct Waiting {
    ticket: Ticket,
    call: Call,
    span: Span,
}

/// The call that is being worked on.
struct Running {
    ticket: Ticket,
    span: Span,
    answer: BoxFuture<Answer>,
}

/// One connection's application side.
pub(super) struct Clerk<R: Runtime> {
    office: Arc<Office>,
    runtime: R,
    caller: Caller,
    /// Whose address wrong tokens count for.
    client: IpAddr,
    waiting: VecDeque<Waiting>,
    running: Option<Running>,
    opened: bool,
    /// Given back when the connection has ended.
    _place: Place,
}

impl<R: Runtime> Clerk<R> {
    /// A queue that grew beyond this is given back when it is empty.
    const KEEP: usize = 16;

    pub(super) fn new(office: Arc<Office>, runtime: R, caller: Caller, client: IpAddr, place: Place) -> Self {
        let waiting = VecDeque::new();
        Self { office, runtime, caller, client, waiting, running: None, opened: false, _place: place }
    }

    /// The span of one request: what is logged in it has the operation id.
    fn span(&self, operation: &str, function: &str) -> Span {
        tracing::error_span!("im", op = operation, user = self.caller.user(), function)
    }

    fn run_errands(&mut self, errands: Vec<Errand>) {
        for errand in errands {
            match errand {
                Errand::Call { ticket, operation, name, data } => {
                    let span = self.span(&operation, &name);
                    let (function, operation) = (name.into(), operation.into());
                    let call = Call { caller: self.caller.clone(), function, operation, data };
                    self.waiting.push_back(Waiting { ticket, call, span });
                }
                Errand::Login { session, operation, token, ended } => {
                    self.start_login(session, operation, token, ended);
                }
                Errand::Ended => self.office.table.ended(self.caller.user()),
            }
        }
    }

    /// Has the user logged in by a task of its own, because it is everybody's who waits for it.
    fn start_login(&self, session: SessionId, operation: String, token: Token, ended: Stop) {
        let (office, runtime) = (Arc::clone(&self.office), self.runtime.clone());
        let (caller, client, key) = (self.caller.clone(), self.client, self.caller.key().clone());
        let Some(until) = office.users.next_timeout(&key) else { return };
        let span = self.span(&operation, linkspan_core::im::Functions::LOGIN);
        self.runtime.spawn(async move {
            let sleep = runtime.sleep_until(office.host.clock().to_std(until));
            let login = AssertUnwindSafe(log_in(&office, &runtime, caller.clone(), client, operation, token));
            let outcome = async { Some(in_span(&span, login.catch_unwind()).await) };
            let late = async {
                sleep.await;
                None
            };
            let Some(outcome) = ended.unless_raised(outcome.or(late)).await else { return };
            let errands = match outcome {
                Some(Ok(answer)) => {
                    span.in_scope(|| tracing::debug!(code = answer.code, "login"));
                    office.users.logged_in(&key, session, answer)
                }
                Some(Err(_)) => {
                    span.in_scope(|| tracing::error!("a login hook panicked"));
                    office.users.logged_in(&key, session, Fault::Parameter.into())
                }
                None => {
                    span.in_scope(|| tracing::warn!("a login took too long and was given up"));
                    office.users.timed_out(&key)
                }
            };
            if errands.iter().any(|errand| matches!(errand, Errand::Ended)) {
                office.table.ended(caller.user());
            }
        });
    }

    /// Starts one call; answers at once what cannot be started, and what is finished when it has begun.
    fn start(&mut self, waiting: Waiting, cx: &mut Context<'_>) -> Option<ServerCommand> {
        let Waiting { ticket, call, span } = waiting;
        let table = &self.office.table;
        let begin = || match table.start(&call) {
            Ok(mut answer) => match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => Ok(answer),
                Poll::Pending => Err(answer),
            },
            Err(answer) => Ok(answer),
        };
        match std::panic::catch_unwind(AssertUnwindSafe(|| span.in_scope(begin))) {
            Ok(Ok(answer)) => Some(done(ticket, &span, answer)),
            Ok(Err(answer)) => {
                self.running = Some(Running { ticket, span, answer });
                None
            }
            Err(_) => Some(panicked(ticket, &span)),
        }
    }

    /// A call was answered in the application's place. To work on it would only make the next ones late, and the client
    /// may have sent others by now.
    fn drop_expired(&mut self, ticket: Ticket) {
        if let Some(running) = self.running.as_ref().filter(|running| running.ticket == ticket) {
            running.span.in_scope(|| tracing::warn!("a function took too long and was given up"));
            self.drop_running();
        } else if let Some(at) = self.waiting.iter().position(|waiting| waiting.ticket == ticket) {
            self.waiting.remove(at);
        }
    }

    /// Drops the call that is worked on; a panic of what the function owns ends here.
    fn drop_running(&mut self) {
        let _ = std::panic::catch_unwind(AssertUnwindSafe(|| self.running = None));
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) -> Poll<ServerCommand> {
        let Some(running) = &mut self.running else { return Poll::Pending };
        let Running { ticket, span, answer } = running;
        let polled =
            std::panic::catch_unwind(AssertUnwindSafe(|| span.in_scope(|| answer.as_mut().poll(cx))));
        let command = match polled {
            Ok(Poll::Ready(answer)) => done(*ticket, span, answer),
            Ok(Poll::Pending) => return Poll::Pending,
            Err(_) => panicked(*ticket, span),
        };
        self.drop_running();
        Poll::Ready(command)
    }
}

fn done(ticket: Ticket, span: &Span, answer: Answer) -> ServerCommand {
    // Named as the parent, so that a line that nobody reads costs nothing.
    tracing::debug!(parent: span, code = answer.code, "call");
    ServerCommand::Answer { ticket, answer, audience: Audience::User }
}

fn panicked(ticket: Ticket, span: &Span) -> ServerCommand {
    span.in_scope(|| tracing::error!("a function panicked"));
    ServerCommand::Refuse { ticket, fault: Fault::Parameter }
}

/// Polls `future` inside of `span`.
async fn in_span<F: Future>(span: &Span, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| span.in_scope(|| future.as_mut().poll(cx))).await
}

/// What a login comes to: its token, then what the application says.
async fn log_in<R: Runtime>(
    office: &Office,
    runtime: &R,
    caller: Caller,
    client: IpAddr,
    operation: String,
    token: Token,
) -> Answer {
    if !office.host.allows_token(client) {
        return Fault::LoginPending.into();
    }
    match office.tokens.check(runtime, &office.host, &token, caller.user(), &operation).await {
        Outcome::Valid(proof) if proof.user == caller.user() => {}
        Outcome::Valid(_) | Outcome::Refused => {
            office.host.count_wrong_token(client);
            return Answer::failure(702, "token has been invalidated");
        }
        Outcome::Unknown => return Fault::NotLoaded.into(),
    }
    office.table.login(Login { caller, operation: operation.into() }).await
}

impl<R: Runtime> App<Server> for Clerk<R> {
    fn handle_notice(&mut self, notice: ServerNotice) {
        let users = &self.office.users;
        let (key, conn) = (self.caller.key(), self.caller.conn());
        let errands = match notice {
            ServerNotice::Opened => {
                self.opened = true;
                users.opened(key, conn, self.caller.platform(), self.caller.mailbox().clone())
            }
            ServerNotice::Request { ticket, request } => users.requested(key, conn, ticket, request),
            ServerNotice::Expired(ticket) => return self.drop_expired(ticket),
            // What the dialect learns to say later is not for functions.
            _ => return,
        };
        self.run_errands(errands);
    }

    fn poll_command(&mut self, cx: &mut Context<'_>, has_room: bool) -> Poll<ServerCommand> {
        if !has_room {
            // The peer does not read what it has: producing more would only fill memory.
            return Poll::Pending;
        }
        loop {
            if self.running.is_some() {
                return self.poll_running(cx);
            }
            let Some(waiting) = self.waiting.pop_front() else {
                if self.waiting.capacity() > Self::KEEP {
                    self.waiting = VecDeque::new();
                }
                return Poll::Pending;
            };
            if let Some(command) = self.start(waiting, cx) {
                return Poll::Ready(command);
            }
        }
    }

    fn handle_closed(&mut self, _reason: CloseReason) {
        // What a function owns is dropped before the session ends.
        self.drop_running();
        self.waiting = VecDeque::new();
        if std::mem::take(&mut self.opened) {
            let errands = self.office.users.closed(self.caller.key(), self.caller.conn());
            let ended = || self.run_errands(errands);
            if std::panic::catch_unwind(AssertUnwindSafe(ended)).is_err() {
                tracing::error!("an ended hook panicked");
            }
        }
    }
}

impl<R: Runtime> Drop for Clerk<R> {
    fn drop(&mut self) {
        // A task that is dropped in mid-air has closed its connection too.
        self.handle_closed(CloseReason::ConnectionLost);
    }
}
