//! A pair of tunnel ends under any schedule: no byte is lost, doubled or moved, memory stays within its limits, and every
//! dial comes to exactly one end.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod ends;
mod plan;
mod world;

use linkspan_core::Limits;
use linkspan_core::tunnel::Role;
use proptest::prelude::*;

use self::ends::{Go, Other, Ours, Peer};
use self::plan::Plan;
use self::world::World;

/// The ends of one world: who dials, who is dialled.
fn ends(which: usize) -> [Box<dyn Peer>; 2] {
    match which {
        0 => [Role::Server, Role::Client]
            .map(|role| Box::new(Ours::new(role, Other::Counting)) as Box<dyn Peer>),
        1 => [Box::new(Ours::new(Role::Server, Other::Original)), Box::new(Go::new())],
        2 => [Box::new(Go::new()), Box::new(Ours::new(Role::Client, Other::Original))],
        _ => [Role::Server, Role::Client]
            .map(|role| Box::new(Ours::new(role, Other::Pausing)) as Box<dyn Peer>),
    }
}

fn live(which: usize, streams: usize, seed: u64, loses_session: bool) {
    let mut world = World::new(ends(which), seed);
    world.open(streams);
    world.run_for(400);
    if loses_session {
        world.lose_session();
    } else {
        world.run_to_the_end();
    }
}

/// A world is as dear as six cases of anything else. It follows from its seed, and no seed is smaller than another.
fn some_cases() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.div_ceil(6), max_shrink_iters: 0, ..usual }
}

proptest! {
    #![proptest_config(some_cases())]

    #[test]
    fn two_of_ours(streams in 1..5_usize, seed in any::<u64>(), lost in prop::bool::weighted(0.2)) {
        live(0, streams, seed, lost);
    }

    #[test]
    fn one_of_ours_dials_through_an_original(streams in 1..5_usize, seed in any::<u64>(), lost in prop::bool::weighted(0.2)) {
        live(1, streams, seed, lost);
    }

    #[test]
    fn an_original_dials_through_one_of_ours(streams in 1..5_usize, seed in any::<u64>(), lost in prop::bool::weighted(0.2)) {
        live(2, streams, seed, lost);
    }

    #[test]
    fn two_of_ours_that_pause(streams in 1..5_usize, seed in any::<u64>(), lost in prop::bool::weighted(0.2)) {
        live(3, streams, seed, lost);
    }
}

/// Both directions at once, each as much as 64 times what may wait: the originals starve one of them for ever.
#[test]
fn full_duplex_starves_nobody() {
    for which in 0..4 {
        let mut world = World::new(ends(which), 11);
        world.open_as(Plan::duplex(8 << 20));
        world.run_to_the_end();
    }
}

/// Kernels may hold 40 MiB on the way, all of which comes after a reader has stopped.
#[test]
fn a_long_link_costs_no_stream_its_end() {
    let limits = Limits::default();
    let ours = |role, other| Box::new(Ours::within(role, other, limits.clone())) as Box<dyn Peer>;
    let go = || Box::new(Go::pausing_above(2 << 20)) as Box<dyn Peer>;
    let worlds = [
        ([ours(Role::Server, Other::Counting), ours(Role::Client, Other::Counting)], 0),
        ([ours(Role::Server, Other::Original), go()], 0),
        ([go(), ours(Role::Client, Other::Original)], 1),
    ];
    for (pair, reader) in worlds {
        let mut world = World::new(pair, 3).over_link_of(40 << 20);
        world.open_as(Plan::slow_reader(reader, 44 << 20));
        world.run_for(5_000);
        world.run_to_the_end();
    }
}
