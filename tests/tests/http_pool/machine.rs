//! The pool as a state machine beside its model: what is drawn is what can happen in the model's state.

use std::time::Duration;

use linkspan_core::http::pool::{Action, Event, Pool, RequestId, UpstreamId};
use linkspan_core::{Instant, Machine};
use linkspan_tests::harness::Checked;
use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::laws::{KEYS, config, nonsense, stages};
use linkspan_tests::models::pool::{Key, Model};

#[derive(Clone, Debug)]
pub(super) struct State {
    model: Model,
    now: Instant,
    /// How many numbers were given out.
    next: u64,
    said: Vec<Action<Key>>,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Event(Event<Key>),
    /// So many microseconds pass, but no deadline.
    Pass(u64),
}

struct Play;

impl ReferenceStateMachine for Play {
    type State = State;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<State> {
        let state =
            |config| State { model: Model::new(config), now: Instant::ORIGIN, next: 0, said: Vec::new() };
        config().prop_map(state).boxed()
    }

    fn transitions(state: &State) -> BoxedStrategy<Step> {
        let (model, next) = (&state.model, state.next + 1);
        let mut events = vec![
            (0..KEYS).prop_map(move |key| Event::Acquire { request: RequestId(next), key }).boxed(),
            nonsense(select(stages())).boxed(),
            Just(Event::CloseIdle).boxed(),
        ];
        let dials: Vec<_> = model.dials.iter().map(|dial| dial.id).collect();
        if !dials.is_empty() {
            let upstream = UpstreamId(next + 100);
            events.push(select(dials.clone()).prop_map(move |dial| Event::Dialed { dial, upstream }).boxed());
            events.push(select(dials).prop_map(|dial| Event::DialFailed { dial }).boxed());
        }
        let waiting = model.waiting.iter().map(|one| one.request);
        let requests: Vec<_> = waiting.chain(model.busy.iter().filter_map(|conn| conn.request)).collect();
        if !requests.is_empty() {
            events.push(select(requests).prop_map(|request| Event::Cancel { request }).boxed());
        }
        let conns: Vec<_> = model.busy.iter().chain(&model.idle).map(|conn| conn.id).collect();
        if !conns.is_empty() {
            let conn = || select(conns.clone());
            events.push(conn().prop_map(|upstream| Event::Broken { upstream }).boxed());
            let release = |(upstream, reusable)| Event::Release { upstream, reusable };
            events.push((conn(), any::<bool>()).prop_map(release).boxed());
        }
        let busy: Vec<_> = model.busy.iter().filter_map(|conn| Some((conn.request?, conn.id))).collect();
        if !busy.is_empty() {
            let failed = (select(busy), select(stages()), any::<bool>(), any::<bool>());
            let failed = failed.prop_map(|((request, upstream), stage, replayable, rewindable)| {
                Event::ExchangeFailed { request, upstream, stage, replayable, rewindable }
            });
            events.push(failed.boxed());
        }
        let pass = select(vec![1, 9, 10, 11, 25]).prop_map(Step::Pass);
        prop_oneof![8 => proptest::strategy::Union::new(events).prop_map(Step::Event), 1 => pass].boxed()
    }

    fn apply(mut state: State, step: &Step) -> State {
        state.next += 1;
        match step {
            Step::Event(event) => state.said = state.model.event(state.now, event.clone()),
            Step::Pass(micros) => {
                let until = state.now + Duration::from_micros(*micros);
                state.now = state.model.deadline().map_or(until, |at| at.min(until));
                state.said = state.model.timeout(state.now);
            }
        }
        state
    }
}

struct PoolTest;

impl StateMachineTest for PoolTest {
    type SystemUnderTest = Checked<Pool<Key>>;
    type Reference = Play;

    fn init_test(state: &State) -> Checked<Pool<Key>> {
        Checked::idle(Pool::new(state.model.config.clone()))
    }

    fn apply(mut pool: Checked<Pool<Key>>, state: &State, step: Step) -> Checked<Pool<Key>> {
        let actions = match step {
            Step::Event(event) => pool.step(state.now, event),
            Step::Pass(_) => pool.timeout(state.now),
        };
        assert_eq!(actions, state.said);
        pool
    }

    fn check_invariants(pool: &Checked<Pool<Key>>, state: &State) {
        let model = &state.model;
        assert_eq!(pool.next_timeout(), model.deadline());
        assert_eq!(pool.dials(), model.dials.len());
        assert_eq!(pool.upstreams(), model.busy.len() + model.idle.len());
        assert!((0..KEYS).all(|key| pool.count(&key) as usize == model.count(key)));
    }
}

prop_state_machine! {
    #[test]
    fn the_pool_is_its_model_in_every_state(sequential 1..120 => PoolTest);
}
