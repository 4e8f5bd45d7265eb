//! A tunnelled stream as a byte stream.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use linkspan_core::tunnel::StreamEnd;

use super::line::Line;

/// One stream of a tunnel: a byte stream to something at the other end.
///
/// Reading pushes back to the far end, and writing waits for it. Closing says that the stream ends once all that was
/// written is sent; the protocol cannot end one direction alone, so what still comes in is thrown away then. Dropping
/// a stream that neither side has ended aborts it.
///
/// The protocol has no answer to a dial. A target that cannot be reached shows as an error of the first read, whose
/// inner error is a [`StreamError`].
pub struct TunnelStream {
    line: Arc<Line>,
    /// What was read and did not fit.
    rest: Bytes,
}

/// Why a tunnelled stream is over, other than by a normal end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The far end says so; its words are not to be trusted.
    #[error("{}", .0.escape_ascii())]
    Peer(Bytes),
    /// The far end no longer knows the stream.
    #[error("sync from client")]
    Stale,
    /// The far end's dial took too long.
    #[error("dial timeout")]
    DialTimeout,
    /// The far end took no data for too long.
    #[error("no progress")]
    Stalled,
    /// More was on its way than may be held.
    #[error("buffer full")]
    Overflow,
    /// The session has ended.
    #[error("tunnel disconnect")]
    Disconnected,
    /// This side has ended the stream.
    #[error("the stream has ended")]
    Ended,
}

impl StreamError {
    /// `None` for a normal end.
    pub(super) fn of(end: &StreamEnd) -> Option<Self> {
        match end {
            StreamEnd::Eof | StreamEnd::Finished => None,
            StreamEnd::Error(text) => Some(Self::Peer(text.clone())),
            StreamEnd::Stale => Some(Self::Stale),
            StreamEnd::DialTimeout => Some(Self::DialTimeout),
            StreamEnd::Stalled => Some(Self::Stalled),
            StreamEnd::Overflow => Some(Self::Overflow),
            _ => Some(Self::Ended),
        }
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match error {
            StreamError::DialTimeout | StreamError::Stalled => io::ErrorKind::TimedOut,
            StreamError::Ended => io::ErrorKind::BrokenPipe,
            _ => io::ErrorKind::ConnectionReset,
        };
        Self::new(kind, error)
    }
}

impl TunnelStream {
    pub(super) fn new(line: Arc<Line>) -> Self {
        Self { line, rest: Bytes::new() }
    }

    /// The next bytes, as they came, without a copy; `None` at the normal end.
    ///
    /// # Errors
    ///
    /// A [`StreamError`]; all that came before it was given out.
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.rest))));
        }
        Poll::Ready(ready!(self.line.poll_read(cx)).map_err(io::Error::from))
    }

    /// As [`poll_bytes`](Self::poll_bytes).
    ///
    /// # Errors
    ///
    /// As [`poll_bytes`](Self::poll_bytes).
    pub async fn next_bytes(&mut self) -> io::Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_bytes(cx)).await
    }

    /// Ready when [`send_bytes`](Self::send_bytes) may be called; how many bytes fit well.
    ///
    /// # Errors
    ///
    /// The stream has ended.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.line.poll_room(cx)
    }

    /// Sends bytes without a copy, as one piece: of at most 32 KiB they stay one message. What is sent beyond the room
    /// there is counts all the same, and what is sent after the end is dropped.
    pub fn send_bytes(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.line.write_piece(bytes);
        }
    }

    /// Ends the stream at once; the far end is told `text`, cut to 100 bytes.
    pub fn abort(self, text: impl Into<Bytes>) {
        self.line.abort(text.into());
    }

    /// Ends the stream once all that was written is sent.
    pub fn finish(self) {
        self.line.close();
    }

    /// Says that what the peer asked for is dialled.
    pub(super) fn accept(&self) {
        self.line.accept();
    }

    /// The error that ends the stream, if one does.
    pub(super) fn poll_failed(&self, cx: &mut Context<'_>) -> Poll<StreamError> {
        self.line.poll_failed(cx)
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.rest.is_empty() {
            match ready!(self.line.poll_read(cx)) {
                Ok(Some(bytes)) => self.rest = bytes,
                Ok(None) => return Poll::Ready(Ok(0)),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        let count = self.rest.len().min(into.len());
        into[..count].copy_from_slice(&self.rest.split_to(count));
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let room = ready!(self.line.poll_room(cx))?;
        let count = data.len().min(room);
        self.line.write(&data[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The session sends what it can at once.
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for TunnelStream {
    fn drop(&mut self) {
        self.line.abandon();
    }
}

impl fmt::Debug for TunnelStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelStream").field("id", &self.line.id).finish_non_exhaustive()
    }
}
