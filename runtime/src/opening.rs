//! Opening a WebSocket as a client.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::client_async;
use async_tungstenite::tungstenite::Error;
use async_tungstenite::tungstenite::handshake::client::{Request, Response};
use futures_io::{AsyncRead, AsyncWrite};
use linkspan_core::Limits;
use linkspan_core::websocket::Side;

use crate::SocketTransport;

/// How much of the answer is read at a time.
const READ: usize = 1024;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> SocketTransport<S> {
    /// Asks the server at the other end of `stream` for the upgrade, and returns its answer too.
    ///
    /// # Errors
    ///
    /// What is wrong with the request or with the answer.
    pub async fn open(request: Request, stream: S, limits: &Limits) -> Result<(Self, Response), Error> {
        let answer = Answer { stream, received: Vec::new(), taken: 0, end: None };
        let (socket, response) = Box::pin(client_async(request, answer)).await?;
        let Answer { stream, received, taken, .. } = socket.into_inner();
        Ok((Self::new(stream, Side::Client, &received[taken..], limits), response))
    }
}

/// A stream that gives out the head of the answer, and keeps what was received behind it.
struct Answer<S> {
    stream: S,
    received: Vec<u8>,
    /// How much of it was given out.
    taken: usize,
    /// Where the head ends.
    end: Option<usize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Answer<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        const END: &[u8] = b"\r\n\r\n";
        let this = self.get_mut();
        if this.end.is_none() && this.taken == this.received.len() {
            let mut piece = [0; READ];
            let count = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece))?;
            let from = this.received.len().saturating_sub(END.len() - 1);
            this.received.extend_from_slice(&piece[..count]);
            let at = this.received[from..].windows(END.len()).position(|bytes| bytes == END);
            this.end = at.map(|at| from + at + END.len());
        }
        let known = &this.received[this.taken..this.end.unwrap_or(this.received.len())];
        let count = known.len().min(into.len());
        into[..count].copy_from_slice(&known[..count]);
        this.taken += count;
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Answer<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
