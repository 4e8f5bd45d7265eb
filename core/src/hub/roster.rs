//! Several connections under one name, in the order in which they came.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::{Address, Platform, PlatformSet};
use crate::ConnId;
use crate::hash::{Map, Seeded};
use crate::memory::ARC_HEAD;

/// What a table keeps of one connection.
pub(super) trait Member: Clone {
    type Mailbox: Clone;

    fn address(&self) -> &Address<Self::Mailbox>;

    /// The connection's mailbox is another one now.
    fn set_address(&mut self, address: Address<Self::Mailbox>);

    /// What the connection runs on, where that is counted.
    fn platform(&self) -> Option<Platform>;

    fn conn(&self) -> ConnId {
        self.address().conn
    }
}

impl<M: Clone> Member for Address<M> {
    type Mailbox = M;

    fn address(&self) -> &Self {
        self
    }

    fn set_address(&mut self, address: Self) {
        *self = address;
    }

    fn platform(&self) -> Option<Platform> {
        None
    }
}

/// An ordered set of connections with a shared snapshot of itself.
///
/// Leaving empties a slot in place, so that order survives and nothing moves; once half of the slots are empty they
/// are closed up. Adding, removing, and finding the oldest take constant time, amortised.
pub(super) struct Roster<T: Member> {
    slots: Vec<Option<T>>,
    /// How many slots at the front are empty for sure.
    head: usize,
    len: usize,
    /// Where each connection sits; small rosters are searched instead, which needs no memory.
    index: Option<Map<ConnId, usize>>,
    /// How many members run on each platform of those on which any does.
    tally: Vec<(Platform, u32)>,
    /// What the last publish walked; taken back by every change.
    snapshot: Option<Arc<[Address<T::Mailbox>]>>,
}

impl<T: Member> Roster<T> {
    /// From how many members on there is an index, and below which half of it is dropped again.
    const INDEXED_FROM: usize = 32;

    pub(super) fn new(members: [T; 2]) -> Self {
        let (len, mut tally) = (members.len(), Vec::new());
        members.iter().for_each(|member| count(&mut tally, member));
        let slots = members.map(Some).into();
        Self { slots, head: 0, len, index: None, tally, snapshot: None }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Everyone who is there, in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots[self.head..].iter().flatten()
    }

    /// How many run on `platform`.
    pub(super) fn count_on(&self, platform: Platform) -> usize {
        self.tally.iter().find(|(on, _)| *on == platform).map_or(0, |(_, count)| *count as usize)
    }

    /// What they run on.
    pub(super) fn platforms(&self) -> PlatformSet {
        self.tally.iter().map(|(on, _)| *on).collect()
    }

    /// The one who came first of those who are there.
    pub(super) fn oldest(&self) -> Option<&T> {
        self.iter().next()
    }

    pub(super) fn contains(&self, conn: ConnId) -> bool {
        self.position(conn).is_some()
    }

    fn position(&self, conn: ConnId) -> Option<usize> {
        if let Some(index) = &self.index {
            return index.get(&conn).copied();
        }
        let sits = |slot: &Option<T>| slot.as_ref().is_some_and(|member| member.conn() == conn);
        self.slots[self.head..].iter().position(sits).map(|at| self.head + at)
    }

    /// Adds one who is not there yet.
    pub(super) fn push(&mut self, member: T, seed: u64) {
        self.snapshot = None;
        count(&mut self.tally, &member);
        if let Some(index) = &mut self.index {
            index.insert(member.conn(), self.slots.len());
        }
        self.slots.push(Some(member));
        self.len += 1;
        if self.index.is_none() && self.len >= Self::INDEXED_FROM {
            self.index = Some(Map::with_capacity_and_hasher(self.len, Seeded::new(seed)));
            self.close_up();
        }
    }

    /// Brings the mailbox of one who is there up to date.
    pub(super) fn set_address(&mut self, address: Address<T::Mailbox>) {
        let at = self.position(address.conn);
        if let Some(member) = at.and_then(|at| self.slots[at].as_mut()) {
            member.set_address(address);
            self.snapshot = None;
        }
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> Option<T> {
        let at = self.position(conn)?;
        let member = self.slots[at].take()?;
        self.snapshot = None;
        discount(&mut self.tally, &member);
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
            index.extend(members.enumerate().map(|(at, member)| (member.conn(), at)));
        }
    }

    /// Everyone who is there, shared; built by the first who asks after a change.
    pub(super) fn snapshot(&mut self) -> Arc<[Address<T::Mailbox>]> {
        let slots = &self.slots;
        let build = || {
            let mut members = Vec::with_capacity(self.len);
            members.extend(slots.iter().flatten().map(Member::address).cloned());
            members.into()
        };
        self.snapshot.get_or_insert_with(build).clone()
    }

    /// Bytes on the heap, this value included.
    pub(super) fn footprint(&self) -> usize {
        let index = self.index.as_ref().map_or(0, Map::allocation_size);
        let snapshot = self.snapshot.as_ref().map_or(0, |members| mem::size_of_val(&**members) + ARC_HEAD);
        mem::size_of::<Self>()
            + self.slots.capacity() * mem::size_of::<Option<T>>()
            + self.tally.capacity() * mem::size_of::<(Platform, u32)>()
            + index
            + snapshot
    }
}

fn count<T: Member>(tally: &mut Vec<(Platform, u32)>, member: &T) {
    let Some(platform) = member.platform() else { return };
    match tally.iter_mut().find(|(on, _)| *on == platform) {
        Some((_, count)) => *count += 1,
        None => tally.push((platform, 1)),
    }
}

fn discount<T: Member>(tally: &mut Vec<(Platform, u32)>, member: &T) {
    let at = tally.iter().position(|(on, _)| Some(*on) == member.platform());
    if let Some(at) = at {
        tally[at].1 -= 1;
        if tally[at].1 == 0 {
            tally.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Guest(Address<()>, Platform);

    impl Member for Guest {
        type Mailbox = ();

        fn address(&self) -> &Address<()> {
            &self.0
        }

        fn set_address(&mut self, address: Address<()>) {
            self.0 = address;
        }

        fn platform(&self) -> Option<Platform> {
            Some(self.1)
        }
    }

    fn guest(conn: u64) -> Guest {
        let platform = if conn.is_multiple_of(3) { Platform::WEB } else { Platform::IOS };
        Guest(Address { conn: ConnId(conn), mailbox: () }, platform)
    }

    fn roster(len: u64) -> Roster<Guest> {
        let mut roster = Roster::new([guest(0), guest(1)]);
        (2..len).for_each(|conn| roster.push(guest(conn), 7));
        roster
    }

    /// Slots are closed up when half of them are empty and not before, or every leave would move all who stay.
    #[test]
    fn slots_are_closed_up_when_half_of_them_are_empty() {
        // From 40 there are 16 when they are closed up, which is just enough for an index.
        for (len, is_oldest_first) in [(40, true), (40, false), (100, true), (100, false), (9, true)] {
            let mut roster = roster(len);
            let (mut slots, mut is_indexed) = (len as usize, len >= 32);
            for gone in 0..len {
                let conn = if is_oldest_first { gone } else { len - 1 - gone };
                assert!(roster.contains(ConnId(conn)) && roster.remove(ConnId(conn)).is_some());
                assert!(!roster.contains(ConnId(conn)) && roster.remove(ConnId(conn)).is_none());
                let left = (len - gone - 1) as usize;
                if slots >= 2 * left + 8 {
                    (slots, is_indexed) = (left, is_indexed && left >= 16);
                    assert!(roster.slots.capacity() <= 2 * left, "{} slots", roster.slots.capacity());
                    let room = roster.index.as_ref().map(Map::capacity);
                    assert!(room.is_none_or(|room| (2 * left..4 * left).contains(&room)), "{room:?}");
                }
                assert_eq!((roster.len(), roster.slots.len()), (left, slots), "{gone} of {len} are gone");
                assert_eq!(roster.index.is_some(), is_indexed, "{left} of {len} are left");
                let who: Vec<u64> = roster.iter().map(|guest| guest.conn().0).collect();
                let there = if is_oldest_first { gone + 1..len } else { 0..len - gone - 1 };
                assert!(who.iter().copied().eq(there.clone()), "{who:?}");
                for platform in [Platform::WEB, Platform::IOS] {
                    let on = there.clone().filter(|conn| guest(*conn).1 == platform).count();
                    assert_eq!(roster.count_on(platform), on);
                    assert_eq!(roster.platforms().contains(platform), on > 0);
                }
            }
        }
    }
}
