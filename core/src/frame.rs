//! What goes over a socket: an opcode, a short header in place, and a shared body.

use bytes::{BufMut, Bytes, BytesMut};

/// Which kind of wire unit a piece of data came in, or goes out as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Opcode {
    /// A piece of a byte stream; its borders mean nothing (TCP).
    Stream,
    /// One whole binary WebSocket message.
    Binary,
    /// One whole WebSocket text message.
    Text,
    /// A WebSocket ping. The transport answers received ones by itself.
    Ping,
    /// A WebSocket pong.
    Pong,
}

/// What may happen to a frame while it waits to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Must be written in order; never dropped.
    Reliable,
    /// May be taken out of the queue again by [`Action::DropOldest`](crate::Action::DropOldest).
    Lossy,
}

/// One outgoing wire unit.
///
/// The header lives in the frame itself and the body is shared, so an echo or a broadcast copies no payload in the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The wire unit; a stream transport ignores it.
    pub opcode: Opcode,
    /// What may happen to the frame in the send queue.
    pub class: Class,
    head_len: u8,
    head: [u8; Frame::HEAD_MAX],
    body: Bytes,
}

impl Frame {
    /// The longest header that fits into a frame, in bytes.
    pub const HEAD_MAX: usize = 29;

    /// A frame that consists of `body` alone.
    pub const fn new(opcode: Opcode, body: Bytes) -> Self {
        Self { opcode, class: Class::Reliable, head_len: 0, head: [0; Self::HEAD_MAX], body }
    }

    /// A frame of the concatenated `parts` followed by `body`.
    ///
    /// Parts that fit into [`HEAD_MAX`](Self::HEAD_MAX) bytes stay in place; longer ones are copied with the body into
    /// one new buffer.
    pub fn with_head(opcode: Opcode, parts: &[&[u8]], body: Bytes) -> Self {
        let total = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut frame = Self::new(opcode, Bytes::new());
        if total <= Self::HEAD_MAX {
            for part in parts {
                let start = usize::from(frame.head_len);
                frame.head[start..start + part.len()].copy_from_slice(part);
                frame.head_len += part.len() as u8;
            }
            frame.body = body;
        } else {
            let mut whole = BytesMut::with_capacity(total + body.len());
            for part in parts {
                whole.put_slice(part);
            }
            whole.put_slice(&body);
            frame.body = whole.freeze();
        }
        frame
    }

    /// The same frame, marked as one that may be dropped from the queue.
    #[must_use]
    pub const fn lossy(mut self) -> Self {
        self.class = Class::Lossy;
        self
    }

    /// The header; written before the body.
    pub fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.head_len)]
    }

    /// The body; shared, cloning it copies nothing.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Bytes of payload: header and body.
    pub fn len(&self) -> usize {
        usize::from(self.head_len) + self.body.len()
    }

    /// Whether there is no payload at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the frame counts for in a queue: its length, and never less than [`Frame::COST_MIN`].
    pub fn cost(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX).max(Self::COST_MIN)
    }

    /// The least that one queued frame counts for, in bytes.
    pub const COST_MIN: u32 = 256;

    /// The whole payload as one buffer; copies only if there is a header in place.
    pub fn into_bytes(self) -> Bytes {
        if self.head_len == 0 {
            return self.body;
        }
        let mut whole = BytesMut::with_capacity(self.len());
        whole.put_slice(self.head());
        whole.put_slice(&self.body);
        whole.freeze()
    }
}

const _: () = assert!(size_of::<Frame>() <= 64, "a queued frame fits into one cache line");
