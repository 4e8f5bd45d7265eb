//! What a client's handle and its connection share.

use std::collections::{BTreeMap, HashMap, VecDeque};
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
    room: Room,
}

/// What messages of the server may wait to be taken before it is no longer read.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) pushes: usize,
    /// Of their routes and bodies.
    pub(super) bytes: usize,
}

#[derive(Default)]
struct Inner {
    last_request: u64,
    requests: HashMap<u64, Slot>,
    pushes: VecDeque<Message>,
    /// In the routes and bodies of `pushes`.
    push_bytes: usize,
    /// The handshake's answer.
    hello: Option<Bytes>,
    refused: Option<(i64, Bytes)>,
    kicked: Option<Bytes>,
    closed: Option<CloseReason>,
    /// The connection's task is done: what could be written is written.
    is_over: bool,
    /// Whoever waits for the handshake, for a push, or for an end.
    watchers: BTreeMap<u64, Waker>,
    last_watcher: u64,
    /// The connection's task, if it waits for room for pushes.
    reader: Option<Waker>,
}

impl Inner {
    fn has_room(&self, room: Room) -> bool {
        self.pushes.len() < room.pushes && self.push_bytes < room.bytes
    }

    fn put_push(&mut self, push: Message) {
        self.push_bytes += push.len();
        self.pushes.push_back(push);
    }

    fn take_push(&mut self, room: Room) -> Option<Taken> {
        let push = self.pushes.pop_front()?;
        self.push_bytes -= push.len();
        let reader = if self.has_room(room) { self.reader.take() } else { None };
        Some(Taken { push, reader })
    }
}

/// A message of the server that was taken, and the task that has waited for its room.
struct Taken {
    push: Message,
    reader: Option<Waker>,
}

impl Taken {
    fn into_push(self) -> Message {
        if let Some(reader) = self.reader {
            reader.wake();
        }
        self.push
    }
}

/// The place of a future among the watchers; dropping it gives the place up.
struct Watcher<'a> {
    state: &'a State,
    place: Option<u64>,
}

impl Watcher<'_> {
    /// Sees to it that the future is woken by the next change. What it left there before is handed back, not dropped:
    /// a waker may be the last of a task that holds other futures of this state, and these lock it.
    fn wait(&mut self, inner: &mut Inner, cx: &Context<'_>) -> Option<Waker> {
        let place = *self.place.get_or_insert_with(|| {
            inner.last_watcher += 1;
            inner.last_watcher
        });
        inner.watchers.insert(place, cx.waker().clone())
    }
}

impl Drop for Watcher<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let left = self.state.lock().watchers.remove(&place);
            drop(left);
        }
    }
}

impl State {
    pub(super) fn new(room: Room) -> Self {
        Self { inner: Mutex::default(), room }
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
        watchers.into_values().for_each(Waker::wake);
    }

    /// Waits until `look` finds something.
    async fn watch<T>(&self, mut look: impl FnMut(&mut Inner) -> Option<T>) -> T {
        let mut watcher = Watcher { state: self, place: None };
        poll_fn(|cx| {
            let mut inner = self.lock();
            if let Some(found) = look(&mut inner) {
                return Poll::Ready(found);
            }
            let left = watcher.wait(&mut inner, cx);
            drop(inner);
            drop(left);
            Poll::Pending
        })
        .await
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
        self.watch(|inner| {
            if let Some(hello) = &inner.hello {
                return Some(Ok(hello.clone()));
            }
            if let Some((code, body)) = inner.refused.take() {
                return Some(Err(ConnectError::Refused { code, body }));
            }
            inner.closed.map(|reason| Err(ConnectError::Closed(reason)))
        })
        .await
    }

    /// The next message of the server, if there is one already.
    pub(super) fn try_next_push(&self) -> Option<Message> {
        let taken = self.lock().take_push(self.room);
        taken.map(Taken::into_push)
    }

    /// The next message of the server; `None` after the end.
    pub(super) async fn next_push(&self) -> Option<Message> {
        let taken = self.watch(|inner| match inner.take_push(self.room) {
            Some(taken) => Some(Some(taken)),
            None => inner.closed.map(|_| None),
        });
        taken.await.map(Taken::into_push)
    }

    /// The end of the connection.
    pub(super) async fn ended(&self) -> CloseReason {
        self.watch(|inner| inner.closed).await
    }

    /// The end of the connection's task, which goes on writing what was queued before the end of the connection.
    pub(super) async fn over(&self) -> CloseReason {
        self.watch(|inner| inner.closed.filter(|_| inner.is_over)).await
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
                // Not dropped under the lock, as with watchers.
                let left = waker.replace(cx.waker().clone());
                drop(inner);
                drop(left);
                Poll::Pending
            }
            _ => Poll::Ready(Err(FailedRequest::Closed(closed.unwrap_or(CloseReason::ConnectionLost)))),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let left = self.state.lock().requests.remove(&self.request);
        drop(left);
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
                self.0.tell(|inner| inner.put_push(Message { route, body }));
            }
            ClientNotice::Kicked(body) => self.0.tell(|inner| inner.kicked = Some(body)),
            // What the dialect learns to say later.
            _ => {}
        }
    }

    fn poll_command(&mut self, cx: &mut Context<'_>, _has_room: bool) -> Poll<ClientCommand> {
        // Commands come through the mailbox. Here the task only learns how to be woken when pushes are taken.
        let mut inner = self.0.lock();
        if !inner.has_room(self.0.room) {
            inner.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn wants_read(&self) -> bool {
        self.0.lock().has_room(self.0.room)
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
            wakers.into_iter().chain(std::mem::take(&mut inner.watchers).into_values()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Goes with the connection's task.
impl Drop for Ears {
    fn drop(&mut self) {
        self.handle_closed(CloseReason::ConnectionLost);
        self.0.tell(|inner| inner.is_over = true);
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn futures_that_were_given_up_leave_nothing() {
        let state = Arc::new(State::new(Room { pushes: 1, bytes: 1 }));
        let mut ears = Ears(Arc::clone(&state));
        block_on(async {
            let mut kept = Box::pin(state.next_push());
            for _ in 0..10 {
                assert!(poll_once(&mut kept).await.is_none());
                assert!(poll_once(state.ended()).await.is_none());
                assert!(poll_once(state.connected()).await.is_none());
                assert!(poll_once(state.next_push()).await.is_none());
                assert_eq!(state.lock().watchers.len(), 1);
            }
            ears.handle_notice(ClientNotice::Push { route: Bytes::new(), body: Bytes::new() });
            assert!(kept.await.is_some());
            assert!(state.lock().watchers.is_empty());
        });
    }

    #[test]
    fn the_server_is_read_while_there_is_room_in_number_and_in_bytes() {
        let push = |len| ClientNotice::Push { route: "r".into(), body: vec![0; len].into() };
        let read = |pushes, bytes, lens: &[usize]| {
            let state = Arc::new(State::new(Room { pushes, bytes }));
            let mut ears = Ears(Arc::clone(&state));
            lens.iter().for_each(|len| ears.handle_notice(push(*len)));
            let before = ears.wants_read();
            let _ = state.try_next_push();
            (before, ears.wants_read())
        };
        assert_eq!(read(9, 10, &[3, 4]), (true, true));
        assert_eq!(read(9, 10, &[3, 5]), (false, true));
        // One that is larger than all the room is taken once it is there, and more when it is gone.
        assert_eq!(read(9, 10, &[99]), (false, true));
        assert_eq!(read(9, 10, &[3, 99]), (false, false));
        assert_eq!(read(2, 10, &[0, 0]), (false, true));
        assert_eq!(read(2, 10, &[0, 0, 0]), (false, false));
    }

    #[test]
    fn the_connection_is_woken_when_there_is_room_again() {
        let state = Arc::new(State::new(Room { pushes: 9, bytes: 10 }));
        let mut ears = Ears(Arc::clone(&state));
        for _ in 0..3 {
            ears.handle_notice(ClientNotice::Push { route: Bytes::new(), body: vec![0; 8].into() });
        }
        assert!(ears.poll_command(&mut Context::from_waker(Waker::noop()), true).is_pending());
        for (is_waiting, wants_read) in [(true, false), (false, true), (false, true)] {
            assert!(state.try_next_push().is_some());
            assert_eq!(state.lock().reader.is_some(), is_waiting);
            assert_eq!(ears.wants_read(), wants_read);
        }
    }
}
