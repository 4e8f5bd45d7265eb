//! A WebSocket as transport.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use async_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use futures_core::Stream as _;
use futures_io::{AsyncRead, AsyncWrite};
use futures_sink::Sink as _;
use linkspan_core::{CloseReason, Frame, Limits, Opcode, Violation};

use crate::stream::poll_hang_up;
use crate::{Metered, Outbox, Received, Transport};

/// So much is encoded before it is brought to the socket with one write.
const BATCH: usize = 16 * 1024;
/// The same of a transport for [bulk](SocketTransport::bulk).
const BULK_BATCH: usize = 128 * 1024;
/// The library allocates this much for each connection, and keeps it.
const READ_BUFFER: usize = 4 * 1024;
/// The longest header of a WebSocket frame.
const HEADER_MAX: usize = 14;

/// A WebSocket as transport.
#[derive(Debug)]
pub struct SocketTransport<S> {
    socket: WebSocketStream<Metered<S>>,
    /// What the meter showed at the last look.
    written: u64,
    /// So many bytes are encoded before they are brought to the socket.
    batch: usize,
    /// Bytes encoded since everything was written.
    unflushed: usize,
    /// Something was encoded, by us or by the library, and is not yet written.
    dirty: bool,
    goodbye: Goodbye,
}

#[derive(Debug)]
enum Goodbye {
    Unsaid,
    Said,
    Flushed { shut: bool },
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> SocketTransport<S> {
    /// The transport over `stream`, whose HTTP upgrade is finished; `leftover` was read behind it.
    pub async fn new(stream: S, role: Role, leftover: Vec<u8>, limits: &Limits) -> Self {
        let config = Some(Self::config(limits));
        let stream = Metered::new(stream);
        let socket = if leftover.is_empty() {
            WebSocketStream::from_raw_socket(stream, role, config).await
        } else {
            WebSocketStream::from_partially_read(stream, leftover, role, config).await
        };
        Self::over(socket)
    }

    /// The transport over a WebSocket that was made with [`config`](Self::config).
    pub const fn over(socket: WebSocketStream<Metered<S>>) -> Self {
        Self { socket, written: 0, batch: BATCH, unflushed: 0, dirty: false, goodbye: Goodbye::Unsaid }
    }

    /// The same transport for connections that carry much and are read at all times: while much comes it reads up to
    /// 128 KiB at once, and it writes as much. One that carried much keeps a write buffer of that size.
    #[must_use]
    pub fn bulk(mut self) -> Self {
        self.batch = BULK_BATCH;
        self.socket.get_mut().read_ahead();
        self
    }

    /// The bounds of a WebSocket: a message may hold a package of the greatest length and its header, and what is
    /// encoded is bounded by one batch and one message.
    pub fn config(limits: &Limits) -> WebSocketConfig {
        let receive = limits.receive_max as usize + Frame::HEAD_MAX;
        let send = limits.send_max as usize + Frame::HEAD_MAX + HEADER_MAX;
        WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(2 * BULK_BATCH)
            .max_write_buffer_size(2 * BULK_BATCH + send)
            .max_message_size(Some(receive))
            .max_frame_size(Some(receive))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        let outcome = ready!(Pin::new(&mut self.socket).poll_flush(cx));
        self.unflushed = 0;
        self.dirty = false;
        Poll::Ready(outcome.map_err(|error| reason(&error)))
    }

    fn feed(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), CloseReason> {
        self.dirty = true;
        self.unflushed += message.len() + HEADER_MAX;
        // The library is ready for more even after a write that would block; what it may hold is bounded by `batch`.
        let _ = Pin::new(&mut self.socket).poll_ready(cx);
        Pin::new(&mut self.socket).start_send(message).map_err(|error| reason(&error))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for SocketTransport<S> {
    const NAME: &'static str = "websocket";

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        let received = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
            Some(Ok(Message::Binary(data))) => Received::Data(Opcode::Binary, data),
            Some(Ok(Message::Text(text))) => Received::Data(Opcode::Text, text.into()),
            Some(Ok(Message::Ping(data))) => {
                self.dirty = true;
                Received::Data(Opcode::Ping, data)
            }
            Some(Ok(Message::Pong(data))) => Received::Data(Opcode::Pong, data),
            Some(Ok(Message::Close(_) | Message::Frame(_))) | None => {
                Received::Ended(CloseReason::PeerClosed)
            }
            Some(Err(error)) => Received::Ended(reason(&error)),
        };
        Poll::Ready(received)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox) -> Poll<Result<(), CloseReason>> {
        loop {
            while self.unflushed < self.batch
                && let Some(frame) = outbox.pop()
            {
                if let Some(message) = message(frame) {
                    self.feed(cx, message)?;
                }
            }
            if self.dirty {
                let flushed = self.poll_flush(cx);
                let written = self.socket.get_ref().written();
                if written > self.written {
                    self.written = written;
                    outbox.progress();
                }
                ready!(flushed)?;
            }
            outbox.settle();
            if outbox.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn wants_send(&self) -> bool {
        self.dirty
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, reason: CloseReason) -> Poll<()> {
        loop {
            match &mut self.goodbye {
                Goodbye::Unsaid => {
                    self.goodbye = Goodbye::Said;
                    // After a close frame of the peer this fails: the library has answered it already.
                    let _ = self.feed(cx, Message::Close(Some(close_frame(reason))));
                }
                Goodbye::Said => {
                    let shut = ready!(self.poll_flush(cx)).is_err();
                    self.goodbye = Goodbye::Flushed { shut };
                }
                Goodbye::Flushed { shut } => return poll_hang_up(self.socket.get_mut(), cx, shut),
            }
        }
    }
}

/// The frame as a message; what is not valid text is not sent as text.
fn message(frame: Frame) -> Option<Message> {
    let opcode = frame.opcode;
    let data = frame.into_bytes();
    match opcode {
        Opcode::Stream | Opcode::Binary => Some(Message::Binary(data)),
        Opcode::Text => Utf8Bytes::try_from(data).ok().map(Message::Text),
        Opcode::Ping => Some(Message::Ping(data)),
        Opcode::Pong => Some(Message::Pong(data)),
    }
}

fn close_frame(reason: CloseReason) -> CloseFrame {
    // 1006 is for local use and never written.
    let code = match reason.code() {
        1006 => 1011,
        code => code,
    };
    CloseFrame { code: CloseCode::from(code), reason: reason.close_text().into_owned().into() }
}

fn reason(error: &tungstenite::Error) -> CloseReason {
    use tungstenite::Error;
    use tungstenite::error::ProtocolError;
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => CloseReason::PeerClosed,
        Error::Capacity(_) => Violation::PackageTooLarge.into(),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => CloseReason::ConnectionLost,
        Error::Protocol(_) => Violation::MessageInvalid.into(),
        Error::Utf8(_) => Violation::TextInvalid.into(),
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => CloseReason::PeerClosed,
        _ => CloseReason::ConnectionLost,
    }
}
