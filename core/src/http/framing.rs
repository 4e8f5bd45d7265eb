//! Where the requests of a connection begin and end, and which of them two servers could cut differently.

use core::mem;

/// Follows the bytes of one connection from the first on, and notes a request whose body has both a length and a
/// transfer coding: what the one server takes for its body can be the next request to the other (RFC 9112 §6.1, §11.2).
///
/// It stands beside a parser that throws one of the two away without a word. What that parser refuses is not judged
/// here: the connection ends with it. Memory is constant, and what was read in pieces gives the same as at once.
///
/// ```
/// use linkspan_core::http::framing::Framing;
///
/// let mut framing = Framing::new();
/// framing.handle_bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 5\r\n");
/// framing.handle_bytes(b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
/// assert!(!framing.is_doubtful(1) && framing.is_doubtful(2));
/// ```
#[derive(Clone, Debug)]
pub struct Framing {
    part: Part,
    /// Complete heads so far.
    heads: u64,
    /// Which of them is in doubt, counted from 1; nothing is followed behind it.
    doubtful: Option<u64>,
    /// The beginning of a field's name in lower case, and how long the name is so far.
    name: [u8; Framing::NAME_MAX],
    name_len: usize,
    length: Option<u64>,
    /// A length is no number. The parser refuses it, but for a request that has a coding, too: there it never looks.
    is_length_odd: bool,
    is_coded: bool,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Nothing yet: empty lines before a request.
    Start,
    RequestLine,
    Name,
    /// The value of a field that says nothing about the body.
    Value,
    /// The value of a `Content-Length`.
    Length,
    Body(u64),
    ChunkSize(u64),
    /// What follows the size in its line.
    ChunkExtension(u64),
    Chunk(u64),
    ChunkEnd,
    /// The lines behind the last chunk. They end with both bytes: the parser takes a lone line feed for a part of one.
    Trailer {
        is_empty: bool,
        has_cr: bool,
    },
    /// What comes is none of the requests that the parser beside this reads.
    Lost,
}

impl Default for Framing {
    fn default() -> Self {
        Self::new()
    }
}

impl Framing {
    const LENGTH: &[u8] = b"content-length";
    const CODING: &[u8] = b"transfer-encoding";
    /// The beginning of a line behind the last chunk.
    const TRAILER: Part = Part::Trailer { is_empty: true, has_cr: false };
    /// A byte more than the longest name that is looked for.
    const NAME_MAX: usize = Self::CODING.len() + 1;

    /// Nothing was read.
    pub const fn new() -> Self {
        Self {
            part: Part::Start,
            heads: 0,
            doubtful: None,
            name: [0; Self::NAME_MAX],
            name_len: 0,
            length: None,
            is_length_odd: false,
            is_coded: false,
        }
    }

    /// Whether the request of this number, from 1 on, is in doubt. Its head was read.
    pub fn is_doubtful(&self, number: u64) -> bool {
        self.doubtful == Some(number)
    }

    /// The next bytes of the connection.
    pub fn handle_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.part != Part::Lost {
            let used = match self.part {
                Part::RequestLine | Part::Value => self.skip_line(bytes, Part::Name),
                Part::ChunkEnd => self.skip_line(bytes, Part::ChunkSize(0)),
                Part::ChunkExtension(size) => self.skip_line(bytes, Self::chunk(size)),
                Part::Body(left) => self.skip(bytes, left, Part::Start, Part::Body),
                Part::Chunk(left) => self.skip(bytes, left, Part::ChunkEnd, Part::Chunk),
                _ => {
                    self.handle_byte(bytes[0]);
                    1
                }
            };
            bytes = &bytes[used..];
        }
    }

    /// Up to the end of the line, behind which `then` begins.
    fn skip_line(&mut self, bytes: &[u8], then: Part) -> usize {
        match bytes.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                self.part = then;
                at + 1
            }
            None => bytes.len(),
        }
    }

    fn skip(&mut self, bytes: &[u8], left: u64, then: Part, rest: impl Fn(u64) -> Part) -> usize {
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - used as u64;
        self.part = if left == 0 { then } else { rest(left) };
        used
    }

    fn handle_byte(&mut self, byte: u8) {
        self.part = match (self.part, byte) {
            (Part::Start, b'\r' | b'\n') => Part::Start,
            (Part::Start, _) => Part::RequestLine,
            (Part::Name, b'\r') => Part::Name,
            (Part::Name, b'\n') if self.name_len == 0 => self.end_head(),
            // A line without a colon is refused by the parser.
            (Part::Name, b'\n') => Part::Lost,
            (Part::Name, b':') => self.end_name(),
            (Part::Name, _) => {
                if let Some(place) = self.name.get_mut(self.name_len) {
                    *place = byte.to_ascii_lowercase();
                    self.name_len += 1;
                }
                Part::Name
            }
            (Part::Length, b' ' | b'\t' | b'\r') => Part::Length,
            (Part::Length, b'\n') => Part::Name,
            (Part::Length, b'0'..=b'9') => {
                let more = self.length.and_then(|length| length.checked_mul(10));
                match more.and_then(|length| length.checked_add(u64::from(byte - b'0'))) {
                    Some(length) => self.length = Some(length),
                    None => self.is_length_odd = true,
                }
                Part::Length
            }
            (Part::Length, _) => {
                self.is_length_odd = true;
                Part::Value
            }
            (Part::ChunkSize(size), b'\n') => Self::chunk(size),
            (Part::ChunkSize(size), b'\r' | b' ' | b'\t' | b';') => Part::ChunkExtension(size),
            (Part::ChunkSize(size), _) => match (char::from(byte).to_digit(16), size.checked_mul(16)) {
                (Some(digit), Some(size)) => Part::ChunkSize(size + u64::from(digit)),
                _ => Part::Lost,
            },
            (Part::Trailer { is_empty, has_cr: true }, b'\n') => {
                if is_empty {
                    Part::Start
                } else {
                    Self::TRAILER
                }
            }
            (Part::Trailer { is_empty, has_cr: false }, b'\r') => Part::Trailer { is_empty, has_cr: true },
            (Part::Trailer { has_cr: false, .. }, _) => Part::Trailer { is_empty: false, has_cr: false },
            _ => Part::Lost,
        };
    }

    fn end_name(&mut self) -> Part {
        match &self.name[..mem::take(&mut self.name_len)] {
            Self::LENGTH => {
                self.length = Some(0);
                Part::Length
            }
            Self::CODING => {
                self.is_coded = true;
                Part::Value
            }
            _ => Part::Value,
        }
    }

    fn end_head(&mut self) -> Part {
        self.heads += 1;
        let is_length_odd = mem::take(&mut self.is_length_odd);
        match (self.length.take(), mem::take(&mut self.is_coded)) {
            (Some(_), true) => {
                self.doubtful = Some(self.heads);
                Part::Lost
            }
            (Some(_), false) if is_length_odd => Part::Lost,
            // The parser takes no other coding than this one.
            (None, true) => Part::ChunkSize(0),
            (Some(length), false) if length > 0 => Part::Body(length),
            (_, false) => Part::Start,
        }
    }

    const fn chunk(size: u64) -> Part {
        if size == 0 { Self::TRAILER } else { Part::Chunk(size) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    const BOTH: &str = "POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-length:3\r\n\r\n";

    /// Whether the doubt is found at request `number` behind `before`, cut into pieces of any size.
    fn finds(before: &str, number: u64) -> bool {
        let bytes = [before, BOTH].concat().into_bytes();
        let found: [bool; 4] = [1, 3, 7, usize::MAX].map(|size| {
            let mut framing = Framing::new();
            bytes.chunks(size).for_each(|piece| framing.handle_bytes(piece));
            framing.is_doubtful(number)
        });
        assert!(found.iter().all(|one| *one == found[0]), "{before:?}: {found:?}");
        found[0]
    }

    #[test]
    fn what_comes_before_does_not_hide_it() {
        for (before, number) in [
            ("", 1),
            ("\r\n\r\n", 1),
            ("GET / HTTP/1.1\nHost: a\n\n", 2),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 2),
            ("PUT / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd", 2),
            ("PUT / HTTP/1.1\r\nContent-Length:                              \t 0004  \r\n\r\n\r\n\r\n", 2),
            ("PUT / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 2),
            ("PUT / HTTP/1.1\r\nContent-Lengthy: 9\r\n\r\n", 2),
            (
                "PUT / HTTP/1.1\r\nTransfer-Encoding: CHUNKED\r\n\r\n3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n",
                2,
            ),
            ("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\nY: 2\r\n\r\n", 2),
            ("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", 3),
        ] {
            assert!(finds(before, number), "{before:?}");
        }
    }

    #[test]
    fn a_length_that_is_none_is_one_too_many_beside_a_coding() {
        // hyper reads such a request: it looks at no length once there is a coding.
        for length in ["", "+4", "4,4", "4 4", "abc", "99999999999999999999"] {
            for (first, last) in [("Transfer-Encoding: chunked", ""), ("", "Transfer-Encoding: chunked\r\n")]
            {
                let first = if first.is_empty() { "A: b" } else { first };
                let head = format!("POST /b HTTP/1.1\r\n{first}\r\nContent-Length: {length}\r\n{last}\r\n");
                let mut framing = Framing::new();
                framing.handle_bytes(head.as_bytes());
                assert!(framing.is_doubtful(1), "{head:?}");
            }
        }
    }

    #[test]
    fn a_lone_line_feed_ends_no_trailer() {
        // hyper reads on to an empty line that ends with both bytes; what stands before it is no request.
        let inner = "PUT / HTTP/1.1\r\nContent-Length: 1000\r\n";
        for trailer in ["X: 1\n\r\n", "\n\r\n", "X: 1\n\nY: 2\r\n"] {
            let before =
                format!("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailer}{inner}\r\n");
            assert!(finds(&before, 2), "{before:?}");
        }
    }

    #[test]
    fn bodies_are_no_heads() {
        let inner = format!("PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{BOTH}", BOTH.len());
        let mut framing = Framing::new();
        framing.handle_bytes(inner.as_bytes());
        assert!(!framing.is_doubtful(1) && !framing.is_doubtful(2));
        assert!(finds(&inner, 2), "the one behind it");
        // What the parser beside it refuses is not followed.
        for lost in [
            "PUT / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: +4\r\n\r\n",
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "PUT / HTTP/1.1\r\nno colon\r\n\r\n",
        ] {
            assert!(!finds(lost, 1) && !finds(lost, 2), "{lost:?}");
        }
    }
}
