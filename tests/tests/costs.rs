//! Twice the input asks twice as much of the allocator, so nothing is built again and again. What is not asked of it the
//! program `costs` counts (`cargo xtask test --only costs`).
//!
//! The counter is the whole process's, so everything here is one test.

use std::alloc::System;

use linkspan_tests::costs::{COPIED, Shape, Work, shapes};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is asked of the allocator, in bytes.
fn asked(work: &mut Work) -> usize {
    let region = Region::new(ALLOCATOR);
    work();
    region.change().bytes_allocated
}

/// What is wrong with the cost of a shape, if anything is.
fn fault((what, make): Shape) -> Option<String> {
    const LEN: usize = 1 << 15;
    let [mut once, mut twice] = [1, 2].map(|times| make(times * LEN));
    once();
    let (small, large) = (asked(&mut once), asked(&mut twice));
    (large > small * 22 / 10 + 4096).then(|| format!("{what}: {small} B for n, {large} B for 2n"))
}

#[test]
fn memory_asked_for_is_linear_whatever_the_shape() {
    let faults: Vec<_> = shapes().into_iter().filter_map(fault).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(fault(COPIED).is_some(), "{} and is not noticed", COPIED.0);
}
