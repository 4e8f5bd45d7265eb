//! A whole server stops: in phases, in batches, within its time.

use std::collections::BTreeMap;
use std::time::Duration;

use linkspan_core::drain::{Action, Config, Drain, Event, Phase};
use linkspan_core::{CloseReason, Instant, Machine};
use linkspan_tests::harness::Checked;
use linkspan_tests::laws;
use proptest::collection::vec;
use proptest::prelude::*;

const ORDER: Event = Event::Order { reason: CloseReason::Stopping };

fn seconds(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

fn handle(drain: &mut Checked<Drain>, now: Instant, event: Event) -> Vec<Action> {
    drain.step(now, event)
}

fn timeout(drain: &mut Checked<Drain>, now: Instant) -> Vec<Action> {
    drain.timeout(now)
}

fn server(config: Config, connections: u32) -> Checked<Drain> {
    let mut drain = Checked::idle(Drain::new(config));
    for _ in 0..connections {
        assert_eq!(handle(&mut drain, seconds(0), Event::Opened), []);
    }
    drain
}

/// A driver whose connections take `goodbye(number)` to end once they were told.
struct Server {
    drain: Checked<Drain>,
    accepting: bool,
    untold: u32,
    ending: BTreeMap<(Instant, u32), ()>,
    told: Vec<(Instant, u32)>,
    finished: Option<Instant>,
    aborted: bool,
}

impl Server {
    fn new(config: Config, connections: u32) -> Self {
        Self {
            drain: server(config, connections),
            accepting: true,
            untold: connections,
            ending: BTreeMap::new(),
            told: Vec::new(),
            finished: None,
            aborted: false,
        }
    }

    fn perform(&mut self, now: Instant, actions: Vec<Action>, goodbye: impl Fn(u32) -> Duration) {
        for action in actions {
            assert_eq!(self.finished, None, "nothing comes after the end");
            match action {
                Action::StopAccepting => self.accepting = false,
                Action::DrainSome(batch) => {
                    let batch = batch.min(self.untold);
                    for number in 0..batch {
                        self.ending.insert((now + goodbye(number), self.untold - number), ());
                    }
                    self.untold -= batch;
                    self.told.push((now, batch));
                }
                Action::AbortAll => self.aborted = true,
                Action::Finished => self.finished = Some(now),
                _ => unreachable!("there is no other action"),
            }
        }
    }

    /// Runs from an order at second 1 to the end.
    fn run(&mut self, goodbye: impl Fn(u32) -> Duration) {
        let actions = handle(&mut self.drain, seconds(1), ORDER);
        self.perform(seconds(1), actions, &goodbye);
        while self.finished.is_none() {
            let end = self.ending.first_key_value().map(|((at, _), ())| *at);
            let due = self.drain.next_timeout();
            let now = end.into_iter().chain(due).min().expect("something is still to come");
            let actions = if end == Some(now) {
                self.ending.pop_first();
                handle(&mut self.drain, now, Event::Closed)
            } else {
                timeout(&mut self.drain, now)
            };
            self.perform(now, actions, &goodbye);
        }
    }
}

#[test]
fn an_idle_server_stops_at_once() {
    let mut drain = server(Config::default(), 0);
    assert_eq!(handle(&mut drain, seconds(5), ORDER), [Action::StopAccepting, Action::Finished]);
    assert_eq!(drain.phase(), Phase::Finished);
    assert_eq!(handle(&mut drain, seconds(6), Event::Force), []);
    assert_eq!(drain.next_timeout(), None);
}

#[test]
fn few_connections_go_together() {
    let mut drain = server(Config::default(), 60);
    assert_eq!(handle(&mut drain, seconds(1), ORDER), [Action::StopAccepting, Action::DrainSome(60)]);
    for _ in 0..59 {
        assert_eq!(handle(&mut drain, seconds(2), Event::Closed), []);
    }
    assert_eq!(handle(&mut drain, seconds(2), Event::Closed), [Action::Finished]);
}

#[test]
fn a_delay_lets_load_balancers_notice() {
    let mut drain = server(Config { delay: Duration::from_secs(5), ..Config::default() }, 1);
    assert_eq!(drain.phase(), Phase::Running);
    assert_eq!(handle(&mut drain, seconds(1), Event::Order { reason: CloseReason::Finished }), []);
    assert_eq!((drain.phase(), drain.reason()), (Phase::Delaying, CloseReason::Finished));
    assert_eq!(drain.phase().name(), "delaying");
    assert_eq!(handle(&mut drain, seconds(2), Event::Opened), [], "it still accepts");
    assert_eq!(handle(&mut drain, seconds(3), Event::Closed), []);
    assert_eq!(handle(&mut drain, seconds(3), Event::Closed), [], "nobody is there, but somebody may come");
    assert_eq!(handle(&mut drain, seconds(3), Event::Opened), []);
    assert_eq!(drain.next_timeout(), Some(seconds(6)));
    assert_eq!(timeout(&mut drain, seconds(6)), [Action::StopAccepting, Action::DrainSome(1)]);
    assert_eq!(drain.phase(), Phase::Draining);
}

#[test]
fn ten_thousand_connections_go_in_batches() {
    let mut server = Server::new(Config::default(), 10_000);
    server.run(|_| Duration::from_millis(50));
    assert!(!server.accepting && !server.aborted);
    assert_eq!(server.untold, 0);
    let times = server.told.iter().map(|(at, _)| *at).collect::<Vec<_>>();
    assert!(server.told.iter().all(|(_, batch)| *batch == 500), "twenty batches of equal size");
    assert_eq!((times.len(), times[0]), (20, seconds(1)));
    // Each batch has half a second for itself and comes somewhere in it.
    for (number, at) in times.iter().enumerate().skip(1) {
        let slot = seconds(1) + Duration::from_millis(500) * number as u32;
        assert!(slot <= *at && *at < slot + Duration::from_millis(500), "batch {number} at {at:?}");
    }
    let end = server.finished.unwrap();
    assert!(end <= seconds(12), "{end:?}");

    let mut other = Server::new(Config { seed: 1, ..Config::default() }, 10_000);
    other.run(|_| Duration::from_millis(50));
    assert_ne!(other.told, server.told, "the seed decides the jitter");
}

#[test]
fn who_does_not_go_is_cut() {
    let mut server = Server::new(Config::default(), 1_000);
    server.run(|_| Duration::from_secs(100));
    assert!(server.aborted && server.untold == 0);
    assert_eq!(server.finished, Some(seconds(31) + Drain::ABORT_GRACE), "after the timeout and a last grace");
}

#[test]
fn a_spread_longer_than_the_patience_is_shortened() {
    let spread = Duration::from_secs(1000);
    let mut server = Server::new(Config { spread, ..Config::default() }, 10_000);
    server.run(|_| Duration::from_secs(1));
    assert!(!server.aborted, "everybody had time to go");
}

#[test]
fn a_second_order_cuts_and_a_third_does_not_wait() {
    let mut drain = server(Config { delay: Duration::from_secs(5), ..Config::default() }, 3);
    assert_eq!(handle(&mut drain, seconds(1), ORDER), []);
    assert_eq!(handle(&mut drain, seconds(2), ORDER), [Action::StopAccepting, Action::AbortAll]);
    assert_eq!(drain.phase(), Phase::Aborting);
    assert_eq!(handle(&mut drain, seconds(2), Event::Closed), []);
    assert_eq!(handle(&mut drain, seconds(2), ORDER), [Action::Finished]);
}

#[test]
fn force_needs_no_order() {
    let mut drain = server(Config::default(), 1);
    assert_eq!(handle(&mut drain, seconds(1), Event::Force), [Action::StopAccepting, Action::AbortAll]);
    assert_eq!(handle(&mut drain, seconds(1), Event::Closed), [Action::Finished]);
}

#[test]
fn who_was_on_the_way_in_is_sent_away_too() {
    let mut drain = server(Config::default(), 1);
    handle(&mut drain, seconds(1), ORDER);
    assert_eq!(handle(&mut drain, seconds(1), Event::Opened), [Action::DrainSome(1)]);
    handle(&mut drain, seconds(2), Event::Force);
    assert_eq!(handle(&mut drain, seconds(2), Event::Opened), [Action::AbortAll]);
}

#[test]
fn a_frozen_server_sends_overdue_batches_at_once() {
    let mut drain = server(Config::default(), 10_000);
    handle(&mut drain, seconds(1), ORDER);
    assert_eq!(timeout(&mut drain, seconds(30)), [Action::DrainSome(10_000)]);
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => Just(ORDER),
        20 => Just(Event::Opened),
        20 => Just(Event::Closed),
        1 => Just(Event::Force),
    ]
}

prop_compose! {
    fn any_config()(
        seed in any::<u64>(),
        delay in 0..3_u64,
        batches in 0..5_u32,
        batch_min in 0..5_u32,
        spread in 0..20_u64,
        timeout in 0..40_u64,
    ) -> Config {
        let [delay, spread, timeout] = [delay, spread, timeout].map(Duration::from_secs);
        Config { seed, delay, batches, batch_min, spread, timeout }
    }
}

proptest! {
    #[test]
    fn obeys_the_laws(
        config in any_config(),
        steps in vec(((0..3000_u64).prop_map(Duration::from_millis), any_event()), 0..100),
    ) {
        let actions = laws::check(|| Drain::new(config.clone()), &steps).concat();
        let finished = actions.iter().position(|action| *action == Action::Finished);
        prop_assert!(finished.is_none_or(|at| at + 1 == actions.len()), "the end is the last action");
        prop_assert!(actions.iter().filter(|action| **action == Action::StopAccepting).count() <= 1);
    }

    /// However long goodbyes take, everybody is told unless there was no time, and it ends in time.
    #[test]
    fn always_ends(config in any_config(), connections in 0..300_u32, goodbye in 0..30_u64) {
        let limit = seconds(1) + config.delay + config.timeout + Drain::ABORT_GRACE;
        let mut server = Server::new(config, connections);
        server.run(|number| Duration::from_secs(goodbye) * (1 + number % 2));
        prop_assert!(server.finished.unwrap() <= limit);
        prop_assert!(!server.accepting);
        prop_assert!(server.untold == 0 || server.aborted);
    }

    /// No time makes it panic.
    #[test]
    fn is_total(config in any_config(), steps in vec((any::<u64>(), any_event()), 0..50)) {
        let mut drain = Checked::idle(Drain::new(config));
        for (time, event) in steps {
            handle(&mut drain, Instant::from_micros(time), event);
            timeout(&mut drain, Instant::from_micros(time));
        }
    }
}

#[test]
fn connections_are_counted() {
    let mut drain = server(Config::default(), 3);
    assert_eq!(drain.connections(), 3);
    handle(&mut drain, seconds(1), Event::Closed);
    handle(&mut drain, seconds(1), Event::Closed);
    assert_eq!(drain.connections(), 1);
    handle(&mut drain, seconds(2), Event::Closed);
    handle(&mut drain, seconds(2), Event::Closed);
    assert_eq!(drain.connections(), 0, "one end too many is none");
}

/// Who was on its way in when accepting ended goes with a batch that is still to come, and by itself behind the last.
#[test]
fn latecomers_go_with_the_rest() {
    let mut drain = server(Config { batches: 2, ..Config::default() }, 200);
    assert_eq!(handle(&mut drain, seconds(1), ORDER), [Action::StopAccepting, Action::DrainSome(100)]);
    assert_eq!((handle(&mut drain, seconds(1), Event::Opened), drain.connections()), (vec![], 201));
    let due = drain.next_timeout().unwrap();
    let [Action::DrainSome(rest)] = timeout(&mut drain, due)[..] else { panic!("no batch") };
    assert!(rest >= 101, "{rest}");
    assert_eq!(handle(&mut drain, due, Event::Opened), [Action::DrainSome(1)]);
    handle(&mut drain, due, Event::Force);
    assert_eq!(handle(&mut drain, due, Event::Opened), [Action::AbortAll]);
    (0..202).for_each(|_| assert_eq!(handle(&mut drain, due, Event::Closed), []));
    assert_eq!(handle(&mut drain, due, Event::Closed), [Action::Finished]);
    assert_eq!(drain.connections(), 0);
}
