//! Deadlines are never early, and no clock can make them overflow.

use std::time::Duration;

use linkspan_core::Instant;
use proptest::prelude::*;

/// The same with 128 bits: microseconds, rounded up, and the end of time at most.
fn reference(start: u64, span: Duration) -> u64 {
    let end = u128::from(start) + span.as_nanos().div_ceil(1000);
    u64::try_from(end).unwrap_or(u64::MAX)
}

proptest! {
    #[test]
    fn a_span_is_added_and_rounded_up(
        start in prop_oneof![any::<u64>(), 0..1000_u64, u64::MAX - 1000..],
        seconds in prop_oneof![any::<u64>(), 0..100_u64, (u64::MAX / 1_000_000 - 2)..=(u64::MAX / 1_000_000 + 2)],
        nanos in prop_oneof![0..1_000_000_000_u32, 0..2002_u32, 999_998_000..1_000_000_000_u32],
    ) {
        let span = Duration::new(seconds, nanos);
        let end = Instant::from_micros(start) + span;
        prop_assert_eq!(end.as_micros(), reference(start, span));
        prop_assert!(end >= Instant::from_micros(start));
    }

    #[test]
    fn what_lies_between_two_instants_leads_from_one_to_the_other(one in any::<u64>(), other in any::<u64>()) {
        let [one, other] = [one, other].map(Instant::from_micros);
        let (earlier, later) = (one.min(other), one.max(other));
        prop_assert_eq!(earlier + (later - earlier), later);
        prop_assert_eq!(earlier - later, Duration::ZERO);
    }
}
