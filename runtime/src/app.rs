//! The application's side of one connection.

use std::task::{Context, Poll};

use linkspan_core::{CloseReason, Dialect};

/// The application's side of one connection, polled by the connection's own task.
///
/// Everything here runs between two reads of the same socket: no locks, no queues, no other thread.
pub trait App<D: Dialect>: Send {
    /// The dialect tells something. Work that takes time is started here and finished in
    /// [`poll_command`](Self::poll_command).
    fn handle_notice(&mut self, notice: D::Notice);

    /// The next command for the peer, such as a finished answer; pending if there is none.
    ///
    /// Polled after notices, and when the waker in `cx` was woken. `has_room` is false while too much waits to be
    /// written: an application should then hold back what it can, and is polled again when there is room.
    fn poll_command(&mut self, cx: &mut Context<'_>, has_room: bool) -> Poll<D::Command>;

    /// Whether the application can take more notices. While it cannot, nothing is read, so that the transport pushes
    /// back; what was read already is handed over all the same. Looked at after each poll.
    fn wants_read(&self) -> bool {
        true
    }

    /// The connection has ended; nothing is polled any more.
    fn handle_closed(&mut self, reason: CloseReason);
}
