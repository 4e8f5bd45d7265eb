//! What all connections of one process share.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use linkspan_core::drain::{self, Drain, Phase};
use linkspan_core::edge::{Network, Pace};
use linkspan_core::gate::Gate;
use linkspan_core::hub::Admission;
use linkspan_core::{Actions, CloseReason, ConnId, Instant, Limits, Machine, Mark, Route};

use crate::{Clock, Mail, MailAddress, Shards, Stats, Stop, lock};

/// What a [`Host`] is built from.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// The bounds of everything.
    pub limits: Arc<Limits>,
    /// Which session may have a key.
    pub admission: Admission,
    /// How many shards the hub has; a small multiple of the number of threads.
    pub shards: NonZeroUsize,
    /// Keys the tables and decides jitter: [`HostConfig::random_seed`].
    pub seed: u64,
    /// The proxies that are believed whom they speak for; exempt from what counts per address.
    pub trusted: Vec<Network>,
    /// How the process stops; its seed is replaced by one made from `seed`.
    pub drain: drain::Config,
}

impl HostConfig {
    /// A seed from the system's randomness.
    pub fn random_seed() -> u64 {
        RandomState::new().hash_one(0)
    }
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            limits: Arc::default(),
            admission: Admission::default(),
            shards: NonZeroUsize::new(16).unwrap_or(NonZeroUsize::MIN),
            seed: Self::random_seed(),
            trusted: Vec::new(),
            drain: drain::Config::default(),
        }
    }
}

/// What all connections of one process share: time, bounds, the hub, the gate, counters, the way to the end.
pub struct Host {
    clock: Clock,
    limits: Arc<Limits>,
    shards: Shards,
    stats: Stats,
    gate: Mutex<Gate>,
    trusted: Vec<Network>,
    /// Bytes that wait in send queues, in steps of [`Host::BUFFERED_STEP`] per connection.
    buffered: AtomicU64,
    next_conn: AtomicU64,
    residents: Mutex<Residents>,
    drain: Mutex<Drain>,
    closed_door: Stop,
    finished: Stop,
}

/// The mailboxes of all connections, oldest first.
#[derive(Default)]
struct Residents {
    mailboxes: BTreeMap<ConnId, Arc<dyn Mail>>,
    /// All connections up to this one were told to go.
    told: Option<ConnId>,
}

impl Host {
    /// How much a connection's send queue changes before the process hears of it, in bytes.
    pub(crate) const BUFFERED_STEP: u64 = 16 * 1024;

    /// A host without connections.
    pub fn new(config: HostConfig) -> Arc<Self> {
        let HostConfig { limits, admission, shards, seed, trusted, drain } = config;
        let gate = Gate::new(Arc::clone(&limits), seed ^ 0x6761_7465).trust(trusted.clone());
        let drain = drain::Config { seed: seed ^ 0x0064_7261_696e, ..drain };
        Arc::new(Self {
            clock: Clock::start(),
            shards: Shards::new(shards, seed, admission, &limits),
            stats: Stats::default(),
            gate: Mutex::new(gate),
            trusted,
            buffered: AtomicU64::new(0),
            next_conn: AtomicU64::new(1),
            residents: Mutex::default(),
            drain: Mutex::new(Drain::new(drain)),
            closed_door: Stop::new(),
            finished: Stop::new(),
            limits,
        })
    }

    /// The clock of the process.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The bounds of everything.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The hub.
    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// The proxies that are believed whom they speak for.
    pub fn trusted(&self) -> &[Network] {
        &self.trusted
    }

    /// Hands a request to the hub: of the connection `from`, or of a service.
    pub fn route(&self, from: Option<MailAddress>, route: Route) {
        self.route_at(self.clock.now(), from, route);
    }

    pub(crate) fn route_at(&self, now: Instant, from: Option<MailAddress>, route: Route) {
        self.shards.route(now, from, route, &self.stats);
    }

    /// Lets a connection from `peer` in.
    ///
    /// # Errors
    ///
    /// What the peer should be told; it is counted already.
    pub fn admit(self: &Arc<Self>, peer: SocketAddr) -> Result<Permit, CloseReason> {
        if self.closed_door.is_raised() {
            return Err(CloseReason::Stopping);
        }
        let now = self.clock.now();
        let mut gate = lock(&self.gate);
        gate.set_buffered(self.buffered());
        let outcome = gate.admit(now, peer.ip());
        let pace = if outcome.is_ok() { gate.pace(peer.ip()) } else { None };
        drop(gate);
        if let Err((reason, mark)) = outcome {
            self.stats.mark(mark);
            return Err(reason);
        }
        self.stats.count_open();
        let conn = ConnId(self.next_conn.fetch_add(1, Ordering::Relaxed));
        let limits = Arc::clone(&self.limits);
        let permit = Permit { host: Arc::clone(self), conn, peer, pace, opened_at: now, limits };
        self.drain_event(drain::Event::Opened);
        Ok(permit)
    }

    /// Whether a token that comes from `client` may be looked at; false, and counted, after too many wrong ones.
    pub fn allows_token(&self, client: IpAddr) -> bool {
        let allowed = lock(&self.gate).allows_token(self.clock.now(), client);
        if !allowed {
            self.stats.mark(Mark::TokenRate);
        }
        allowed
    }

    /// A token that came from `client` was wrong: that is counted, for the process and for the client's address.
    pub fn count_wrong_token(&self, client: IpAddr) {
        self.stats.mark(Mark::TokenWrong);
        lock(&self.gate).count_wrong_token(self.clock.now(), client);
    }

    /// Bytes that wait in send queues.
    pub fn buffered(&self) -> u64 {
        self.buffered.load(Ordering::Relaxed)
    }

    /// A connection's queue went from `before` to `after` bytes; whether it must go because the process buffers too
    /// much.
    pub(crate) fn count_buffered(&self, before: u64, after: u64) -> bool {
        if after <= before {
            self.buffered.fetch_sub(before - after, Ordering::Relaxed);
            return false;
        }
        let buffered = self.buffered.fetch_add(after - before, Ordering::Relaxed) + (after - before);
        buffered > self.limits.buffered_bytes && lock(&self.gate).is_excessive(after, buffered)
    }

    /// Enters a connection's mailbox into the list of those that are told when the process stops, in place of the one
    /// it had. [`drive`](crate::drive()) does it for its connection; what runs before it needs a mailbox of its own.
    pub fn move_in(&self, conn: ConnId, mailbox: &Arc<dyn Mail>) {
        lock(&self.residents).mailboxes.insert(conn, Arc::clone(mailbox));
        if self.closed_door.is_raised() {
            let reason = lock(&self.drain).reason();
            mailbox.close(reason);
        }
    }

    // The way to the end.

    /// Raised when no more connections are let in.
    pub fn closed_door(&self) -> &Stop {
        &self.closed_door
    }

    /// Raised when the process may exit.
    pub fn finished(&self) -> &Stop {
        &self.finished
    }

    /// How far the process is on its way to the end; [`Phase::Running`] is the only ready one.
    pub fn phase(&self) -> Phase {
        lock(&self.drain).phase()
    }

    /// Stops at once: the first call cuts every connection, the second does not wait for them.
    pub fn force(&self) {
        self.drain_event(drain::Event::Force);
    }

    pub(crate) fn order(&self, reason: CloseReason) {
        self.drain_event(drain::Event::Order { reason });
    }

    fn drain_event(&self, event: drain::Event) {
        self.drain_step(|drain, now, actions| drain.handle_event(now, event, actions));
    }

    /// Lets time pass for the stop; when it wants to be called next.
    pub(crate) fn drain_tick(&self) -> Option<Instant> {
        self.drain_step(Drain::handle_timeout);
        lock(&self.drain).next_timeout()
    }

    fn drain_step(&self, step: impl FnOnce(&mut Drain, Instant, &mut Actions<drain::Action>)) {
        let mut actions = Actions::new();
        let reason = {
            let mut drain = lock(&self.drain);
            step(&mut drain, self.clock.now(), &mut actions);
            drain.reason()
        };
        for action in actions {
            tracing::debug!(?action, "stopping");
            match action {
                drain::Action::StopAccepting => self.closed_door.raise(),
                drain::Action::DrainSome(count) => {
                    self.next_residents(count).iter().for_each(|one| one.close(reason));
                }
                drain::Action::AbortAll => self.all_residents().iter().for_each(|one| one.abort(reason)),
                drain::Action::Finished => self.finished.raise(),
                _ => {}
            }
        }
    }

    /// The next `count` connections that were not told to go.
    fn next_residents(&self, count: u32) -> Vec<Arc<dyn Mail>> {
        let mut residents = lock(&self.residents);
        let from = residents.told.map_or(Bound::Unbounded, Bound::Excluded);
        let next = residents.mailboxes.range((from, Bound::Unbounded)).take(count as usize);
        let (ids, mailboxes): (Vec<_>, Vec<_>) = next.map(|(id, mailbox)| (*id, Arc::clone(mailbox))).unzip();
        residents.told = ids.last().copied().or(residents.told);
        mailboxes
    }

    fn all_residents(&self) -> Vec<Arc<dyn Mail>> {
        lock(&self.residents).mailboxes.values().map(Arc::clone).collect()
    }
}

/// The place of one connection in the process: given at the door, given back when dropped.
pub struct Permit {
    host: Arc<Host>,
    conn: ConnId,
    peer: SocketAddr,
    pace: Option<Pace>,
    opened_at: Instant,
    limits: Arc<Limits>,
}

impl Permit {
    /// What all connections share.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The number of the connection; never used twice.
    pub fn conn(&self) -> ConnId {
        self.conn
    }

    /// Where the connection comes from: the client behind the proxy, once it is [known](Self::speak_for).
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Says for whom a trusted proxy has opened the connection: limits and logs are about that client from now on.
    ///
    /// # Errors
    ///
    /// What the client should be told: its address may not have another connection. It is counted already.
    pub fn speak_for(&mut self, client: SocketAddr) -> Result<(), CloseReason> {
        let now = self.host.clock.now();
        let mut gate = lock(&self.host.gate);
        let outcome = gate.transfer(now, self.peer.ip(), client.ip());
        if outcome.is_ok() {
            self.pace = gate.pace(client.ip());
        }
        drop(gate);
        if let Err((reason, mark)) = outcome {
            self.host.stats.mark(mark);
            return Err(reason);
        }
        self.peer = client;
        Ok(())
    }

    /// Counts messages of the client; false, and counted, if its address sends them too fast.
    pub(crate) fn allows(&self, now: Instant, messages: u32) -> bool {
        let allowed = messages == 0 || self.pace.as_ref().is_none_or(|pace| pace.allows(now, messages));
        if !allowed {
            self.host.stats.mark(Mark::MessageRate);
        }
        allowed
    }

    /// Takes the limit of messages off the connection: for a tunnel, whose streams have limits of their own, and for the
    /// client's end, whose server may say as much as it likes.
    #[must_use]
    pub fn unpaced(mut self) -> Self {
        self.pace = None;
        self
    }

    /// When it was let in.
    pub fn opened_at(&self) -> Instant {
        self.opened_at
    }

    /// The bounds of the connection: those of the [host](Host::limits), unless it was given its own.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Bounds of its own, for a listener whose dialect has other times and sizes. What counts for the whole process
    /// stays the host's.
    #[must_use]
    pub fn with_limits(mut self, limits: Arc<Limits>) -> Self {
        self.limits = limits;
        self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mailbox = lock(&self.host.residents).mailboxes.remove(&self.conn);
        drop(mailbox);
        lock(&self.host.gate).release(self.peer.ip());
        self.host.stats.count_closed();
        self.host.drain_event(drain::Event::Closed);
    }
}
