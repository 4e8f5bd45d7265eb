//! The wheel itself: timers in a slab, linked into the slots of nine levels.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use crate::Instant;

/// A tick is 2^10 microseconds, about a millisecond.
pub(super) const TICK_BITS: u32 = 10;

/// No timer.
pub(super) const NONE: u32 = u32::MAX;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Nine levels of six bits cover the 54 bits of every tick.
const LEVELS: usize = 9;
/// The list of the timers whose time has come, behind those of all slots.
const DUE: usize = LEVELS * SLOTS;

const _: () = assert!(LEVELS as u32 * SLOT_BITS + TICK_BITS == u64::BITS);

/// The first tick that is not before `at`; `None` if time ends before it.
pub(super) fn tick_at(at: Instant) -> Option<u64> {
    let tick = at.as_micros().div_ceil(1 << TICK_BITS);
    (tick >> (LEVELS as u32 * SLOT_BITS) == 0).then_some(tick)
}

fn start_of(tick: u64) -> Instant {
    Instant::from_micros(tick << TICK_BITS)
}

#[derive(Debug)]
struct Timer<K> {
    /// `None` while the timer is free; `next` then links the free ones.
    key: Option<K>,
    tick: u64,
    list: u16,
    previous: u32,
    next: u32,
}

/// A doubly linked list through the slab.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
    /// Not after the earliest tick in the list.
    earliest: u64,
}

const EMPTY: List = List { first: NONE, last: NONE, earliest: u64::MAX };

#[derive(Debug)]
pub(super) struct Timers<K> {
    slab: Vec<Timer<K>>,
    free: u32,
    lists: Box<[List; DUE + 1]>,
    /// Which slots of each level are not empty.
    occupied: [u64; LEVELS],
    /// Up to here everything is in the due list; later ticks are in the slots. Placement is relative to it.
    elapsed: u64,
}

impl<K> Timers<K> {
    pub(super) fn new() -> Self {
        let lists = Box::new([EMPTY; DUE + 1]);
        Self { slab: Vec::new(), free: NONE, lists, occupied: [0; LEVELS], elapsed: 0 }
    }

    pub(super) fn key(&self, timer: u32) -> Option<&K> {
        self.slab.get(timer as usize)?.key.as_ref()
    }

    pub(super) fn insert(&mut self, key: K, tick: u64) -> u32 {
        let timer = self.allocate(key);
        self.link(timer, tick);
        timer
    }

    pub(super) fn move_to(&mut self, timer: u32, tick: u64) {
        self.unlink(timer);
        self.link(timer, tick);
    }

    pub(super) fn remove(&mut self, timer: u32) -> Option<K> {
        self.unlink(timer);
        let slot = &mut self.slab[timer as usize];
        slot.next = self.free;
        self.free = timer;
        slot.key.take()
    }

    /// The first timer whose tick has come.
    pub(super) fn first_due(&mut self, now: Instant) -> Option<u32> {
        let now = now.as_micros() >> TICK_BITS;
        while self.lists[DUE].first == NONE {
            let next = self.next_slot();
            let Some((level, slot)) = next.filter(|&(level, slot)| self.tick_of(level, slot) <= now) else {
                // No slot begins up to now, so every placement stays right if time moves on to it.
                self.elapsed = self.elapsed.max(now);
                return None;
            };
            self.elapsed = self.tick_of(level, slot);
            self.empty(level, slot);
        }
        Some(self.lists[DUE].first)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        let list = match self.next_slot() {
            _ if self.lists[DUE].first != NONE => DUE,
            Some((level, slot)) => list_of(level, slot),
            None => return None,
        };
        Some(start_of(self.lists[list].earliest))
    }

    /// Gives the memory of a wheel without timers back.
    pub(super) fn give_back(&mut self) {
        self.slab = Vec::new();
        self.free = NONE;
    }

    pub(super) fn footprint(&self) -> usize {
        self.slab.capacity() * mem::size_of::<Timer<K>>() + mem::size_of_val(&*self.lists)
    }

    // Slots.

    /// The slot that comes first. All timers of a level come before those of the next: they share more with `elapsed`.
    fn next_slot(&self) -> Option<(usize, usize)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// The first tick of a slot.
    fn tick_of(&self, level: usize, slot: usize) -> u64 {
        let shift = level as u32 * SLOT_BITS;
        let above = self.elapsed >> shift >> SLOT_BITS << SLOT_BITS;
        (above | slot as u64) << shift
    }

    /// Where a tick belongs: the highest digit in which it differs from `elapsed` is its level and slot.
    fn place(&self, tick: u64) -> usize {
        if tick <= self.elapsed {
            return DUE;
        }
        let level = (tick ^ self.elapsed).ilog2() / SLOT_BITS;
        list_of(level as usize, (tick >> (level * SLOT_BITS)) as usize % SLOTS)
    }

    /// Moves the timers of a slot, whose time begins now, to where they belong from now on.
    fn empty(&mut self, level: usize, slot: usize) {
        self.occupied[level] &= !(1 << slot);
        let mut timer = mem::replace(&mut self.lists[list_of(level, slot)], EMPTY).first;
        while timer != NONE {
            let Timer { next, tick, .. } = self.slab[timer as usize];
            self.link(timer, tick);
            timer = next;
        }
    }

    // Lists.

    /// Appends a timer that is in no list.
    fn link(&mut self, timer: u32, tick: u64) {
        let place = self.place(tick);
        let list = &mut self.lists[place];
        let previous = mem::replace(&mut list.last, timer);
        list.earliest = list.earliest.min(tick);
        match self.slab.get_mut(previous as usize) {
            Some(previous) => previous.next = timer,
            None => list.first = timer,
        }
        if place != DUE {
            self.occupied[place / SLOTS] |= 1 << (place % SLOTS);
        }
        let entry = &mut self.slab[timer as usize];
        (entry.tick, entry.list, entry.previous, entry.next) = (tick, place as u16, previous, NONE);
    }

    fn unlink(&mut self, timer: u32) {
        let Timer { list: place, previous, next, .. } = self.slab[timer as usize];
        let list = &mut self.lists[usize::from(place)];
        match self.slab.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => list.first = next,
        }
        match self.slab.get_mut(next as usize) {
            Some(next) => next.previous = previous,
            None => list.last = previous,
        }
        if list.first == NONE {
            *list = EMPTY;
            let place = usize::from(place);
            if place != DUE {
                self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
            }
        }
    }

    // The slab.

    fn allocate(&mut self, key: K) -> u32 {
        let new = Timer { key: Some(key), tick: 0, list: 0, previous: NONE, next: NONE };
        let Some(free) = self.slab.get_mut(self.free as usize) else {
            self.slab.push(new);
            return (self.slab.len() - 1) as u32;
        };
        let timer = mem::replace(&mut self.free, free.next);
        *free = new;
        timer
    }
}

fn list_of(level: usize, slot: usize) -> usize {
    level * SLOTS + slot
}
