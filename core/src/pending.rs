//! The requests of one peer that wait for an answer.

use alloc::collections::VecDeque;

use crate::Instant;

/// Names one request of one connection, so that it is answered once and with the id the client gave it.
///
/// Ids cannot serve as names: clients reuse them, and may write them in forms that must be echoed byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Ticket(u32);

// By hand: the derive of a struct names `std`.
#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for Ticket {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        u.arbitrary().map(Self)
    }
}

#[derive(Debug)]
struct Slot<T> {
    deadline: Instant,
    size: u32,
    /// What is needed to answer it; gone once it was answered.
    request: Option<T>,
}

/// A window of consecutive tickets; the front one is always waiting.
#[derive(Debug)]
pub(crate) struct Pending<T> {
    slots: VecDeque<Slot<T>>,
    first: u32,
    bytes: u32,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self { slots: VecDeque::new(), first: 0, bytes: 0 }
    }
}

impl<T> Pending<T> {
    /// A table that grew beyond this many entries is given back when it is empty.
    const KEEP: usize = 16;

    /// Enters a request of `size` bytes.
    pub(crate) fn enter(&mut self, request: T, size: u32, deadline: Instant) -> Ticket {
        let ticket = Ticket(self.first.wrapping_add(self.slots.len() as u32));
        self.slots.push_back(Slot { deadline, size, request: Some(request) });
        self.bytes = self.bytes.saturating_add(size);
        ticket
    }

    /// Takes the request out; `None` if it is not waiting (any more).
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<T> {
        let slot = self.slots.get_mut(ticket.0.wrapping_sub(self.first) as usize)?;
        let request = slot.request.take()?;
        self.bytes = self.bytes.saturating_sub(slot.size);
        while self.slots.front().is_some_and(|front| front.request.is_none()) {
            self.slots.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        if self.slots.is_empty() && self.slots.capacity() > Self::KEEP {
            self.slots = VecDeque::new();
        }
        Some(request)
    }

    /// Takes the oldest request out if its deadline has passed.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Option<(Ticket, T)> {
        self.deadline().filter(|deadline| *deadline <= now)?;
        let ticket = Ticket(self.first);
        self.take(ticket).map(|request| (ticket, request))
    }

    /// When the oldest request expires. All requests have the same time, so it is the first of all.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.slots.front().map(|front| front.deadline)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Entries of the table: what waits, and gaps before it.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of the requests that wait.
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Bytes of the table; what its entries own is counted in [`bytes`](Self::bytes), if it is.
    pub(crate) fn footprint(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_was_large_is_given_back_when_it_is_empty() {
        for (count, keeps) in [(1, true), (16, true), (17, false), (100, false)] {
            let mut pending = Pending::default();
            let tickets: alloc::vec::Vec<_> =
                (0..count).map(|at| pending.enter(at, 1, Instant::ORIGIN)).collect();
            assert_eq!((pending.len(), pending.bytes()), (count, count as u32));
            for (at, ticket) in tickets.into_iter().enumerate() {
                assert!(pending.footprint() > 0);
                assert_eq!((pending.take(ticket), pending.take(ticket)), (Some(at), None));
            }
            assert_eq!((pending.len(), pending.bytes(), pending.footprint() > 0), (0, 0, keeps), "{count}");
        }
    }
}
