//! The body of the fuzz target of the hub: the world of its tests, which lie beside their model.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "helpers of tests are tests; other tests need more of them"
)]

#[path = "../tests/identity/common.rs"]
mod common;
#[path = "../tests/identity/model.rs"]
mod model;
#[path = "../tests/identity/world.rs"]
mod world;

/// Clients that connect, log in, are kicked and come back: the hub, its model and a ledger must agree.
///
/// # Panics
///
/// If they do not.
pub fn hub(data: &[u8]) {
    world::World::new(data).play(&mut world::Reached::default());
}
