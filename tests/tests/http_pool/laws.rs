//! The pool beside its model: equal actions, the nine invariants, and the laws of a machine, after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use linkspan_core::http::pool::{Action, Config, DialId, Event, Pool, RequestId, Stage, UpstreamId};
use linkspan_core::{Actions, Instant, Machine};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use linkspan_tests::models::pool::{Key, Model};

pub(super) const KEYS: u8 = 3;

/// What a driver does next. An index names one of what there is at that time.
#[derive(Clone, Debug)]
enum Step {
    Acquire(Key),
    Cancel(Index),
    Dialed(Index),
    DialFailed(Index),
    Release(Index, bool),
    Broken(Index),
    Failed(Index, Stage, bool, bool),
    CloseIdle,
    Pass(u64),
    /// Something that names what is not there, or is in another state.
    Nonsense(Event<Key>),
}

pub(super) fn stages() -> Vec<Stage> {
    vec![Stage::NothingWritten, Stage::NoReply, Stage::Partial]
}

fn step() -> impl Strategy<Value = Step> {
    let stage = select(stages());
    prop_oneof![
        8 => (0..KEYS).prop_map(Step::Acquire),
        6 => any::<Index>().prop_map(Step::Dialed),
        2 => any::<Index>().prop_map(Step::DialFailed),
        6 => (any::<Index>(), any::<bool>()).prop_map(|(at, reusable)| Step::Release(at, reusable)),
        2 => any::<Index>().prop_map(Step::Cancel),
        2 => any::<Index>().prop_map(Step::Broken),
        3 => (any::<Index>(), stage.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(at, stage, replayable, rewindable)| Step::Failed(at, stage, replayable, rewindable)),
        1 => Just(Step::CloseIdle),
        2 => select(vec![0, 1, 9, 10, 11, 25]).prop_map(Step::Pass),
        2 => nonsense(stage).prop_map(Step::Nonsense),
    ]
}

/// Events with small numbers: some fit by chance, most do not.
pub(super) fn nonsense(stage: impl Strategy<Value = Stage>) -> impl Strategy<Value = Event<Key>> {
    let number = 0..12_u64;
    prop_oneof![
        (number.clone(), 0..KEYS).prop_map(|(id, key)| Event::Acquire { request: RequestId(id), key }),
        number.clone().prop_map(|id| Event::Cancel { request: RequestId(id) }),
        (number.clone(), number.clone())
            .prop_map(|(dial, id)| Event::Dialed { dial: DialId(dial), upstream: UpstreamId(id) }),
        number.clone().prop_map(|id| Event::DialFailed { dial: DialId(id) }),
        (number.clone(), any::<bool>())
            .prop_map(|(id, reusable)| Event::Release { upstream: UpstreamId(id), reusable }),
        (number.clone(), number, stage).prop_map(|(request, id, stage)| Event::ExchangeFailed {
            request: RequestId(request),
            upstream: UpstreamId(id),
            stage,
            replayable: true,
            rewindable: true,
        }),
    ]
}

pub(super) fn config() -> impl Strategy<Value = Config> {
    let bound = || option::of(1..4_u32);
    let timeout = option::of(Just(Duration::from_micros(10)));
    let total = option::of(1..8_u32);
    (bound(), 0..4_u32, (bound(), total), 1..6_u32, timeout, prop::bool::weighted(0.9)).prop_map(
        |(idle_max, idle_per_key, (per_key, total), waiting_per_key, idle_timeout, keep_alive)| Config {
            idle_max,
            idle_per_key,
            per_key,
            total,
            waiting_per_key,
            idle_timeout,
            keep_alive,
        },
    )
}

/// What the world outside believes, from actions alone.
#[derive(Default)]
struct Ledger {
    /// Requests without an outcome yet, and for which key.
    open: BTreeMap<RequestId, Key>,
    /// Connections that are open, and for which key.
    conns: BTreeMap<UpstreamId, Key>,
    /// Who has which connection.
    holders: BTreeMap<UpstreamId, RequestId>,
    dials: BTreeMap<DialId, Key>,
    broken: BTreeSet<UpstreamId>,
}

struct Pair {
    pool: Pool<Key>,
    model: Model,
    ledger: Ledger,
    now: Instant,
    next: u64,
}

impl Pair {
    fn new(config: Config) -> Self {
        Self {
            pool: Pool::new(config.clone()),
            model: Model::new(config),
            ledger: Ledger::default(),
            now: Instant::ORIGIN,
            next: 0,
        }
    }

    fn play(&mut self, step: &Step) {
        let event = match step {
            Step::Acquire(key) => {
                self.next += 1;
                Event::Acquire { request: RequestId(self.next), key: *key }
            }
            Step::Pass(micros) => return self.pass(*micros),
            Step::CloseIdle => Event::CloseIdle,
            Step::Nonsense(event) => event.clone(),
            _ => match self.named(step) {
                Some(event) => event,
                None => return,
            },
        };
        self.event(event);
    }

    /// The event of a step that names something that is there.
    fn named(&mut self, step: &Step) -> Option<Event<Key>> {
        fn pick<T: Clone>(at: &Index, from: &[T]) -> Option<T> {
            (!from.is_empty()).then(|| at.get(from).clone())
        }
        let model = &self.model;
        Some(match step {
            Step::Cancel(at) => {
                let waiting = model.waiting.iter().map(|one| one.request);
                let all: Vec<_> = waiting.chain(model.busy.iter().filter_map(|conn| conn.request)).collect();
                Event::Cancel { request: pick(at, &all)? }
            }
            Step::Dialed(at) => {
                self.next += 1;
                Event::Dialed { dial: pick(at, &model.dials)?.id, upstream: UpstreamId(self.next + 100) }
            }
            Step::DialFailed(at) => Event::DialFailed { dial: pick(at, &model.dials)?.id },
            Step::Release(at, reusable) => {
                Event::Release { upstream: pick(at, &model.busy)?.id, reusable: *reusable }
            }
            Step::Broken(at) => {
                let all: Vec<_> = model.busy.iter().chain(&model.idle).cloned().collect();
                Event::Broken { upstream: pick(at, &all)?.id }
            }
            Step::Failed(at, stage, replayable, rewindable) => {
                let conn = pick(at, &model.busy)?;
                let (stage, replayable, rewindable) = (*stage, *replayable, *rewindable);
                let request = conn.request?;
                Event::ExchangeFailed { request, upstream: conn.id, stage, replayable, rewindable }
            }
            _ => return None,
        })
    }

    fn event(&mut self, event: Event<Key>) {
        self.ledger.event(&event);
        let mut actions = Actions::new();
        let most = 3 + 2 * (self.pool.idle() + self.pool.dials());
        self.pool.handle_event(self.now, event.clone(), &mut actions);
        assert!(actions.len() <= most, "bounded: {most} for {event:?}");
        let expected = self.model.event(self.now, event);
        self.settle(&actions, &expected);
    }

    /// Time passes; the pool is woken when it wants to be, and once too early.
    fn pass(&mut self, micros: u64) {
        let until = self.now + Duration::from_micros(micros);
        let at = self.pool.next_timeout().filter(|at| *at <= until);
        self.now = at.unwrap_or(until);
        let mut actions = Actions::new();
        let before = self.pool.clone();
        let early = Instant::from_micros(at.unwrap_or(until).as_micros().saturating_sub(1));
        if before.next_timeout().is_none_or(|at| at > early) {
            self.pool.handle_timeout(early, &mut actions);
            assert!(actions.is_empty() && self.pool == before, "early is free");
        }
        self.pool.handle_timeout(self.now, &mut actions);
        assert!(self.pool.next_timeout().is_none_or(|at| at > self.now), "no spin");
        let expected = self.model.timeout(self.now);
        self.settle(&actions, &expected);
    }

    fn settle(&mut self, actions: &Actions<Action<Key>>, expected: &[Action<Key>]) {
        assert_eq!(actions.as_slice(), expected);
        for action in actions {
            self.ledger.action(action);
        }
        self.check();
    }

    /// The invariants, by the numbers of the specification.
    fn check(&self) {
        let (model, ledger) = (&self.model, &self.ledger);
        let config = &model.config;
        for key in 0..KEYS {
            let conns = ledger.conns.values().filter(|own| **own == key).count();
            let count = conns + ledger.dials.values().filter(|own| **own == key).count();
            assert_eq!(self.pool.count(&key) as usize, count, "1: what is counted is what there is");
            assert!(config.per_key.is_none_or(|most| count <= most as usize), "1: within the bound");
            let waiting = model.waiting.iter().filter(|one| one.key == key);
            let idle = model.idle.iter().filter(|conn| conn.key == key).count();
            assert!(idle == 0 || waiting.clone().count() == 0, "3: nobody waits beside an idle connection");
            let stuck = waiting.clone().any(|one| !one.dials);
            assert!(
                !stuck || config.per_key == Some(u32::try_from(count).unwrap()),
                "4: nobody waits for a free place"
            );
            assert!(idle <= config.idle_per_key as usize, "6: idle ones of a key");
        }
        let is_known = |key: &u8| model.count(*key) > 0 || model.waiting.iter().any(|one| one.key == *key);
        assert_eq!(self.pool.keys(), (0..KEYS).filter(is_known).count(), "no key without a reason");
        assert!(config.idle_max.is_none_or(|most| self.pool.idle() <= most as usize), "6: idle ones in all");
        assert!(!model.closes_idle || self.pool.idle() == 0, "8: closed ones stay closed");
        assert_eq!(self.pool.next_timeout(), model.deadline(), "the deadline is that of the oldest");
        assert_eq!(self.pool.idle() + ledger.holders.len(), ledger.conns.len(), "each is idle or held");
        assert_eq!(
            self.pool.requests(),
            ledger.open.len() + ledger.holders.len(),
            "5: who has no outcome waits"
        );
        assert_eq!((self.pool.upstreams(), self.pool.dials()), (ledger.conns.len(), ledger.dials.len()));
    }

    /// Everything ends; nothing of it stays.
    fn end(&mut self) {
        while let Some(dial) = self.model.dials.first() {
            self.event(Event::DialFailed { dial: dial.id });
        }
        while let Some(conn) = self.model.busy.first() {
            self.event(Event::Release { upstream: conn.id, reusable: false });
            while let Some(dial) = self.model.dials.first() {
                self.event(Event::DialFailed { dial: dial.id });
            }
        }
        self.event(Event::CloseIdle);
        assert!(self.ledger.open.is_empty(), "5: everyone had an outcome");
        assert!(self.ledger.conns.is_empty(), "9: everything was closed");
        assert_eq!(self.pool.keys() + self.pool.requests() + self.pool.dials() + self.pool.upstreams(), 0);
    }
}

impl Ledger {
    fn event(&mut self, event: &Event<Key>) {
        match event {
            Event::Acquire { request, key } if !self.holders.values().any(|holder| holder == request) => {
                self.open.entry(*request).or_insert(*key);
            }
            Event::Cancel { request } => {
                self.open.remove(request);
                self.holders.retain(|_, holder| holder != request);
            }
            Event::Dialed { dial, upstream } => {
                // A number in use is no connection: the dial counts as failed.
                let key = self.dials.remove(dial);
                if let Some(key) = key {
                    self.conns.entry(*upstream).or_insert(key);
                }
            }
            Event::DialFailed { dial } => {
                self.dials.remove(dial);
            }
            Event::Release { upstream, .. } => {
                self.holders.remove(upstream);
            }
            Event::Broken { upstream } => {
                self.broken.insert(*upstream);
            }
            Event::ExchangeFailed { request, upstream, .. }
                if self.holders.get(upstream) == Some(request) =>
            {
                self.holders.remove(upstream);
                self.open.insert(*request, self.conns[upstream]);
            }
            _ => {}
        }
    }

    fn action(&mut self, action: &Action<Key>) {
        match action {
            Action::Dial { dial, key } => assert!(self.dials.insert(*dial, *key).is_none()),
            Action::AbortDial { dial } => assert!(self.dials.remove(dial).is_some()),
            Action::Deliver { request, upstream, .. } => {
                let key = self.open.remove(request);
                assert!(key.is_some(), "5: one outcome each");
                assert_eq!(
                    self.conns.get(upstream).copied(),
                    key,
                    "2: never across keys, never one that is closed"
                );
                assert!(self.holders.insert(*upstream, *request).is_none(), "2: one request at a time");
                assert!(!self.broken.contains(upstream), "never one seen broken");
            }
            Action::Fail { request, .. } => {
                assert!(self.open.remove(request).is_some(), "5: one outcome each");
            }
            Action::Close { upstream, why } => {
                let known = self.conns.remove(upstream).is_some();
                assert!(known != (*why == linkspan_core::http::pool::CloseWhy::Unwanted), "9: each once");
                assert!(!self.holders.contains_key(upstream), "nobody has it any more");
            }
            Action::Retry { request } => assert!(self.open.contains_key(request)),
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn the_pool_is_its_model(config in config(), steps in vec(step(), 0..120)) {
        let mut pair = Pair::new(config);
        for step in &steps {
            pair.play(step);
        }
        pair.end();
    }

    /// A driver whose clock runs backwards harms nothing.
    #[test]
    fn time_never_runs_backwards_inside(config in config(), steps in vec((step(), 0..40_u64), 0..60)) {
        let mut pair = Pair::new(config);
        let mut latest = Instant::ORIGIN;
        for (step, back) in &steps {
            pair.play(step);
            latest = latest.max(pair.now);
            pair.now = Instant::from_micros(pair.now.as_micros().saturating_sub(*back));
        }
        pair.now = latest;
        pair.end();
    }

    /// Those who wait are served in the order they came, and what became idle last is taken first.
    #[test]
    fn first_come_first_served_last_back_first_out(count in 1..8_u64) {
        let mut pair = Pair::new(Config { per_key: Some(1), ..Config::default() });
        for id in 0..count {
            pair.event(Event::Acquire { request: RequestId(id), key: 0 });
        }
        pair.event(Event::Dialed { dial: DialId(0), upstream: UpstreamId(0) });
        for id in 0..count {
            prop_assert_eq!(pair.ledger.holders.get(&UpstreamId(0)).copied(), Some(RequestId(id)));
            pair.event(Event::Release { upstream: UpstreamId(0), reusable: true });
        }
        let mut pair = Pair::new(Config::default());
        for id in 0..count {
            pair.event(Event::Acquire { request: RequestId(id), key: 0 });
            pair.event(Event::Dialed { dial: DialId(id), upstream: UpstreamId(id) });
        }
        for id in 0..count {
            pair.event(Event::Release { upstream: UpstreamId(id), reusable: true });
        }
        for id in 0..count {
            pair.event(Event::Acquire { request: RequestId(id), key: 0 });
            prop_assert_eq!(pair.ledger.holders.get(&UpstreamId(count - 1 - id)).copied(), Some(RequestId(id)));
        }
    }
}
