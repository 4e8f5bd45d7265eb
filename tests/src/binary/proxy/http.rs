//! HTTP by hand: what is sent is what was written here, byte for byte.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::binary::PATIENCE;

/// One connection.
pub(in crate::binary) struct Wire {
    pub(in crate::binary) stream: TcpStream,
    buffer: Vec<u8>,
}

/// One reply.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::binary) struct Reply {
    pub(in crate::binary) status: u16,
    pub(in crate::binary) head: String,
    pub(in crate::binary) body: Vec<u8>,
    /// What came behind a chunked body.
    pub(in crate::binary) trailers: String,
    /// Whether the body ended as its head says.
    pub(in crate::binary) is_whole: bool,
}

impl Reply {
    pub(in crate::binary) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Wire {
    pub(in crate::binary) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("it can be set");
        stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("it can be set");
        Self { stream, buffer: Vec::new() }
    }

    pub(in crate::binary) fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).expect("it listens"))
    }

    /// Sends bytes; whoever does not take them any more shows in what comes back.
    pub(in crate::binary) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(in crate::binary) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Some bytes, buffered ones first.
    pub(in crate::binary) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.buffer.is_empty() {
            return self.stream.read(into);
        }
        let count = self.buffer.len().min(into.len());
        into[..count].copy_from_slice(&self.buffer[..count]);
        self.buffer.drain(..count);
        Ok(count)
    }

    fn fill(&mut self) -> bool {
        let mut some = [0; 16 * 1024];
        match self.stream.read(&mut some) {
            Ok(count) => {
                self.buffer.extend_from_slice(&some[..count]);
                count > 0
            }
            Err(_) => false,
        }
    }

    /// The next head with its empty line; `None` if the connection ends before.
    pub(in crate::binary) fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.buffer.drain(..end + 4).collect::<Vec<_>>();
                return Some(String::from_utf8_lossy(&head).into_owned());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Exactly so many bytes, or fewer if the connection ends before.
    pub(in crate::binary) fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count && self.fill() {}
        self.buffer.drain(..count.min(self.buffer.len())).collect()
    }

    /// A line without its end.
    pub(in crate::binary) fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line = self.buffer.drain(..end + 2).collect::<Vec<_>>();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Everything up to the end of the connection.
    pub(in crate::binary) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// Sends a request and reads its reply.
    pub(in crate::binary) fn ask(&mut self, request: &str) -> Reply {
        self.send(request.as_bytes());
        self.reply(request.starts_with("HEAD "))
    }

    /// The next reply that is not an interim one.
    pub(in crate::binary) fn reply(&mut self, to_head: bool) -> Reply {
        let Some(head) = self.head() else { return Reply::default() };
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        if status == 100 {
            return self.reply(to_head);
        }
        let mut reply = Reply { status, head, is_whole: true, ..Reply::default() };
        if to_head || matches!(status, 101 | 204 | 304) {
            return reply;
        }
        if field(&reply.head, "transfer-encoding").is_some() {
            (reply.body, reply.trailers, reply.is_whole) = self.chunks();
        } else if let Some(length) = field(&reply.head, "content-length") {
            let length = length.parse().expect("a number");
            reply.body = self.exactly(length);
            reply.is_whole = reply.body.len() == length;
        } else {
            reply.body = self.rest();
        }
        reply
    }

    /// One chunk; empty for the last; `None` if the connection ends before.
    pub(in crate::binary) fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(&self.line()?, 16).ok()?;
        let chunk = self.exactly(size);
        if chunk.len() < size {
            return None;
        }
        if size > 0 {
            self.line()?;
        }
        Some(chunk)
    }

    fn chunks(&mut self) -> (Vec<u8>, String, bool) {
        let mut body = Vec::new();
        loop {
            match self.chunk() {
                None => return (body, String::new(), false),
                Some(chunk) if chunk.is_empty() => break,
                Some(chunk) => body.extend(chunk),
            }
        }
        let mut trailers = String::new();
        while let Some(line) = self.line() {
            if line.is_empty() {
                return (body, trailers, true);
            }
            trailers.push_str(&line);
            trailers.push('\n');
        }
        (body, trailers, false)
    }
}

/// The value of a header, of the first with this name.
pub(in crate::binary) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find_map(|(own, value)| own.eq_ignore_ascii_case(name).then(|| value.trim()))
}

/// The body of a request, as its head says.
pub(in crate::binary) fn decoded(wire: &mut Wire, head: &str) -> Vec<u8> {
    if field(head, "transfer-encoding").is_some() {
        let (body, trailers, _) = wire.chunks();
        return [body, trailers.into_bytes()].concat();
    }
    let length = field(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    wire.exactly(length)
}
