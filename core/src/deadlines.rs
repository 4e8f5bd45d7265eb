//! A fixed table of named deadlines.

use crate::Instant;

/// `N` deadlines, each armed or not; the minimum is what a machine reports as its next timeout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deadlines<const N: usize>([u64; N]);

impl<const N: usize> Deadlines<N> {
    const UNARMED: u64 = u64::MAX;

    /// No deadline is armed.
    pub(crate) const fn new() -> Self {
        Self([Self::UNARMED; N])
    }

    /// Arms one deadline, or moves it.
    pub(crate) fn arm(&mut self, which: usize, at: Instant) {
        // The end of time is never: an endless span simply does not arm.
        self.0[which] = at.as_micros();
    }

    /// Takes one deadline back.
    pub(crate) fn disarm(&mut self, which: usize) {
        self.0[which] = Self::UNARMED;
    }

    /// Whether one deadline is armed.
    pub(crate) fn is_armed(&self, which: usize) -> bool {
        self.0[which] != Self::UNARMED
    }

    /// Takes one deadline back and says when it would have been.
    pub(crate) fn take(&mut self, which: usize) -> Option<Instant> {
        let at = self.is_armed(which).then(|| Instant::from_micros(self.0[which]));
        self.disarm(which);
        at
    }

    /// Whether one deadline has passed; if so it is taken back, so that it fires once.
    pub(crate) fn take_passed(&mut self, which: usize, now: Instant) -> bool {
        let passed = self.0[which] <= now.as_micros() && self.is_armed(which);
        if passed {
            self.disarm(which);
        }
        passed
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        let earliest = self.0.iter().copied().min().unwrap_or(Self::UNARMED);
        (earliest != Self::UNARMED).then(|| Instant::from_micros(earliest))
    }
}
