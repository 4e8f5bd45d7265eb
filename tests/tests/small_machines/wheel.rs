//! The wheel against an ordered map.

use std::collections::BTreeMap;
use std::time::Duration;

use linkspan_core::wheel::{Action, Event, Wheel};
use linkspan_core::{Actions, Instant, Machine};
use linkspan_tests::laws;
use proptest::collection::vec;
use proptest::prelude::*;

const TICK: u64 = Wheel::<u8>::TICK_MICROS;

/// Deadlines by key, rounded up to ticks, each with the order of its scheduling.
#[derive(Default)]
struct Model {
    deadlines: BTreeMap<u16, (u64, u64)>,
    scheduled: u64,
    now: u64,
    /// Whether a slot may remember a deadline that was taken back.
    cancelled: bool,
}

impl Model {
    fn schedule(&mut self, key: u16, at: u64) {
        self.cancelled |= self.deadlines.remove(&key).is_some();
        if at <= u64::MAX - TICK + 1 {
            self.scheduled += 1;
            // What is in the past is due now.
            self.deadlines.insert(key, (at.div_ceil(TICK).max(self.now / TICK), self.scheduled));
        }
    }

    fn cancel(&mut self, key: u16) -> bool {
        let found = self.deadlines.remove(&key).is_some();
        self.cancelled |= found;
        found
    }

    fn pop_all(&mut self, now: u64) -> Vec<u16> {
        self.now = self.now.max(now);
        let due = |(_, (tick, _)): &(&u16, &(u64, u64))| *tick <= self.now / TICK;
        let mut expired = self.deadlines.iter().filter(due).map(|(key, at)| (*at, *key)).collect::<Vec<_>>();
        expired.sort_unstable();
        self.deadlines.retain(|_, (tick, _)| *tick > self.now / TICK);
        self.cancelled &= !self.deadlines.is_empty();
        expired.into_iter().map(|(_, key)| key).collect()
    }

    fn next(&self) -> Option<Instant> {
        let tick = self.deadlines.values().map(|(tick, _)| *tick).min();
        tick.map(|tick| Instant::from_micros(tick * TICK))
    }
}

fn pop_all(wheel: &mut Wheel<u16>, now: u64) -> Vec<u16> {
    std::iter::from_fn(|| wheel.pop_expired(Instant::from_micros(now))).collect()
}

#[derive(Clone, Debug)]
enum Step {
    /// From now.
    Schedule(u16, u64),
    At(u16, u64),
    Cancel(u16),
    Advance(u64),
    /// A clock that jumps back, for one call.
    Back(u64),
}

/// Spans around the borders of ticks and levels, and any others.
fn any_span() -> impl Strategy<Value = u64> {
    let border = (0..54_u32, -2..3_i64).prop_map(|(bits, off)| (1_u64 << bits).saturating_add_signed(off));
    let slots = (0..200_u64, 0..4_u32).prop_map(|(count, level)| count * (TICK << (6 * level)));
    prop_oneof![Just(0), border, slots, 0..3_000_000_u64, 0..100_000_000_u64]
}

fn any_step() -> impl Strategy<Value = Step> {
    let time = prop_oneof![any::<u64>(), (0..3000_u64).prop_map(|off| u64::MAX - off)];
    prop_oneof![
        8 => (0..40_u16, any_span()).prop_map(|(key, span)| Step::Schedule(key, span)),
        1 => (0..40_u16, time).prop_map(|(key, at)| Step::At(key, at)),
        3 => (0..40_u16).prop_map(Step::Cancel),
        4 => any_span().prop_map(Step::Advance),
        1 => any_span().prop_map(Step::Back),
    ]
}

proptest! {
    #[test]
    fn equals_the_model(steps in vec(any_step(), 0..200)) {
        let mut wheel = Wheel::new(9);
        let mut model = Model::default();
        let mut now = 0_u64;
        for step in steps {
            match step {
                Step::Schedule(key, span) => {
                    wheel.schedule(key, Instant::from_micros(now.saturating_add(span)));
                    model.schedule(key, now.saturating_add(span));
                }
                Step::At(key, at) => {
                    wheel.schedule(key, Instant::from_micros(at));
                    model.schedule(key, at);
                }
                Step::Cancel(key) => prop_assert_eq!(wheel.cancel(&key), model.cancel(key)),
                Step::Back(span) => {
                    let back = now.saturating_sub(span);
                    prop_assert_eq!(pop_all(&mut wheel, back), model.pop_all(back), "back at {}", back);
                }
                Step::Advance(span) => {
                    now = now.saturating_add(span);
                    prop_assert_eq!(pop_all(&mut wheel, now), model.pop_all(now), "at {}", now);
                    prop_assert!(wheel.next().is_none_or(|next| next > Instant::from_micros(now)));
                }
            }
            prop_assert_eq!(wheel.len(), model.deadlines.len());
            prop_assert_eq!(wheel.is_empty(), model.deadlines.is_empty());
            let (next, earliest) = (wheel.next(), model.next());
            prop_assert_eq!(next.is_some(), earliest.is_some());
            // Deadlines in the past were rounded up to now by the model.
            prop_assert!(next <= earliest);
            if !model.cancelled && next > Some(Instant::from_micros(now)) {
                prop_assert_eq!(next, earliest, "exact while nothing was taken back");
            }
        }
        prop_assert_eq!(pop_all(&mut wheel, u64::MAX), model.pop_all(u64::MAX));
        prop_assert_eq!(wheel.footprint(), Wheel::<u16>::new(0).footprint(), "memory came back");
    }

    /// A driver that sleeps until `next` fires everything, nothing early, nothing more than a tick late.
    #[test]
    fn sleeping_until_next_is_enough(spans in vec(any_span(), 1..100), cancelled in vec(0..100_u16, 0..20)) {
        let mut wheel = Wheel::new(9);
        for (key, span) in spans.iter().enumerate() {
            wheel.schedule(key as u16, Instant::from_micros(*span));
        }
        for key in cancelled {
            wheel.cancel(&key);
        }
        let (mut left, mut wakes) = (wheel.len(), 0);
        while let Some(wake) = wheel.next() {
            wakes += 1;
            for key in pop_all(&mut wheel, wake.as_micros()) {
                let deadline = spans[usize::from(key)];
                prop_assert!((deadline..deadline + TICK).contains(&wake.as_micros()));
                left -= 1;
            }
        }
        prop_assert_eq!(left, 0);
        prop_assert!(wakes <= 9 * spans.len(), "at most one wake per level and timer, not {}", wakes);
    }

    #[test]
    fn obeys_the_laws(
        steps in vec((any_span().prop_map(Duration::from_micros), prop_oneof![
            2 => (0..20_u16, any_span())
                .prop_map(|(key, at)| Event::Schedule(key, Instant::from_micros(at * 4))),
            1 => (0..20_u16).prop_map(Event::Cancel),
        ]), 0..100),
    ) {
        laws::check(|| Wheel::new(1), &steps);
    }
}

#[test]
fn two_hundred_thousand_timers() {
    let mut wheel = Wheel::new(1);
    let at = |key: u64| Instant::from_micros(1 + (key * 7_919) % 60_000_000);
    for key in 0..200_000_u64 {
        wheel.schedule(key, at(key));
    }
    for key in (0..200_000).step_by(2) {
        assert!(wheel.cancel(&key));
    }
    assert_eq!(wheel.len(), 100_000);
    assert!(wheel.footprint() < 200_000 * 80, "{} bytes", wheel.footprint());
    let mut fired = 0;
    while let Some(wake) = wheel.next() {
        while let Some(key) = wheel.pop_expired(wake) {
            assert!(at(key) <= wake && key % 2 == 1);
            fired += 1;
        }
    }
    assert_eq!((fired, wheel.len()), (100_000, 0));
}

#[test]
fn a_deadline_at_the_end_of_time_is_never() {
    let mut wheel = Wheel::new(1);
    wheel.schedule(1, Instant::from_micros(5));
    wheel.schedule(1, Instant::from_micros(u64::MAX));
    assert_eq!(wheel.next(), None);
    let mut actions = Actions::new();
    wheel.handle_timeout(Instant::from_micros(u64::MAX), &mut actions);
    assert!(actions.is_empty());
}

/// Driven like every other machine it reports what is due, and what is set into the past at once.
#[test]
fn a_wheel_is_a_machine() {
    let at = Instant::from_micros;
    let (mut wheel, mut actions) = (Wheel::new(1), Actions::new());
    for (key, due) in [(1, 50_000), (2, 80_000), (3, 90_000)] {
        wheel.handle_event(at(10), Event::Schedule(key, at(due)), &mut actions);
    }
    wheel.handle_event(at(10), Event::Cancel(2), &mut actions);
    assert!(actions.is_empty() && wheel.len() == 2);
    assert!(wheel.next_timeout().is_some_and(|due| due >= at(50_000)));
    wheel.handle_timeout(at(49_000), &mut actions);
    assert!(actions.is_empty(), "early is free");
    wheel.handle_timeout(at(60_000), &mut actions);
    assert_eq!(actions.drain().collect::<Vec<_>>(), [Action::Expired(1)]);
    wheel.handle_event(at(200_000), Event::Schedule(4, at(100_000)), &mut actions);
    let mut expired: Vec<_> = actions.drain().map(|Action::Expired(key)| key).collect();
    expired.sort_unstable();
    assert_eq!((expired, wheel.is_empty(), wheel.next_timeout()), (vec![3, 4], true, None));
}
