//! What a driver keeps for a connection, and the peer at the other end.

use std::collections::VecDeque;

use bytes::Bytes;
use linkspan_core::{Class, CloseReason, ConnId, Delivery, Flushed, Frame, Instant, Opcode};

use super::line::Line;

/// What reached a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A frame.
    Frame(Opcode, Bytes),
    /// The end, with a WebSocket close code and its text.
    Closed {
        /// The code.
        code: u16,
        /// The text.
        text: String,
    },
    /// The end, without a goodbye.
    Aborted,
}

/// How a peer reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patience {
    /// Everything at once.
    #[default]
    All,
    /// So many frames in each turn.
    Some(usize),
    /// Nothing.
    None,
}

/// Everything between a connection and its peer.
#[derive(Default)]
pub(super) struct Wire {
    pub(super) mailbox: VecDeque<Delivery>,
    pub(super) drain: Option<CloseReason>,
    /// What the peer has sent, not yet read.
    pub(super) incoming: VecDeque<(Opcode, Bytes)>,
    pub(super) incoming_end: Option<CloseReason>,
    /// What waits to be written.
    pub(super) queue: VecDeque<Frame>,
    pub(super) arrived: Vec<Arrival>,
    pub(super) patience: Patience,
    /// The connection that is the peer, if it is one.
    pub(super) peer: Option<ConnId>,
    /// Why the connection has ended, and until when its queue may be written.
    pub(super) ended: Option<(CloseReason, Instant)>,
    /// Whether it waits for its turn.
    pub(super) is_ready: bool,
    /// Nothing more will reach the peer.
    pub(super) gone: bool,
}

impl Wire {
    pub(super) fn is_readable(&self) -> bool {
        !self.incoming.is_empty() || self.incoming_end.is_some()
    }

    pub(super) fn is_writable(&self) -> bool {
        !self.queue.is_empty() && !matches!(self.patience, Patience::None | Patience::Some(0))
    }

    /// Takes out what the peer reads now.
    pub(super) fn write(&mut self) -> (Vec<Frame>, Option<Flushed>) {
        let count = match self.patience {
            Patience::All => self.queue.len(),
            Patience::Some(count) => count.min(self.queue.len()),
            Patience::None => 0,
        };
        let frames: Vec<_> = self.queue.drain(..count).collect();
        let mut flushed = Flushed::default();
        frames.iter().for_each(|frame| flushed.add(frame));
        let any = !frames.is_empty();
        (frames, any.then_some(flushed))
    }

    pub(super) fn drop_oldest(&mut self, dropped: Option<Flushed>) -> Option<Flushed> {
        let at = self.queue.iter().position(|frame| frame.class == Class::Lossy);
        let Some(frame) = at.and_then(|at| self.queue.remove(at)) else { return dropped };
        let mut sum = dropped.unwrap_or_default();
        sum.add(&frame);
        Some(sum)
    }

    /// When something happens to the connection by itself.
    pub(super) fn deadline(&self, line: &dyn Line) -> Option<Instant> {
        match self.ended {
            Some(_) if self.gone => None,
            Some((_, until)) => Some(until),
            None => line.next_timeout(),
        }
    }
}
