//! The requests of one client that wait for an answer.

use alloc::collections::VecDeque;
use core::mem;

use super::MessageId;
use crate::Instant;

/// Names one request of one connection, so that it is answered once and with the id the client gave it.
///
/// Ids cannot serve as names: clients reuse them, and may write them in forms that must be echoed byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(u32);

// By hand: the derive of a struct names `std`.
#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for Ticket {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        u.arbitrary().map(Self)
    }
}

#[derive(Debug)]
struct Slot {
    deadline: Instant,
    size: u32,
    id: MessageId,
    waiting: bool,
}

/// A window of consecutive tickets; the front one is always waiting.
#[derive(Debug, Default)]
pub(super) struct Pending {
    slots: VecDeque<Slot>,
    first: u32,
    bytes: u32,
}

impl Pending {
    /// A table that grew beyond this many entries is given back when it is empty.
    const KEEP: usize = 16;

    /// Enters a request of `size` bytes.
    pub(super) fn enter(&mut self, id: MessageId, size: u32, deadline: Instant) -> Ticket {
        let ticket = Ticket(self.first.wrapping_add(self.slots.len() as u32));
        self.slots.push_back(Slot { deadline, size, id, waiting: true });
        self.bytes = self.bytes.saturating_add(size);
        ticket
    }

    /// Takes the request out; `None` if it is not waiting (any more).
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<MessageId> {
        let slot = self.slots.get_mut(ticket.0.wrapping_sub(self.first) as usize)?;
        if !mem::replace(&mut slot.waiting, false) {
            return None;
        }
        let id = slot.id;
        self.bytes = self.bytes.saturating_sub(slot.size);
        while self.slots.front().is_some_and(|front| !front.waiting) {
            self.slots.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        if self.slots.is_empty() && self.slots.capacity() > Self::KEEP {
            self.slots = VecDeque::new();
        }
        Some(id)
    }

    /// Takes the oldest request out if its deadline has passed.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<MessageId> {
        let due = self.deadline().is_some_and(|deadline| deadline <= now);
        due.then(|| self.take(Ticket(self.first))).flatten()
    }

    /// When the oldest request expires. All requests have the same time, so it is the first of all.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.slots.front().map(|front| front.deadline)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Entries of the table: what waits, and gaps before it.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of the requests that wait.
    pub(super) fn bytes(&self) -> u32 {
        self.bytes
    }

    pub(super) fn footprint(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }
}
