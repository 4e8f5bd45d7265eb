//! A WebSocket client that costs little: what it saves is left to the server that is measured.
//!
//! Written apart from the core on purpose: a generator that shares the server's codec shares its mistakes.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;

use crate::link::{connect_tcp, find};

/// Opcodes.
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// How much room a read gets.
const READ_MIN: usize = 16 * 1024;
/// The mask of every frame: unpredictable ones would only cost the generator.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A connection and what it has received.
pub(crate) struct Socket {
    stream: TcpStream,
    out: Vec<u8>,
    written: usize,
    received: BytesMut,
}

impl Socket {
    /// Connects and upgrades; `headers` are whole lines. `index` spreads many connections over source addresses.
    pub(crate) async fn open(
        address: SocketAddr,
        index: usize,
        path: &str,
        headers: &str,
    ) -> io::Result<Self> {
        let stream = connect_tcp(address, index).await?;
        let mut socket = Self { stream, out: Vec::new(), written: 0, received: BytesMut::new() };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        socket.out.extend_from_slice(request.as_bytes());
        loop {
            socket.exchange().await?;
            if let Some(end) = find(&socket.received, b"\r\n\r\n") {
                let head = socket.received.split_to(end + 4);
                // The answer to the key above, from RFC 6455, section 1.3.
                let is_upgraded = head.starts_with(b"HTTP/1.1 101 ")
                    && find(&head, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=").is_some();
                let text = String::from_utf8_lossy(&head);
                return if is_upgraded {
                    Ok(socket)
                } else {
                    Err(io::Error::other(format!("no upgrade: {text}")))
                };
            }
        }
    }

    /// Queues a text message to be sent by the next exchange.
    pub(crate) fn queue_text(&mut self, text: &[u8]) {
        self.queue(TEXT, text);
    }

    /// Queues an empty ping.
    pub(crate) fn queue_ping(&mut self) {
        self.queue(PING, &[]);
    }

    fn queue(&mut self, opcode: u8, body: &[u8]) {
        self.out.push(0x80 | opcode);
        match u16::try_from(body.len()) {
            Ok(length @ 0..=125) => self.out.push(0x80 | length.to_le_bytes()[0]),
            Ok(length) => {
                self.out.push(0x80 | 126);
                self.out.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                self.out.push(0x80 | 127);
                self.out.extend_from_slice(&(body.len() as u64).to_be_bytes());
            }
        }
        self.out.extend_from_slice(&MASK);
        self.out.extend(body.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }

    /// Takes the next message from what was received. Pings are answered, pongs passed over.
    pub(crate) fn take(&mut self) -> io::Result<Option<Bytes>> {
        while let Some((head, length)) = frame(&self.received)? {
            let opcode = self.received[0] & 0x0f;
            self.received.advance(head);
            let body = self.received.split_to(length).freeze();
            match opcode {
                TEXT | BINARY => return Ok(Some(body)),
                PING => self.queue(PONG, &body),
                PONG => {}
                CLOSE => return Err(io::Error::other(format!("closed by the server: {body:?}"))),
                _ => return Err(io::Error::other(format!("opcode {opcode}"))),
            }
        }
        Ok(None)
    }

    /// Sends what is queued, as far as the peer takes it, and waits until something was received.
    pub(crate) async fn exchange(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_exchange(cx)).await
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(message);
            }
            self.exchange().await?;
        }
    }

    /// Sends what is queued; ready when something was received.
    pub(crate) fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        self.received.reserve(READ_MIN);
        let got = ready!(tokio_util::io::poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.received))?;
        Poll::Ready(if got == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) })
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            self.written += ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..]))?;
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

/// The length of the head and of the body of the first frame, if all of it is there.
fn frame(received: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let [first, second, rest @ ..] = received else { return Ok(None) };
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        return Err(io::Error::other(format!("a frame that begins with {first:#x} {second:#x}")));
    }
    let (head, length) = match second {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (4, usize::from(u16::from_be_bytes(*length))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (10, usize::try_from(u64::from_be_bytes(*length)).map_err(io::Error::other)?),
            None => return Ok(None),
        },
        length => (2, usize::from(*length)),
    };
    Ok((received.len() - head >= length).then_some((head, length)))
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn frames_are_found_when_they_are_whole() {
        assert_eq!(frame(b"\x81").unwrap(), None);
        assert_eq!(frame(b"\x81\x02a").unwrap(), None);
        assert_eq!(frame(b"\x81\x02ab").unwrap(), Some((2, 2)));
        assert_eq!(frame(b"\x82\x7e\x00").unwrap(), None);
        let long = [&b"\x82\x7e\x00\x80"[..], &[0; 128], b"more"].concat();
        assert_eq!(frame(&long).unwrap(), Some((4, 128)));
        let longest = [&b"\x82\x7f\0\0\0\0\0\x01\0\0"[..], &[0; 65_536]].concat();
        assert_eq!(frame(&longest).unwrap(), Some((10, 65_536)));
        assert!(frame(b"\x81\x82abcdef").is_err(), "a server does not mask");
        assert!(frame(b"\xc1\x02ab").is_err(), "nothing was negotiated");
    }
}
