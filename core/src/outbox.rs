//! The send queue of one connection.

use alloc::collections::VecDeque;
use core::mem;

use crate::{Class, Flushed, Frame};

/// Frames that wait for the socket, and the books about them. An empty one owns no memory.
///
/// A [`Connection`](crate::Connection) only counts what waits; its driver keeps it here. The machine bounds it (a frame
/// too many ends the connection, or comes with [`Action::DropOldest`](crate::Action::DropOldest)), as long as the
/// driver hands [`take_flushed`](Self::take_flushed) and [`take_dropped`](Self::take_dropped) back as events.
///
/// A stream takes bytes: look at [`front`](Self::front) or [`frames`](Self::frames), write, [`advance`](Self::advance). What takes whole messages
/// takes frames: [`pop`](Self::pop), and [`settle`](Self::settle) once they have gone out.
///
/// ```
/// use linkspan_core::{Bytes, Flushed, Frame, Opcode, Outbox};
///
/// let mut outbox = Outbox::default();
/// outbox.push(Frame::new(Opcode::Binary, Bytes::from_static(b"hello")));
/// outbox.advance(2); // The socket took "he".
/// assert_eq!(outbox.take_flushed(), Some(Flushed::default())); // Progress, but no whole frame.
/// outbox.advance(3);
/// assert_eq!(outbox.take_flushed(), Some(Flushed { cost: Frame::COST_MIN, lossy: 0 }));
/// assert_eq!(outbox.take_flushed(), None);
/// ```
#[derive(Debug, Default)]
pub struct Outbox {
    frames: VecDeque<Frame>,
    /// How much of the first frame the socket has taken.
    written: usize,
    /// Payload bytes in `frames`.
    bytes: usize,
    /// What a transport has taken out and not yet brought to the socket.
    in_flight: Flushed,
    flushed: Flushed,
    dropped: Flushed,
    /// The socket has taken something.
    progress: bool,
    sent: Sent,
}

/// What has left an [`Outbox`] since the last look, for counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Whole frames.
    pub frames: u64,
    /// Their payload bytes.
    pub bytes: u64,
}

impl Outbox {
    /// Appends a frame.
    pub fn push(&mut self, frame: Frame) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Payload bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The frames, first to last, and how much of the first one is already written.
    pub fn frames(&self) -> (impl Iterator<Item = &Frame>, usize) {
        (self.frames.iter(), self.written)
    }

    /// What is unwritten of the first frame: of its header, and of its body.
    pub fn front(&self) -> Option<[&[u8]; 2]> {
        let frame = self.frames.front()?;
        let in_body = self.written.saturating_sub(frame.head().len());
        Some([
            frame.head().get(self.written..).unwrap_or_default(),
            frame.body().get(in_body..).unwrap_or_default(),
        ])
    }

    /// Says that the socket has taken the next `count` payload bytes.
    pub fn advance(&mut self, mut count: usize) {
        self.progress |= count > 0;
        while let Some(front) = self.frames.front() {
            let left = front.len() - self.written;
            if count < left {
                self.written += count;
                return;
            }
            count -= left;
            self.written = 0;
            if let Some(frame) = self.remove_front() {
                self.flushed.add(&frame);
            }
        }
    }

    /// Takes the first frame out; it counts as flushed after [`settle`](Self::settle).
    pub fn pop(&mut self) -> Option<Frame> {
        let frame = self.remove_front()?;
        self.in_flight.add(&frame);
        Some(frame)
    }

    /// Says that the socket has taken a part of what was taken out.
    pub fn progress(&mut self) {
        self.progress = true;
    }

    /// Says that the socket has taken every frame that was taken out.
    pub fn settle(&mut self) {
        let Flushed { cost, lossy } = mem::take(&mut self.in_flight);
        self.flushed.cost = self.flushed.cost.saturating_add(cost);
        self.flushed.lossy += lossy;
    }

    /// Drops the oldest lossy frame of which nothing was written.
    pub fn drop_oldest(&mut self) {
        let from = usize::from(self.written > 0);
        let oldest = self.frames.iter().skip(from).position(|frame| frame.class == Class::Lossy);
        if let Some(frame) = oldest.and_then(|at| self.frames.remove(from + at)) {
            self.bytes -= frame.len();
            self.dropped.add(&frame);
        }
    }

    /// What was dropped since the last look.
    pub fn take_dropped(&mut self) -> Option<Flushed> {
        let dropped = mem::take(&mut self.dropped);
        (dropped.cost > 0).then_some(dropped)
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.frames = VecDeque::new();
        self.written = 0;
        self.bytes = 0;
    }

    /// What was flushed since the last look; of cost 0 if only a part of a frame was.
    pub fn take_flushed(&mut self) -> Option<Flushed> {
        let flushed = mem::take(&mut self.flushed);
        let progress = mem::take(&mut self.progress);
        (progress || flushed.cost > 0).then_some(flushed)
    }

    /// What has gone out since the last look.
    pub fn take_sent(&mut self) -> Sent {
        mem::take(&mut self.sent)
    }

    /// Gives memory back if nothing waits.
    pub fn shrink(&mut self) {
        if self.frames.is_empty() {
            self.frames = VecDeque::new();
        }
    }

    fn remove_front(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        self.sent.frames += 1;
        self.sent.bytes += frame.len() as u64;
        Some(frame)
    }
}
