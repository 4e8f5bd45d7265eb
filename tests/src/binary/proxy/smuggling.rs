//! Heads that two servers might read differently: refused, or passed on so that only one reading is left.

use linkspan_core::Mark;

use super::http::Wire;
use super::origin::Origin;
use super::{eventually, gateway};
use crate::binary::tunnel::marked;

/// What is in doubt: header lines of a request, and what follows its head.
const DOUBTS: &[(&[u8], &[u8])] = &[
    (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\nEVIL"),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\nEVIL"),
    (b"cONTENT-lENGTH:  5 \r\nX: y\r\ntRANSFER-eNCODING:  Chunked \r\n", b"0\r\n\r\nEVIL"),
    (b"Transfer-Encoding: chunked\nContent-Length: 0\n", b"0\r\n\r\n"),
    (b"Content-Length: 4\r\nContent-Length: 5\r\n", b"abcde"),
    (b"Content-Length: 4, 5\r\n", b"abcde"),
    (b"Content-Length: 4,4\r\n", b"abcd"),
    (b"Content-Length: +4\r\n", b"abcd"),
    (b"Content-Length: -1\r\n", b""),
    (b"Content-Length: 0x4\r\n", b"abcd"),
    (b"Content-Length: 4 \t5\r\n", b"abcd"),
    (b"Content-Length: 4;a\r\n", b"abcd"),
    (b"Content-Length: \r\n", b""),
    (b"Content-Length: 99999999999999999999\r\n", b""),
    (b"Content-Length: 18446744073709551617\r\n", b"a"),
    (b"Content-Length: 1e1\r\n", b"a"),
    (b"Content-Length: \"4\"\r\n", b"abcd"),
    (b"Content-Length\t: 4\r\n", b"abcd"),
    (b"Content-Length : 4\r\n", b"abcd"),
    (b" Content-Length: 4\r\n", b"abcd"),
    (b"X: y\r\n Content-Length: 4\r\n", b"abcd"),
    (b"X: y\r\n\tTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: gzip\r\n", b""),
    (b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: identity\r\n", b""),
    (b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: chunkedx\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: \"chunked\"\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: chunked,\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: ,chunked\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding\t: chunked\r\n", b"0\r\n\r\n"),
    (b"Transfer_Encoding\x00: chunked\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\x00\r\n", b"0\r\n\r\n"),
    (b"X: a\x00b\r\n", b""),
    (b"X: a\rb\r\n", b""),
    (b"X y: a\r\n", b""),
    (b"X(y): a\r\n", b""),
    (b"X\x7f: a\r\n", b""),
    (b"no colon\r\n", b""),
    (b": no name\r\n", b""),
    (b"Host: other\r\n", b""),
    (b"Host: other:80\r\n", b""),
    (b"Transfer-Encoding: chunked\r\n", b"zz\r\nabc\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"-1\r\nabc\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"0x3\r\nabc\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"+3\r\nabc\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"3 3\r\nabc\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"3\r\nabcd\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"3\r\nabcEVIL"),
    (b"Transfer-Encoding: chunked\r\n", b"3\nabc\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"\r\nabc\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"0\r\nContent-Length : 3\r\n\r\n"),
];

/// Request lines that are none, or not of this protocol.
const LINES: &[&[u8]] = &[
    b"POST /o/plain",
    b"POST  /o/plain HTTP/1.1",
    b"POST\t/o/plain HTTP/1.1",
    b"POST /o/plain  HTTP/1.1",
    b"POST /o/plain HTTP/1.1 ",
    b"POST /o/plain HTTP/2.0",
    b"POST /o/plain HTTP/0.9",
    b"POST /o/plain HTTP/1.10",
    b"POST /o/plain HTTP/1",
    b"POST /o/plain http/1.1",
    b"P(ST /o/plain HTTP/1.1",
    b"POST /o/pl ain HTTP/1.1",
    b"POST /o/pl\x00ain HTTP/1.1",
    b"POST /o/%00 HTTP/1.1",
    b"POST /o/%0d%0aX:y HTTP/1.1",
    b"POST /o/%zz HTTP/1.1",
    b"POST o/plain HTTP/1.1",
];

/// Everything in doubt comes to nothing: an error and the end of the connection, and the upstream never sees what hides.
pub fn doubtful_requests_are_refused(program: &str) {
    let origin = Origin::start();
    let (mut process, address) = gateway(program, origin.address, &[]);
    let hidden = b"GET /o/hidden HTTP/1.1\r\nHost: g\r\n\r\n";
    let doubts = DOUBTS.iter().map(|(fields, body)| {
        [b"POST /o/plain HTTP/1.1\r\nHost: g\r\n", *fields, b"\r\n", *body, hidden].concat()
    });
    let lines =
        LINES.iter().map(|line| [*line, b"\r\nHost: g\r\nContent-Length: 0\r\n\r\n", hidden].concat());
    for request in doubts.chain(lines) {
        let shown = String::from_utf8_lossy(&request).into_owned();
        let mut wire = Wire::connect(address);
        wire.send(&request);
        let reply = wire.reply(false);
        assert!((400..=505).contains(&reply.status) || reply.status == 0, "{shown:?}: {reply:?}");
        assert_eq!(wire.reply(false).status, 0, "{shown:?}: another request was read behind it");
    }
    let hidden: Vec<_> = origin.heads().into_iter().filter(|head| head.contains("hidden")).collect();
    assert_eq!(hidden, Vec::<String>::new());
    assert_eq!(marked(address, Mark::FramingDoubtful), 4, "those with a length and a coding");
    process.stop();
}

/// What is unusual but clear is passed on in the usual form, and the next request is the next.
pub fn clear_requests_are_made_plain(program: &str) {
    let origin = Origin::start();
    let (mut process, address) = gateway(program, origin.address, &[]);
    let cases: &[(&[u8], &[u8], &[u8])] = &[
        (b"Transfer-Encoding: CHUNKED\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"Transfer-Encoding:  chunked  \r\n", b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"Transfer-Encoding: chunked\r\n", b"0003\r\nabc\r\n000\r\n\r\n", b"abc"),
        (b"Transfer-Encoding: chunked\r\n", b"3;a=b\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"Content-Length: 003\r\n", b"abc", b"abc"),
        (b"content-length:3\r\n", b"abc", b"abc"),
        (b"Content-Length: 0\r\nConnection: content-length\r\n", b"", b""),
        (b"", b"", b""),
    ];
    let mut wire = Wire::connect(address);
    for (fields, body, meant) in cases {
        let seen = origin.bodies().len();
        wire.send(&[b"POST /o/echo HTTP/1.1\r\nHost: g\r\n", *fields, b"\r\n", *body].concat());
        assert_eq!(wire.reply(false).body, *meant, "{:?}", String::from_utf8_lossy(fields));
        eventually("it was read", || origin.bodies().len() == seen + 1);
        let head = origin.heads().pop().expect("there is one").to_ascii_lowercase();
        let both = head.contains("content-length:") && head.contains("transfer-encoding:");
        assert!(!both && head.matches("content-length:").count() <= 1, "{head}");
    }
    assert_eq!(origin.connections(), 1, "none of them cost its connection");
    process.stop();
}
