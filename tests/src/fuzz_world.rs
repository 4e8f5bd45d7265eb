//! The body of the fuzz target of whole worlds.

use crate::world::{Plan, run};

/// A small world, from bytes: who lives in it, what they do, and what goes wrong.
///
/// # Panics
///
/// If anything that must hold does not.
pub fn world(data: &[u8]) {
    let plan = Plan::from_bytes(data);
    if let Some(failure) = run(&plan).failure {
        panic!("{failure}\n{plan}");
    }
}
