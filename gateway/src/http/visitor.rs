//! How a connection that still speaks HTTP hears that the process stops.

use std::sync::Arc;
use std::task::{Context, Poll};

use linkspan_core::{CloseReason, Delivery};
use linkspan_runtime::{Mail, PushError, Stop};

/// The mailbox of a connection that is nobody's session.
pub(crate) struct Visitor {
    leave: Stop,
    gone: Stop,
}

impl Visitor {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { leave: Stop::new(), gone: Stop::new() })
    }

    /// Ready when the connection shall end after the answer that is on its way.
    pub(crate) fn poll_leave(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.leave.poll_raised(cx)
    }

    /// Ready when the connection shall end at once.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.gone.poll_raised(cx)
    }
}

impl Mail for Visitor {
    fn deliver(&self, _delivery: Delivery) -> Result<(), PushError> {
        Err(PushError::Closed)
    }

    fn close(&self, _reason: CloseReason) {
        self.leave.raise();
    }

    fn abort(&self, _reason: CloseReason) {
        self.gone.raise();
    }
}
