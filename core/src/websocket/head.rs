//! The header of a frame.

use super::{CLOSE, CONTINUATION, CONTROL_MAX, PONG, Side};
use crate::Violation;

/// What a frame's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) opcode: u8,
    /// The last frame of its message.
    pub(super) is_final: bool,
    pub(super) mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub(super) length: u64,
    /// Bytes of the header itself.
    pub(super) size: usize,
}

impl Head {
    pub(super) fn is_control(&self) -> bool {
        self.opcode >= CLOSE
    }

    /// Reads the header at the start of `bytes`, if all of it is there.
    ///
    /// # Errors
    ///
    /// It says what no peer of `side` may say.
    pub(super) fn read(bytes: &[u8], side: Side) -> Result<Option<Self>, Violation> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let (opcode, is_final) = (first & 0x0f, first & 0x80 != 0);
        let is_masked = second & 0x80 != 0;
        let is_known = matches!(opcode, CONTINUATION..=2 | CLOSE..=PONG);
        if first & 0x70 != 0 || !is_known || is_masked != (side == Side::Server) {
            return Err(Violation::MessageInvalid);
        }
        let (length, rest, extra) = match second & 0x7f {
            126 => match rest.split_first_chunk::<2>() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest, 2),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk::<8>() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest, 8),
                None => return Ok(None),
            },
            length => (u64::from(length), rest, 0),
        };
        let head = Self { opcode, is_final, mask: None, length, size: 2 + extra };
        if head.is_control() && (!is_final || length > CONTROL_MAX as u64) || length > i64::MAX as u64 {
            return Err(Violation::MessageInvalid);
        }
        if !is_masked {
            return Ok(Some(head));
        }
        let mask = rest.first_chunk::<4>();
        Ok(mask.map(|mask| Self { mask: Some(*mask), size: head.size + 4, ..head }))
    }
}
