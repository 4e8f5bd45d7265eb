//! The route table as a state machine beside the brute-force reference: patterns come while requests are answered.

use linkspan_core::http::router::{RegisterError, Router, Style};
use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::laws::{HOSTS, pattern, verdict};
use linkspan_tests::models::router::{METHODS, Plain, Verdict, decide, paths};

#[derive(Clone, Debug)]
pub(super) enum Step {
    Register(String),
    Ask { method: &'static str, host: &'static str, path: String },
}

/// The patterns that are in force, and what the reference says to the last step.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    patterns: Vec<Plain>,
    /// The text of the pattern that a new one conflicts with.
    conflict: Option<String>,
    verdict: Option<Verdict>,
}

struct Play;

impl ReferenceStateMachine for Play {
    type State = State;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<State> {
        Just(State::default()).boxed()
    }

    fn transitions(_: &State) -> BoxedStrategy<Step> {
        let ask = (select(METHODS.to_vec()), select(HOSTS.to_vec()), select(paths()))
            .prop_map(|(method, host, path)| Step::Ask { method, host, path });
        prop_oneof![1 => pattern().prop_map(Step::Register), 6 => ask].boxed()
    }

    fn apply(mut state: State, step: &Step) -> State {
        (state.conflict, state.verdict) = (None, None);
        match step {
            Step::Register(text) => {
                let new = Plain::new(text);
                let old = state.patterns.iter().find(|old| new.conflicts(old));
                state.conflict = old.map(|old| old.text.clone());
                if state.conflict.is_none() {
                    state.patterns.push(new);
                }
            }
            Step::Ask { method, host, path } => {
                state.verdict = Some(decide(&state.patterns, method, host, path));
            }
        }
        state
    }
}

struct RouterTest;

impl StateMachineTest for RouterTest {
    type SystemUnderTest = Router<usize>;
    type Reference = Play;

    fn init_test(_: &State) -> Router<usize> {
        Router::new(Style::Patterns)
    }

    fn apply(mut router: Router<usize>, state: &State, step: Step) -> Router<usize> {
        match step {
            Step::Register(text) => match (router.register(&text, state.patterns.len()), &state.conflict) {
                (Ok(()), None) => {}
                (Err(RegisterError::Conflict { old, .. }), Some(expected)) => {
                    assert_eq!(*old, *expected.as_str());
                }
                (result, expected) => panic!("{text}: {result:?}, but the reference: {expected:?}"),
            },
            Step::Ask { method, host, path } => {
                let decision = router.route(method, host, &path, None);
                assert_eq!(Some(verdict(&decision, &path)), state.verdict, "{method} {host}{path}");
            }
        }
        router
    }
}

prop_state_machine! {
    #[test]
    fn the_table_is_its_reference_in_every_state(sequential 1..60 => RouterTest);
}
