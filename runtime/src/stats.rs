//! What the process counts.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use linkspan_core::{CloseReason, Mark};

use crate::lock;

const STRIPES: usize = 16;

thread_local! {
    static STRIPE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Counters of one process. Cheap to add to from any thread; reading adds up.
#[derive(Debug, Default)]
pub struct Stats {
    stripes: [Stripe; STRIPES],
    opened: AtomicU64,
    closed: AtomicU64,
    reasons: Mutex<Vec<(CloseReason, u64)>>,
    marks: Mutex<Vec<(Mark, u64)>>,
}

/// Counters that one thread (or a few) adds to; on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe([AtomicU64; 4]);

/// What went over one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Payload bytes received.
    pub bytes_in: u64,
    /// Payload bytes sent.
    pub bytes_out: u64,
    /// Pieces of a stream, or messages, received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
}

impl Traffic {
    fn array(self) -> [u64; 4] {
        [self.bytes_in, self.bytes_out, self.received, self.sent]
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.received += other.received;
        self.sent += other.sent;
    }
}

impl Stats {
    /// Connections that were let in and have not ended.
    pub fn open(&self) -> u64 {
        // The order matters: what was opened in between must not make the difference negative.
        let closed = self.closed.load(Ordering::Acquire);
        self.opened.load(Ordering::Acquire).saturating_sub(closed)
    }

    /// Connections that were let in since the start.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    /// How many connections ended for each reason.
    pub fn closes(&self) -> Vec<(CloseReason, u64)> {
        lock(&self.reasons).clone()
    }

    /// How often each mark was reached; marks never reached are not in the list.
    pub fn marks(&self) -> Vec<(Mark, u64)> {
        lock(&self.marks).clone()
    }

    /// How often `mark` was reached.
    pub fn marked(&self, mark: Mark) -> u64 {
        lock(&self.marks).iter().find(|(one, _)| *one == mark).map_or(0, |(_, count)| *count)
    }

    /// What went over all connections.
    pub fn traffic(&self) -> Traffic {
        let sum = |at: usize| self.stripes.iter().map(|stripe| stripe.0[at].load(Ordering::Relaxed)).sum();
        Traffic { bytes_in: sum(0), bytes_out: sum(1), received: sum(2), sent: sum(3) }
    }

    /// Counts `mark`.
    pub fn mark(&self, mark: Mark) {
        add_one(&mut lock(&self.marks), mark);
    }

    pub(crate) fn count_open(&self) {
        self.opened.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn count_closed(&self) {
        self.closed.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn count_reason(&self, reason: CloseReason) {
        add_one(&mut lock(&self.reasons), reason);
    }

    pub(crate) fn count_traffic(&self, traffic: Traffic) {
        for (counter, count) in self.stripes[stripe()].0.iter().zip(traffic.array()) {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

fn add_one<K: PartialEq>(list: &mut Vec<(K, u64)>, key: K) {
    match list.iter_mut().find(|(one, _)| *one == key) {
        Some((_, count)) => *count += 1,
        None => list.push((key, 1)),
    }
}

/// The stripe of this thread.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    STRIPE.get().unwrap_or_else(|| {
        let own = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
        STRIPE.set(Some(own));
        own
    })
}
