//! Rules of the pool that the recorded scripts do not hold, one by one.

use std::time::Duration;

use linkspan_core::http::pool::{
    Action, CloseWhy, Config, DialId, Event, Failure, Pool, RequestId, Stage, UpstreamId, is_replayable,
    is_reusable,
};
use linkspan_core::{Instant, Machine};
use linkspan_tests::harness::Checked;

type Act = Action<&'static str>;

struct Driver {
    pool: Checked<Pool<&'static str>>,
    now: Instant,
}

impl Driver {
    fn new(config: Config) -> Self {
        Self { pool: Checked::idle(Pool::new(config)), now: Instant::ORIGIN }
    }

    fn event(&mut self, event: Event<&'static str>) -> Vec<Act> {
        self.pool.step(self.now, event)
    }

    fn acquire(&mut self, request: u64, key: &'static str) -> Vec<Act> {
        self.event(Event::Acquire { request: RequestId(request), key })
    }

    fn dialed(&mut self, dial: u64, upstream: u64) -> Vec<Act> {
        self.event(Event::Dialed { dial: DialId(dial), upstream: UpstreamId(upstream) })
    }

    fn release(&mut self, upstream: u64) -> Vec<Act> {
        self.event(Event::Release { upstream: UpstreamId(upstream), reusable: true })
    }

    fn fail(
        &mut self,
        request: u64,
        upstream: u64,
        stage: Stage,
        replayable: bool,
        rewindable: bool,
    ) -> Vec<Act> {
        let (request, upstream) = (RequestId(request), UpstreamId(upstream));
        self.event(Event::ExchangeFailed { request, upstream, stage, replayable, rewindable })
    }
}

fn dial(dial: u64, key: &'static str) -> Act {
    Action::Dial { dial: DialId(dial), key }
}

fn deliver(request: u64, upstream: u64, reused: bool, was_idle: bool) -> Act {
    Action::Deliver { request: RequestId(request), upstream: UpstreamId(upstream), reused, was_idle }
}

fn close(upstream: u64, why: CloseWhy) -> Act {
    Action::Close { upstream: UpstreamId(upstream), why }
}

fn failed(request: u64, failure: Failure) -> Act {
    Action::Fail { request: RequestId(request), failure }
}

#[test]
fn the_default_is_made_for_a_proxy() {
    let mut driver = Driver::new(Config::default());
    for id in 0..40 {
        driver.acquire(id, "a");
        driver.dialed(id, id);
    }
    let closed: Vec<_> = (0..40).flat_map(|id| driver.release(id)).collect();
    assert_eq!(closed, (32..40).map(|id| close(id, CloseWhy::IdleFull)).collect::<Vec<_>>());
    assert_eq!(driver.pool.next_timeout(), Some(Instant::ORIGIN + Duration::from_secs(90)));
}

#[test]
fn in_all_the_one_that_became_idle_first_goes() {
    let mut driver = Driver::new(Config { idle_max: Some(2), ..Config::default() });
    for (id, key) in ["a", "b", "c"].into_iter().enumerate() {
        driver.acquire(id as u64, key);
        driver.dialed(id as u64, id as u64);
    }
    assert_eq!((driver.release(1), driver.release(0)), (vec![], vec![]));
    assert_eq!(driver.release(2), [close(1, CloseWhy::IdleFull)]);
}

#[test]
fn what_is_retried() {
    use Stage::{NoReply, NothingWritten, Partial};
    // Stage, replayable, rewindable: again?
    for (stage, replayable, rewindable, again) in [
        (NothingWritten, false, true, true),
        (NothingWritten, true, false, false),
        (NoReply, true, true, true),
        (NoReply, true, false, false),
        (NoReply, false, true, false),
        (Partial, true, true, false),
    ] {
        let mut driver = Driver::new(Config::default());
        driver.acquire(1, "a");
        driver.dialed(0, 0);
        let fresh = driver.fail(1, 0, stage, replayable, rewindable);
        assert_eq!(fresh, [close(0, CloseWhy::Failed), failed(1, Failure::Exchange)], "never on a fresh one");
        driver.acquire(2, "a");
        driver.dialed(1, 1);
        driver.release(1);
        driver.acquire(3, "a");
        let mut expected = vec![close(1, CloseWhy::Failed)];
        if again {
            expected.extend([Action::Retry { request: RequestId(3) }, dial(2, "a")]);
        } else {
            expected.push(failed(3, Failure::Exchange));
        }
        assert_eq!(driver.fail(3, 1, stage, replayable, rewindable), expected);
    }
    assert!(["GET", "HEAD", "OPTIONS", "TRACE"].iter().all(|method| is_replayable(method, false)));
    assert!(["PUT", "DELETE", "POST", "get"].iter().all(|method| !is_replayable(method, false)));
    assert!(is_replayable("POST", true));
}

#[test]
fn a_late_dial_that_nothing_ran_on_still_allows_a_second_try() {
    let mut driver = Driver::new(Config::default());
    driver.acquire(1, "a");
    driver.event(Event::Cancel { request: RequestId(1) });
    assert_eq!(driver.dialed(0, 0), []);
    assert_eq!(driver.acquire(2, "a"), [deliver(2, 0, false, true)]);
    let again = driver.fail(2, 0, Stage::NoReply, true, true);
    assert_eq!(again[1..], [Action::Retry { request: RequestId(2) }, dial(1, "a")]);
}

#[test]
fn a_retry_waits_behind_those_who_waited() {
    let mut driver = Driver::new(Config { per_key: Some(1), ..Config::default() });
    driver.acquire(1, "a");
    driver.dialed(0, 0);
    driver.release(0);
    driver.acquire(2, "a");
    assert_eq!(driver.acquire(3, "a"), []);
    let again = driver.fail(2, 0, Stage::NoReply, true, true);
    assert_eq!(again, [close(0, CloseWhy::Failed), dial(1, "a"), Action::Retry { request: RequestId(2) }]);
    assert_eq!(driver.dialed(1, 1), [deliver(3, 1, false, false)]);
    assert_eq!(driver.release(1), [deliver(2, 1, true, false)]);
}

#[test]
fn closing_idle_ones_gives_up_dials_nobody_waits_for() {
    let mut driver = Driver::new(Config { per_key: Some(2), ..Config::default() });
    driver.acquire(1, "a");
    driver.acquire(2, "a");
    driver.acquire(3, "a");
    driver.event(Event::Cancel { request: RequestId(1) });
    assert_eq!(driver.event(Event::CloseIdle), [Action::AbortDial { dial: DialId(0) }, dial(2, "a")]);
    assert_eq!(driver.dialed(0, 0), [close(0, CloseWhy::Unwanted)], "it had connected meanwhile");
    assert_eq!(driver.dialed(1, 1), [deliver(2, 1, false, false)]);
    driver.dialed(2, 2);
    assert_eq!(driver.release(1), [close(1, CloseWhy::IdleClosed)]);
    driver.acquire(4, "b");
    assert_eq!(driver.release(2), [], "the next request lifts it");
    assert_eq!(driver.pool.idle(), 1);
}

#[test]
fn what_was_idle_for_too_long_is_not_taken_even_before_the_timer() {
    let mut driver = Driver::new(Config::default());
    driver.acquire(1, "a");
    driver.dialed(0, 0);
    driver.release(0);
    driver.now = Instant::ORIGIN + Duration::from_secs(90);
    assert_eq!(driver.acquire(2, "a"), [close(0, CloseWhy::IdleTimeout), dial(1, "a")]);
}

#[test]
fn one_seen_broken_while_busy_is_not_kept() {
    let mut driver = Driver::new(Config::default());
    driver.acquire(1, "a");
    driver.dialed(0, 0);
    assert_eq!(driver.event(Event::Broken { upstream: UpstreamId(0) }), []);
    assert_eq!(driver.release(0), [close(0, CloseWhy::Broken)]);
}

#[test]
fn too_many_that_wait_fail_at_once() {
    let mut driver = Driver::new(Config { per_key: Some(1), waiting_per_key: 1, ..Config::default() });
    driver.acquire(1, "a");
    assert_eq!(driver.acquire(2, "a"), [failed(2, Failure::TooManyWaiting)]);
    assert_eq!(driver.acquire(3, "b"), [dial(1, "b")], "another key has its own");
    driver.dialed(0, 0);
    driver.release(0);
    assert_eq!(driver.acquire(4, "a"), [deliver(4, 0, true, true)]);
}

#[test]
fn beyond_the_total_an_idle_one_goes_or_the_request_fails() {
    let mut driver = Driver::new(Config { total: Some(2), ..Config::default() });
    driver.acquire(1, "a");
    driver.dialed(0, 0);
    driver.acquire(2, "b");
    assert_eq!(driver.acquire(3, "c"), [failed(3, Failure::TooManyUpstreams)], "a dial counts");
    driver.release(0);
    assert_eq!(driver.acquire(4, "c"), [close(0, CloseWhy::IdleFull), dial(2, "c")]);
    assert_eq!(driver.acquire(5, "b"), [failed(5, Failure::TooManyUpstreams)], "also where others wait");
}

#[test]
fn without_keep_alive_a_connection_serves_once() {
    let mut driver = Driver::new(Config { keep_alive: false, per_key: Some(1), ..Config::default() });
    driver.acquire(1, "a");
    driver.dialed(0, 0);
    driver.acquire(2, "a");
    assert_eq!(driver.release(0), [close(0, CloseWhy::NotReusable), dial(1, "a")]);
}

#[test]
fn what_leaves_a_connection_reusable() {
    assert!(is_reusable(false, true, 200, "GET", true));
    assert!(!is_reusable(true, true, 200, "GET", true), "Connection: close");
    assert!(!is_reusable(false, false, 200, "GET", true), "HTTP/1.0");
    assert!(!is_reusable(false, true, 101, "GET", true), "upgraded");
    assert!(!is_reusable(false, true, 200, "CONNECT", true), "a tunnel");
    assert!(!is_reusable(false, true, 200, "GET", false), "something is left to read or to write");
}

#[test]
fn an_idle_time_without_end_arms_no_timer() {
    let mut driver = Driver::new(Config { idle_timeout: Some(Duration::MAX), ..Config::default() });
    driver.acquire(1, "a");
    driver.dialed(0, 0);
    driver.release(0);
    assert_eq!(driver.pool.next_timeout(), None);
}
