//! What the pool knows of one key.

use alloc::collections::BTreeMap;

use super::{RequestId, UpstreamId};

/// What the pool knows of one key. Everything is ordered by the turn it got when it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    /// Idle connections; the newest is taken first.
    pub(super) idle: BTreeMap<u64, UpstreamId>,
    /// Requests that wait for a connection; the oldest is served first.
    pub(super) waiting: BTreeMap<u64, RequestId>,
    /// Those of them that wait for the permission to dial.
    pub(super) queued: BTreeMap<u64, RequestId>,
    /// Connections: dialing, busy and idle.
    pub(super) count: u32,
}

impl Slot {
    /// Whether there is nothing to know.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && self.waiting.is_empty()
    }
}
