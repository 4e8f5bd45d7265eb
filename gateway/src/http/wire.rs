//! The stream under hyper, watched.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use linkspan_runtime::Runtime;

use super::state::State;

/// A stream that tells the [`State`] of its connection whether the client takes and whether it has hung up.
pub(super) struct Wire<R: Runtime> {
    stream: R::Stream,
    state: Arc<State<R>>,
}

impl<R: Runtime> Wire<R> {
    pub(super) fn new(stream: R::Stream, state: Arc<State<R>>) -> Self {
        Self { stream, state }
    }

    pub(super) fn into_inner(self) -> R::Stream {
        self.stream
    }
}

impl<R: Runtime> AsyncRead for Wire<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        if count == 0 && !into.is_empty() && self.state.is_owing() {
            // Told now, hyper would drop the answer; a client may say all it has to say and then read.
            self.state.note_end();
            return Poll::Pending;
        }
        self.state.note_read(&into[..count]);
        Poll::Ready(Ok(count))
    }
}

impl<R: Runtime> AsyncWrite for Wire<R> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, data);
        self.state.note_write(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.state.note_write(&polled);
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
