//! A session that a test speaks by hand, over a real socket, frame by frame.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use linkspan_core::tunnel::{Content, Message, Target};

use super::accept::accept_key;

/// How long anything may take that takes no time.
const PATIENCE: Duration = Duration::from_secs(20);
/// The example of RFC 6455 and its answer: nobody caches what is asked with it here.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const MASK: [u8; 4] = [1, 2, 3, 4];

/// One WebSocket, from either side of its handshake.
pub struct Link {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Whether what is sent must be masked.
    is_client: bool,
    last_id: i64,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// One whole frame: its opcode and what it carries.
    Frame(u8, Vec<u8>),
    /// Nothing within the time.
    Nothing,
    /// The connection has ended.
    Over,
}

impl Link {
    fn over(stream: TcpStream, is_client: bool) -> Self {
        stream.set_nodelay(true).expect("it can be set");
        stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("it can be set");
        Self { stream, buffer: Vec::new(), is_client, last_id: 0 }
    }

    /// Asks for a WebSocket at `/connect` with more headers, whole lines.
    ///
    /// # Errors
    ///
    /// The head of an answer that is no 101.
    pub fn connect(to: SocketAddr, headers: &str) -> Result<Self, String> {
        let mut link = Self::over(TcpStream::connect(to).expect("it listens"), true);
        link.send_bytes(
            format!(
                "GET /connect HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
            )
            .as_bytes(),
        );
        let head = link.head();
        if head.starts_with("HTTP/1.1 101 ") { Ok(link) } else { Err(head) }
    }

    /// An agent of that name.
    pub fn open(to: SocketAddr, id: &str) -> Self {
        Self::connect(to, &format!("X-Tunnel-ID: {id}\r\n")).expect("agents may come in")
    }

    /// The server's side, for whoever has connected.
    pub fn accept(stream: TcpStream) -> Self {
        let mut link = Self::over(stream, false);
        let head = link.head();
        let key = head.lines().find_map(|line| {
            line.to_ascii_lowercase().starts_with("sec-websocket-key:").then(|| line[18..].trim().to_owned())
        });
        let accept = accept_key(&key.unwrap_or_else(|| panic!("no key in {head}")));
        link.send_bytes(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            )
            .as_bytes(),
        );
        link
    }

    fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return String::from_utf8_lossy(&head).into_owned();
            }
            if !matches!(self.fill(), Ok(1..)) {
                return String::from_utf8_lossy(&self.buffer).into_owned();
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut some = [0; 16 * 1024];
        let count = self.stream.read(&mut some)?;
        self.buffer.extend_from_slice(&some[..count]);
        Ok(count)
    }

    /// Bytes as they are, frames or not; whoever no longer takes them shows in what comes back.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// One whole frame.
    pub fn send_frame(&mut self, opcode: u8, payload: &[u8]) {
        let masked = if self.is_client { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            len @ ..126 => frame.push(masked | len as u8),
            len @ ..=0xffff => {
                frame.push(masked | 126);
                frame.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                frame.push(masked | 127);
                frame.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        if self.is_client {
            frame.extend_from_slice(&MASK);
            frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        } else {
            frame.extend_from_slice(payload);
        }
        self.send_bytes(&frame);
    }

    /// One message.
    pub fn say(&mut self, stream: i64, content: Content) {
        self.last_id += 1;
        let frame = Message { id: self.last_id, stream, content }.encode().expect("it can be said");
        self.send_frame(2, &frame.into_bytes());
    }

    /// The next frame, or what there is instead.
    pub fn next(&mut self, wait: Duration) -> Heard {
        let until = Instant::now() + wait;
        loop {
            if let Some((opcode, payload)) = self.take_frame() {
                return Heard::Frame(opcode, payload);
            }
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).expect("it can be set");
            match self.fill() {
                Ok(1..) => {}
                Ok(0) => return Heard::Over,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if Instant::now() >= until {
                        return Heard::Nothing;
                    }
                }
                Err(_) => return Heard::Over,
            }
        }
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second, rest @ ..] = self.buffer.as_slice() else { return None };
        assert_eq!(first & 0xf0, 0x80, "whole messages only");
        let (opcode, mask_len) = (first & 0x0f, if second & 0x80 == 0 { 0 } else { 4 });
        let (head, len) = match second & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (10, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).expect("it fits")),
            len => (2, usize::from(len)),
        };
        if self.buffer.len() < head + mask_len + len {
            return None;
        }
        assert_eq!(mask_len == 0, self.is_client, "clients mask, servers do not");
        let frame: Vec<u8> = self.buffer.drain(..head + mask_len + len).collect();
        let (mask, payload) = frame[head..].split_at(mask_len);
        let plain = match mask {
            [] => payload.to_vec(),
            _ => payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect(),
        };
        Some((opcode, plain))
    }

    /// The next message within `wait`.
    ///
    /// # Errors
    ///
    /// The session has ended.
    pub fn hear(&mut self, wait: Duration) -> Result<Option<Message>, Over> {
        let until = Instant::now() + wait;
        loop {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Heard::Frame(2, payload) => {
                    return Ok(Some(Message::decode(&payload.into()).expect("it is readable")));
                }
                Heard::Frame(9, payload) => self.send_frame(10, &payload),
                Heard::Frame(8, _) | Heard::Over => return Err(Over),
                Heard::Frame(..) => {}
                Heard::Nothing => return Ok(None),
            }
        }
    }

    /// The next message that `wanted` takes.
    pub fn until(&mut self, wanted: impl Fn(&Message) -> bool) -> Message {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(message) = self.hear(PATIENCE).expect("the session lives")
                && wanted(&message)
            {
                return message;
            }
        }
        panic!("it never came");
    }

    /// What a server asks to dial, and the stream's number.
    pub fn until_connect(&mut self) -> (i64, Target) {
        let message = self.until(|message| matches!(message.content, Content::Connect(_)));
        match message.content {
            Content::Connect(target) => (message.stream, target),
            _ => unreachable!(),
        }
    }
}

/// A session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over;
