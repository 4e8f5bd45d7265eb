//! One session's application side: its messages, one after the other, through the services.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use linkspan_core::pomelo::{ErrorBody, Receipt, RefuseCode, Server, ServerCommand, ServerNotice, Ticket};
use linkspan_core::{CloseReason, Limits};
use linkspan_runtime::{App, Runtime};

use crate::services::{
    Accept, BoxFuture, Call, CallError, Entry, Handshake, Kind, Outcome, Refuse, Reply, Table, Verdict,
};
use crate::session::Session;

/// What waits for its turn.
enum Work {
    Handshake(Bytes),
    Opened,
    Call { owed: Owed, route: Bytes, body: Bytes },
}

/// What the client's end is owed when a piece of work is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owed {
    /// Nothing: a hook.
    Nothing,
    /// That a message without an answer is through.
    Receipt(Receipt),
    /// An answer.
    Answer(Ticket),
}

/// What is being worked on.
enum Job {
    Handshake(BoxFuture<Verdict>),
    Call(Owed, BoxFuture<Outcome>),
}

/// How a job ended, once it did.
enum Done {
    Handshake(Verdict),
    Call(Owed, Outcome),
}

struct Running<R: Runtime> {
    job: Job,
    /// Only for jobs that were not finished at once, and are no requests: the core says when one of those is late.
    limit: Option<Pin<Box<R::Sleep>>>,
}

/// One session's application side.
pub(super) struct Desk<R: Runtime> {
    runtime: R,
    table: Arc<Table>,
    session: Session,
    limits: Arc<Limits>,
    waiting: VecDeque<Work>,
    running: Option<Running<R>>,
    opened: bool,
}

impl<R: Runtime> Desk<R> {
    /// A queue that grew beyond this is given back when it is empty.
    const KEEP: usize = 16;

    pub(super) fn new(runtime: R, table: Arc<Table>, session: Session, limits: Arc<Limits>) -> Self {
        let waiting = VecDeque::new();
        Self { runtime, table, session, limits, waiting, running: None, opened: false }
    }

    /// A request was answered in the application's place. To work on it would only make the next ones late, and the peer
    /// may send others by now.
    fn drop_expired(&mut self, ticket: Ticket) {
        let late = Owed::Answer(ticket);
        if matches!(&self.running, Some(Running { job: Job::Call(owed, _), .. }) if *owed == late) {
            tracing::warn!(sid = self.session.id(), "a handler took too long and was given up");
            self.drop_running();
        } else if let Some(at) =
            self.waiting.iter().position(|work| matches!(work, Work::Call { owed, .. } if *owed == late))
        {
            self.waiting.remove(at);
        }
    }

    /// Starts one piece of work: finished at once, or running from now on. `None` if there was nothing to run.
    fn start(&mut self, work: Work) -> Option<Done> {
        let hooks = &self.table.hooks;
        let job = match work {
            Work::Handshake(body) => match &hooks.handshake {
                None => return Some(Done::Handshake(Ok(Accept::new()))),
                Some(validator) => {
                    let handshake = Handshake { session: self.session.clone(), body };
                    match guard(|| validator(handshake)) {
                        Ok(future) => Job::Handshake(future),
                        Err(panic) => return Some(self.fail(Owed::Nothing, true, &panicked(&panic))),
                    }
                }
            },
            Work::Opened => {
                self.opened = true;
                if hooks.opened.is_empty() {
                    return None;
                }
                let (table, session) = (Arc::clone(&self.table), self.session.clone());
                Job::Call(
                    Owed::Nothing,
                    Box::pin(async move {
                        for hook in &table.hooks.opened {
                            hook(session.clone()).await;
                        }
                        Ok(Bytes::new())
                    }),
                )
            }
            Work::Call { owed, route, body } => {
                let call = Call { session: self.session.clone(), route, body };
                match guard(|| call_service(&self.table, matches!(owed, Owed::Answer(_)), call)) {
                    Ok(Reply::Ready(outcome)) => return Some(Done::Call(owed, outcome)),
                    Ok(Reply::Later(future)) => Job::Call(owed, future),
                    Err(panic) => return Some(self.fail(owed, false, &panicked(&panic))),
                }
            }
        };
        self.running = Some(Running { job, limit: None });
        None
    }

    /// Drops what is worked on; a panic of what the handler owns ends here.
    fn drop_running(&mut self) {
        let _ = guard(|| self.running = None);
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) -> Poll<Done> {
        let Some(running) = &mut self.running else { return Poll::Pending };
        let polled = guard(|| match &mut running.job {
            Job::Handshake(future) => future.as_mut().poll(cx).map(Done::Handshake),
            Job::Call(owed, future) => future.as_mut().poll(cx).map(|outcome| Done::Call(*owed, outcome)),
        });
        match polled {
            Ok(Poll::Ready(done)) => {
                self.drop_running();
                Poll::Ready(done)
            }
            Ok(Poll::Pending) if matches!(running.job, Job::Call(Owed::Answer(_), _)) => Poll::Pending,
            Ok(Poll::Pending) => {
                let (runtime, patience) = (&self.runtime, self.limits.request_timeout);
                let limit = running
                    .limit
                    .get_or_insert_with(|| Box::pin(runtime.sleep_until(Instant::now() + patience)));
                ready!(limit.as_mut().poll(cx));
                Poll::Ready(self.abandon(None))
            }
            Err(panic) => Poll::Ready(self.abandon(Some(&panicked(&panic)))),
        }
    }

    /// Gives the running job up: it panicked with this text, or took too long.
    fn abandon(&mut self, panic: Option<&str>) -> Done {
        let (owed, handshake) = match &self.running {
            Some(Running { job: Job::Call(owed, _), .. }) => (*owed, false),
            Some(Running { job: Job::Handshake(_), .. }) | None => (Owed::Nothing, true),
        };
        self.drop_running();
        match panic {
            Some(text) => self.fail(owed, handshake, text),
            None => {
                tracing::warn!(sid = self.session.id(), "a handler took too long and was given up");
                let error = CallError::new(ErrorBody::TIMEOUT, "request timed out");
                done_with(owed, handshake, error)
            }
        }
    }

    /// What a panic comes to.
    fn fail(&self, owed: Owed, handshake: bool, text: &str) -> Done {
        tracing::error!(sid = self.session.id(), panic = text, "a handler panicked");
        let shown = if self.table.panic_text { text.to_owned() } else { "internal error".to_owned() };
        done_with(owed, handshake, CallError::unknown(shown))
    }

    fn command(&self, done: Done) -> Option<ServerCommand> {
        match done {
            Done::Handshake(Ok(Accept { user })) => Some(ServerCommand::Accept { user }),
            Done::Handshake(Err(Refuse { code, user })) => {
                tracing::debug!(sid = self.session.id(), code = code.number(), "handshake refused");
                Some(ServerCommand::Refuse { code, user })
            }
            Done::Call(Owed::Answer(ticket), Ok(body)) => Some(ServerCommand::Answer { ticket, body }),
            Done::Call(Owed::Answer(ticket), Err(error)) => {
                tracing::debug!(sid = self.session.id(), %error, "request failed");
                Some(ServerCommand::Fail { ticket, error: error.into_body() })
            }
            Done::Call(Owed::Receipt(receipt), outcome) => {
                let sid = self.session.id();
                match outcome {
                    Ok(body) if body.is_empty() => {}
                    Ok(_) => tracing::debug!(sid, "the answer to a notification is dropped"),
                    Err(error) => tracing::debug!(sid, %error, "notification failed"),
                }
                Some(ServerCommand::Done(receipt))
            }
            Done::Call(Owed::Nothing, _) => None,
        }
    }
}

impl<R: Runtime> App<Server> for Desk<R> {
    fn handle_notice(&mut self, notice: ServerNotice) {
        let work = match notice {
            ServerNotice::Handshake(body) => Work::Handshake(body),
            ServerNotice::Opened => Work::Opened,
            ServerNotice::Request { ticket, route, body } => {
                Work::Call { owed: Owed::Answer(ticket), route, body }
            }
            ServerNotice::Notify { receipt, route, body } => {
                Work::Call { owed: Owed::Receipt(receipt), route, body }
            }
            ServerNotice::Expired(ticket) => return self.drop_expired(ticket),
            ServerNotice::Bound(_) => return self.session.handle_bound(),
            ServerNotice::BindRefused(_) => return self.session.handle_bind_refused(),
            // What the dialect learns to say later is not for services.
            _ => return,
        };
        self.waiting.push_back(work);
    }

    fn poll_command(&mut self, cx: &mut Context<'_>, has_room: bool) -> Poll<ServerCommand> {
        if !has_room {
            // The peer does not read what it has: producing more would only fill memory.
            return Poll::Pending;
        }
        loop {
            let done = if self.running.is_some() {
                Some(ready!(self.poll_running(cx)))
            } else {
                let Some(work) = self.waiting.pop_front() else {
                    if self.waiting.capacity() > Self::KEEP {
                        self.waiting = VecDeque::new();
                    }
                    return Poll::Pending;
                };
                self.start(work)
            };
            if let Some(command) = done.and_then(|done| self.command(done)) {
                return Poll::Ready(command);
            }
        }
    }

    fn handle_closed(&mut self, reason: CloseReason) {
        // What a handler owns is dropped before the hooks say that the session is over.
        self.drop_running();
        self.waiting = VecDeque::new();
        self.session.handle_closed();
        if std::mem::take(&mut self.opened) {
            for hook in &self.table.hooks.closed {
                if let Err(panic) = guard(|| hook(&self.session, reason)) {
                    tracing::error!(
                        sid = self.session.id(),
                        panic = panicked(&panic),
                        "a closed hook panicked"
                    );
                }
            }
        }
    }
}

impl<R: Runtime> Drop for Desk<R> {
    fn drop(&mut self) {
        // A task that is dropped in mid-air has closed its session too.
        self.handle_closed(CloseReason::ConnectionLost);
    }
}

/// Runs a handler, with the middleware around it if there is any.
fn call_service(table: &Arc<Table>, wants_answer: bool, call: Call) -> Reply {
    if table.hooks.before.is_empty() && table.hooks.after.is_empty() {
        return match handler(table, wants_answer, &call) {
            Ok(entry) => entry.start(&call),
            Err(error) => Reply::Ready(Err(error)),
        };
    }
    let table = Arc::clone(table);
    Reply::Later(Box::pin(async move {
        let mut seen = call.clone();
        let outcome = around(&table, wants_answer, call, &mut seen).await;
        let mut outcome = outcome;
        for hook in &table.hooks.after {
            outcome = hook(seen.clone(), outcome).await;
        }
        outcome
    }))
}

/// The hooks before the handler, and the handler; `seen` is the call as the handler saw it.
async fn around(table: &Table, wants_answer: bool, mut call: Call, seen: &mut Call) -> Outcome {
    for hook in &table.hooks.before {
        call = hook(call).await?;
        *seen = call.clone();
    }
    match handler(table, wants_answer, &call)?.start(&call) {
        Reply::Ready(outcome) => outcome,
        Reply::Later(future) => future.await,
    }
}

fn handler<'t>(table: &'t Table, wants_answer: bool, call: &Call) -> Result<&'t Entry, CallError> {
    let entry = table.resolve(call.session.conn(), &call.route)?;
    if wants_answer && entry.kind == Kind::Notify {
        return Err(CallError::bad_request("tried to request a notify route"));
    }
    Ok(entry)
}

fn done_with(owed: Owed, handshake: bool, error: CallError) -> Done {
    if handshake {
        Done::Handshake(Err(Refuse::new(RefuseCode::Denied)))
    } else {
        Done::Call(owed, Err(error))
    }
}

/// Runs code of the application; its panics end here.
fn guard<T>(work: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    // What a panic left half-done belongs to the application, or is dropped with the job.
    catch_unwind(AssertUnwindSafe(work))
}

/// The text of a panic.
fn panicked(panic: &Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)").to_owned()
}
