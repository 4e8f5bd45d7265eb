//! What hyper's side of a connection and ours both know.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Frame, SizeHint};
use linkspan_core::http::framing::Framing;
use linkspan_core::http::patience::{Outcome, Patience};
use linkspan_core::{CloseReason, Instant};
use linkspan_runtime::{Host, Permit, Runtime};

use super::exchange::LINGER;
use super::{Answer, Body, BoxError, Takeover};

/// What hyper's side of a connection and ours both know.
pub(super) struct State<R: Runtime> {
    host: Arc<Host>,
    inner: Mutex<Inner<R>>,
    /// A request was read and its answer has not been handed over to the end.
    owing: AtomicBool,
}

struct Inner<R: Runtime> {
    permit: Option<Permit>,
    /// Who has the connection after the answer that is on its way.
    takeover: Option<Takeover<R>>,
    patience: Patience,
    framing: Framing,
    /// Requests so far.
    asked: u64,
}

impl<R: Runtime> State<R> {
    pub(super) fn new(host: Arc<Host>, permit: Permit) -> Arc<Self> {
        let patience = Patience::new(host.limits().write_timeout, LINGER);
        let inner = Mutex::new(Inner {
            permit: Some(permit),
            takeover: None,
            patience,
            framing: Framing::new(),
            asked: 0,
        });
        Arc::new(Self { host, inner, owing: AtomicBool::new(false) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner<R>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Requests.

    /// A request has come in: an answer is owed until what this gives is dropped.
    pub(super) fn owe(self: &Arc<Self>) -> Owing<R> {
        self.owing.store(true, Ordering::Relaxed);
        Owing(Arc::clone(self))
    }

    /// Bytes were read for the parser.
    pub(super) fn note_read(&self, bytes: &[u8]) {
        self.inner().framing.handle_bytes(bytes);
    }

    /// Takes the next request; whether it says in two ways where it ends, of which the parser shows one.
    pub(super) fn takes_doubtful(&self) -> bool {
        let inner = &mut *self.inner();
        inner.asked += 1;
        inner.framing.is_doubtful(inner.asked)
    }

    pub(super) fn is_owing(&self) -> bool {
        self.owing.load(Ordering::Relaxed)
    }

    // Upgrades.

    /// Remembers who has the connection next, in the name of `client`.
    ///
    /// # Errors
    ///
    /// What the client should be told: its address may not have another connection.
    pub(super) fn hand_over(&self, client: SocketAddr, takeover: Takeover<R>) -> Result<(), CloseReason> {
        let mut inner = self.inner();
        if let Some(permit) = &mut inner.permit
            && permit.peer() != client
        {
            permit.speak_for(client)?;
        }
        inner.takeover = Some(takeover);
        Ok(())
    }

    pub(super) fn is_handed_over(&self) -> bool {
        self.inner().takeover.is_some()
    }

    /// Who has the connection next, and its place in the process.
    pub(super) fn take_over(&self) -> Option<(Takeover<R>, Permit)> {
        let mut inner = self.inner();
        inner.takeover.take().zip(inner.permit.take())
    }

    // Patience.

    pub(super) fn note_write<T>(&self, polled: &Poll<std::io::Result<T>>) {
        let patience = &mut self.inner().patience;
        match polled {
            Poll::Pending => patience.handle_blocked(self.host.clock().now()),
            Poll::Ready(_) => patience.handle_written(),
        }
    }

    pub(super) fn note_end(&self) {
        self.inner().patience.handle_ended(self.host.clock().now());
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.inner().patience.next_timeout()
    }

    /// Whether the connection is to be given up.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        match self.inner().patience.outcome(now) {
            Outcome::Waiting => false,
            Outcome::Stalled | Outcome::Gone => true,
        }
    }
}

/// An answer that is being made.
pub(super) struct Owing<R: Runtime>(Arc<State<R>>);

impl<R: Runtime> Owing<R> {
    /// The answer; it is owed until its body is through.
    pub(super) fn around(self, answer: Answer) -> Response<Owed<R>> {
        answer.map(|body| Owed { body, _owing: self })
    }
}

impl<R: Runtime> Drop for Owing<R> {
    fn drop(&mut self) {
        self.0.owing.store(false, Ordering::Relaxed);
    }
}

/// The body of an answer that is owed.
pub(super) struct Owed<R: Runtime> {
    body: Body,
    _owing: Owing<R>,
}

impl<R: Runtime> hyper::body::Body for Owed<R> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
