//! A blocking HTTP and WebSocket client, for what is not pomelo.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;
use super::wire::frame;

/// What a WebSocket brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Text(String),
    Pong(String),
    /// A close frame: code and reason.
    Close(u16, String),
    /// The end of the connection.
    End,
}

/// An answer of an HTTP server.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    /// In lower case, with the line of the status.
    pub(super) head: String,
    pub(super) body: String,
}

/// A connection that begins with HTTP.
pub(super) struct Web {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Web {
    pub(super) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens there");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Asks, and reads the answer; the connection stays.
    pub(super) fn ask(&mut self, request: &str) -> Response {
        // Who is refused at the door is answered before it has asked.
        let _ = self.raw(request.as_bytes());
        self.response()
    }

    /// The next answer, whether asked for or not.
    pub(super) fn response(&mut self) -> Response {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(
                self.fill().expect("an answer") > 0,
                "no answer: {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        };
        let rest = self.buffer.split_off(end);
        let head = std::mem::replace(&mut self.buffer, rest);
        let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length = length.map_or(0, |length| length.parse().expect("a number"));
        while self.buffer.len() < length {
            assert!(self.fill().expect("a body") > 0, "cut within the body");
        }
        let rest = self.buffer.split_off(length);
        let body = String::from_utf8(std::mem::replace(&mut self.buffer, rest)).expect("text");
        Response { status, head, body }
    }

    /// Upgrades on a path, with more header lines.
    pub(super) fn upgrade(&mut self, path: &str, more: &str) -> Response {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost:1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        ))
    }

    /// A WebSocket on a path.
    pub(super) fn open(address: SocketAddr, path: &str) -> Self {
        Self::open_with(address, path, "")
    }

    pub(super) fn open_with(address: SocketAddr, path: &str, more: &str) -> Self {
        let mut web = Self::connect(address);
        let answer = web.upgrade(path, more);
        assert_eq!(answer.status, 101, "{answer:?}");
        web
    }

    /// Sends one message or control frame.
    pub(super) fn send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        self.raw(&frame(opcode, payload))
    }

    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.send(1, text.as_bytes())
    }

    /// What comes next; pings are not worth mentioning.
    pub(super) fn next(&mut self) -> Said {
        loop {
            let Some((opcode, payload)) = self.take_frame() else {
                match self.fill() {
                    Ok(0) => return Said::End,
                    Ok(_) => continue,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Said::End,
                    Err(error) => panic!("nothing comes: {error}"),
                }
            };
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
            match opcode {
                1 => return Said::Text(text(&payload)),
                8 => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    return Said::Close(code, text(payload.get(2..).unwrap_or_default()));
                }
                9 => {}
                10 => return Said::Pong(text(&payload)),
                other => panic!("a server sent opcode {other}"),
            }
        }
    }

    /// Whether something comes within a while.
    pub(super) fn is_silent(&mut self, span: Duration) -> bool {
        self.stream.set_read_timeout(Some(span)).expect("a timeout");
        let silent = self.buffer.is_empty() && self.fill().is_err();
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        silent
    }

    /// Says goodbye and waits for the end.
    pub(super) fn leave(mut self) {
        let _ = self.send(8, &1000_u16.to_be_bytes());
        while self.next() != Said::End {}
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 16 * 1024];
        let count = self.stream.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count)
    }

    /// The next frame; servers neither mask nor fragment.
    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second, rest @ ..] = self.buffer.as_slice() else { return None };
        let opcode = first & 0x0f;
        let (head, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (10, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).expect("it fits")),
            length => (2, usize::from(*length)),
        };
        if self.buffer.len() < head + length {
            return None;
        }
        let rest = self.buffer.split_off(head + length);
        let payload = std::mem::replace(&mut self.buffer, rest).split_off(head);
        Some((opcode, payload))
    }
}
