//! Who is found under which name.

use alloc::boxed::Box;
use core::borrow::Borrow;
use core::hash::Hash;
use core::mem;

use hashbrown::hash_map::Entry as Slot;

use super::roster::{ARC_HEAD, Roster};
use super::{Address, Recipients};
use crate::ConnId;
use crate::hash::{Map, Seeded, give_back};

/// Connections by name; a name that has none is not there.
pub(super) struct Table<K, M> {
    seed: u64,
    map: Map<K, Entry<M>>,
    /// Connections under all names together.
    members: usize,
    /// Bytes on the heap behind the entries and names of `map`.
    heap: usize,
}

/// The connections of one name; never none.
enum Entry<M> {
    /// The usual case lives in the table itself: half the cost of a publish, and no memory of its own.
    One(Address<M>),
    Several(Box<Roster<M>>),
}

impl<M: Clone> Entry<M> {
    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Several(roster) => roster.len(),
        }
    }

    fn contains(&self, conn: ConnId) -> bool {
        match self {
            Self::One(only) => only.conn == conn,
            Self::Several(roster) => roster.contains(conn),
        }
    }

    fn push(&mut self, member: Address<M>, seed: u64) {
        match self {
            Self::One(only) => *self = Self::Several(Box::new(Roster::new([only.clone(), member]))),
            Self::Several(roster) => roster.push(member, seed),
        }
    }

    fn oldest(&self) -> Option<&Address<M>> {
        match self {
            Self::One(only) => Some(only),
            Self::Several(roster) => roster.oldest(),
        }
    }

    fn recipients(&mut self) -> Recipients<M> {
        match self {
            Self::One(only) => Recipients::One(only.clone()),
            Self::Several(roster) => Recipients::Many(roster.snapshot()),
        }
    }

    fn footprint(&self) -> usize {
        match self {
            Self::One(_) => 0,
            Self::Several(roster) => roster.footprint(),
        }
    }
}

impl<K: Borrow<[u8]> + Eq + Hash, M: Clone> Table<K, M> {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, map: Map::with_hasher(Seeded::new(seed)), members: 0, heap: 0 }
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// How many connections there are under all names together.
    pub(super) fn members(&self) -> usize {
        self.members
    }

    /// How many connections `name` has.
    pub(super) fn members_of(&self, name: &K) -> usize {
        self.map.get(name).map_or(0, Entry::len)
    }

    /// Whether `conn` is under `name`.
    pub(super) fn contains(&self, name: &K, conn: ConnId) -> bool {
        self.map.get(name).is_some_and(|entry| entry.contains(conn))
    }

    /// Puts one who is not there yet under `name`.
    pub(super) fn push(&mut self, name: K, member: Address<M>) {
        self.members += 1;
        match self.map.entry(name) {
            Slot::Vacant(slot) => {
                self.heap += name_bytes(slot.key());
                slot.insert(Entry::One(member));
            }
            Slot::Occupied(mut slot) => {
                let entry = slot.get_mut();
                self.heap -= entry.footprint();
                entry.push(member, self.seed);
                self.heap += entry.footprint();
            }
        }
    }

    /// Takes `conn` from `name`, if it is there: a newer connection under the name is another one, and stays.
    pub(super) fn remove(&mut self, name: K, conn: ConnId) -> Option<Address<M>> {
        let Slot::Occupied(mut slot) = self.map.entry(name) else { return None };
        let roster = match slot.get_mut() {
            Entry::One(only) if only.conn != conn => return None,
            Entry::One(_) => {
                let (name, entry) = slot.remove_entry();
                self.heap -= name_bytes(&name);
                self.members -= 1;
                give_back(&mut self.map);
                return entry.oldest().cloned();
            }
            Entry::Several(roster) => roster,
        };
        let before = roster.footprint();
        let member = roster.remove(conn)?;
        self.members -= 1;
        self.heap -= before;
        self.heap += roster.footprint();
        if roster.len() == 1
            && let Some(last) = roster.oldest().cloned()
        {
            self.heap -= roster.footprint();
            slot.insert(Entry::One(last));
        }
        Some(member)
    }

    /// Who is longest under `name`.
    pub(super) fn oldest(&self, name: &K) -> Option<ConnId> {
        self.map.get(name)?.oldest().map(|member| member.conn)
    }

    /// Everyone under `name`.
    pub(super) fn recipients(&mut self, name: &K) -> Option<Recipients<M>> {
        let entry = self.map.get_mut(name)?;
        let before = entry.footprint();
        let recipients = entry.recipients();
        self.heap += entry.footprint() - before;
        Some(recipients)
    }

    /// Takes everyone from `name`.
    pub(super) fn take(&mut self, name: &K) -> Option<Recipients<M>> {
        let (name, mut entry) = self.map.remove_entry(name)?;
        self.members -= entry.len();
        self.heap -= entry.footprint() + name_bytes(&name);
        give_back(&mut self.map);
        Some(entry.recipients())
    }

    /// Bytes on the heap.
    pub(super) fn footprint(&self) -> usize {
        self.map.allocation_size() + self.heap
    }
}

fn name_bytes<K: Borrow<[u8]>>(name: &K) -> usize {
    ARC_HEAD + name.borrow().len()
}

/// The most that one connection under one name can cost a table.
pub(super) const fn member_bytes_max<K, M>() -> usize {
    let member = mem::size_of::<Option<Address<M>>>();
    // A slot with its control byte, in a table that is at least an eighth full.
    let slot = 8 * (mem::size_of::<(K, Entry<M>)>() + 1);
    // Up to twice the slots plus eight, in a vector grown to twice that; shared between at least two members.
    let slots = 2 * (2 * member + 4 * member);
    let index = 8 * (mem::size_of::<(ConnId, usize)>() + 1);
    let snapshot = member + ARC_HEAD;
    slot + slots + index + snapshot + mem::size_of::<Roster<M>>() + ARC_HEAD + crate::Key::MAX
}
