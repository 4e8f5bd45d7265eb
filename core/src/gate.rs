//! Admission at the door: before a connection costs anything.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::net::IpAddr;

use crate::edge::{Network, Pace};
use crate::hash::{Map, Seeded, give_back};
use crate::rate::Rate;
use crate::{CloseReason, Instant, Limits, Mark, memory};

/// Counts connections and says who may come in.
///
/// Kept are [`connections`](Limits::connections) per process, [`connections_per_address`](Limits::connections_per_address),
/// the rate of new ones per address ([`connects_per_second`](Limits::connects_per_second) with
/// [`connects_burst`](Limits::connects_burst)), and the memory that is buffered in the process. An IPv6 address stands
/// for its /64. Loopback and [trusted](Self::trust) proxies are exempt from what counts per address: others are behind
/// them, and once such a proxy has told whom it speaks for the connection is [moved](Self::transfer) there.
///
/// How much an address [says](Self::pace) is counted beside that, by the tasks of its connections, and how many wrong
/// tokens come from it by whoever [checks](Self::allows_token) them.
///
/// Every connection that was admitted is [released](Self::release) once.
#[derive(Debug)]
pub struct Gate {
    limits: Arc<Limits>,
    trusted: Vec<Network>,
    /// How many sources own one.
    paces: usize,
    sources: Map<Source, Usage>,
    /// Sources without a connection whose past still counts, by the time at which it no longer does.
    resting: BTreeSet<(Rate, Source)>,
    /// Connections from loopback and from trusted proxies.
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

#[derive(Debug, Default)]
struct Usage {
    open: u32,
    /// Of new connections.
    rate: Rate,
    /// Of messages; owned by whom it matters for.
    pace: Option<Pace>,
    /// Of wrong tokens.
    wrong: Rate,
}

impl Usage {
    /// When the past of a source without a connection no longer counts.
    fn rest(&self) -> Rate {
        let own = self.rate.max(self.wrong);
        self.pace.as_ref().map_or(own, |pace| pace.rate().max(own))
    }
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
            trusted: Vec::new(),
            paces: 0,
            sources,
            resting: BTreeSet::new(),
            exempt: 0,
            counted: 0,
            buffered: 0,
            now: Instant::ORIGIN,
        }
    }

    /// Exempts the proxies of these networks from what counts per address. To be called before the first connection.
    #[must_use]
    pub fn trust(self, trusted: Vec<Network>) -> Self {
        Self { trusted, ..self }
    }

    /// Whom limits per address count for; `None` where they do not.
    fn source(&self, address: IpAddr) -> Option<Source> {
        let is_trusted = self.trusted.iter().any(|network| network.contains(address));
        if is_trusted { None } else { Source::of(address) }
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
        let Some(source) = self.source(address) else {
            self.exempt += 1;
            return Ok(());
        };
        let (open, mut rate) =
            self.sources.get(&source).map_or((0, Rate::default()), |usage| (usage.open, usage.rate));
        if open >= self.limits.connections_per_address {
            return Err(Mark::AddressFull);
        }
        if !rate.take(self.now, self.limits.connects_per_second, self.limits.connects_burst) {
            return Err(Mark::AddressRate);
        }
        match self.sources.get_mut(&source) {
            Some(usage) => {
                if usage.open == 0 {
                    self.resting.remove(&(usage.rest(), source));
                }
                (usage.open, usage.rate) = (open + 1, rate);
            }
            None => _ = self.sources.insert(source, Usage { open: 1, rate, ..Usage::default() }),
        }
        self.counted += 1;
        Ok(())
    }

    /// What the connections of an address count their messages on; `None` where messages are not limited. To be asked
    /// for while a connection of the address is inside.
    pub fn pace(&mut self, address: IpAddr) -> Option<Pace> {
        let source = self.source(address)?;
        let usage = self.sources.get_mut(&source).filter(|usage| usage.open > 0)?;
        if usage.pace.is_none() {
            usage.pace = Pace::new(self.limits.messages_per_second, self.limits.messages_burst);
            self.paces += usize::from(usage.pace.is_some());
        }
        usage.pace.clone()
    }

    /// Whether a token of somebody at `address` may be looked at. With too many wrong ones behind it none is, right or
    /// wrong, until [`wrong_tokens_per_second`](Limits::wrong_tokens_per_second) allows another one.
    pub fn allows_token(&mut self, now: Instant, address: IpAddr) -> bool {
        self.now = self.now.max(now);
        let Some(usage) = self.source(address).and_then(|source| self.sources.get(&source)) else {
            return true;
        };
        let Limits { wrong_tokens_per_second: per_second, wrong_tokens_burst: burst, .. } = *self.limits;
        // Only looked at: right tokens cost nothing.
        let mut wrong = usage.wrong;
        wrong.take(self.now, per_second, burst)
    }

    /// A token of somebody at `address` was wrong.
    pub fn count_wrong_token(&mut self, now: Instant, address: IpAddr) {
        self.sweep_some(now, Self::SWEPT_PER_ADMIT);
        let Some(source) = self.source(address) else { return };
        let Limits { wrong_tokens_per_second: per_second, wrong_tokens_burst: burst, .. } = *self.limits;
        if per_second == 0 {
            return;
        }
        let now = self.now;
        let usage = self.sources.entry(source).or_default();
        let before = usage.rest();
        usage.wrong.take(now, per_second, burst);
        if usage.open == 0 {
            // Behind a proxy clients speak without a connection of their own.
            let rest = usage.rest();
            self.resting.remove(&(before, source));
            self.rest(rest, source);
        }
    }

    /// Moves a connection that was admitted from `from` to the address it speaks for. If that address may not have
    /// another one the connection stays where it was.
    ///
    /// # Errors
    ///
    /// As [`admit`](Self::admit).
    pub fn transfer(&mut self, now: Instant, from: IpAddr, to: IpAddr) -> Result<(), (CloseReason, Mark)> {
        self.sweep_some(now, Self::SWEPT_PER_ADMIT);
        if self.source(from) == self.source(to) {
            return Ok(());
        }
        // Somebody who is inside needs no new place in the process.
        let buffered = mem::take(&mut self.buffered);
        let own = u32::from(self.source(from).is_none()).min(self.exempt);
        self.exempt -= own;
        let outcome = self.check(to);
        self.exempt += own;
        self.buffered = buffered;
        if outcome.is_ok() {
            self.release(from);
        }
        outcome.map_err(|mark| (CloseReason::Overloaded, mark))
    }

    /// A connection that was admitted from `address` has ended.
    pub fn release(&mut self, address: IpAddr) {
        let Some(source) = self.source(address) else {
            self.exempt = self.exempt.saturating_sub(1);
            return;
        };
        let Some(usage) = self.sources.get_mut(&source).filter(|usage| usage.open > 0) else { return };
        usage.open -= 1;
        self.counted -= 1;
        if usage.open > 0 {
            return;
        }
        // Who has said little is remembered for its connections alone.
        if usage.pace.take_if(|pace| pace.rate() <= usage.rate).is_some() {
            self.paces -= 1;
        }
        let rest = usage.rest();
        if rest.is_rested(self.now) {
            self.forget(source);
            return;
        }
        self.rest(rest, source);
    }

    /// Remembers a source without a connection for its past.
    fn rest(&mut self, rest: Rate, source: Source) {
        self.resting.insert((rest, source));
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
        let usage = self.sources.remove(&source);
        self.paces -= usize::from(usage.is_some_and(|usage| usage.pace.is_some()));
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
        let trusted = self.trusted.capacity() * mem::size_of::<Network>();
        let resting = memory::tree::<(Rate, Source), ()>(self.resting.len());
        self.sources.allocation_size() + resting + self.paces * Pace::FOOTPRINT + trusted
    }
}
