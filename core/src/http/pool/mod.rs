//! The pool of upstream connections: which one carries a request, which one is kept, and who may dial.
//!
//! The rules are those of Go's `Transport`, found by running it:
//!
//! - A request takes the idle connection of its key that was returned last. Otherwise it waits, first come, first
//!   served, **and** dials; what comes first serves it. A dial whose request was served otherwise gives its connection
//!   to the next that waits, or to the idle ones.
//! - [`Config::per_key`] counts dialing, busy and idle connections. A request beyond it waits for the permission to
//!   dial; each connection that ends hands its place on.
//! - A dial that fails ends its own request and no other.
//! - A failed exchange is tried again, on whatever connection comes next, only if its connection had come from the
//!   pool, and either nothing was written and the body can be sent again, or the connection ended before the reply,
//!   the body can be sent again and the request may arrive twice. A connection of the request's own dial never leads
//!   to a second try.
//!
//! A request that is acquired gets exactly one of [`Action::Deliver`] and [`Action::Fail`], unless it is cancelled
//! before; after [`Action::Retry`] it gets one more. A delivered connection comes back by exactly one of
//! [`Event::Release`], [`Event::ExchangeFailed`] and [`Event::Cancel`].
//!
//! What a pool holds is bounded by the requests and connections its driver has: some 300 bytes and a key for each.
//!
//! ```
//! use linkspan_core::http::pool::{Action, Config, DialId, Event, Pool, RequestId, UpstreamId};
//! use linkspan_core::{Actions, Instant, Machine};
//!
//! let (mut pool, mut actions, now) = (Pool::new(Config::default()), Actions::new(), Instant::ORIGIN);
//! let (first, second, upstream) = (RequestId(1), RequestId(2), UpstreamId(7));
//!
//! pool.handle_event(now, Event::Acquire { request: first, key: "h:80" }, &mut actions);
//! pool.handle_event(now, Event::Dialed { dial: DialId(0), upstream }, &mut actions);
//! pool.handle_event(now, Event::Release { upstream, reusable: true }, &mut actions);
//! pool.handle_event(now, Event::Acquire { request: second, key: "h:80" }, &mut actions);
//! assert_eq!(actions.as_slice(), [
//!     Action::Dial { dial: DialId(0), key: "h:80" },
//!     Action::Deliver { request: first, upstream, reused: false, was_idle: false },
//!     Action::Deliver { request: second, upstream, reused: true, was_idle: true },
//! ]);
//! ```
//!
//! # Where it differs from Go
//!
//! - A connection on which no exchange has run yet is reported as not reused, also if it passed through the pool; it
//!   still allows a second try.
//! - 32 connections of a key may be idle, not 2, and 0 of them keeps none but still hands connections on to those who
//!   wait.
//! - Of one key no more than [`Config::waiting_per_key`] requests wait, and of all keys there are no more than
//!   [`Config::total`] connections.

mod event;
mod slot;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

pub use self::event::{Action, CloseWhy, Config, DialId, Event, Failure, RequestId, Stage, UpstreamId};
use self::slot::Slot;
use crate::{Actions, Instant, Machine};

/// Whether a request may arrive twice without harm: by its method, or because an `Idempotency-Key` or
/// `X-Idempotency-Key` header says so. PUT and DELETE are not among these methods, as in Go.
pub fn is_replayable(method: &str, has_idempotency_key: bool) -> bool {
    has_idempotency_key || matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// Whether another exchange may follow on a connection: neither side said `Connection: close`, the reply was HTTP/1.1
/// or asked to be kept alive, it was neither a 101 nor the answer to a CONNECT, and request and reply were passed on
/// to their ends.
pub fn is_reusable(
    asked_to_close: bool,
    keeps_alive: bool,
    status: u16,
    method: &str,
    is_complete: bool,
) -> bool {
    !asked_to_close && keeps_alive && status != 101 && method != "CONNECT" && is_complete
}

/// The pool of upstream connections; `K` names what connections are interchangeable for, and is cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool<K> {
    config: Config,
    now: Instant,
    slots: BTreeMap<K, Slot>,
    upstreams: BTreeMap<UpstreamId, Upstream<K>>,
    requests: BTreeMap<RequestId, Request<K>>,
    dials: BTreeMap<DialId, Dial<K>>,
    /// All idle connections, the one that became idle first in front.
    idle: BTreeMap<u64, UpstreamId>,
    next_turn: u64,
    next_dial: u64,
    /// Idle ones were closed, and no request has come since.
    closes_idle: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Upstream<K> {
    key: K,
    state: State,
    /// An exchange has run on it.
    used: bool,
    /// It did not come from the dial of the request that has it.
    pooled: bool,
    broken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// On its way from one request to the next.
    Free,
    Busy(RequestId),
    Idle {
        turn: u64,
        since: Instant,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Request<K> {
    Waiting { key: K, turn: u64, dial: Option<DialId> },
    Busy(UpstreamId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Dial<K> {
    key: K,
    /// The request it was begun for, while that waits.
    owner: Option<RequestId>,
}

impl<K: Ord + Clone> Pool<K> {
    /// An empty pool.
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            now: Instant::ORIGIN,
            slots: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            requests: BTreeMap::new(),
            dials: BTreeMap::new(),
            idle: BTreeMap::new(),
            next_turn: 0,
            next_dial: 0,
            closes_idle: false,
        }
    }

    /// How many connections are idle.
    pub fn idle(&self) -> usize {
        self.idle.len()
    }

    /// How many connections there are, idle and busy.
    pub fn upstreams(&self) -> usize {
        self.upstreams.len()
    }

    /// How many dials are under way.
    pub fn dials(&self) -> usize {
        self.dials.len()
    }

    /// How many requests wait or have a connection.
    pub fn requests(&self) -> usize {
        self.requests.len()
    }

    /// How many connections of a key there are: dialing, busy and idle.
    pub fn count(&self, key: &K) -> u32 {
        self.slots.get(key).map_or(0, |slot| slot.count)
    }

    /// How many keys are known; none without a connection, a dial or a request.
    pub fn keys(&self) -> usize {
        self.slots.len()
    }

    fn acquire(&mut self, request: RequestId, key: &K, actions: &mut Actions<Action<K>>) {
        if self.requests.contains_key(&request) {
            return;
        }
        self.closes_idle = false;
        self.expire(actions);
        let full = self.slots.get(key).is_some_and(|slot| {
            slot.idle.is_empty() && slot.waiting.len() >= self.config.waiting_per_key as usize
        });
        if full {
            actions.push(Action::Fail { request, failure: Failure::TooManyWaiting });
        } else {
            self.seek(request, key, actions);
        }
    }

    /// The newest idle connection; or a place among those who wait, and a dial as soon as one is permitted.
    fn seek(&mut self, request: RequestId, key: &K, actions: &mut Actions<Action<K>>) {
        let turn = self.take_turn();
        let slot = self.slots.entry(key.clone()).or_default();
        if let Some((turn, upstream)) = slot.idle.pop_last() {
            self.idle.remove(&turn);
            self.deliver(request, upstream, true, actions);
            return;
        }
        let permitted = self.config.per_key.is_none_or(|most| slot.count < most.max(1));
        if permitted && !self.make_room(actions) {
            self.forget_if_empty(key);
            actions.push(Action::Fail { request, failure: Failure::TooManyUpstreams });
            return;
        }
        let slot = self.slots.entry(key.clone()).or_default();
        slot.waiting.insert(turn, request);
        slot.queued.insert(turn, request);
        slot.count += u32::from(permitted);
        self.requests.insert(request, Request::Waiting { key: key.clone(), turn, dial: None });
        if permitted {
            self.dial_next(key, actions);
        }
    }

    /// Whether one more connection may be; the one that became idle first goes if that is what it takes.
    fn make_room(&mut self, actions: &mut Actions<Action<K>>) -> bool {
        let full = |pool: &Self| {
            pool.config
                .total
                .is_some_and(|most| pool.dials.len() + pool.upstreams.len() >= most.max(1) as usize)
        };
        if full(self)
            && let Some((_, oldest)) = self.idle.first_key_value()
        {
            self.close(*oldest, CloseWhy::IdleFull, actions);
        }
        !full(self)
    }

    fn forget_if_empty(&mut self, key: &K) {
        if self.slots.get(key).is_some_and(Slot::is_empty) {
            self.slots.remove(key);
        }
    }

    /// Uses one counted place of a key: the first that waits for permission dials; if none does, the place is gone.
    fn dial_next(&mut self, key: &K, actions: &mut Actions<Action<K>>) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let Some((_, owner)) = slot.queued.pop_first() else {
            slot.count -= 1;
            return self.forget_if_empty(key);
        };
        let dial = DialId(self.next_dial);
        self.next_dial += 1;
        if let Some(Request::Waiting { dial: own, .. }) = self.requests.get_mut(&owner) {
            *own = Some(dial);
        }
        self.dials.insert(dial, Dial { key: key.clone(), owner: Some(owner) });
        actions.push(Action::Dial { dial, key: key.clone() });
    }

    /// Takes a request out of the queues; its dial goes on, for whoever comes.
    fn stop_waiting(&mut self, request: RequestId) {
        let Some(Request::Waiting { key, turn, dial }) = self.requests.get(&request).cloned() else { return };
        self.requests.remove(&request);
        if let Some(dial) = dial.and_then(|dial| self.dials.get_mut(&dial)) {
            dial.owner = None;
        }
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.waiting.remove(&turn);
            slot.queued.remove(&turn);
        }
        self.forget_if_empty(&key);
    }

    fn deliver(
        &mut self,
        request: RequestId,
        upstream: UpstreamId,
        was_idle: bool,
        actions: &mut Actions<Action<K>>,
    ) {
        let Some(own) = self.upstreams.get_mut(&upstream) else { return };
        own.state = State::Busy(request);
        let reused = own.used;
        self.stop_waiting(request);
        self.requests.insert(request, Request::Busy(upstream));
        actions.push(Action::Deliver { request, upstream, reused, was_idle });
    }

    fn dialed(&mut self, id: DialId, upstream: UpstreamId, actions: &mut Actions<Action<K>>) {
        if self.upstreams.contains_key(&upstream) {
            // A number that is in use names no new connection.
            return self.dial_failed(id, actions);
        }
        let Some(Dial { key, owner }) = self.dials.remove(&id) else {
            actions.push(Action::Close { upstream, why: CloseWhy::Unwanted });
            return;
        };
        let pooled = owner.is_none();
        let new = Upstream { key, state: State::Free, used: false, pooled, broken: false };
        self.upstreams.insert(upstream, new);
        match owner {
            Some(request) => self.deliver(request, upstream, false, actions),
            None => self.offer(upstream, actions),
        }
    }

    fn dial_failed(&mut self, id: DialId, actions: &mut Actions<Action<K>>) {
        let Some(Dial { key, owner }) = self.dials.remove(&id) else { return };
        if let Some(request) = owner {
            self.stop_waiting(request);
            actions.push(Action::Fail { request, failure: Failure::Dial });
        }
        self.dial_next(&key, actions);
    }

    fn release(&mut self, upstream: UpstreamId, reusable: bool, actions: &mut Actions<Action<K>>) {
        let Some(own) = self.upstreams.get_mut(&upstream) else { return };
        let State::Busy(request) = own.state else { return };
        (own.state, own.used, own.pooled) = (State::Free, true, true);
        let broken = own.broken;
        self.requests.remove(&request);
        if broken {
            self.close(upstream, CloseWhy::Broken, actions);
        } else if reusable {
            self.offer(upstream, actions);
        } else {
            self.close(upstream, CloseWhy::NotReusable, actions);
        }
    }

    /// A connection that nobody has: for the oldest that waits, else to be kept, else closed.
    fn offer(&mut self, upstream: UpstreamId, actions: &mut Actions<Action<K>>) {
        if !self.config.keep_alive {
            return self.close(upstream, CloseWhy::NotReusable, actions);
        }
        let Some(slot) = self.upstreams.get(&upstream).and_then(|own| self.slots.get(&own.key)) else {
            return;
        };
        if let Some((_, request)) = slot.waiting.first_key_value() {
            self.deliver(*request, upstream, false, actions);
        } else if self.closes_idle {
            self.close(upstream, CloseWhy::IdleClosed, actions);
        } else if slot.idle.len() >= self.config.idle_per_key as usize {
            self.close(upstream, CloseWhy::IdleFull, actions);
        } else {
            self.park(upstream, actions);
        }
    }

    fn park(&mut self, upstream: UpstreamId, actions: &mut Actions<Action<K>>) {
        let turn = self.take_turn();
        let Some(own) = self.upstreams.get_mut(&upstream) else { return };
        own.state = State::Idle { turn, since: self.now };
        own.pooled = true;
        if let Some(slot) = self.slots.get_mut(&own.key) {
            slot.idle.insert(turn, upstream);
        }
        self.idle.insert(turn, upstream);
        if self.config.idle_max.is_some_and(|most| self.idle.len() > most as usize)
            && let Some((_, oldest)) = self.idle.first_key_value()
        {
            self.close(*oldest, CloseWhy::IdleFull, actions);
        }
    }

    /// Ends a connection; its place goes to the first that waits for permission to dial.
    fn close(&mut self, upstream: UpstreamId, why: CloseWhy, actions: &mut Actions<Action<K>>) {
        let Some(own) = self.upstreams.remove(&upstream) else { return };
        if let State::Idle { turn, .. } = own.state {
            self.idle.remove(&turn);
            if let Some(slot) = self.slots.get_mut(&own.key) {
                slot.idle.remove(&turn);
            }
        }
        actions.push(Action::Close { upstream, why });
        self.dial_next(&own.key, actions);
    }

    fn broken(&mut self, upstream: UpstreamId, actions: &mut Actions<Action<K>>) {
        match self.upstreams.get_mut(&upstream) {
            Some(Upstream { state: State::Idle { .. }, .. }) => {
                self.close(upstream, CloseWhy::Broken, actions);
            }
            Some(busy) => busy.broken = true,
            None => {}
        }
    }

    fn cancel(&mut self, request: RequestId, actions: &mut Actions<Action<K>>) {
        if let Some(Request::Busy(upstream)) = self.requests.get(&request) {
            let upstream = *upstream;
            self.requests.remove(&request);
            self.close(upstream, CloseWhy::Cancelled, actions);
        } else {
            self.stop_waiting(request);
        }
    }

    fn fail(
        &mut self,
        (request, upstream): (RequestId, UpstreamId),
        stage: Stage,
        (replayable, rewindable): (bool, bool),
        actions: &mut Actions<Action<K>>,
    ) {
        if self.requests.get(&request) != Some(&Request::Busy(upstream)) {
            return;
        }
        let Some(own) = self.upstreams.get(&upstream) else { return };
        let (key, pooled) = (own.key.clone(), own.pooled);
        self.requests.remove(&request);
        self.close(upstream, CloseWhy::Failed, actions);
        let again = match stage {
            Stage::NothingWritten => rewindable,
            Stage::NoReply => rewindable && replayable,
            Stage::Partial => false,
        };
        if pooled && again {
            actions.push(Action::Retry { request });
            self.closes_idle = false;
            self.expire(actions);
            self.seek(request, &key, actions);
        } else {
            actions.push(Action::Fail { request, failure: Failure::Exchange });
        }
    }

    fn close_idle(&mut self, actions: &mut Actions<Action<K>>) {
        self.closes_idle = true;
        while let Some((_, oldest)) = self.idle.first_key_value() {
            self.close(*oldest, CloseWhy::IdleClosed, actions);
        }
        let unwanted = self.dials.iter().filter(|(_, dial)| dial.owner.is_none());
        let unwanted: Vec<_> = unwanted.map(|(id, dial)| (*id, dial.key.clone())).collect();
        for (dial, key) in unwanted {
            self.dials.remove(&dial);
            actions.push(Action::AbortDial { dial });
            self.dial_next(&key, actions);
        }
    }

    /// Closes what has been idle for too long.
    fn expire(&mut self, actions: &mut Actions<Action<K>>) {
        while self.next_timeout().is_some_and(|at| at <= self.now)
            && let Some((_, oldest)) = self.idle.first_key_value()
        {
            self.close(*oldest, CloseWhy::IdleTimeout, actions);
        }
    }

    fn take_turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }
}

impl<K: Ord + Clone> Machine for Pool<K> {
    type Event = Event<K>;
    type Action = Action<K>;

    fn handle_event(&mut self, now: Instant, event: Event<K>, actions: &mut Actions<Action<K>>) {
        self.now = self.now.max(now);
        match event {
            Event::Acquire { request, key } => self.acquire(request, &key, actions),
            Event::Cancel { request } => self.cancel(request, actions),
            Event::Dialed { dial, upstream } => self.dialed(dial, upstream, actions),
            Event::DialFailed { dial } => self.dial_failed(dial, actions),
            Event::Release { upstream, reusable } => self.release(upstream, reusable, actions),
            Event::Broken { upstream } => self.broken(upstream, actions),
            Event::ExchangeFailed { request, upstream, stage, replayable, rewindable } => {
                self.fail((request, upstream), stage, (replayable, rewindable), actions);
            }
            Event::CloseIdle => self.close_idle(actions),
        }
    }

    fn handle_timeout(&mut self, now: Instant, actions: &mut Actions<Action<K>>) {
        let now = self.now.max(now);
        if self.next_timeout().is_some_and(|at| at <= now) {
            self.now = now;
            self.expire(actions);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let timeout = self.config.idle_timeout?;
        let (_, oldest) = self.idle.first_key_value()?;
        let State::Idle { since, .. } = self.upstreams.get(oldest)?.state else { return None };
        // The end of time is never.
        Some(since + timeout).filter(|at| at.as_micros() != u64::MAX)
    }
}
