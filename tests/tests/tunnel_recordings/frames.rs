//! WebSocket frames as they are recorded.

use bytes::Bytes;
use linkspan_core::Opcode;
use linkspan_tests::vectors::hex;

/// One message, or why the recording stays below messages: framing is the transport's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    Message(Opcode, Bytes),
    Framing,
}

/// The frames in `text`, each a whole message.
pub(crate) fn parse(text: &str, is_masked: bool) -> Vec<Recorded> {
    let (data, mut at, mut found) = (hex(text), 0, Vec::new());
    while at < data.len() {
        let (first, second) = (data[at], data[at + 1]);
        let len = usize::from(second & 0x7f);
        assert!(len < 126, "probes are short");
        let mask_len = if second & 0x80 == 0 { 0 } else { 4 };
        let body = &data[at + 2 + mask_len..at + 2 + mask_len + len];
        let mask = &data[at + 2..at + 2 + mask_len];
        let plain: Bytes = match mask {
            [] => Bytes::copy_from_slice(body),
            _ => body.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect(),
        };
        let opcode = match first {
            0x81 => Some(Opcode::Text),
            0x82 => Some(Opcode::Binary),
            0x89 => Some(Opcode::Ping),
            0x8a => Some(Opcode::Pong),
            _ => None,
        };
        found.push(match opcode.filter(|_| is_masked == (mask_len > 0)) {
            Some(opcode) => Recorded::Message(opcode, plain),
            None => Recorded::Framing,
        });
        at += 2 + mask_len + len;
    }
    found
}
