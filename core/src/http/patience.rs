//! How long a server bears with a client between a request and the end of its answer.

use core::time::Duration;

use crate::Instant;

/// What a client does with the answers it asked for, and when it has done too little.
///
/// Heads of requests and idle connections have times of their own; this is about a client that does not take what is
/// written to it, and about one that hangs up before it is answered. Whoever is owed an answer, and takes what there
/// is, may wait for ever: a stream of events may be silent for hours.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    write_timeout: Duration,
    end_grace: Duration,
    blocked_at: Option<Instant>,
    ended_at: Option<Instant>,
}

/// What a client's patience has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Waiting,
    /// The client takes nothing of its answer: the connection is to be cut.
    Stalled,
    /// The client has hung up: what is being done for it is to be given up.
    Gone,
}

impl Patience {
    /// A client may take nothing for `write_timeout`. One that has ended its side is served for `end_grace` more: it
    /// may be one that says all it has to say and then reads, and it may be gone.
    pub const fn new(write_timeout: Duration, end_grace: Duration) -> Self {
        Self { write_timeout, end_grace, blocked_at: None, ended_at: None }
    }

    /// The client's socket does not take what is to be written.
    pub fn handle_blocked(&mut self, now: Instant) {
        self.blocked_at.get_or_insert(now);
    }

    /// The client's socket has taken something.
    pub fn handle_written(&mut self) {
        self.blocked_at = None;
    }

    /// The client has ended its side.
    pub fn handle_ended(&mut self, now: Instant) {
        self.ended_at.get_or_insert(now);
    }

    /// When [`outcome`](Self::outcome) changes if nothing happens.
    pub fn next_timeout(&self) -> Option<Instant> {
        let stalled = self.blocked_at.map(|at| at + self.write_timeout);
        let gone = self.ended_at.map(|at| at + self.end_grace);
        [stalled, gone].into_iter().flatten().min()
    }

    /// What it has come to.
    pub fn outcome(&self, now: Instant) -> Outcome {
        let is_over = |at: Option<Instant>, span| at.is_some_and(|at| at + span <= now);
        if is_over(self.blocked_at, self.write_timeout) {
            Outcome::Stalled
        } else if is_over(self.ended_at, self.end_grace) {
            Outcome::Gone
        } else {
            Outcome::Waiting
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn each_time_is_kept() {
        let mut patience = Patience::new(Duration::from_secs(10), Duration::from_secs(1));
        assert_eq!((patience.next_timeout(), patience.outcome(at(1_000_000))), (None, Outcome::Waiting));
        patience.handle_blocked(at(5));
        patience.handle_blocked(at(9_000));
        assert_eq!(patience.next_timeout(), Some(at(10_005)), "the first counts");
        patience.handle_written();
        assert_eq!(patience.outcome(at(20_000)), Outcome::Waiting, "progress is progress");
        patience.handle_blocked(at(20_000));
        patience.handle_ended(at(21_000));
        assert_eq!(patience.outcome(at(21_999)), Outcome::Waiting);
        assert_eq!(patience.outcome(at(22_000)), Outcome::Gone);
        assert_eq!(patience.outcome(at(30_000)), Outcome::Stalled);
    }
}
