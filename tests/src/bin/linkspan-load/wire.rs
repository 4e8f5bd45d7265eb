//! Just enough of the pomelo wire to send requests and to know whether the answers are right.
//!
//! Written apart from the core on purpose: a generator that shares the server's codec shares its mistakes.

use bytes::{Buf, Bytes, BytesMut};

/// Package types.
pub(crate) const HANDSHAKE: u8 = 1;
pub(crate) const ACK: u8 = 2;
pub(crate) const HEARTBEAT: u8 = 3;
pub(crate) const DATA: u8 = 4;
pub(crate) const KICK: u8 = 5;

/// Message types, as they stand in the flag.
pub(crate) const REQUEST: u8 = 0;
pub(crate) const NOTIFY: u8 = 1;
const RESPONSE: u8 = 2;
const PUSH: u8 = 3;

/// The flag bit of an answer that is an error.
const ERROR: u8 = 0x20;

/// Appends a package.
pub(crate) fn put_package(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&[kind, length[1], length[2], length[3]]);
    out.extend_from_slice(body);
}

/// A whole package of one message.
pub(crate) fn message(kind: u8, id: u64, route: &[u8], body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(16 + route.len() + body.len());
    message.extend_from_slice(&[DATA, 0, 0, 0, kind << 1]);
    if kind == REQUEST {
        put_varint(&mut message, id);
    }
    message.push(u8::try_from(route.len()).unwrap_or(u8::MAX));
    message.extend_from_slice(route);
    message.extend_from_slice(body);
    let length = u32::try_from(message.len() - 4).unwrap_or(u32::MAX).to_be_bytes();
    message[1..4].copy_from_slice(&length[1..]);
    message
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn take_varint(bytes: &mut Bytes) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes one whole package from the front of what was received.
pub(crate) fn take_package(received: &mut BytesMut) -> Option<(u8, Bytes)> {
    let head = received.get(..4)?;
    let (kind, length) = (head[0], u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize);
    if received.len() < 4 + length {
        return None;
    }
    let mut package = received.split_to(4 + length).freeze();
    package.advance(4);
    Some((kind, package))
}

/// What a server says in a data package.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Answer { id: u64, is_error: bool, body: Bytes },
    Push { route: Bytes, body: Bytes },
}

/// Reads a message of the server; `None` if it is none.
pub(crate) fn parse_message(mut message: Bytes) -> Option<Said> {
    let flag = message.try_get_u8().ok()?;
    match (flag >> 1) & 7 {
        RESPONSE => {
            let id = take_varint(&mut message)?;
            Some(Said::Answer { id, is_error: flag & ERROR != 0, body: message })
        }
        PUSH if flag & 1 == 0 => {
            let length = usize::from(message.try_get_u8().ok()?);
            if message.len() < length {
                return None;
            }
            let route = message.split_to(length);
            Some(Said::Push { route, body: message })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Said, parse_message, put_package, take_package};
    use bytes::{Bytes, BytesMut};

    #[test]
    fn what_is_written_can_be_read() {
        let mut out = Vec::new();
        put_package(&mut out, 4, &[0x04, 0xac, 0x02, b'x']);
        put_package(&mut out, 3, &[]);
        let mut received = BytesMut::from(&out[..]);
        let (kind, body) = take_package(&mut received).unwrap();
        assert_eq!(kind, 4);
        let answer = Said::Answer { id: 300, is_error: false, body: Bytes::from_static(b"x") };
        assert_eq!(parse_message(body), Some(answer));
        assert_eq!(take_package(&mut received), Some((3, Bytes::new())));
        assert_eq!(take_package(&mut received), None);
        let push = Bytes::from_static(b"\x06\x02onhi");
        let expected = Said::Push { route: Bytes::from_static(b"on"), body: Bytes::from_static(b"hi") };
        assert_eq!(parse_message(push), Some(expected));
    }
}
