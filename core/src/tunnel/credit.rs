//! The credit of one stream between two ends of ours: how much may come in, and how much may go out.
//!
//! All is counted in [`data_cost`](super::data_cost), by both ends alike. What may come in is bounded at any time by a
//! window: what the peer may still send, what the application has not read, and what was read and not yet granted anew
//! make up the whole of it.

use bytes::Bytes;

use super::data_cost;
use super::stream::BODY_MAX_OURS;
use crate::Frame;

/// So many times as wide is a window when the application has read all of the last one.
const GROWTH: u32 = 4;

/// The credit of one stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Credit {
    /// What may still go out.
    left: u32,
    /// From so much on a piece that does not fit is cut. A peer that has read all has granted as much, so no piece
    /// waits for ever.
    cut_from: u32,
    /// How much may be on its way in, or unread.
    pub(super) window: u32,
    /// What the peer may still send.
    open: u32,
    /// What was read since the window has grown.
    read: u32,
}

impl Credit {
    /// The credit of a new stream: ours begins with `own`, the peer's with `peers`.
    pub(super) fn new(own: u32, peers: u32) -> Self {
        let cut_from = (peers / 2).max(Frame::COST_MIN);
        Self { left: peers, cut_from, window: own, open: own, read: 0 }
    }

    // What goes out.

    /// How many bytes of `front` may go now as one message; 0 if it has to wait.
    pub(super) fn fitting(&self, front: &Bytes) -> usize {
        let piece = front.len().min(BODY_MAX_OURS);
        let left = self.left as usize;
        match piece.max(Frame::COST_MIN as usize) <= left {
            true => piece,
            false if self.left >= self.cut_from => left.min(piece),
            false => 0,
        }
    }

    /// A message goes out.
    pub(super) fn spend(&mut self, body: &Bytes) {
        self.left = self.left.saturating_sub(data_cost(body));
    }

    /// The peer grants more; false if that is more than any window.
    pub(super) fn earn(&mut self, cost: u32) -> bool {
        let sum = self.left.checked_add(cost);
        self.left = sum.unwrap_or(self.left);
        sum.is_some()
    }

    // What comes in.

    /// A message came in; false if the peer had no credit for it.
    pub(super) fn take_in(&mut self, cost: u32) -> bool {
        let left = self.open.checked_sub(cost);
        self.open = left.unwrap_or(self.open);
        left.is_some()
    }

    /// The application has read so much. Says by how much the window grows if it may become `limit`, and may take no
    /// more than `room` to that end.
    pub(super) fn grow(&mut self, cost: u32, limit: u32, room: u64) -> Option<u32> {
        self.read = self.read.saturating_add(cost);
        if self.read < self.window {
            return None;
        }
        self.read = 0;
        let wanted = self.window.saturating_mul(GROWTH).min(limit).saturating_sub(self.window);
        let more = wanted.min(u32::try_from(room).unwrap_or(u32::MAX));
        self.window += more;
        (more > 0).then_some(more)
    }

    /// What is to be granted now that `held` is unread; a quarter of the window at least.
    pub(super) fn grant(&mut self, held: u32) -> Option<u32> {
        let owed = self.window.saturating_sub(self.open).saturating_sub(held);
        if owed < (self.window / 4).max(Frame::COST_MIN) {
            return None;
        }
        self.open += owed;
        Some(owed)
    }
}
