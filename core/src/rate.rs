//! How often something may happen: so many per second, with a burst.

use crate::Instant;

/// One rate, as one number: when the next event would be exactly on schedule (GCRA, the leaky bucket without a clock).
///
/// ```
/// use core::time::Duration;
/// use linkspan_core::Instant;
/// use linkspan_core::rate::Rate;
///
/// let (mut rate, start) = (Rate::default(), Instant::ORIGIN);
/// assert!(rate.take(start, 10, 2) && rate.take(start, 10, 2));
/// assert!(!rate.take(start, 10, 2), "two at once");
/// assert!(rate.take(start + Duration::from_millis(100), 10, 2), "then one every 100 ms");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    /// In nanoseconds since the origin of time.
    schedule: u64,
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const NANOS_PER_MICRO: u64 = 1_000;

impl Rate {
    /// Counts one event, unless it comes too soon: more than `burst` at once, and then more than `per_second`. With 0
    /// per second there is no limit. What is refused does not count.
    pub fn take(&mut self, now: Instant, per_second: u32, burst: u32) -> bool {
        self.take_many(now, 1, per_second, burst)
    }

    /// As [`take`](Self::take) for `count` events at once: all of them, or none.
    pub fn take_many(&mut self, now: Instant, count: u32, per_second: u32, burst: u32) -> bool {
        let Some(interval) = NANOS_PER_SECOND.checked_div(u64::from(per_second)) else { return true };
        let Some(others) = count.checked_sub(1) else { return true };
        let now = nanos(now);
        let last = self.schedule.max(now).saturating_add(interval.saturating_mul(u64::from(others)));
        if last - now > interval.saturating_mul(u64::from(burst.saturating_sub(1))) {
            return false;
        }
        self.schedule = last.saturating_add(interval);
        true
    }

    /// As one number, to be kept where a number is.
    #[cfg(target_has_atomic = "64")]
    pub(crate) const fn to_bits(self) -> u64 {
        self.schedule
    }

    #[cfg(target_has_atomic = "64")]
    pub(crate) const fn from_bits(schedule: u64) -> Self {
        Self { schedule }
    }

    /// Whether what has happened no longer counts.
    pub fn is_rested(self, now: Instant) -> bool {
        self.schedule <= nanos(now)
    }
}

const fn nanos(at: Instant) -> u64 {
    at.as_micros().saturating_mul(NANOS_PER_MICRO)
}
