//! Admission at the door: before a connection costs anything.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use core::mem;
use core::net::IpAddr;

use crate::hash::{Map, Seeded, give_back};
use crate::rate::Rate;
use crate::{CloseReason, Instant, Limits, Mark};

/// Counts connections and says who may come in.
///
/// Kept are [`connections`](Limits::connections) per process, [`connections_per_address`](Limits::connections_per_address),
/// the rate of new ones per address ([`connects_per_second`](Limits::connects_per_second) with
/// [`connects_burst`](Limits::connects_burst)), and the memory that is buffered in the process. An IPv6 address stands
/// for its /64. Loopback is exempt from what counts per address: behind it are local proxies and tests.
///
/// Every connection that was admitted is [released](Self::release) once.
#[derive(Debug)]
pub struct Gate {
    limits: Arc<Limits>,
    sources: Map<Source, Usage>,
    /// Sources without a connection whose past still counts, by the time at which it no longer does.
    resting: BTreeSet<(Rate, Source)>,
    /// Connections from loopback.
    exempt: u32,
    /// Connections from everywhere else.
    counted: u32,
    buffered: u64,
    now: Instant,
}

/// Whom a limit per address counts for: an IPv4 address, or the first 64 bits of an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Source {
    V4(u32),
    V6(u64),
}

#[derive(Debug)]
struct Usage {
    open: u32,
    rate: Rate,
}

impl Source {
    /// `None` for loopback.
    fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(address) => Some(Self::V4(address.to_bits())),
            IpAddr::V6(address) => Some(Self::V6((address.to_bits() >> 64) as u64)),
        }
    }
}

impl Gate {
    /// A gate nobody has passed yet. `seed` keys the table of addresses.
    pub fn new(limits: Arc<Limits>, seed: u64) -> Self {
        let sources = Map::with_hasher(Seeded::new(seed));
        Self {
            limits,
            sources,
            resting: BTreeSet::new(),
            exempt: 0,
            counted: 0,
            buffered: 0,
            now: Instant::ORIGIN,
        }
    }

    /// Lets a connection from `address` in, or says how to refuse it and what to count.
    ///
    /// # Errors
    ///
    /// The reason for the peer and the mark of the limit that was reached.
    pub fn admit(&mut self, now: Instant, address: IpAddr) -> Result<(), (CloseReason, Mark)> {
        self.sweep_some(now, Self::SWEPT_PER_ADMIT);
        let outcome = self.check(address);
        outcome.map_err(|mark| (CloseReason::Overloaded, mark))
    }

    /// Sources forgotten per new connection: more than one, so that they never pile up.
    const SWEPT_PER_ADMIT: usize = 2;

    fn check(&mut self, address: IpAddr) -> Result<(), Mark> {
        if self.buffered >= self.soft_mark() {
            return Err(Mark::MemoryFull);
        }
        if self.connections() >= self.limits.connections {
            return Err(Mark::ConnectionsFull);
        }
        let Some(source) = Source::of(address) else {
            self.exempt += 1;
            return Ok(());
        };
        let (open, mut rate) =
            self.sources.get(&source).map_or((0, Rate::default()), |usage| (usage.open, usage.rate));
        if open >= self.limits.connections_per_address {
            return Err(Mark::AddressFull);
        }
        let before = rate;
        if !rate.take(self.now, self.limits.connects_per_second, self.limits.connects_burst) {
            return Err(Mark::AddressRate);
        }
        self.resting.remove(&(before, source));
        self.sources.insert(source, Usage { open: open + 1, rate });
        self.counted += 1;
        Ok(())
    }

    /// A connection that was admitted from `address` has ended.
    pub fn release(&mut self, address: IpAddr) {
        let Some(source) = Source::of(address) else {
            self.exempt = self.exempt.saturating_sub(1);
            return;
        };
        let Some(usage) = self.sources.get_mut(&source).filter(|usage| usage.open > 0) else { return };
        usage.open -= 1;
        self.counted -= 1;
        if usage.open > 0 {
            return;
        }
        if usage.rate.is_rested(self.now) {
            self.forget(source);
            return;
        }
        self.resting.insert((usage.rate, source));
        // Who comes from very many addresses makes the gate forget the pasts that matter least.
        if self.resting.len() > self.resting_max()
            && let Some((_, oldest)) = self.resting.pop_first()
        {
            self.forget(oldest);
        }
    }

    /// How many sources are remembered for their past alone.
    fn resting_max(&self) -> usize {
        self.limits.connections as usize
    }

    /// Forgets every past that no longer counts. `admit` does this bit by bit; a driver may call it now and then so
    /// that memory comes back when nobody connects.
    pub fn sweep(&mut self, now: Instant) {
        self.sweep_some(now, usize::MAX);
    }

    fn sweep_some(&mut self, now: Instant, most: usize) {
        self.now = self.now.max(now);
        for _ in 0..most {
            match self.resting.first() {
                Some(&(rate, source)) if rate.is_rested(self.now) => {
                    self.resting.pop_first();
                    self.forget(source);
                }
                _ => break,
            }
        }
    }

    fn forget(&mut self, source: Source) {
        self.sources.remove(&source);
        give_back(&mut self.sources);
    }

    /// Tells how many bytes are buffered in the whole process.
    pub fn set_buffered(&mut self, bytes: u64) {
        self.buffered = bytes;
    }

    /// From where on new connections are refused: 80 % of what may be buffered.
    fn soft_mark(&self) -> u64 {
        self.limits.buffered_bytes - self.limits.buffered_bytes / 5
    }

    /// Whether a connection that holds `own` of the `buffered` bytes must go so that the process stays within
    /// [`buffered_bytes`](Limits::buffered_bytes): more than that is buffered, and this connection holds more than its
    /// fair share. Whenever too much is buffered there is at least one such connection.
    pub fn is_excessive(&self, own: u64, buffered: u64) -> bool {
        let fair = self.limits.buffered_bytes / u64::from(self.connections().max(1));
        buffered > self.limits.buffered_bytes && own > fair
    }

    /// How many connections are inside.
    pub fn connections(&self) -> u32 {
        self.exempt.saturating_add(self.counted)
    }

    /// How many addresses are remembered.
    pub fn addresses(&self) -> usize {
        self.sources.len()
    }

    /// Bytes on the heap, rounded up; bounded by twice [`connections`](Limits::connections) addresses.
    pub fn footprint(&self) -> usize {
        // A tree's nodes may be half empty.
        self.sources.allocation_size() + 3 * self.resting.len() * mem::size_of::<(Rate, Source)>()
    }
}
