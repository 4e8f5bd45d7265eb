//! Random schedules: proptest's, which shrink, and very many of one seed.

use linkspan_core::Mark;
use linkspan_tests::harness::Random;
use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{Reached, World};

proptest! {
    #[test]
    fn equals_the_model_and_the_ledger(data in vec(any::<u8>(), 0..600)) {
        World::new(&data).play(&mut Reached::default());
    }
}

/// Every schedule begins with an empty hub, another policy and other limits.
fn play(schedules: u64, seed: u64) -> Reached {
    let (mut random, mut reached) = (Random::new(seed), Reached::default());
    for _ in 0..schedules {
        let len = 24 + random.below(48);
        World::new(&random.bytes(len)).play(&mut reached);
    }
    reached
}

#[test]
fn a_hundred_thousand_schedules() {
    let halves = [11, 12].map(|seed| std::thread::spawn(move || play(50_000, seed)));
    for half in halves {
        let reached = half.join().unwrap();
        for mark in [
            Mark::KeyReplaced,
            Mark::KeyRejected,
            Mark::KeyFull,
            Mark::PlatformFull,
            Mark::HubFull,
            Mark::KickStorm,
            Mark::WatchersFull,
            Mark::MailboxFull,
        ] {
            assert!(reached.marks.contains(&mark), "{mark:?} was never reached");
        }
        for reason in ["replaced by a newer session", "replaced by another device", "slow consumer", "kicked"]
        {
            assert!(reached.closes.get(reason).is_some_and(|count| *count > 500), "{reason}: {reached:?}");
        }
        assert!(reached.presences > 10_000 && reached.races > 10_000, "{reached:?}");
    }
}
