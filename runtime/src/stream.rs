//! A byte stream as transport: TCP.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use linkspan_core::{CloseReason, Opcode};

use crate::{Outbox, Received, Transport};

/// Small frames are packed into one write of up to this many bytes.
const PACK: usize = 16 * 1024;
/// Bodies from this size on are written from where they are.
const DIRECT: usize = 4 * 1024;

thread_local! {
    // Buffers belong to threads, not to connections: an idle connection owns none.
    static INPUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; StreamTransport::<()>::CHUNK].into());
    static OUTPUT: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(PACK));
}

/// A byte stream as transport.
#[derive(Debug)]
pub struct StreamTransport<S> {
    stream: S,
    shut: bool,
}

impl<S> StreamTransport<S> {
    /// The largest piece of input that is handed over at once, in bytes.
    pub const CHUNK: usize = 64 * 1024;

    /// The transport over `stream`.
    pub const fn new(stream: S) -> Self {
        Self { stream, shut: false }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for StreamTransport<S> {
    const NAME: &'static str = "tcp";

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        INPUT.with_borrow_mut(|input| {
            let received = match ready!(poll_read(&mut self.stream, cx, input)) {
                Ok(0) => Received::Ended(CloseReason::PeerClosed),
                Ok(count) => Received::Data(Opcode::Stream, Bytes::copy_from_slice(&input[..count])),
                Err(_) => Received::Ended(CloseReason::ConnectionLost),
            };
            Poll::Ready(received)
        })
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox) -> Poll<Result<(), CloseReason>> {
        loop {
            // Frames without payload need no write.
            outbox.advance(0);
            if outbox.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match ready!(poll_write(&mut self.stream, cx, outbox)) {
                Ok(0) => return Poll::Ready(Err(CloseReason::ConnectionLost)),
                Ok(count) => outbox.advance(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Poll::Ready(Err(CloseReason::ConnectionLost)),
            }
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, _reason: CloseReason) -> Poll<()> {
        poll_hang_up(&mut self.stream, cx, &mut self.shut)
    }
}

/// Reads, again if a signal came in between.
fn poll_read<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    into: &mut [u8],
) -> Poll<io::Result<usize>> {
    loop {
        match ready!(Pin::new(&mut *stream).poll_read(cx, into)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return Poll::Ready(outcome),
        }
    }
}

/// Ends the outgoing side, then reads and drops what still comes in: a socket that is closed with unread input resets
/// the connection, and the peer may lose our last bytes.
pub(crate) fn poll_hang_up<S>(stream: &mut S, cx: &mut Context<'_>, shut: &mut bool) -> Poll<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if !*shut {
        if ready!(Pin::new(&mut *stream).poll_close(cx)).is_err() {
            return Poll::Ready(());
        }
        *shut = true;
    }
    INPUT.with_borrow_mut(|input| {
        // A peer that never stops sending is dropped after a fair amount.
        for _ in 0..16 {
            match ready!(poll_read(stream, cx, input)) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        Poll::Ready(())
    })
}

/// One write of as much as is sensible.
fn poll_write<S>(stream: &mut S, cx: &mut Context<'_>, outbox: &Outbox) -> Poll<io::Result<usize>>
where
    S: AsyncWrite + Unpin,
{
    OUTPUT.with_borrow_mut(|packed| {
        packed.clear();
        let direct = pack(outbox, packed);
        let stream = Pin::new(stream);
        match (packed.is_empty(), direct) {
            (_, None) => stream.poll_write(cx, packed),
            (true, Some(body)) => stream.poll_write(cx, body),
            (false, Some(body)) => {
                stream.poll_write_vectored(cx, &[IoSlice::new(packed), IoSlice::new(body)])
            }
        }
    })
}

/// Packs what is written next: small parts are copied to `packed`, a large body that follows them is returned.
fn pack<'a>(outbox: &'a Outbox, packed: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (frames, mut skip) = outbox.frames();
    for frame in frames {
        for part in [frame.head(), frame.body()] {
            let skipped = skip.min(part.len());
            skip -= skipped;
            let part = &part[skipped..];
            if part.len() >= DIRECT {
                return Some(part);
            }
            if packed.len() + part.len() > PACK {
                return None;
            }
            packed.extend_from_slice(part);
        }
    }
    None
}
