//! Who is found under which name.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::hash::Hash;
use core::mem;

use hashbrown::hash_map::Entry as Slot;

use super::roster::{Member, Roster};
use super::{Address, Platform, PlatformSet, Recipients};
use crate::ConnId;
use crate::hash::{Map, Seeded, give_back};
use crate::memory::{self, ARC_HEAD};

/// Connections by name; a name that has none is not there.
pub(super) struct Table<K, T: Member> {
    seed: u64,
    map: Map<K, Entry<T>>,
    /// Connections under all names together.
    members: usize,
    /// Bytes on the heap behind the entries and names of `map`.
    heap: usize,
}

/// The connections of one name; never none.
enum Entry<T: Member> {
    /// The usual case lives in the table itself: half the cost of a publish, and no memory of its own.
    One(T),
    Several(Box<Roster<T>>),
}

impl<T: Member> Entry<T> {
    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Several(roster) => roster.len(),
        }
    }

    fn contains(&self, conn: ConnId) -> bool {
        match self {
            Self::One(only) => only.conn() == conn,
            Self::Several(roster) => roster.contains(conn),
        }
    }

    fn push(&mut self, member: T, seed: u64) {
        match self {
            Self::One(only) => *self = Self::Several(Box::new(Roster::new([only.clone(), member]))),
            Self::Several(roster) => roster.push(member, seed),
        }
    }

    fn oldest(&self) -> Option<&T> {
        match self {
            Self::One(only) => Some(only),
            Self::Several(roster) => roster.oldest(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        let (only, several) = match self {
            Self::One(only) => (Some(only), None),
            Self::Several(roster) => (None, Some(roster.iter())),
        };
        only.into_iter().chain(several.into_iter().flatten())
    }

    fn count_on(&self, platform: Platform) -> usize {
        match self {
            Self::One(only) => usize::from(only.platform() == Some(platform)),
            Self::Several(roster) => roster.count_on(platform),
        }
    }

    fn platforms(&self) -> PlatformSet {
        match self {
            Self::One(only) => only.platform().into_iter().collect(),
            Self::Several(roster) => roster.platforms(),
        }
    }

    fn recipients(&mut self) -> Recipients<T::Mailbox> {
        match self {
            Self::One(only) => Recipients::One(only.address().clone()),
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

impl<K: Borrow<[u8]> + Eq + Hash, T: Member> Table<K, T> {
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
    pub(super) fn push(&mut self, name: K, member: T) {
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
    pub(super) fn remove(&mut self, name: K, conn: ConnId) -> Option<T> {
        let Slot::Occupied(mut slot) = self.map.entry(name) else { return None };
        let roster = match slot.get_mut() {
            Entry::One(only) if only.conn() != conn => return None,
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

    /// Brings the mailbox of one who is under `name` up to date.
    pub(super) fn set_address(&mut self, name: &K, address: Address<T::Mailbox>) {
        match self.map.get_mut(name) {
            Some(Entry::One(only)) if only.conn() == address.conn => only.set_address(address),
            Some(Entry::Several(roster)) => {
                self.heap -= roster.footprint();
                roster.set_address(address);
                self.heap += roster.footprint();
            }
            Some(Entry::One(_)) | None => {}
        }
    }

    /// Everyone under `name`, in the order in which they came.
    pub(super) fn iter(&self, name: &K) -> impl Iterator<Item = &T> {
        self.map.get(name).into_iter().flat_map(Entry::iter)
    }

    /// How many connections under `name` run on `platform`.
    pub(super) fn count_on(&self, name: &K, platform: Platform) -> usize {
        self.map.get(name).map_or(0, |entry| entry.count_on(platform))
    }

    /// What the connections under `name` run on.
    pub(super) fn platforms(&self, name: &K) -> PlatformSet {
        self.map.get(name).map_or(PlatformSet::EMPTY, Entry::platforms)
    }

    /// Everyone under `name`.
    pub(super) fn recipients(&mut self, name: &K) -> Option<Recipients<T::Mailbox>> {
        let entry = self.map.get_mut(name)?;
        let before = entry.footprint();
        let recipients = entry.recipients();
        self.heap += entry.footprint() - before;
        Some(recipients)
    }

    /// Everyone under `name` who runs on one of `platforms`. Unless that is everyone, it is found out anew each time.
    pub(super) fn recipients_on(
        &mut self,
        name: &K,
        platforms: PlatformSet,
    ) -> Option<Recipients<T::Mailbox>> {
        let entry = self.map.get(name)?;
        if platforms.contains_all(entry.platforms()) {
            return self.recipients(name);
        }
        let runs_there = |member: &&T| member.platform().is_some_and(|platform| platforms.contains(platform));
        let members: Vec<_> =
            entry.iter().filter(runs_there).map(|member| member.address().clone()).collect();
        Recipients::from_vec(members)
    }

    /// Takes everyone from `name`.
    pub(super) fn take(&mut self, name: &K) -> Option<Recipients<T::Mailbox>> {
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
    memory::name(name.borrow())
}

/// The most that one connection under one name can cost a table.
pub(super) const fn member_bytes_max<K, T: Member>() -> usize {
    let member = mem::size_of::<Option<T>>();
    // A slot with its control byte, in a table that is at least an eighth full.
    let slot = 8 * (mem::size_of::<(K, Entry<T>)>() + 1);
    // Up to twice the slots plus eight, in a vector grown to twice that; shared between at least two members.
    let slots = 2 * (2 * member + 4 * member);
    let index = 8 * (mem::size_of::<(ConnId, usize)>() + 1);
    let snapshot = member + ARC_HEAD;
    // One entry per platform at most, shared between at least two members.
    let tally = Platform::COUNT / 2 * mem::size_of::<(Platform, u32)>();
    slot + slots + index + snapshot + tally + mem::size_of::<Roster<T>>() + ARC_HEAD + crate::Key::MAX
}
