//! How fast the connections of one address may say things, all together.

use alloc::sync::Arc;

use self::account::Account;
use crate::Instant;
use crate::rate::Rate;

/// What all connections of one address have said together; clones count on the same account. Made by the
/// [`Gate`](crate::gate::Gate), read and written by the tasks of the connections without a lock. Where the processor
/// has no 64-bit atomics there is none, and messages are not limited.
#[derive(Clone, Debug)]
pub struct Pace(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    per_second: u32,
    burst: u32,
    said: Account,
}

impl Pace {
    /// Bytes on the heap of each: what is shared, and its two counters.
    pub(crate) const FOOTPRINT: usize = size_of::<Shared>() + 2 * size_of::<usize>();

    /// A new account; `None` if messages are not limited.
    pub(crate) fn new(per_second: u32, burst: u32) -> Option<Self> {
        let shared = || Self(Arc::new(Shared { per_second, burst, said: Account::default() }));
        (Account::WORKS && per_second > 0).then(shared)
    }

    pub(crate) fn rate(&self) -> Rate {
        self.0.said.rate()
    }

    /// Counts `count` messages; false if the address says more than it may. What is refused is not counted.
    pub fn allows(&self, now: Instant, count: u32) -> bool {
        let Shared { per_second, burst, said } = &*self.0;
        said.change(|rate| rate.take_many(now, count, *per_second, *burst))
    }
}

#[cfg(target_has_atomic = "64")]
mod account {
    use core::sync::atomic::{AtomicU64, Ordering};

    use crate::rate::Rate;

    /// A [`Rate`] that many may change.
    #[derive(Debug, Default)]
    pub(super) struct Account(AtomicU64);

    impl Account {
        pub(super) const WORKS: bool = true;

        pub(super) fn rate(&self) -> Rate {
            Rate::from_bits(self.0.load(Ordering::Relaxed))
        }

        /// Changes the rate if `change` says so; whether it did.
        pub(super) fn change(&self, change: impl Fn(&mut Rate) -> bool) -> bool {
            let next = |bits| {
                let mut rate = Rate::from_bits(bits);
                change(&mut rate).then(|| rate.to_bits())
            };
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
        }
    }
}

#[cfg(not(target_has_atomic = "64"))]
mod account {
    use crate::rate::Rate;

    /// Nothing that many may change.
    #[derive(Debug, Default)]
    pub(super) struct Account;

    impl Account {
        pub(super) const WORKS: bool = false;

        pub(super) fn rate(&self) -> Rate {
            Rate::default()
        }

        pub(super) fn change(&self, _change: impl Fn(&mut Rate) -> bool) -> bool {
            true
        }
    }
}
