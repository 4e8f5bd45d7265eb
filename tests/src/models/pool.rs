//! A pool as plain lists, searched from the front: the rules of the pool in the order in which they are told.

use linkspan_core::Instant;
use linkspan_core::http::pool::{
    Action, CloseWhy, Config, DialId, Event, Failure, RequestId, Stage, UpstreamId,
};

/// What makes connections interchangeable.
pub type Key = u8;

/// A connection.
#[derive(Clone, Debug)]
pub struct Conn {
    /// Its number.
    pub id: UpstreamId,
    /// Where it goes.
    pub key: Key,
    /// Who has it; nobody if it is idle.
    pub request: Option<RequestId>,
    idle_since: Instant,
    used: bool,
    from_pool: bool,
    /// Whether it was seen to end.
    pub broken: bool,
}

/// A request that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its number.
    pub request: RequestId,
    /// What it is to be connected to.
    pub key: Key,
    /// Whether a dial of its own is under way.
    pub dials: bool,
}

/// A dial.
#[derive(Clone, Debug)]
pub struct Dialing {
    /// Its number.
    pub id: DialId,
    /// Where it goes.
    pub key: Key,
    /// Whose it is; nobody's once that request was served otherwise.
    pub owner: Option<RequestId>,
}

/// The model. Idle connections are in the order in which they became idle, those that wait in the order they came.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The bounds.
    pub config: Config,
    /// Those that a request has.
    pub busy: Vec<Conn>,
    /// Those that nobody has, the one that became idle first in front.
    pub idle: Vec<Conn>,
    /// Who waits, first come first.
    pub waiting: Vec<Waiting>,
    /// What is being dialled.
    pub dials: Vec<Dialing>,
    /// Whether what becomes idle is closed until the next request.
    pub closes_idle: bool,
    next_dial: u64,
    now: Instant,
    actions: Vec<Action<Key>>,
}

impl Model {
    /// A pool that has nothing.
    pub fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// How many connections of a key there are, dialing ones included.
    pub fn count(&self, key: Key) -> usize {
        let conns = self.busy.iter().chain(&self.idle).filter(|conn| conn.key == key).count();
        conns + self.dials.iter().filter(|dial| dial.key == key).count()
    }

    fn may_dial(&self, key: Key) -> bool {
        self.config.per_key.is_none_or(|most| self.count(key) < most.max(1) as usize)
    }

    /// Whether a connection of this number is here.
    pub fn knows(&self, id: UpstreamId) -> bool {
        self.busy.iter().chain(&self.idle).any(|conn| conn.id == id)
    }

    /// What is done at a time.
    pub fn timeout(&mut self, now: Instant) -> Vec<Action<Key>> {
        // A call that comes early leaves no trace, not even its time.
        if self.deadline().is_some_and(|at| at <= self.now.max(now)) {
            self.now = self.now.max(now);
            self.expire();
        }
        std::mem::take(&mut self.actions)
    }

    /// What is done when something happens.
    ///
    /// # Panics
    ///
    /// On an event that this model does not know yet.
    pub fn event(&mut self, now: Instant, event: Event<Key>) -> Vec<Action<Key>> {
        self.now = self.now.max(now);
        match event {
            Event::Acquire { request, key } => self.acquire(request, key),
            Event::Cancel { request } => {
                self.forget(request);
                if let Some(at) = self.busy.iter().position(|conn| conn.request == Some(request)) {
                    let conn = self.busy.remove(at);
                    self.close(&conn, CloseWhy::Cancelled);
                }
            }
            Event::Dialed { dial, upstream } => self.dialed(dial, upstream),
            Event::DialFailed { dial } => self.dial_failed(dial),
            Event::Release { upstream, reusable } => {
                if let Some(at) = self.busy.iter().position(|conn| conn.id == upstream) {
                    let mut conn = self.busy.remove(at);
                    (conn.request, conn.used, conn.from_pool) = (None, true, true);
                    match (conn.broken, reusable) {
                        (true, _) => self.close(&conn, CloseWhy::Broken),
                        (_, false) => self.close(&conn, CloseWhy::NotReusable),
                        _ => self.offer(conn),
                    }
                }
            }
            Event::Broken { upstream } => {
                if let Some(at) = self.idle.iter().position(|conn| conn.id == upstream) {
                    let conn = self.idle.remove(at);
                    self.close(&conn, CloseWhy::Broken);
                }
                self.busy.iter_mut().filter(|conn| conn.id == upstream).for_each(|conn| conn.broken = true);
            }
            Event::ExchangeFailed { request, upstream, stage, replayable, rewindable } => {
                self.failed(request, upstream, stage, replayable, rewindable);
            }
            Event::CloseIdle => self.close_idle(),
            other => panic!("{other:?}"),
        }
        std::mem::take(&mut self.actions)
    }

    fn acquire(&mut self, request: RequestId, key: Key) {
        let known = self.waiting.iter().any(|one| one.request == request)
            || self.busy.iter().any(|conn| conn.request == Some(request));
        if known {
            return;
        }
        self.closes_idle = false;
        self.expire();
        let many = self.waiting.iter().filter(|one| one.key == key).count();
        let idle = self.idle.iter().any(|conn| conn.key == key);
        if !idle && many >= self.config.waiting_per_key as usize {
            self.actions.push(Action::Fail { request, failure: Failure::TooManyWaiting });
        } else {
            self.seek(request, key);
        }
    }

    fn seek(&mut self, request: RequestId, key: Key) {
        if let Some(at) = self.idle.iter().rposition(|conn| conn.key == key) {
            let conn = self.idle.remove(at);
            return self.deliver(request, conn, true);
        }
        if self.may_dial(key) && !self.make_room() {
            self.actions.push(Action::Fail { request, failure: Failure::TooManyUpstreams });
            return;
        }
        self.waiting.push(Waiting { request, key, dials: false });
        self.dial_while_permitted(key);
    }

    /// Whether there may be one more connection, if need be in place of the one that became idle first.
    fn make_room(&mut self) -> bool {
        let Some(most) = self.config.total.map(|most| most as usize) else { return true };
        if self.dials.len() + self.idle.len() + self.busy.len() >= most && !self.idle.is_empty() {
            let oldest = self.idle.remove(0);
            self.close(&oldest, CloseWhy::IdleFull);
        }
        self.dials.len() + self.idle.len() + self.busy.len() < most
    }

    /// The oldest that wait and do not dial yet, as many as may.
    fn dial_while_permitted(&mut self, key: Key) {
        while self.may_dial(key)
            && let Some(one) = self.waiting.iter_mut().find(|one| one.key == key && !one.dials)
        {
            one.dials = true;
            let (id, owner) = (DialId(self.next_dial), Some(one.request));
            self.next_dial += 1;
            self.dials.push(Dialing { id, key, owner });
            self.actions.push(Action::Dial { dial: id, key });
        }
    }

    /// A request waits no more; its dial is nobody's.
    fn forget(&mut self, request: RequestId) {
        self.waiting.retain(|one| one.request != request);
        self.dials.iter_mut().filter(|dial| dial.owner == Some(request)).for_each(|dial| dial.owner = None);
    }

    fn deliver(&mut self, request: RequestId, mut conn: Conn, was_idle: bool) {
        self.forget(request);
        conn.request = Some(request);
        self.actions.push(Action::Deliver { request, upstream: conn.id, reused: conn.used, was_idle });
        self.busy.push(conn);
    }

    fn dialed(&mut self, id: DialId, upstream: UpstreamId) {
        if self.knows(upstream) {
            return self.dial_failed(id);
        }
        let Some(at) = self.dials.iter().position(|dial| dial.id == id) else {
            return self.actions.push(Action::Close { upstream, why: CloseWhy::Unwanted });
        };
        let dial = self.dials.remove(at);
        let conn = Conn {
            id: upstream,
            key: dial.key,
            request: None,
            idle_since: Instant::ORIGIN,
            used: false,
            from_pool: dial.owner.is_none(),
            broken: false,
        };
        match dial.owner {
            Some(request) => self.deliver(request, conn, false),
            None => self.offer(conn),
        }
    }

    fn dial_failed(&mut self, id: DialId) {
        let Some(at) = self.dials.iter().position(|dial| dial.id == id) else { return };
        let dial = self.dials.remove(at);
        if let Some(request) = dial.owner {
            self.forget(request);
            self.actions.push(Action::Fail { request, failure: Failure::Dial });
        }
        self.dial_while_permitted(dial.key);
    }

    fn offer(&mut self, mut conn: Conn) {
        if !self.config.keep_alive {
            return self.close(&conn, CloseWhy::NotReusable);
        }
        if let Some(one) = self.waiting.iter().find(|one| one.key == conn.key) {
            return self.deliver(one.request, conn, false);
        }
        if self.closes_idle {
            return self.close(&conn, CloseWhy::IdleClosed);
        }
        let same = self.idle.iter().filter(|one| one.key == conn.key).count();
        if same >= self.config.idle_per_key as usize {
            return self.close(&conn, CloseWhy::IdleFull);
        }
        (conn.idle_since, conn.from_pool) = (self.now, true);
        self.idle.push(conn);
        if self.config.idle_max.is_some_and(|most| self.idle.len() > most as usize) {
            let oldest = self.idle.remove(0);
            self.close(&oldest, CloseWhy::IdleFull);
        }
    }

    /// The connection was taken out of its list already.
    fn close(&mut self, conn: &Conn, why: CloseWhy) {
        self.actions.push(Action::Close { upstream: conn.id, why });
        self.dial_while_permitted(conn.key);
    }

    fn failed(
        &mut self,
        request: RequestId,
        id: UpstreamId,
        stage: Stage,
        replayable: bool,
        rewindable: bool,
    ) {
        let of = |conn: &Conn| conn.id == id && conn.request == Some(request);
        let Some(at) = self.busy.iter().position(of) else { return };
        let conn = self.busy.remove(at);
        self.close(&conn, CloseWhy::Failed);
        let again = conn.from_pool
            && rewindable
            && (stage == Stage::NothingWritten || (stage == Stage::NoReply && replayable));
        if again {
            self.actions.push(Action::Retry { request });
            self.closes_idle = false;
            self.expire();
            self.seek(request, conn.key);
        } else {
            self.actions.push(Action::Fail { request, failure: Failure::Exchange });
        }
    }

    fn close_idle(&mut self) {
        self.closes_idle = true;
        while !self.idle.is_empty() {
            let oldest = self.idle.remove(0);
            self.close(&oldest, CloseWhy::IdleClosed);
        }
        let unwanted: Vec<_> = self.dials.iter().filter(|dial| dial.owner.is_none()).cloned().collect();
        for dial in unwanted {
            self.dials.retain(|one| one.id != dial.id);
            self.actions.push(Action::AbortDial { dial: dial.id });
            self.dial_while_permitted(dial.key);
        }
    }

    /// When the first of the idle ones has been idle for too long.
    pub fn deadline(&self) -> Option<Instant> {
        self.idle.first().and_then(|oldest| Some(oldest.idle_since + self.config.idle_timeout?))
    }

    fn expire(&mut self) {
        while self.deadline().is_some_and(|at| at <= self.now) {
            let oldest = self.idle.remove(0);
            self.close(&oldest, CloseWhy::IdleTimeout);
        }
    }
}
