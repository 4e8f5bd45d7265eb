//! A connection is dialled, waited for, given up and dialled again.

use std::time::Duration;

use linkspan_core::redial::{Action, Config, Event, Redial};
use linkspan_core::{Instant, Machine};
use linkspan_tests::harness::Checked;
use linkspan_tests::laws;
use proptest::prelude::*;

struct Bench {
    redial: Checked<Redial>,
    now: Instant,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self { redial: Checked::idle(Redial::new(config, Instant::ORIGIN)), now: Instant::ORIGIN }
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        self.redial.step(self.now, event)
    }

    /// Goes to the next deadline.
    fn next(&mut self) -> Vec<Action> {
        self.now = self.redial.next_timeout().expect("something is due").max(self.now);
        self.redial.timeout(self.now)
    }
}

fn waited(actions: &[Action]) -> Duration {
    match actions {
        [.., Action::Wait(delay)] => *delay,
        other => panic!("{other:?}"),
    }
}

#[test]
fn failures_wait_longer_and_a_stable_connection_begins_again() {
    let mut bench = Bench::new(Config::default());
    let mut most = Duration::from_millis(500);
    for _ in 0..10 {
        assert_eq!(bench.next(), [Action::Dial]);
        let delay = waited(&bench.event(Event::Failed));
        assert!(delay <= most && delay >= most / 2, "{delay:?} of {most:?}");
        most = (most * 2).min(Duration::from_secs(30));
    }
    for (lasting, most) in [(29, 30_000), (30, 500)] {
        assert_eq!(bench.next(), [Action::Dial]);
        assert!(bench.event(Event::Connected).is_empty() && bench.redial.is_connected());
        assert_eq!(bench.redial.next_timeout(), None);
        bench.now = bench.now + Duration::from_secs(lasting);
        let delay = waited(&bench.event(Event::Ended));
        assert!(delay.as_millis() <= most && delay.as_millis() >= most / 2, "{delay:?}");
    }
}

/// A thousand agents whose server is gone in one instant: no tenth of the time in which they come back has twice its share.
#[test]
fn who_lost_a_server_together_comes_back_apart() {
    let mut shares = [0; 10];
    for seed in 0..1_000 {
        let mut bench = Bench::new(Config { seed, ..Config::default() });
        bench.next();
        bench.event(Event::Connected);
        bench.now = Instant::from_micros(3_600_000_000);
        let delay = waited(&bench.event(Event::Ended)).as_micros();
        shares[(delay as usize - 250_000).min(249_999) / 25_000] += 1;
    }
    assert!(shares.iter().all(|share| (50..200).contains(share)), "{shares:?}");
}

#[test]
fn a_dial_that_takes_too_long_is_given_up_and_its_answer_means_nothing() {
    let mut bench = Bench::new(Config::default());
    bench.next();
    let actions = bench.next();
    assert_eq!((bench.now, actions[0]), (Instant::from_micros(10_000_000), Action::Abandon));
    waited(&actions);
    for late in [Event::Connected, Event::Failed, Event::Ended] {
        assert!(bench.event(late).is_empty() && !bench.redial.is_connected());
    }
    assert_eq!(bench.next(), [Action::Dial]);
}

#[test]
fn once_is_once() {
    let once = Config { once: true, ..Config::default() };
    let mut failed = Bench::new(once.clone());
    failed.next();
    assert_eq!(failed.event(Event::Failed), [Action::Finished]);
    let mut slow = Bench::new(once.clone());
    slow.next();
    assert_eq!(slow.next(), [Action::Abandon, Action::Finished]);
    let mut ended = Bench::new(once);
    ended.next();
    ended.event(Event::Connected);
    assert_eq!(ended.event(Event::Ended), [Action::Finished]);
    assert_eq!(ended.redial.next_timeout(), None);
}

#[test]
fn who_is_told_to_stop_dials_no_more() {
    let mut waiting = Bench::new(Config::default());
    assert_eq!(waiting.event(Event::Stop), [Action::Finished]);
    let mut dialling = Bench::new(Config::default());
    dialling.next();
    assert_eq!(dialling.event(Event::Stop), [Action::Abandon, Action::Finished]);
    let mut connected = Bench::new(Config::default());
    connected.next();
    connected.event(Event::Connected);
    assert_eq!(connected.event(Event::Stop), []);
    assert_eq!(connected.event(Event::Ended), [Action::Finished]);
    assert_eq!(connected.event(Event::Stop), []);
}

proptest! {
    #[test]
    fn keeps_the_laws(
        steps in prop::collection::vec((0..40_000_u64, 0..4_usize), 0..60),
        seed in any::<u64>(),
        once in prop::bool::weighted(0.2),
    ) {
        let config = Config { seed, once, ..Config::default() };
        let events = [Event::Connected, Event::Failed, Event::Ended, Event::Stop];
        let step = |(millis, which): &(u64, usize)| (Duration::from_millis(*millis), events[*which]);
        let steps: Vec<_> = steps.iter().map(step).collect();
        let history = laws::check(|| Redial::new(config.clone(), Instant::from_micros(1)), &steps);
        let actions: Vec<_> = history.into_iter().flatten().collect();
        let finished = actions.iter().position(|action| *action == Action::Finished);
        prop_assert!(finished.is_none_or(|at| at + 1 == actions.len()), "the last is the last");
        // Dials alternate with waits: never two at a time.
        let dials: Vec<_> = actions.iter().filter(|action| **action != Action::Abandon).collect();
        prop_assert!(dials.windows(2).all(|pair| *pair[0] != Action::Dial || *pair[1] != Action::Dial));
    }
}
