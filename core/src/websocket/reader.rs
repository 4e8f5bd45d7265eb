//! From bytes to messages.

use core::mem;

use bytes::{Buf as _, Bytes, BytesMut};

use super::head::Head;
use super::{BINARY, CLOSE, CONTINUATION, PING, PONG, Side, TEXT, apply_mask};
use crate::{Opcode, Violation};

/// A payload from this size on stays where it was received; a smaller one is copied, so that it does not hold on to
/// everything that came with it.
const SHARE: usize = 16 * 1024;
/// Room for a large payload grows with what has come of it, at least by this much.
const GROW: usize = 64 * 1024;

/// What has come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole message, or a ping or pong. A text is valid UTF-8.
    Message(Opcode, Bytes),
    /// The peer closes, with this code if it named one. Nothing follows.
    Close(Option<u16>),
}

/// Takes the frames of one direction apart. One that waits for nothing owns no memory.
#[derive(Debug)]
pub struct Reader {
    side: Side,
    message_max: usize,
    /// What was received and not yet looked at.
    input: BytesMut,
    /// The fragments of a message so far, and whether it is a text.
    message: Option<(bool, BytesMut)>,
    is_closed: bool,
}

impl Reader {
    /// The reader at `side` of the connection; a message may have up to `message_max` bytes.
    pub fn new(side: Side, message_max: usize) -> Self {
        Self { side, message_max, input: BytesMut::new(), message: None, is_closed: false }
    }

    /// Bytes were received. Take out what they complete before more is read.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !self.is_closed {
            self.input.extend_from_slice(bytes);
        }
    }

    /// The next message, if one is complete.
    ///
    /// # Errors
    ///
    /// What the peer has done wrong; nothing after it is looked at.
    pub fn next_incoming(&mut self) -> Result<Option<Incoming>, Violation> {
        let outcome = self.read();
        if matches!(outcome, Err(_) | Ok(Some(Incoming::Close(_)))) {
            self.is_closed = true;
            (self.input, self.message) = (BytesMut::new(), None);
        }
        if self.input.is_empty() && self.input.capacity() > 0 {
            self.input = BytesMut::new();
        }
        outcome
    }

    fn read(&mut self) -> Result<Option<Incoming>, Violation> {
        while let Some(head) = Head::read(&self.input, self.side)? {
            let length = self.check(&head)?;
            let whole = head.size + length;
            if self.input.len() < whole {
                let missing = whole - self.input.len();
                self.input.reserve(missing.min(self.input.len().max(GROW)));
                return Ok(None);
            }
            self.input.advance(head.size);
            let payload = &mut self.input[..length];
            if let Some(mask) = head.mask {
                apply_mask(payload, mask);
            }
            if let Some(incoming) = self.handle_frame(&head, length)? {
                return Ok(Some(incoming));
            }
        }
        Ok(None)
    }

    /// The payload's length, if such a frame may come now.
    fn check(&self, head: &Head) -> Result<usize, Violation> {
        let length = usize::try_from(head.length).map_err(|_| Violation::PackageTooLarge)?;
        if head.is_control() {
            return Ok(length);
        }
        // A message continues until it ends, and only what has begun continues.
        if (head.opcode == CONTINUATION) != self.message.is_some() {
            return Err(Violation::MessageInvalid);
        }
        let before = self.message.as_ref().map_or(0, |(_, message)| message.len());
        if length > self.message_max - before.min(self.message_max) {
            return Err(Violation::PackageTooLarge);
        }
        Ok(length)
    }

    /// One frame, whose payload is the next `length` bytes of the input.
    fn handle_frame(&mut self, head: &Head, length: usize) -> Result<Option<Incoming>, Violation> {
        let is_text = match head.opcode {
            PING => return Ok(Some(Incoming::Message(Opcode::Ping, self.take(length)))),
            PONG => return Ok(Some(Incoming::Message(Opcode::Pong, self.take(length)))),
            CLOSE => {
                let payload = self.take(length);
                return close_code(&payload).map(|code| Some(Incoming::Close(code)));
            }
            TEXT => true,
            BINARY => false,
            _ => return self.handle_fragment(head.is_final, length),
        };
        if head.is_final {
            return whole(is_text, self.take(length)).map(Some);
        }
        self.message = Some((is_text, BytesMut::new()));
        self.handle_fragment(false, length)
    }

    fn handle_fragment(&mut self, is_last: bool, length: usize) -> Result<Option<Incoming>, Violation> {
        let Some((is_text, message)) = &mut self.message else { return Err(Violation::MessageInvalid) };
        message.extend_from_slice(&self.input[..length]);
        self.input.advance(length);
        if !is_last {
            return Ok(None);
        }
        let (is_text, message) = (*is_text, mem::take(message).freeze());
        self.message = None;
        whole(is_text, message).map(Some)
    }

    fn take(&mut self, length: usize) -> Bytes {
        if length >= SHARE {
            return self.input.split_to(length).freeze();
        }
        let payload = Bytes::copy_from_slice(&self.input[..length]);
        self.input.advance(length);
        payload
    }
}

fn whole(is_text: bool, message: Bytes) -> Result<Incoming, Violation> {
    if !is_text {
        return Ok(Incoming::Message(Opcode::Binary, message));
    }
    match core::str::from_utf8(&message) {
        Ok(_) => Ok(Incoming::Message(Opcode::Text, message)),
        Err(_) => Err(Violation::TextInvalid),
    }
}

/// The code in a close frame (section 7.4): none, or one that may be sent, with a text behind it.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, text)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(Violation::MessageInvalid) };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::MessageInvalid);
    }
    if core::str::from_utf8(text).is_err() {
        return Err(Violation::TextInvalid);
    }
    Ok(Some(code))
}
