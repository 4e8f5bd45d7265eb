//! A stream in hyper's terms.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use hyper::rt::{Read, ReadBufCursor, Write};

/// How much is read at once, in bytes.
const CHUNK: usize = 64 * 1024;

thread_local! {
    // hyper's buffers are not filled before they are read into, and those of our streams have to be: one buffer that is
    // filled already, and a copy of what was read, cost less than filling hyper's at each attempt.
    static INPUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

/// A stream in hyper's terms.
#[derive(Debug)]
pub(crate) struct HyperIo<S>(S);

impl<S> HyperIo<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self(stream)
    }

    pub(crate) fn into_inner(self) -> S {
        self.0
    }
}

impl<S: AsyncRead + Unpin> Read for HyperIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        INPUT.with_borrow_mut(|input| {
            let room = into.remaining().min(input.len());
            let count = ready!(Pin::new(&mut self.0).poll_read(cx, &mut input[..room]))?;
            into.put_slice(&input[..count]);
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncWrite + Unpin> Write for HyperIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, parts)
    }
}
