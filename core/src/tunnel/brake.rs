//! The brake of one stream: what it writes to an original waits for its own reader.

use core::time::Duration;

use super::stream::BODY_MAX;
use crate::Instant;

/// How long a brake waits before something may go all the same, and how long at most, where that was answered.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Whatever an original reads lets it write again, so nothing is written to one of whose data too much is unread.
///
/// The reader may itself wait for what is held back: a target that sends back what it gets reads on only when somebody
/// takes what it says, and of two halves of a relay either waits for the other. So a message goes now and then. If
/// nothing more is unread for it, the peer is no echo, and twice as many go the next time; if there is, it is one, and
/// the next one goes much later, and not at all without room for what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Brake {
    /// When some messages may go.
    pub(super) loosen_at: Instant,
    wait: Duration,
    /// What was unread when some were let go last, or when the brake was put on.
    unread: u32,
    /// How many may go at a time.
    share: u32,
    /// How many were let go last, and how many of them have not gone.
    given: u32,
    left: u32,
    /// Whether the last that went were answered.
    is_echo: bool,
}

impl Brake {
    /// A brake that is put on now, with so much unread.
    pub(super) fn new(now: Instant, unread: u32) -> Self {
        Self {
            loosen_at: now + WAIT_FIRST,
            wait: WAIT_FIRST,
            unread,
            share: 1,
            given: 0,
            left: 0,
            is_echo: false,
        }
    }

    /// Whether a message may go all the same.
    pub(super) const fn lets_go(&self) -> bool {
        self.left > 0
    }

    /// A message has gone.
    pub(super) fn spend(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// Lets some messages go, if it is time: no more than can come back into half of the room that is left to the stream,
    /// but for one at least to a peer that is no echo; and none at all where others would have to make that room.
    pub(super) fn loosen(&mut self, now: Instant, unread: u32, of_stream: u32, of_session: u64) {
        if self.loosen_at > now {
            return;
        }
        // Where none has gone there is nothing to be learned.
        if self.left < self.given {
            self.is_echo = unread > self.unread;
            (self.share, self.wait) = if self.is_echo {
                (1, (self.wait * 2).min(WAIT_MAX))
            } else {
                (self.share.saturating_mul(2), WAIT_FIRST)
            };
        }
        let fitting = |room: u64| u32::try_from(room / 2 / BODY_MAX as u64).unwrap_or(u32::MAX);
        let of_stream = fitting(of_stream.into()).max(u32::from(!self.is_echo));
        self.share = self.share.min(of_stream.min(fitting(of_session)).max(1));
        self.given = self.share.min(of_stream).min(fitting(of_session));
        (self.left, self.unread, self.loosen_at) = (self.given, unread, now + self.wait);
    }
}
