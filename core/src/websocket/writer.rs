//! From messages to bytes.

use alloc::vec::Vec;

use super::{BINARY, CLOSE, CONTROL_MAX, PING, PONG, TEXT, apply_mask};
use crate::Opcode;

/// Appends the header of an unfragmented frame with `length` bytes of payload, which follow masked with `mask`.
pub fn put_head(out: &mut Vec<u8>, opcode: Opcode, length: usize, mask: Option<[u8; 4]>) {
    let opcode = match opcode {
        Opcode::Stream | Opcode::Binary => BINARY,
        Opcode::Text => TEXT,
        Opcode::Ping => PING,
        Opcode::Pong => PONG,
    };
    put_any_head(out, opcode, length, mask);
}

fn put_any_head(out: &mut Vec<u8>, opcode: u8, length: usize, mask: Option<[u8; 4]>) {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    out.push(0x80 | opcode);
    match length {
        0..=125 => out.push(masked | length as u8),
        126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(mask.as_ref().map_or(&[], |mask| &mask[..]));
}

/// Appends an unfragmented frame whose payload is `parts`, one behind the other. Servers give no mask; clients one that
/// nobody can foresee (section 10.3).
pub fn put_frame(out: &mut Vec<u8>, opcode: Opcode, parts: &[&[u8]], mask: Option<[u8; 4]>) {
    put_head(out, opcode, parts.iter().map(|part| part.len()).sum(), mask);
    put_payload(out, parts, mask);
}

/// Appends a close frame with a code and a text, which is cut where it does not fit.
pub fn put_close(out: &mut Vec<u8>, code: Option<u16>, text: &str, mask: Option<[u8; 4]>) {
    let Some(code) = code else { return put_any_head(out, CLOSE, 0, mask) };
    let text = &text[..cut(text, CONTROL_MAX - 2)];
    put_any_head(out, CLOSE, 2 + text.len(), mask);
    put_payload(out, &[&code.to_be_bytes(), text.as_bytes()], mask);
}

fn put_payload(out: &mut Vec<u8>, parts: &[&[u8]], mask: Option<[u8; 4]>) {
    let start = out.len();
    for part in parts {
        out.extend_from_slice(part);
    }
    if let Some(mask) = mask {
        apply_mask(&mut out[start..], mask);
    }
}

/// The end of as much of `text` as fits into `max` bytes.
fn cut(text: &str, max: usize) -> usize {
    (0..=max.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
