//! Token checks that somebody else does: how many wait, for how long, and which outcomes are remembered.

use alloc::collections::VecDeque;
use alloc::string::String;
use core::mem;
use core::time::Duration;

use crate::hash::{Map, Seeded, give_back};
use crate::hub::Platform;
use crate::{Instant, Mark};

/// The bounds of token checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChecksConfig {
    /// How long one check may take. Default 5 s.
    pub timeout: Duration,
    /// How many may wait at the same time. Default 256.
    pub waiting: u32,
    /// For how long a token that was found valid need not be checked again; so long, too, does one that was taken back
    /// stay good. Default 5 s; 0 remembers nothing.
    pub remember: Duration,
    /// How many are remembered. Default 4,096.
    pub remembered: u32,
}

impl Default for ChecksConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            waiting: 256,
            remember: Duration::from_secs(5),
            remembered: 4096,
        }
    }
}

/// What a valid token proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The user.
    pub user: String,
    /// The platform that it is for, if it says so.
    pub platform: Option<Platform>,
    /// For how long it will be valid yet, as far as that is known.
    pub lifetime: Option<Duration>,
}

/// What becomes of a token that is to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// It was found valid a moment ago.
    Proven(Proof),
    /// Check it, until this time at most, and then [end](Checks::end) the check.
    Check {
        /// When to give up.
        until: Instant,
    },
    /// Too many wait: answer that the server is busy.
    Busy(Mark),
}

/// The fingerprint of a token: a cryptographic digest with a secret of the process in it, so that neither a look-up nor
/// a dump of memory tells anything about the token.
type Digest = [u8; 32];

/// Counts the checks of tokens and remembers what they found; that a token is *not* valid is never remembered.
#[derive(Debug)]
pub struct Checks {
    config: ChecksConfig,
    waiting: u32,
    proven: Map<Digest, (Instant, Proof)>,
    /// The digests in the order in which they were remembered.
    order: VecDeque<(Instant, Digest)>,
    heap: usize,
}

impl Checks {
    /// How many outdated entries each check takes out: more than it puts in.
    const SWEPT_PER_CHECK: usize = 2;

    /// Nothing waits, nothing is remembered. `seed` keys the table.
    pub fn new(config: ChecksConfig, seed: u64) -> Self {
        let proven = Map::with_hasher(Seeded::new(seed));
        Self { config, waiting: 0, proven, order: VecDeque::new(), heap: 0 }
    }

    /// A token with this digest is to be checked.
    pub fn begin(&mut self, now: Instant, digest: &Digest) -> Start {
        self.sweep(now, Self::SWEPT_PER_CHECK);
        if let Some((until, proof)) = self.proven.get(digest)
            && *until > now
        {
            return Start::Proven(proof.clone());
        }
        if self.waiting >= self.config.waiting {
            return Start::Busy(Mark::ChecksFull);
        }
        self.waiting += 1;
        Start::Check { until: now + self.config.timeout }
    }

    /// A check that was begun has ended, however: with a proof, if the token is valid.
    pub fn end(&mut self, now: Instant, digest: &Digest, proof: Option<&Proof>) {
        self.waiting = self.waiting.saturating_sub(1);
        let Some(proof) = proof else { return };
        let span = proof.lifetime.map_or(self.config.remember, |lifetime| lifetime.min(self.config.remember));
        if span.is_zero() || self.config.remembered == 0 {
            return;
        }
        if self.order.len() >= self.config.remembered as usize {
            self.forget_oldest();
        }
        let until = now + span;
        let kept = Proof { user: proof.user.as_str().into(), ..proof.clone() };
        self.heap += kept.user.capacity();
        if let Some((_, old)) = self.proven.insert(*digest, (until, kept)) {
            self.heap -= old.user.capacity();
        }
        self.order.push_back((until, *digest));
    }

    /// How many checks wait.
    pub fn waiting(&self) -> u32 {
        self.waiting
    }

    /// How many outcomes are remembered, outdated ones included.
    pub fn remembered(&self) -> usize {
        self.proven.len()
    }

    /// Bytes on the heap; at most [`footprint_max`](Self::footprint_max).
    pub fn footprint(&self) -> usize {
        self.proven.allocation_size() + self.heap + self.order.capacity() * size_of::<(Instant, Digest)>()
    }

    /// The most that so many remembered outcomes, of users with names of at most `user_max` bytes, can cost.
    pub const fn footprint_max(remembered: usize, user_max: usize) -> usize {
        let slot = 8 * (size_of::<(Digest, (Instant, Proof))>() + 1) + 8 * size_of::<(Instant, Digest)>();
        (remembered + 8).saturating_mul(slot + user_max)
    }

    fn sweep(&mut self, now: Instant, most: usize) {
        for _ in 0..most {
            match self.order.front() {
                Some((until, _)) if *until <= now => self.forget_oldest(),
                _ => break,
            }
        }
    }

    fn forget_oldest(&mut self) {
        let Some((until, digest)) = self.order.pop_front() else { return };
        // A token that was proven twice has a younger entry that counts.
        if self.proven.get(&digest).is_some_and(|(own, _)| *own <= until)
            && let Some((_, proof)) = self.proven.remove(&digest)
        {
            self.heap -= proof.user.capacity();
            give_back(&mut self.proven);
        }
        if self.order.is_empty() {
            drop(mem::take(&mut self.order));
        }
    }
}
