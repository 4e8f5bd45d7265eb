//! A WebSocket as transport.

use std::cell::RefCell;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use linkspan_core::websocket::{HEAD_MAX, Incoming, Reader, Side, put_close, put_frame, put_head};
use linkspan_core::{CloseReason, Frame, Limits, Opcode};

use crate::stream::{poll_hang_up, poll_read};
use crate::{Outbox, Received, Transport};

/// So much is read at once.
const READ: usize = 64 * 1024;
/// So much is encoded before it is brought to the socket with one write.
const BATCH: usize = 64 * 1024;
/// Bodies from this size on are written from where they are, if they need no mask.
const DIRECT: usize = 4 * 1024;

thread_local! {
    // Buffers belong to threads, not to connections: an idle connection owns none.
    static INPUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
    static OUTPUT: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(BATCH + HEAD_MAX));
}

/// A WebSocket as transport.
#[derive(Debug)]
pub struct SocketTransport<S> {
    stream: S,
    reader: Reader,
    masks: Option<Masks>,
    out: Unwritten,
    /// The answer to the peer's last ping.
    pong: Option<Bytes>,
    /// Something was written since the stream was last flushed.
    is_dirty: bool,
    peer_close: PeerClose,
    goodbye: Goodbye,
}

/// What is encoded and not yet written.
#[derive(Debug, Default)]
struct Unwritten {
    head: Vec<u8>,
    written: usize,
    /// Written behind the head.
    body: Bytes,
}

/// Whether the peer has said that it closes.
#[derive(Clone, Copy, Debug)]
enum PeerClose {
    Unsaid,
    Said(Option<u16>),
}

#[derive(Debug)]
enum Goodbye {
    Unsaid,
    Said,
    Flushed { shut: bool },
}

/// Masks that nobody can foresee who does not know the key, as RFC 6455 asks of clients.
#[derive(Debug, Default)]
struct Masks {
    key: RandomState,
    last: u64,
}

impl Masks {
    fn next(&mut self) -> [u8; 4] {
        self.last = self.last.wrapping_add(1);
        let [a, b, c, d, ..] = self.key.hash_one(self.last).to_ne_bytes();
        [a, b, c, d]
    }
}

impl Unwritten {
    fn is_empty(&self) -> bool {
        self.head.is_empty() && self.body.is_empty()
    }

    /// Drops what was written of it.
    fn advance(&mut self, count: usize) {
        let of_head = count.min(self.head.len() - self.written);
        self.written += of_head;
        let _ = self.body.split_to((count - of_head).min(self.body.len()));
        if self.written == self.head.len() {
            (self.head, self.written) = (Vec::new(), 0);
        }
    }

    /// Where more can be appended.
    fn end(&mut self) -> &mut Vec<u8> {
        let body = std::mem::take(&mut self.body);
        self.head.extend_from_slice(&body);
        &mut self.head
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> SocketTransport<S> {
    /// The transport over `stream`, whose HTTP upgrade is finished; `leftover` was read behind it. A message may hold a
    /// package of the greatest length that `limits` allow, and its header.
    pub fn new(stream: S, side: Side, leftover: &[u8], limits: &Limits) -> Self {
        let mut reader = Reader::new(side, limits.receive_max as usize + Frame::HEAD_MAX);
        reader.feed(leftover);
        Self {
            stream,
            reader,
            masks: (side == Side::Client).then(Masks::default),
            out: Unwritten::default(),
            pong: None,
            is_dirty: false,
            peer_close: PeerClose::Unsaid,
            goodbye: Goodbye::Unsaid,
        }
    }

    /// Writes what is encoded; says when the stream has taken a part of it.
    fn poll_write_out(
        &mut self,
        cx: &mut Context<'_>,
        mut progress: impl FnMut(),
    ) -> Poll<Result<(), CloseReason>> {
        while !self.out.is_empty() {
            let parts = [&self.out.head[self.out.written..], &self.out.body[..]];
            let count = ready!(poll_write(&mut self.stream, cx, parts))?;
            self.is_dirty = true;
            self.out.advance(count);
            progress();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        if self.is_dirty {
            ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(|_| CloseReason::ConnectionLost)?;
            self.is_dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Encodes a batch and writes what the stream takes of it at once; the rest stays encoded.
    fn write_batch(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox) -> Result<(), CloseReason> {
        OUTPUT.with_borrow_mut(|packed| {
            packed.clear();
            let body = self.encode(packed, outbox);
            let written = match poll_write(&mut self.stream, cx, [packed, &body]) {
                Poll::Ready(count) => count?,
                Poll::Pending => 0,
            };
            if written > 0 {
                self.is_dirty = true;
                outbox.progress();
            }
            let of_head = written.min(packed.len());
            self.out.head.extend_from_slice(&packed[of_head..]);
            self.out.body = body.slice(written - of_head..);
            if packed.capacity() > 2 * BATCH {
                *packed = Vec::with_capacity(BATCH + HEAD_MAX);
            }
            Ok(())
        })
    }

    /// Appends frames to `packed`, up to a batch or to a large body, which is returned.
    fn encode(&mut self, packed: &mut Vec<u8>, outbox: &mut Outbox) -> Bytes {
        if let Some(pong) = self.pong.take() {
            let mask = self.masks.as_mut().map(Masks::next);
            put_frame(packed, Opcode::Pong, &[&pong], mask);
        }
        while packed.len() < BATCH
            && let Some(frame) = outbox.pop()
        {
            if frame.opcode == Opcode::Text && !is_text(&frame) {
                continue;
            }
            let mask = self.masks.as_mut().map(Masks::next);
            if mask.is_none() && frame.body().len() >= DIRECT {
                put_head(packed, frame.opcode, frame.len(), None);
                packed.extend_from_slice(frame.head());
                return frame.body().clone();
            }
            put_frame(packed, frame.opcode, &[frame.head(), frame.body()], mask);
        }
        Bytes::new()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for SocketTransport<S> {
    const NAME: &'static str = "websocket";

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        if matches!(self.peer_close, PeerClose::Said(_)) {
            return Poll::Ready(Received::Ended(CloseReason::PeerClosed));
        }
        loop {
            match self.reader.next_incoming() {
                Ok(Some(Incoming::Message(opcode, data))) => {
                    if opcode == Opcode::Ping {
                        self.pong = Some(data.clone());
                    }
                    return Poll::Ready(Received::Data(opcode, data));
                }
                Ok(Some(Incoming::Close(code))) => {
                    self.peer_close = PeerClose::Said(code);
                    return Poll::Ready(Received::Ended(CloseReason::PeerClosed));
                }
                Ok(None) => {}
                Err(violation) => return Poll::Ready(Received::Ended(violation.into())),
            }
            let reader = &mut self.reader;
            let stream = &mut self.stream;
            let read = INPUT.with_borrow_mut(|input| {
                poll_read(stream, cx, input).map_ok(|count| {
                    reader.feed(&input[..count]);
                    count
                })
            });
            if !matches!(ready!(read), Ok(1..)) {
                return Poll::Ready(Received::Ended(CloseReason::ConnectionLost));
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox) -> Poll<Result<(), CloseReason>> {
        if matches!(self.peer_close, PeerClose::Said(_)) {
            // Nobody reads it any more.
            return Poll::Ready(Err(CloseReason::PeerClosed));
        }
        loop {
            ready!(self.poll_write_out(cx, || outbox.progress()))?;
            outbox.settle();
            if outbox.is_empty() && self.pong.is_none() {
                return self.poll_flush(cx);
            }
            self.write_batch(cx, outbox)?;
        }
    }

    fn wants_send(&self) -> bool {
        self.is_dirty || self.pong.is_some() || !self.out.is_empty()
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, reason: CloseReason) -> Poll<()> {
        loop {
            match &mut self.goodbye {
                Goodbye::Unsaid => {
                    self.goodbye = Goodbye::Said;
                    let mask = self.masks.as_mut().map(Masks::next);
                    match self.peer_close {
                        PeerClose::Unsaid => {
                            put_close(self.out.end(), Some(code(reason)), &reason.close_text(), mask);
                        }
                        PeerClose::Said(code) => put_close(self.out.end(), code, "", mask),
                    }
                }
                Goodbye::Said => {
                    let is_written = ready!(self.poll_write_out(cx, || ())).is_ok();
                    let shut = !is_written || ready!(self.poll_flush(cx)).is_err();
                    self.goodbye = Goodbye::Flushed { shut };
                }
                Goodbye::Flushed { shut } => return poll_hang_up(&mut self.stream, cx, shut),
            }
        }
    }
}

/// What is not valid text is not sent as text.
fn is_text(frame: &Frame) -> bool {
    if frame.head().is_empty() {
        return std::str::from_utf8(frame.body()).is_ok();
    }
    std::str::from_utf8(&[frame.head(), frame.body()].concat()).is_ok()
}

/// The code that the peer is told.
fn code(reason: CloseReason) -> u16 {
    // 1006 is for local use and never written.
    match reason.code() {
        1006 => 1011,
        code => code,
    }
}

/// One write of two parts, one behind the other; again if a signal came in between. Never 0 bytes.
fn poll_write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    parts: [&[u8]; 2],
) -> Poll<Result<usize, CloseReason>> {
    loop {
        let stream = Pin::new(&mut *stream);
        let outcome = match parts {
            [head, []] => stream.poll_write(cx, head),
            [[], body] => stream.poll_write(cx, body),
            [head, body] => stream.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(body)]),
        };
        return match ready!(outcome) {
            Ok(0) => Poll::Ready(Err(CloseReason::ConnectionLost)),
            Ok(count) => Poll::Ready(Ok(count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => Poll::Ready(Err(CloseReason::ConnectionLost)),
        };
    }
}
