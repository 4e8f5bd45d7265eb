//! Sessions that take a key from each other for ever.

use alloc::collections::VecDeque;
use core::mem;
use core::time::Duration;

use crate::hash::{Map, Seeded, give_back};
use crate::memory::{self, ARC_HEAD};
use crate::{Instant, Key, Limits};

/// Counts how often each key was taken from a session within the last
/// [`replacement_window`](Limits::replacement_window).
pub(super) struct Storms {
    /// When each key was taken, oldest first; a key that was not is not there.
    taken: Map<Key, VecDeque<Instant>>,
    /// The keys in the order in which they were taken.
    order: VecDeque<Key>,
    /// Bytes on the heap behind the entries of `taken`.
    heap: usize,
}

impl Storms {
    pub(super) fn new(seed: u64) -> Self {
        Self { taken: Map::with_hasher(Seeded::new(seed)), order: VecDeque::new(), heap: 0 }
    }

    /// Forgotten per registration: more than one, so that they never pile up.
    pub(super) const SWEPT_PER_EVENT: usize = 4;

    /// Forgets at most `most` of what is too old to count.
    pub(super) fn sweep(&mut self, now: Instant, window: Duration, most: usize) {
        for _ in 0..most {
            let oldest = self.order.front().and_then(|key| self.taken.get(key)?.front());
            if oldest.is_none_or(|at| *at + window > now) {
                break;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(key) = self.order.pop_front() else { return };
        if let Some(times) = self.taken.get_mut(&key) {
            self.heap -= taken_bytes(&key, times);
            times.pop_front();
            shrink(times);
            if times.is_empty() {
                self.taken.remove(&key);
                give_back(&mut self.taken);
            } else {
                self.heap += taken_bytes(&key, times);
            }
        }
        shrink(&mut self.order);
    }

    /// How long `key` must stay with whom it is, if it was taken too often.
    pub(super) fn wait(&self, now: Instant, key: &Key, limits: &Limits) -> Option<Duration> {
        let most = limits.replacements as usize;
        let times = self.taken.get(key)?;
        let decisive = *times.get(times.len().checked_sub(most)?)?;
        let due = decisive + limits.replacement_window;
        (due > now).then(|| due - now)
    }

    /// `key` was taken.
    pub(super) fn count(&mut self, now: Instant, key: &Key, limits: &Limits) {
        if limits.replacements == 0 {
            return;
        }
        // Beyond what may be remembered, those are forgotten that matter least.
        if self.order.len() >= limits.replacements_remembered as usize {
            self.forget_oldest();
        }
        self.order.push_back(key.clone());
        if let Some(times) = self.taken.get_mut(key) {
            self.heap -= taken_bytes(key, times);
            times.push_back(now);
            self.heap += taken_bytes(key, times);
        } else {
            let times = VecDeque::from([now]);
            self.heap += taken_bytes(key, &times);
            self.taken.insert(key.clone(), times);
        }
    }

    /// Bytes on the heap.
    pub(super) fn footprint(&self) -> usize {
        self.taken.allocation_size() + self.heap + self.order.capacity() * mem::size_of::<Key>()
    }

    /// The most that so many replacements can cost.
    pub(super) const fn footprint_max(remembered: usize) -> usize {
        // A slot with its control byte, in a table that is at least an eighth full; two queues, each with room for
        // less than eight times what is in it.
        let slot = 8 * (mem::size_of::<(Key, VecDeque<Instant>)>() + 1);
        let queues = 8 * (mem::size_of::<Key>() + mem::size_of::<Instant>());
        // The table starts with room for a few.
        (remembered + 8).saturating_mul(slot + queues + ARC_HEAD + Key::MAX)
    }
}

/// Gives memory back once a queue holds less than a quarter of what it has room for.
fn shrink<T>(queue: &mut VecDeque<T>) {
    if queue.len() < queue.capacity() / 4 {
        queue.shrink_to(queue.len() * 2);
    } else if queue.is_empty() {
        queue.shrink_to_fit();
    }
}

fn taken_bytes(key: &Key, times: &VecDeque<Instant>) -> usize {
    memory::name(key.as_bytes()) + times.capacity() * mem::size_of::<Instant>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_gives_back_what_it_needs_least() {
        for (len, room) in [(16, 64), (15, 30), (1, 2), (0, 0)] {
            let mut queue = VecDeque::with_capacity(64);
            queue.extend(0..len);
            shrink(&mut queue);
            assert_eq!((queue.len(), queue.capacity()), (len, room));
        }
        let mut small: VecDeque<u8> = VecDeque::with_capacity(3);
        shrink(&mut small);
        assert_eq!(small.capacity(), 0, "an empty one keeps nothing");
    }
}
