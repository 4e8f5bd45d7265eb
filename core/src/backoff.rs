//! Waiting longer after each failure: of `accept`, of a dial.

use core::time::Duration;

use crate::random::SplitMix;

/// Delays that double from a first one to a longest one.
///
/// ```
/// use core::time::Duration;
/// use linkspan_core::backoff::Backoff;
///
/// let mut backoff = Backoff::accept();
/// assert_eq!(backoff.next_delay(), Duration::from_millis(5));
/// assert_eq!(backoff.next_delay(), Duration::from_millis(10));
/// backoff.reset();
/// assert_eq!(backoff.next_delay(), Duration::from_millis(5));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    /// The next delay before jitter.
    next: Duration,
    jitter: Option<SplitMix>,
}

impl Backoff {
    /// The shortest first delay: a delay of nothing would spin.
    pub const FIRST_MIN: Duration = Duration::from_millis(1);

    /// Delays from `first` (at least [`FIRST_MIN`](Self::FIRST_MIN)) doubling up to `max` (at least `first`).
    pub fn new(first: Duration, max: Duration) -> Self {
        let first = first.max(Self::FIRST_MIN);
        Self { first, max: max.max(first), next: first, jitter: None }
    }

    /// What accept loops use: 5 ms doubling to 1 s.
    pub fn accept() -> Self {
        Self::new(Duration::from_millis(5), Duration::from_secs(1))
    }

    /// Draws each delay from the upper half of its span, so that many who failed together do not come back together.
    #[must_use]
    pub fn with_jitter(self, seed: u64) -> Self {
        Self { jitter: Some(SplitMix::new(seed)), ..self }
    }

    /// How long to wait after one more failure.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = delay.saturating_mul(2).min(self.max);
        match &mut self.jitter {
            Some(random) => delay - random.span_below(delay / 2),
            None => delay,
        }
    }

    /// It worked: the next failure waits for the first delay again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}
