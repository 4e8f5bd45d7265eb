//! Signed numbers as `binary.PutVarint` of Go writes them: zig-zag, then seven bits per byte, least significant first.

use super::DecodeError;

/// The longest number, in bytes.
pub(super) const MAX: usize = 10;

/// One number on the stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Varint {
    bytes: [u8; MAX],
    len: usize,
}

impl Varint {
    pub(super) const fn new(number: i64) -> Self {
        let mut rest = (number as u64) << 1 ^ (number >> 63) as u64;
        let mut varint = Self { bytes: [0; MAX], len: 0 };
        while rest >= 0x80 {
            varint.bytes[varint.len] = rest as u8 | 0x80;
            varint.len += 1;
            rest >>= 7;
        }
        varint.bytes[varint.len] = rest as u8;
        varint.len += 1;
        varint
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Reads one number and moves `input` behind it. Padded forms of up to ten bytes are fine.
pub(super) fn read(input: &mut &[u8]) -> Result<i64, DecodeError> {
    let mut folded = 0_u64;
    for (index, byte) in input.iter().copied().enumerate() {
        if index == MAX || index == MAX - 1 && byte > 1 {
            return Err(DecodeError::Overflow);
        }
        folded |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *input = &input[index + 1..];
            return Ok((folded >> 1) as i64 ^ -((folded & 1) as i64));
        }
    }
    Err(if input.is_empty() { DecodeError::Missing } else { DecodeError::Cut })
}
