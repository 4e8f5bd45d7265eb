//! Delays double, stay at the longest, and begin again.

use std::time::Duration;

use linkspan_core::backoff::Backoff;
use proptest::prelude::*;

#[test]
fn accepting_waits_from_5_ms_to_1_s() {
    let mut backoff = Backoff::accept();
    for _ in 0..2 {
        let delays = [(); 11].map(|()| backoff.next_delay().as_millis());
        assert_eq!(delays, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000]);
        backoff.reset();
    }
}

fn any_span() -> impl Strategy<Value = Duration> {
    prop_oneof![(0..100_000_u64).prop_map(Duration::from_micros), any::<Duration>()]
}

proptest! {
    #[test]
    fn never_nothing_never_too_long(
        first in any_span(),
        max in any_span(),
        seed in any::<Option<u64>>(),
        failures in 1..200_usize,
    ) {
        let plain = Backoff::new(first, max);
        let mut backoff = seed.map_or(plain.clone(), |seed| plain.clone().with_jitter(seed));
        let mut plain = plain;
        for _ in 0..failures {
            let (delay, full) = (backoff.next_delay(), plain.next_delay());
            prop_assert!(full <= max.max(first).max(Backoff::FIRST_MIN));
            prop_assert!(delay <= full && delay >= full / 2 && !delay.is_zero());
        }
    }

    #[test]
    fn jitter_follows_the_seed(seed in any::<u64>()) {
        let delays = |seed| {
            let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
            let mut backoff = backoff.with_jitter(seed);
            [(); 10].map(|()| backoff.next_delay())
        };
        prop_assert_eq!(delays(seed), delays(seed));
        prop_assert_ne!(delays(seed), delays(seed ^ 1));
    }
}
