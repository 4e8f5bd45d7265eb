//! The body of a reply on its way to the client.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use linkspan_runtime::Runtime;

use super::pool::Lease;
use crate::http::BoxError;

/// The body of a reply: read only as fast as the client takes it. Its connection goes back to the pool once the body is
/// read; dropped before, the connection is closed, and so is one whose body ends in an error: the client sees a reply
/// that is cut.
pub(super) struct Passing<R: Runtime> {
    body: Incoming,
    /// `None` once the body is read, or has failed.
    lease: Option<Lease<R>>,
    is_reusable: bool,
    /// When the time for the exchange is over.
    deadline: Option<Pin<Box<R::Sleep>>>,
}

impl<R: Runtime> Passing<R> {
    pub(super) fn new(
        body: Incoming,
        lease: Lease<R>,
        is_reusable: bool,
        deadline: Option<Pin<Box<R::Sleep>>>,
    ) -> Self {
        let mut passing = Self { body, lease: Some(lease), is_reusable, deadline };
        passing.release_at_end();
        passing
    }

    fn release_at_end(&mut self) {
        if self.body.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release(self.is_reusable);
        }
    }
}

// Nothing in it is pinned in place: what has to be is boxed.
impl<R: Runtime> Unpin for Passing<R> {}

impl<R: Runtime> Body for Passing<R> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.lease.is_some()
            && let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            self.lease = None;
            self.deadline = None;
            return Poll::Ready(Some(Err(Cut.into())));
        }
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                self.release_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a proxied body was cut");
                self.lease = None;
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                self.release();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The time for the exchange was over before its body.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time for the exchange is over")
    }
}

impl Error for Cut {}
