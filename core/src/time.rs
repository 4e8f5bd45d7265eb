//! Time as a number: the core never reads a clock.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A point in time in microseconds since an origin the driver picks.
///
/// Only differences matter, so a driver may count from its own start, a simulator from zero. All arithmetic saturates:
/// no event order and no clock can make the core overflow.
///
/// ```
/// use core::time::Duration;
/// use linkspan_core::Instant;
///
/// let start = Instant::from_micros(5);
/// assert_eq!((start + Duration::from_millis(1)) - start, Duration::from_millis(1));
/// assert_eq!(start - (start + Duration::from_secs(1)), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Instant(u64);

impl Instant {
    /// The driver's origin.
    pub const ORIGIN: Self = Self(0);

    /// The point `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The span since the origin.
    pub const fn since_origin(self) -> Duration {
        Duration::from_micros(self.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of time; fractions of a microsecond are rounded up, so a deadline is never early.
    fn add(self, span: Duration) -> Self {
        // Seconds and the rest apart: a division of 128 bits would be most of what this costs, and machines add often.
        let rounded = u64::from(span.subsec_nanos().div_ceil(1_000));
        Self(self.0.saturating_add(span.as_secs().saturating_mul(1_000_000)).saturating_add(rounded))
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// The span from `earlier` to `self`; zero if `earlier` is later.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}
