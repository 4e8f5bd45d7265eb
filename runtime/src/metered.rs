//! A stream that tells how much was written to it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use crate::ahead::Ahead;

/// Counts what a stream takes, below a library that buffers: a large message on a slow line makes progress long before
/// it is written.
#[derive(Debug)]
pub struct Metered<S> {
    stream: S,
    written: u64,
    /// What was read in advance, where that is wanted.
    ahead: Option<Box<Ahead>>,
}

impl<S> Metered<S> {
    /// Counts from 0.
    pub const fn new(stream: S) -> Self {
        Self { stream, written: 0, ahead: None }
    }

    /// Bytes that the stream has taken.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// From now on reads in large steps while much comes, whatever the steps of the library. What is read in advance
    /// stays in memory while the library does not read: up to 128 KiB.
    pub(crate) fn read_ahead(&mut self) {
        self.ahead.get_or_insert_default();
    }

    fn count(&mut self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = outcome {
            self.written += count as u64;
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let Self { stream, ahead, .. } = &mut *self;
        match ahead {
            Some(ahead) => ahead.poll_read(stream, cx, into),
            None => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, data);
        self.count(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.count(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
