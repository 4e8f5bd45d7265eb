//! The body of the fuzz target of HTTP framing: beside hyper, and a reference that sees everything at once.

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use linkspan_core::http::framing::Framing;

/// What a byte from 0x80 on stands for, so that few bytes make whole requests.
const TOKENS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n",
    "POST /b HTTP/1.1\r\n",
    "PUT / HTTP/1.0\r\n",
    "Content-Length: ",
    "content-length:4\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding:",
    "chunked",
    "gzip, ",
    "\r\n",
    "\r\n\r\n",
    "0\r\n\r\n",
    "4\r\nabcd\r\n",
    "X: 1\r\n",
    "X: 1\n",
    ";a=b",
    " ",
    "\t",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "99999999999999999999",
    "fffffffffffffffff",
    "0000",
    "Upgrade: websocket\r\nConnection: upgrade\r\n",
    BOTH,
];

/// A request that says in two ways where it ends.
const BOTH: &str = "POST /both HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n";

/// The bounds of the gateway.
const HEAD_MAX: usize = 16 * 1024;
const FIELDS_MAX: usize = 64;

/// Any bytes as one connection: byte 0 says how it is cut, the others are bytes and pieces of HTTP.
///
/// # Panics
///
/// If a request that hyper hands over is in doubt and is not said to be, or the other way round, or if hyper and the
/// reference cut the connection differently, or if cuts change anything.
pub fn http_framing(data: &[u8]) {
    let [cut, rest @ ..] = data else { return };
    let mut bytes = Vec::new();
    for &byte in rest {
        match TOKENS.get(usize::from(byte).wrapping_sub(0x80)) {
            Some(token) => bytes.extend_from_slice(token.as_bytes()),
            None => bytes.push(byte),
        }
    }
    let cut = usize::from(*cut).max(1);
    let whole = doubtful(&bytes, usize::MAX);
    for size in [1, 3, cut] {
        assert_eq!(doubtful(&bytes, size), whole, "pieces of {size} change nothing");
    }
    let end = check(&bytes, cut);
    // Where a request ends the next one begins, whatever there was before.
    check(&[&bytes[..end], BOTH.as_bytes()].concat(), cut);
}

/// Which of the requests is in doubt.
fn doubtful(bytes: &[u8], size: usize) -> Option<u64> {
    let mut framing = Framing::new();
    bytes.chunks(size).for_each(|piece| framing.handle_bytes(piece));
    (1..=bytes.len() as u64).find(|number| framing.is_doubtful(*number))
}

/// Holds what hyper hands over against the reference and [`Framing`]; where the last request ended that it read whole.
fn check(bytes: &[u8], cut: usize) -> usize {
    let (mut expected, mut end, mut is_over) = (Requests(bytes), 0, false);
    for seen in hyper(bytes, cut) {
        assert!(!is_over, "nothing is read behind what is in doubt");
        let expected = expected.next().expect("a request for the reference, too");
        assert_eq!((seen.method.as_bytes(), &seen.fields), (expected.method, &expected.other_fields()));
        assert_eq!(seen.is_doubtful, expected.is_doubtful(), "{}", String::from_utf8_lossy(bytes));
        expected.check_is_plain();
        if let Some(body) = &seen.body {
            let (read, rest) = expected.body.as_ref().expect("a whole body for the reference, too");
            assert_eq!(body, read);
            end = bytes.len() - rest.len();
        } else if expected.codings().count() == 0 {
            assert!(expected.body.is_none(), "all of the body is there");
        }
        is_over = seen.is_doubtful;
    }
    end
}

/// A name in lower case and a value.
type Field = (String, Vec<u8>);

/// A request as hyper hands it over.
struct Seen {
    method: String,
    /// Those that do not say where the body ends, in order of the names.
    fields: Vec<Field>,
    /// `None` if it is not whole, or refused.
    body: Option<Vec<u8>>,
    is_doubtful: bool,
}

/// The requests that hyper finds in `bytes` with the bounds of the gateway, reading `cut` bytes at a time.
fn hyper(bytes: &[u8], cut: usize) -> Vec<Seen> {
    let framing = Rc::new(RefCell::new(Framing::new()));
    let log = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let at = log.borrow().len();
        let says_more = |name: &_| *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING;
        let fields = request.headers().iter().filter(|(name, _)| says_more(*name));
        let mut fields: Vec<Field> =
            fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
        fields.sort();
        let is_doubtful = framing.borrow().is_doubtful(at as u64 + 1);
        let method = request.method().to_string();
        log.borrow_mut().push(Seen { method, fields, body: None, is_doubtful });
        let log = Rc::clone(&log);
        async move {
            let body = collect(request.into_body()).await;
            log.borrow_mut()[at].body = body;
            let mut answer = Response::new(String::new());
            *answer.status_mut() = StatusCode::NOT_FOUND;
            Ok::<_, io::Error>(answer)
        }
    });
    let wire = Wire { bytes: bytes.to_vec(), read: 0, cut, framing: Rc::clone(&framing) };
    let mut builder = http1::Builder::new();
    // Who has said everything may still wait for answers.
    builder.half_close(true).header_read_timeout(None).auto_date_header(false);
    builder.max_headers(FIELDS_MAX).max_header_size(HEAD_MAX).max_buf_size(HEAD_MAX + 1024);
    {
        let mut connection = pin!(builder.serve_connection(wire, service));
        let mut cx = Context::from_waker(Waker::noop());
        // It waits for nothing: it only gives way to others now and then.
        let turns = 100 + bytes.len();
        let ended = (0..turns).any(|_| connection.as_mut().poll(&mut cx).is_ready());
        assert!(ended, "hyper waits for something");
    }
    log.take()
}

/// A whole body; `None` if it is refused or breaks off.
async fn collect(body: Incoming) -> Option<Vec<u8>> {
    let (mut body, mut whole) = (pin!(body), Vec::new());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if let Some(data) = frame.ok()?.data_ref() {
            whole.extend_from_slice(data);
        }
    }
    Some(whole)
}

/// What hyper reads, noted as the gateway notes it; what it writes is lost.
struct Wire {
    bytes: Vec<u8>,
    read: usize,
    cut: usize,
    framing: Rc<RefCell<Framing>>,
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let most = self.cut.min(into.remaining()).min(self.bytes.len() - self.read);
        let piece = &self.bytes[self.read..self.read + most];
        self.framing.borrow_mut().handle_bytes(piece);
        into.put_slice(piece);
        self.read += most;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The reference: the requests of a connection, read by one who has all of it before him.
struct Requests<'a>(&'a [u8]);

/// A request that a server may hand over, or refuse.
struct Expected<'a> {
    method: &'a [u8],
    lines: Vec<&'a [u8]>,
    fields: Vec<Field>,
    /// The body, and what comes behind it.
    body: Option<(Vec<u8>, &'a [u8])>,
}

impl<'a> Iterator for Requests<'a> {
    type Item = Expected<'a>;

    fn next(&mut self) -> Option<Expected<'a>> {
        while let Some(rest) = self.0.strip_prefix(b"\r\n").or_else(|| self.0.strip_prefix(b"\n")) {
            self.0 = rest;
        }
        let (mut lines, mut rest) = (Vec::new(), self.0);
        loop {
            let (line, behind) = split(rest, b"\n")?;
            rest = behind;
            match line.strip_suffix(b"\r").unwrap_or(line) {
                b"" => break,
                line => lines.push(line),
            }
        }
        let method = lines.remove(0).split(|byte| *byte == b' ').next()?;
        let fields = lines.iter().map(|line| {
            let (name, value) = split(line, b":").unwrap_or((line, b""));
            (String::from_utf8_lossy(name).to_ascii_lowercase(), trim(value).to_vec())
        });
        let mut request = Expected { method, fields: fields.collect(), lines, body: None };
        request.body = request.body(rest);
        self.0 = request.body.as_ref().map_or(&[], |(_, rest)| rest);
        Some(request)
    }
}

impl<'a> Expected<'a> {
    fn values(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |(own, _)| own == name).map(|(_, value)| &value[..])
    }

    fn codings(&self) -> impl Iterator<Item = &[u8]> {
        self.values("transfer-encoding")
    }

    fn lengths(&self) -> impl Iterator<Item = &[u8]> {
        self.values("content-length")
    }

    fn is_doubtful(&self) -> bool {
        self.codings().next().is_some() && self.lengths().next().is_some()
    }

    fn other_fields(&self) -> Vec<Field> {
        let others =
            self.fields.iter().filter(|(name, _)| name != "transfer-encoding" && name != "content-length");
        let mut others: Vec<_> = others.cloned().collect();
        others.sort();
        others
    }

    /// What hyper must have refused: what other servers may read in another way.
    fn check_is_plain(&self) {
        for line in &self.lines {
            let name = split(line, b":").map(|(name, _)| name);
            let is_token = |name: &[u8]| !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
            assert!(
                name.is_some_and(is_token),
                "{line:?} is no field, folded, or has a blank before its colon"
            );
        }
        if let Some(coding) = self.codings().last() {
            let last = coding.rsplit(|byte| *byte == b',').next().map(trim);
            assert!(
                last.is_some_and(|last| last.eq_ignore_ascii_case(b"chunked")),
                "an end that nobody knows"
            );
        } else {
            assert!(self.lengths().all(|one| !one.is_empty() && one.iter().all(u8::is_ascii_digit)));
            let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
            let first = self.lengths().next().map(number);
            assert!(self.lengths().all(|one| Some(number(one)) == first), "lengths that differ");
        }
    }

    fn body(&self, rest: &'a [u8]) -> Option<(Vec<u8>, &'a [u8])> {
        if self.codings().next().is_some() {
            return chunks(rest);
        }
        let length = self.lengths().next().unwrap_or(b"0");
        let length = std::str::from_utf8(length).ok()?.parse().ok()?;
        rest.split_at_checked(length).map(|(body, rest)| (body.to_vec(), rest))
    }
}

/// The chunks, and what comes behind the last trailer.
fn chunks(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let (line, behind) = split(rest, b"\r\n")?;
        let size = line.split(|byte| b" \t;".contains(byte)).next()?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        rest = behind;
        if size == 0 {
            break;
        }
        let (chunk, behind) = rest.split_at_checked(size)?;
        body.extend_from_slice(chunk);
        rest = behind.strip_prefix(b"\r\n")?;
    }
    loop {
        let (line, behind) = split(rest, b"\r\n")?;
        rest = behind;
        if line.is_empty() {
            return Some((body, rest));
        }
    }
}

/// What stands before and behind the first `mark`.
fn split<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
