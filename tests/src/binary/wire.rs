//! A blocking connection that carries packages: plain, or as WebSocket messages.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::PATIENCE;

/// What carries packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Tcp,
    WebSocket,
}

pub(super) const CARRIERS: [Carrier; 2] = [Carrier::Tcp, Carrier::WebSocket];

/// The example of RFC 6455, and its answer.
pub(super) const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ACCEPTED: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// One connection.
pub(super) struct Wire {
    stream: TcpStream,
    carrier: Carrier,
    buffer: Vec<u8>,
    /// What the server gave as its reason, where the carrier has a place for it.
    pub(super) closed_with: Option<u16>,
}

impl Wire {
    /// Connects, and upgrades where the carrier wants it.
    pub(super) fn open(address: SocketAddr, carrier: Carrier) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut wire = Self { stream, carrier, buffer: Vec::new(), closed_with: None };
        if carrier == Carrier::WebSocket {
            wire.upgrade()?;
        }
        Ok(wire)
    }

    /// Sends the head of a request; the connection if it is upgraded, otherwise the whole answer.
    pub(super) fn knock(address: SocketAddr, head: &str) -> io::Result<Result<Self, String>> {
        let mut wire = Self::open(address, Carrier::Tcp)?;
        wire.raw(head.as_bytes())?;
        loop {
            if let Some(end) = wire.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&wire.buffer[..end + 4]).into_owned();
                if head.starts_with("HTTP/1.1 101 ") {
                    wire.take(end + 4);
                    wire.carrier = Carrier::WebSocket;
                    return Ok(Ok(wire));
                }
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or_default();
                if wire.buffer.len() >= end + 4 + length {
                    return Ok(Err(String::from_utf8_lossy(&wire.buffer).into_owned()));
                }
            }
            if wire.fill()? == 0 {
                return Ok(Err(String::from_utf8_lossy(&wire.buffer).into_owned()));
            }
        }
    }

    /// Sends one text message.
    pub(super) fn send_text(&mut self, text: &str) -> io::Result<()> {
        self.raw(&frame(1, text.as_bytes()))
    }

    /// The next text message; `None` at the end.
    pub(super) fn receive_text(&mut self) -> io::Result<Option<String>> {
        loop {
            while let Some((opcode, payload)) = self.take_frame() {
                match opcode {
                    1 => return String::from_utf8(payload).map(Some).map_err(io::Error::other),
                    8 => self.closed_with = payload.first_chunk().map(|code| u16::from_be_bytes(*code)),
                    9 | 10 => {}
                    opcode => panic!("a server sent opcode {opcode}"),
                }
            }
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
    }

    /// How long the next reads may wait.
    pub(super) fn set_patience(&self, patience: std::time::Duration) {
        let _ = self.stream.set_read_timeout(Some(patience));
    }

    fn upgrade(&mut self) -> io::Result<()> {
        self.raw(UPGRADE.as_bytes())?;
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = self.buffer.split_off(end + 4);
                let head = String::from_utf8_lossy(&std::mem::replace(&mut self.buffer, rest)).into_owned();
                if head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPTED) {
                    return Ok(());
                }
                return Err(io::Error::other(head));
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// A second handle that only sends.
    pub(super) fn sender(&self) -> Self {
        let stream = self.stream.try_clone().expect("a socket can be had twice");
        Self { stream, carrier: self.carrier, buffer: Vec::new(), closed_with: None }
    }

    /// Sends bytes in one piece: one write, or one message.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.carrier {
            Carrier::Tcp => self.raw(bytes),
            Carrier::WebSocket => self.raw(&message(bytes)),
        }
    }

    /// Sends bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will come.
    pub(super) fn hang_up(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends it, for all handles.
    pub(super) fn cut(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// The next package; `None` at the end.
    pub(super) fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            match self.carrier {
                Carrier::Tcp => {
                    if let Some(package) = self.take_package() {
                        return Ok(Some(package));
                    }
                }
                Carrier::WebSocket => {
                    while let Some((opcode, payload)) = self.take_frame() {
                        match opcode {
                            2 => {
                                assert_eq!(
                                    package_length(&payload),
                                    Some(payload.len()),
                                    "one package per message"
                                );
                                return Ok(Some(payload));
                            }
                            8 => {
                                self.closed_with =
                                    payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                            }
                            9 | 10 => {}
                            opcode => panic!("a server sent opcode {opcode}"),
                        }
                    }
                }
            }
            if self.fill()? == 0 {
                assert!(self.buffer.is_empty(), "ended within a package: {:?}", self.buffer);
                return Ok(None);
            }
        }
    }

    /// Everything that comes until the end, unread.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        while self.fill()? > 0 {
            self.buffer.clear();
        }
        Ok(())
    }

    /// Reads some more. A reset is an end like any other: it is what follows on bytes that the server did not read.
    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(count);
        std::mem::replace(&mut self.buffer, rest)
    }

    fn take_package(&mut self) -> Option<Vec<u8>> {
        let length = package_length(&self.buffer).filter(|length| *length <= self.buffer.len())?;
        Some(self.take(length))
    }

    /// The next frame; servers neither mask nor fragment.
    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second, rest @ ..] = self.buffer.as_slice() else { return None };
        assert_eq!(first & 0xf0, 0x80, "whole messages only");
        let opcode = first & 0x0f;
        let (head, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (10, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).expect("it fits")),
            length => (2, usize::from(*length)),
        };
        if self.buffer.len() < head + length {
            return None;
        }
        let payload = self.take(head + length).split_off(head);
        Some((opcode, payload))
    }
}

/// One masked binary message.
pub(super) fn message(payload: &[u8]) -> Vec<u8> {
    frame(2, payload)
}

/// One masked frame that is a whole message.
pub(super) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ ..126 => frame.push(0x80 | length as u8),
        length @ ..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// How long the package is that begins here, once its head is there.
fn package_length(bytes: &[u8]) -> Option<usize> {
    let [_, high, middle, low, ..] = bytes else { return None };
    Some(4 + (usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low)))
}
