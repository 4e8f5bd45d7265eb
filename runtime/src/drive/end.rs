//! What is told and undone when a poll, or the connection, is over.

use std::mem;

use linkspan_core::{Action, Actions, CloseReason, Dialect, Event, Machine};

use super::{Driver, Phase};
use crate::{App, MailAddress, Traffic, Transport};

impl<D, A, T> Driver<D, A, T>
where
    D: Dialect,
    D::Command: Send + 'static,
    D::Notice: 'static,
    A: App<D>,
    T: Transport,
{
    /// Tells the process what this poll has changed.
    pub(super) fn settle_accounts(&mut self, ended: bool) {
        let sent = self.outbox.take_sent();
        self.unreported.bytes_out += sent.bytes;
        self.unreported.sent += sent.frames;
        if self.unreported != Traffic::default() {
            let news = mem::take(&mut self.unreported);
            self.permit.host().stats().count_traffic(news);
            self.traffic.add(news);
        }
        self.outbox.shrink();
        let waiting = if ended { 0 } else { self.outbox.bytes() as u64 };
        if waiting.abs_diff(self.buffered) >= crate::Host::BUFFERED_STEP
            || (waiting == 0 && self.buffered > 0)
        {
            let excessive = self.permit.host().count_buffered(self.buffered, waiting);
            self.buffered = waiting;
            if excessive && !self.is_ending() {
                self.inbox.mail().abort(CloseReason::Overloaded);
            }
        }
    }

    /// Undoes the registrations of a connection whose task is dropped before its time.
    fn abandon(&mut self, reason: CloseReason) -> CloseReason {
        let mut actions = Actions::new();
        self.connection.handle_event(self.now, Event::Closed(reason), &mut actions);
        for action in actions {
            if let Action::Route(route) = action {
                let from = MailAddress { conn: self.permit.conn(), mailbox: self.inbox.mail() };
                self.permit.host().route_at(self.now, Some(from), route);
            }
        }
        self.permit.host().stats().count_reason(reason);
        // An application that has just panicked is not asked again.
        if !std::thread::panicking() {
            self.app.handle_closed(reason);
        }
        reason
    }
}

/// However the future ends (also by a panic, also with its runtime): nothing of the connection stays in the hub or in
/// the counters, and its end is logged.
impl<D, A, T> Drop for Driver<D, A, T>
where
    D: Dialect,
    D::Command: Send + 'static,
    D::Notice: 'static,
    A: App<D>,
    T: Transport,
{
    fn drop(&mut self) {
        let reason = match self.phase {
            Phase::Open => self.abandon(CloseReason::ConnectionLost),
            Phase::Flushing { reason, .. } | Phase::HangingUp { reason, .. } | Phase::Ended { reason } => {
                reason
            }
        };
        let host = self.permit.host();
        host.count_buffered(self.buffered, 0);
        let duration = host.clock().now() - self.permit.opened_at();
        let Traffic { bytes_in, bytes_out, received, sent } = self.traffic;
        tracing::info!(
            conn = self.permit.conn().0,
            peer = %self.permit.peer(),
            transport = T::NAME,
            %reason,
            bytes_in,
            bytes_out,
            received,
            sent,
            dur_ms = duration.as_millis() as u64,
            "closed"
        );
    }
}
