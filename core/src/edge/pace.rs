//! How fast the connections of one address may say things, all together.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::Instant;
use crate::rate::Rate;

/// What all connections of one address have said together; clones count on the same account. Made by the
/// [`Gate`](crate::gate::Gate), read and written by the tasks of the connections without a lock.
#[derive(Clone, Debug)]
pub struct Pace {
    per_second: u32,
    burst: u32,
    /// A [`Rate`].
    said: Arc<AtomicU64>,
}

impl Pace {
    /// Bytes on the heap of each: the number and its two counters.
    pub(crate) const FOOTPRINT: usize = 3 * size_of::<u64>();

    /// A new account; `None` if messages are not limited.
    pub(crate) fn new(per_second: u32, burst: u32) -> Option<Self> {
        (per_second > 0).then(|| Self { per_second, burst, said: Arc::default() })
    }

    pub(crate) fn rate(&self) -> Rate {
        Rate::from_bits(self.said.load(Ordering::Relaxed))
    }

    /// Counts `count` messages; false if the address says more than it may. What is refused is not counted.
    pub fn allows(&self, now: Instant, count: u32) -> bool {
        let next = |said| {
            let mut rate = Rate::from_bits(said);
            rate.take_many(now, count, self.per_second, self.burst).then(|| rate.to_bits())
        };
        self.said.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}
