//! The graceful end of a process.

use std::time::Duration;

use linkspan_core::CloseReason;

use crate::{Host, Runtime};

/// How a stop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were open when the stop began.
    pub before: u64,
    /// Connections that had to be left behind.
    pub left: u64,
}

/// Stops the process gracefully: no more connections, a goodbye to each in batches, and after the time given in the
/// host's configuration the rest is cut. Returns when it may exit; [`Host::force`] shortens it.
pub async fn stop<R: Runtime>(runtime: &R, host: &Host, reason: CloseReason) -> Drained {
    /// How soon a stop that somebody forced is noticed.
    const LOOK: Duration = Duration::from_millis(50);

    let before = host.stats().open();
    host.order(reason);
    while !host.finished().is_raised() {
        let look = host.clock().now() + LOOK;
        let due = host.drain_tick().map_or(look, |due| due.min(look));
        let sleep = runtime.sleep_until(host.clock().to_std(due));
        let _ = host.finished().unless_raised(sleep).await;
    }
    Drained { before, left: host.stats().open() }
}
