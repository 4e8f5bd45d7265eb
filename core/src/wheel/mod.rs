//! Timers for drivers that wait for everything in one place: a single thread with a readiness loop.
//!
//! Runtimes have timers of their own; a driver without one keeps a deadline per machine here and waits until
//! [`Wheel::next`].
//!
//! ```
//! use linkspan_core::Instant;
//! use linkspan_core::wheel::Wheel;
//!
//! let mut wheel = Wheel::new(0);
//! wheel.schedule("connection 1", Instant::from_micros(30_000_000));
//! wheel.schedule("connection 2", Instant::from_micros(10_000_000));
//! wheel.schedule("connection 1", Instant::from_micros(5_000_000)); // replaces
//!
//! let wake = wheel.next().expect("two are scheduled");
//! assert_eq!(wheel.pop_expired(wake), Some("connection 1"));
//! assert_eq!(wheel.pop_expired(wake), None);
//! ```

mod timers;

use core::hash::{BuildHasher, Hash};

use hashbrown::HashTable;

use self::timers::{NONE, Timers};
use crate::hash::Seeded;
use crate::{Actions, Instant, Machine};

/// Deadlines by key; any number of them, in constant time, amortised.
///
/// A hierarchical timing wheel (Varghese and Lauck, 1987): nine levels of 64 slots, each slot of a level as wide as
/// the whole level below. A deadline sits in the lowest level in which it differs from now, and moves down as its time
/// comes near, at most eight times.
///
/// Deadlines are rounded up to the next [tick](Self::TICK_MICROS), so nothing ever fires early. A deadline within the
/// last tick of time is never.
#[derive(Debug)]
pub struct Wheel<K> {
    seed: Seeded,
    timers: Timers<K>,
    /// Finds the timer of a key. Looked up, never iterated.
    index: HashTable<u32>,
}

impl<K: Eq + Hash> Wheel<K> {
    /// How exact the wheel is, in microseconds.
    pub const TICK_MICROS: u64 = 1 << timers::TICK_BITS;

    /// A wheel without deadlines. `seed` keys the table of keys.
    pub fn new(seed: u64) -> Self {
        Self { seed: Seeded::new(seed), timers: Timers::new(), index: HashTable::new() }
    }

    /// Sets the deadline of `key`; one it had before is replaced.
    pub fn schedule(&mut self, key: K, at: Instant) {
        let Some(tick) = timers::tick_at(at) else {
            self.cancel(&key);
            return;
        };
        let hash = self.seed.hash_one(&key);
        let Self { seed, timers, index } = self;
        let same = index.find(hash, |&timer| timers.key(timer) == Some(&key)).copied();
        if let Some(timer) = same {
            return timers.move_to(timer, tick);
        }
        let timer = timers.insert(key, tick);
        let rehash = |&timer: &u32| timers.key(timer).map_or(0, |key| seed.hash_one(key));
        index.insert_unique(hash, timer, rehash);
    }

    /// Takes the deadline of `key` back; false if it had none.
    pub fn cancel(&mut self, key: &K) -> bool {
        let timer = self.unindex(key);
        if timer != NONE {
            self.timers.remove(timer);
            self.give_back();
        }
        timer != NONE
    }

    /// One key whose deadline has passed, which is gone then. They come by tick, and in the order of scheduling within
    /// one; what was scheduled for a time already past comes behind what is due already.
    pub fn pop_expired(&mut self, now: Instant) -> Option<K> {
        let timer = self.timers.first_due(now)?;
        let Self { seed, timers, index } = self;
        let hash = seed.hash_one(timers.key(timer)?);
        if let Ok(found) = index.find_entry(hash, |&other| other == timer) {
            found.remove();
        }
        let key = self.timers.remove(timer);
        self.give_back();
        key
    }

    /// When to call [`pop_expired`](Self::pop_expired) next; `None` if there are no deadlines.
    ///
    /// Never later than the earliest deadline, rounded up to its tick; it may be earlier after a cancel, and then that
    /// call finds nothing and moves it on.
    pub fn next(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// How many deadlines there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are no deadlines.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes on the heap: those of the most deadlines there were since the wheel was last empty.
    pub fn footprint(&self) -> usize {
        self.timers.footprint() + self.index.allocation_size()
    }

    fn unindex(&mut self, key: &K) -> u32 {
        let Self { seed, timers, index } = self;
        match index.find_entry(seed.hash_one(key), |&timer| timers.key(timer) == Some(key)) {
            Ok(found) => found.remove().0,
            Err(_) => NONE,
        }
    }

    fn give_back(&mut self) {
        if self.index.is_empty() {
            self.index = HashTable::new();
            self.timers.give_back();
        }
    }
}

/// What may happen to a wheel that is driven as a [`Machine`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Event<K> {
    /// See [`Wheel::schedule`].
    Schedule(K, Instant),
    /// See [`Wheel::cancel`].
    Cancel(K),
}

/// What a wheel that is driven as a [`Machine`] reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<K> {
    /// The deadline of this key has passed.
    Expired(K),
}

impl<K: Eq + Hash> Machine for Wheel<K> {
    type Event = Event<K>;
    type Action = Action<K>;

    fn handle_event(&mut self, now: Instant, event: Event<K>, actions: &mut Actions<Action<K>>) {
        match event {
            Event::Schedule(key, at) => self.schedule(key, at),
            Event::Cancel(key) => {
                self.cancel(&key);
            }
        }
        // A deadline that is set into the past is due at once.
        self.handle_timeout(now, actions);
    }

    fn handle_timeout(&mut self, now: Instant, actions: &mut Actions<Action<K>>) {
        // Looking would already sort what is near, and early calls must do nothing.
        if self.next().is_none_or(|due| due > now) {
            return;
        }
        while let Some(key) = self.pop_expired(now) {
            actions.push(Action::Expired(key));
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next()
    }
}
