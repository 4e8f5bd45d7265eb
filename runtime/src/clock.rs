//! The one place where the driver reads clocks.

use std::time::{Duration, Instant as StdInstant, SystemTime, UNIX_EPOCH};

use linkspan_core::Instant;

/// Turns the monotonic clock of the process into the core's time, and back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: StdInstant,
    origin_unix: Duration,
}

impl Clock {
    /// A clock whose origin is now.
    pub fn start() -> Self {
        let origin_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: StdInstant::now(), origin_unix }
    }

    /// The core's now.
    pub fn now(&self) -> Instant {
        let micros = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        Instant::from_micros(micros)
    }

    /// The same point in time for a runtime's timer; points beyond a century are cut to it.
    pub fn to_std(&self, at: Instant) -> StdInstant {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        self.origin + at.since_origin().min(CENTURY)
    }

    /// The wall time at [`Instant::ORIGIN`].
    pub fn origin_unix(&self) -> Duration {
        self.origin_unix
    }
}
