//! What a client's handle and its connection share.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use linkspan_core::CloseReason;
use linkspan_core::pomelo::{Client as Dialect, ClientCommand, ClientNotice, RequestError};
use linkspan_runtime::App;

use super::{ConnectError, FailedRequest, Message};

/// How far a request is.
enum Slot {
    Waiting(Option<Waker>),
    Done(Result<Bytes, RequestError>),
}

/// What a client's handle and its connection share.
pub(super) struct State {
    inner: Mutex<Inner>,
    /// How many messages of the server may wait to be taken before it is no longer read.
    pushes_max: usize,
}

#[derive(Default)]
struct Inner {
    last_request: u64,
    requests: HashMap<u64, Slot>,
    pushes: VecDeque<Message>,
    /// The handshake's answer.
    hello: Option<Bytes>,
    refused: Option<(i64, Bytes)>,
    kicked: Option<Bytes>,
    closed: Option<CloseReason>,
    /// Whoever waits for the handshake, for a push, or for the end.
    watchers: Vec<Waker>,
    /// The connection's task, if it waits for room for pushes.
    reader: Option<Waker>,
}

impl Inner {
    fn watch(&mut self, cx: &Context<'_>) {
        if !self.watchers.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.watchers.push(cx.waker().clone());
        }
    }
}

impl State {
    pub(super) fn new(pushes_max: usize) -> Self {
        Self { inner: Mutex::default(), pushes_max }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then wakes who watches it.
    fn tell(&self, change: impl FnOnce(&mut Inner)) {
        let watchers = {
            let mut inner = self.lock();
            change(&mut inner);
            std::mem::take(&mut inner.watchers)
        };
        watchers.into_iter().for_each(Waker::wake);
    }

    fn finish(&self, request: u64, outcome: Result<Bytes, RequestError>) {
        let waker = {
            let mut inner = self.lock();
            // Whoever asked may have given up.
            let Some(slot) = inner.requests.get_mut(&request) else { return };
            match std::mem::replace(slot, Slot::Done(outcome)) {
                Slot::Waiting(waker) => waker,
                Slot::Done(_) => None,
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The server's answer to the handshake.
    pub(super) async fn connected(&self) -> Result<Bytes, ConnectError> {
        poll_fn(|cx| {
            let mut inner = self.lock();
            if let Some(hello) = &inner.hello {
                return Poll::Ready(Ok(hello.clone()));
            }
            if let Some((code, body)) = inner.refused.take() {
                return Poll::Ready(Err(ConnectError::Refused { code, body }));
            }
            if let Some(reason) = inner.closed {
                return Poll::Ready(Err(ConnectError::Closed(reason)));
            }
            inner.watch(cx);
            Poll::Pending
        })
        .await
    }

    /// The next message of the server, if there is one already.
    pub(super) fn try_next_push(&self) -> Option<Message> {
        let mut inner = self.lock();
        let push = inner.pushes.pop_front();
        if let Some(reader) = inner.reader.take() {
            reader.wake();
        }
        push
    }

    /// The next message of the server; `None` after the end.
    pub(super) async fn next_push(&self) -> Option<Message> {
        poll_fn(|cx| {
            if let Some(push) = self.try_next_push() {
                return Poll::Ready(Some(push));
            }
            let mut inner = self.lock();
            if !inner.pushes.is_empty() {
                // It came between the two locks: look again at once.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if inner.closed.is_some() {
                return Poll::Ready(None);
            }
            inner.watch(cx);
            Poll::Pending
        })
        .await
    }

    /// The end of the connection.
    pub(super) async fn ended(&self) -> CloseReason {
        poll_fn(|cx| {
            let mut inner = self.lock();
            match inner.closed {
                Some(reason) => Poll::Ready(reason),
                None => {
                    inner.watch(cx);
                    Poll::Pending
                }
            }
        })
        .await
    }

    pub(super) fn closed(&self) -> Option<CloseReason> {
        self.lock().closed
    }

    pub(super) fn kicked(&self) -> Option<Bytes> {
        self.lock().kicked.clone()
    }

    pub(super) fn pushes(&self) -> usize {
        self.lock().pushes.len()
    }
}

/// One request that waits for its answer; dropping it gives the answer up.
pub(super) struct Waiting {
    state: Arc<State>,
    pub(super) request: u64,
}

impl Waiting {
    pub(super) fn new(state: &Arc<State>) -> Self {
        let mut inner = state.lock();
        inner.last_request += 1;
        let request = inner.last_request;
        inner.requests.insert(request, Slot::Waiting(None));
        drop(inner);
        Self { state: Arc::clone(state), request }
    }

    pub(super) fn poll_answer(&self, cx: &mut Context<'_>) -> Poll<Result<Bytes, FailedRequest>> {
        let mut inner = self.state.lock();
        let closed = inner.closed;
        match inner.requests.get_mut(&self.request) {
            Some(Slot::Done(_)) => match inner.requests.remove(&self.request) {
                Some(Slot::Done(outcome)) => Poll::Ready(outcome.map_err(FailedRequest::from)),
                _ => Poll::Pending,
            },
            Some(Slot::Waiting(waker)) if closed.is_none() => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(Err(FailedRequest::Closed(closed.unwrap_or(CloseReason::ConnectionLost)))),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.state.lock().requests.remove(&self.request);
    }
}

/// The connection's side.
pub(super) struct Ears(pub(super) Arc<State>);

impl App<Dialect> for Ears {
    fn handle_notice(&mut self, notice: ClientNotice) {
        match notice {
            ClientNotice::Connected(hello) => self.0.tell(|inner| inner.hello = Some(hello)),
            ClientNotice::Refused { code, body } => self.0.tell(|inner| inner.refused = Some((code, body))),
            ClientNotice::Answer { request, body } => self.0.finish(request, Ok(body)),
            ClientNotice::Failed { request, error } => self.0.finish(request, Err(error)),
            ClientNotice::Push { route, body } => {
                self.0.tell(|inner| inner.pushes.push_back(Message { route, body }));
            }
            ClientNotice::Kicked(body) => self.0.tell(|inner| inner.kicked = Some(body)),
            // What the dialect learns to say later.
            _ => {}
        }
    }

    fn poll_command(&mut self, cx: &mut Context<'_>, _has_room: bool) -> Poll<ClientCommand> {
        // Commands come through the mailbox. Here the task only learns how to be woken when pushes are taken.
        let mut inner = self.0.lock();
        if inner.pushes.len() >= self.0.pushes_max {
            inner.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn wants_read(&self) -> bool {
        self.0.lock().pushes.len() < self.0.pushes_max
    }

    fn handle_closed(&mut self, reason: CloseReason) {
        let wakers: Vec<_> = {
            let mut inner = self.0.lock();
            inner.closed.get_or_insert(reason);
            let waiting = inner.requests.values_mut().filter_map(|slot| match slot {
                Slot::Waiting(waker) => waker.take(),
                Slot::Done(_) => None,
            });
            let wakers = waiting.collect::<Vec<_>>();
            wakers.into_iter().chain(std::mem::take(&mut inner.watchers)).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.handle_closed(CloseReason::ConnectionLost);
    }
}
