//! The package layer: one type byte, three length bytes, a body.

use alloc::vec::Vec;

use bytes::{Buf, Bytes};

use super::message::EncodeError;
use crate::{Frame, Limits, Opcode, Violation};

/// Bytes in front of every body.
pub(super) const HEAD: usize = 4;

/// The smallest buffer for an unfinished body, so that a peer that dribbles bytes does not make it grow at each one.
const BUFFER_MIN: usize = 64;

/// What a package is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[repr(u8)]
pub enum PackageType {
    /// Who the client is; what the server answers to that.
    Handshake = 1,
    /// The client has taken the handshake answer.
    HandshakeAck = 2,
    /// A sign of life.
    Heartbeat = 3,
    /// A message.
    Data = 4,
    /// The server ends the session.
    Kick = 5,
}

impl PackageType {
    /// The type that `byte` stands for.
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Handshake,
            2 => Self::HandshakeAck,
            3 => Self::Heartbeat,
            4 => Self::Data,
            5 => Self::Kick,
            _ => return None,
        })
    }
}

/// One package as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// What it is for.
    pub kind: PackageType,
    /// What comes after the header; a slice of the input if the package lay whole in it.
    pub body: Bytes,
}

/// Cuts a byte stream into packages.
///
/// It owns memory only while a package is unfinished, and never more than the package announced, than the limit allows,
/// or than twice what has arrived.
#[derive(Debug)]
pub struct PackageReader(State);

#[derive(Debug)]
enum State {
    /// Between two packages.
    Border,
    /// One to three bytes of a header are here.
    Head { bytes: [u8; HEAD], len: u8 },
    /// The header is good; the body is not whole.
    Body { kind: PackageType, len: u32, have: Vec<u8> },
    /// The stream broke the rules; nothing after that has a meaning.
    Failed(Violation),
}

impl PackageReader {
    /// A reader at the start of a stream.
    pub const fn new() -> Self {
        Self(State::Border)
    }

    /// Takes the next package out of `input`; `None` when `input` is used up and what was left of it is kept.
    ///
    /// The type is checked at the first byte of a header, the length at the last; no byte of an illegal body is kept. A
    /// package that lies whole in `input` is not copied.
    ///
    /// # Errors
    ///
    /// [`Violation::PackageType`] or [`Violation::PackageTooLarge`]. The first error is for ever.
    pub fn next(&mut self, input: &mut Bytes, receive_max: u32) -> Result<Option<Package>, Violation> {
        match self.step(input, receive_max) {
            Err(violation) => {
                self.0 = State::Failed(violation);
                Err(violation)
            }
            package => package,
        }
    }

    /// Whether the stream is at a package border.
    pub const fn is_empty(&self) -> bool {
        matches!(self.0, State::Border)
    }

    /// How many bytes of memory the reader owns apart from itself.
    pub const fn footprint(&self) -> usize {
        match &self.0 {
            State::Body { have, .. } => have.capacity(),
            _ => 0,
        }
    }

    fn step(&mut self, input: &mut Bytes, receive_max: u32) -> Result<Option<Package>, Violation> {
        let (kind, len, have) = match &mut self.0 {
            State::Failed(violation) => return Err(*violation),
            State::Border => match take_head(input, [0; HEAD], 0, receive_max)? {
                Head::Partial(bytes, len) => {
                    if len > 0 {
                        self.0 = State::Head { bytes, len };
                    }
                    return Ok(None);
                }
                Head::Whole(kind, len) => (kind, len, Vec::new()),
            },
            State::Head { bytes, len } => match take_head(input, *bytes, *len, receive_max)? {
                Head::Partial(bytes, len) => {
                    self.0 = State::Head { bytes, len };
                    return Ok(None);
                }
                Head::Whole(kind, len) => (kind, len, Vec::new()),
            },
            State::Body { kind, len, have } => (*kind, *len, core::mem::take(have)),
        };
        match take_body(input, len as usize, have) {
            Ok(body) => {
                self.0 = State::Border;
                Ok(Some(Package { kind, body }))
            }
            Err(have) => {
                self.0 = State::Body { kind, len, have };
                Ok(None)
            }
        }
    }
}

impl Default for PackageReader {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = assert!(size_of::<PackageReader>() <= 48, "every idle connection owns a reader");

enum Head {
    Partial([u8; HEAD], u8),
    Whole(PackageType, u32),
}

/// Completes the header of which `have` bytes are in `bytes`, as far as `input` goes.
fn take_head(
    input: &mut Bytes,
    mut bytes: [u8; HEAD],
    have: u8,
    receive_max: u32,
) -> Result<Head, Violation> {
    let start = usize::from(have);
    let end = HEAD.min(start + input.len());
    input.copy_to_slice(&mut bytes[start..end]);
    if end == 0 {
        return Ok(Head::Partial(bytes, 0));
    }
    let kind = PackageType::from_byte(bytes[0]).ok_or(Violation::PackageType)?;
    if end < HEAD {
        return Ok(Head::Partial(bytes, end as u8));
    }
    let len = u32::from_be_bytes([0, bytes[1], bytes[2], bytes[3]]);
    if len > receive_max {
        return Err(Violation::PackageTooLarge);
    }
    Ok(Head::Whole(kind, len))
}

/// Completes a body of `len` bytes; `Err` gives back what is there so far.
fn take_body(input: &mut Bytes, len: usize, mut have: Vec<u8>) -> Result<Bytes, Vec<u8>> {
    if have.is_empty() && input.len() >= len {
        // At the very end of `input` this hands over the buffer itself.
        return Ok(input.split_to(len));
    }
    let more = input.len().min(len - have.len());
    let filled = have.len() + more;
    if filled > have.capacity() {
        // What is announced is only an upper bound: memory follows the bytes that have come.
        let room = filled.max(have.capacity() * 2).max(BUFFER_MIN).min(len);
        have.reserve_exact(room - have.len());
    }
    have.extend_from_slice(&input[..more]);
    input.advance(more);
    if filled == len { Ok(Bytes::from(have)) } else { Err(have) }
}

/// The header of a package with a body of `len` bytes.
///
/// # Errors
///
/// [`EncodeError::BodyTooLarge`] above 16,777,215 bytes: the length field has three bytes.
pub fn package_head(kind: PackageType, len: usize) -> Result<[u8; 4], EncodeError> {
    if len > Limits::BODY_MAX as usize {
        return Err(EncodeError::BodyTooLarge { len, max: Limits::BODY_MAX });
    }
    let [_, high, middle, low] = (len as u32).to_be_bytes();
    Ok([kind as u8, high, middle, low])
}

/// A whole package as one frame; the body is shared.
///
/// # Errors
///
/// As [`package_head`].
pub fn package(kind: PackageType, body: Bytes) -> Result<Frame, EncodeError> {
    let head = package_head(kind, body.len())?;
    Ok(Frame::with_head(Opcode::Binary, &[&head], body))
}
