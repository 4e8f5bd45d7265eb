//! What carries a connection: a byte stream, or a WebSocket.

use std::task::{Context, Poll};

use bytes::Bytes;
use linkspan_core::{CloseReason, Opcode};

use crate::Outbox;

/// What a transport brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A piece of a stream, or one whole message.
    Data(Opcode, Bytes),
    /// Nothing will follow.
    Ended(CloseReason),
}

/// What carries a connection, driven by polls of one task.
///
/// After `Pending` the task is woken when the call is worth repeating.
pub trait Transport: Send {
    /// The name that logs show.
    const NAME: &'static str;

    /// The next piece of input.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received>;

    /// Writes from the outbox until it is empty or the socket takes no more. Ready means that the socket has taken
    /// everything.
    ///
    /// # Errors
    ///
    /// Why nothing can be written any more.
    fn poll_send(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox) -> Poll<Result<(), CloseReason>>;

    /// Whether [`poll_send`](Self::poll_send) has something to do although the outbox is empty.
    fn wants_send(&self) -> bool {
        false
    }

    /// Says goodbye for `reason`, ends the outgoing side and waits for the peer to end its own, so that it reads the
    /// last bytes. The driver bounds the time.
    fn poll_close(&mut self, cx: &mut Context<'_>, reason: CloseReason) -> Poll<()>;
}
