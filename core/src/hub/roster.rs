//! Several connections under one name, in the order in which they came.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::Address;
use crate::ConnId;
use crate::hash::{Map, Seeded};

/// An ordered set of connections with a shared snapshot of itself.
///
/// Leaving empties a slot in place, so that order survives and nothing moves; once half of the slots are empty they
/// are closed up. Adding, removing, and finding the oldest take constant time, amortised.
pub(super) struct Roster<M> {
    slots: Vec<Option<Address<M>>>,
    /// How many slots at the front are empty for sure.
    head: usize,
    len: usize,
    /// Where each connection sits; small rosters are searched instead, which needs no memory.
    index: Option<Map<ConnId, usize>>,
    /// What the last publish walked; taken back by every change.
    snapshot: Option<Arc<[Address<M>]>>,
}

impl<M: Clone> Roster<M> {
    /// From how many members on there is an index, and below which half of it is dropped again.
    const INDEXED_FROM: usize = 32;

    pub(super) fn new(members: [Address<M>; 2]) -> Self {
        let len = members.len();
        let slots = members.map(Some).into();
        Self { slots, head: 0, len, index: None, snapshot: None }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The one who came first of those who are there.
    pub(super) fn oldest(&self) -> Option<&Address<M>> {
        self.slots[self.head..].iter().flatten().next()
    }

    pub(super) fn contains(&self, conn: ConnId) -> bool {
        self.position(conn).is_some()
    }

    fn position(&self, conn: ConnId) -> Option<usize> {
        if let Some(index) = &self.index {
            return index.get(&conn).copied();
        }
        let sits = |slot: &Option<Address<M>>| slot.as_ref().is_some_and(|member| member.conn == conn);
        self.slots[self.head..].iter().position(sits).map(|at| self.head + at)
    }

    /// Adds one who is not there yet.
    pub(super) fn push(&mut self, member: Address<M>, seed: u64) {
        self.snapshot = None;
        if let Some(index) = &mut self.index {
            index.insert(member.conn, self.slots.len());
        }
        self.slots.push(Some(member));
        self.len += 1;
        if self.index.is_none() && self.len >= Self::INDEXED_FROM {
            self.index = Some(Map::with_capacity_and_hasher(self.len, Seeded::new(seed)));
            self.close_up();
        }
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Address<M>> {
        let at = self.position(conn)?;
        let member = self.slots[at].take()?;
        self.snapshot = None;
        self.len -= 1;
        if let Some(index) = &mut self.index {
            index.remove(&conn);
        }
        while self.slots.get(self.head).is_some_and(Option::is_none) {
            self.head += 1;
        }
        if self.slots.len() >= 2 * self.len + 8 {
            self.close_up();
        }
        Some(member)
    }

    /// Closes the empty slots up and brings the index in line.
    fn close_up(&mut self) {
        self.slots.retain(Option::is_some);
        self.slots.shrink_to(self.len * 2);
        self.head = 0;
        if self.len < Self::INDEXED_FROM / 2 {
            self.index = None;
        }
        if let Some(index) = &mut self.index {
            index.clear();
            index.shrink_to(self.len * 2);
            let members = self.slots.iter().flatten();
            index.extend(members.enumerate().map(|(at, member)| (member.conn, at)));
        }
    }

    /// Everyone who is there, shared; built by the first who asks after a change.
    pub(super) fn snapshot(&mut self) -> Arc<[Address<M>]> {
        let slots = &self.slots;
        let build = || {
            let mut members = Vec::with_capacity(self.len);
            members.extend(slots.iter().flatten().cloned());
            members.into()
        };
        self.snapshot.get_or_insert_with(build).clone()
    }

    /// Bytes on the heap, this value included.
    pub(super) fn footprint(&self) -> usize {
        let index = self.index.as_ref().map_or(0, Map::allocation_size);
        let snapshot = self.snapshot.as_ref().map_or(0, |members| mem::size_of_val(&**members) + ARC_HEAD);
        mem::size_of::<Self>()
            + self.slots.capacity() * mem::size_of::<Option<Address<M>>>()
            + index
            + snapshot
    }
}

/// The two counters in front of what an `Arc` shares.
pub(super) const ARC_HEAD: usize = 2 * mem::size_of::<usize>();
