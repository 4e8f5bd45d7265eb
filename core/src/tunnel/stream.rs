//! One stream: what waits in it, and the two directions of its flow control.

use alloc::collections::VecDeque;
use core::time::Duration;

use bytes::Bytes;

use super::brake::Brake;
use super::credit::Credit;
use crate::Instant;

/// The largest body sent in one message to an original, which sends no larger ones itself.
pub(super) const BODY_MAX: usize = 32 * 1024;
/// The same to one of ours that counts.
pub(super) const BODY_MAX_OURS: usize = 64 * 1024;

const PROBE_FIRST: Duration = Duration::from_millis(5);
const PROBE_MAX: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The application dials for the peer until then.
    Dialing(Instant),
    Open,
    /// The application is done; what it wrote is still to be sent.
    Closing,
    /// Over on the wire; the application still holds data of it.
    Ended,
}

/// What a peer that has paused us is asked, again and again: whether it meant it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paused {
    /// Since when something waits for its end.
    since: Option<Instant>,
    /// When the next step is due; `None` with peers of ours, which keep their word.
    pub(super) probe_at: Option<Instant>,
    /// Since when the peer knows that we are ready, and may send itself.
    pub(super) asked_at: Option<Instant>,
    /// Whether one message may go or has gone to see.
    is_probed: bool,
    /// Whether that one message may still go.
    pub(super) may_send: bool,
    /// Whether data has come since the pause: one message may have been on its way between the two.
    has_written: bool,
}

impl Paused {
    /// Data has come. Says whether an original still holds back, as one does that has paused us: not if it was asked to
    /// go on, be it by a resume that has crossed its pause. Then it writes on.
    pub(super) fn holds_back(&mut self) -> bool {
        !core::mem::replace(&mut self.has_written, true) && self.asked_at.is_none()
    }
}

/// What a step of the probe asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// Tell the peer that we are ready; it may answer with a new pause.
    Ask,
    /// One message may go.
    Try,
    /// It did not: data may flow.
    Resumed,
}

#[derive(Debug)]
pub(super) struct Stream {
    /// The number on the wire.
    pub(super) wire: i64,
    pub(super) state: State,
    /// What the application holds of what came in, in cost.
    pub(super) held: u32,
    /// What both ends count, if they do.
    pub(super) credit: Option<Credit>,
    /// Since when what waits has no credit.
    starved_at: Option<Instant>,
    /// Whether we asked the peer to hold back.
    pub(super) we_paused: bool,
    /// Whether the peer, an original, has resumed itself although we asked it to hold back: its writer may still sleep,
    /// and is to be woken once there is room.
    pub(super) must_wake: bool,
    /// What we write waits for our reader, see [`Tunnel::brake`](super::session::Tunnel::brake).
    pub(super) brake: Option<Brake>,
    /// Whether, and since when, the peer asked us.
    pub(super) paused: Option<Paused>,
    /// How often the peer paused and resumed without a cause given by us.
    pub(super) flips: u32,
    /// How long the next probe waits; it doubles while the answer is another pause.
    probe_delay: Duration,
    /// What waits to be sent.
    pub(super) queue: VecDeque<Bytes>,
    pub(super) queued: u32,
    /// Whether it stands in the line of those that may send.
    pub(super) in_line: bool,
    pub(super) opened_at: Instant,
    pub(super) heard_at: Instant,
    /// Whether the peer's last list missed it.
    pub(super) was_missing: bool,
    /// Whether the list that is being read has it.
    pub(super) is_listed: bool,
    /// Its entry among the timers.
    pub(super) due: Option<Instant>,
}

impl Stream {
    pub(super) fn new(wire: i64, state: State, now: Instant) -> Self {
        Self {
            wire,
            state,
            held: 0,
            credit: None,
            starved_at: None,
            we_paused: false,
            must_wake: false,
            brake: None,
            paused: None,
            flips: 0,
            probe_delay: PROBE_FIRST,
            queue: VecDeque::new(),
            queued: 0,
            in_line: false,
            opened_at: now,
            heard_at: now,
            was_missing: false,
            is_listed: false,
            due: None,
        }
    }

    /// Whether a message may go now.
    pub(super) fn may_send(&self) -> bool {
        let is_allowed = self.paused.is_none_or(|paused| paused.may_send);
        let is_loose = self.brake.is_none_or(|brake| brake.lets_go());
        let has_some = self.fitting() > 0 && is_allowed && is_loose;
        has_some && self.state != State::Ended || self.queue.is_empty() && self.state == State::Closing
    }

    /// How many bytes the next message has; 0 if nothing waits, or has no credit.
    fn fitting(&self) -> usize {
        let Some(first) = self.queue.front() else { return 0 };
        self.credit.map_or(first.len().min(BODY_MAX), |credit| credit.fitting(first))
    }

    /// Notes whether what waits has credit, and whether anything waits for the end of a pause.
    pub(super) fn watch(&mut self, now: Instant) {
        let has_some = !self.queue.is_empty();
        let is_starved = has_some && self.fitting() == 0;
        self.starved_at = is_starved.then(|| self.starved_at.unwrap_or(now));
        if let Some(paused) = &mut self.paused {
            let waits = has_some || self.state == State::Closing;
            paused.since = waits.then(|| paused.since.unwrap_or(now));
        }
    }

    /// Takes the body of the next message.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let len = self.fitting();
        let first = self.queue.front_mut()?;
        let body = first.split_to(len);
        if first.is_empty() {
            self.queue.pop_front();
        }
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        self.queued -= body.len() as u32;
        if let Some(credit) = &mut self.credit {
            credit.spend(&body);
        }
        self.give_cause();
        if let Some(paused) = &mut self.paused {
            paused.may_send = false;
        }
        if let Some(brake) = &mut self.brake {
            brake.spend();
        }
        Some(body)
    }

    /// What we send may make the peer pause once and resume once.
    pub(super) fn give_cause(&mut self) {
        self.flips = self.flips.saturating_sub(2);
    }

    /// The peer asks us to hold back; it may be the answer to a probe.
    pub(super) fn pause(&mut self, now: Instant, must_probe: bool) {
        let since = self.paused.and_then(|paused| paused.since);
        if let Some(asked_at) = self.paused.and_then(|paused| paused.asked_at) {
            // While data comes the other way, asking is worth it.
            let is_fruitful = self.heard_at > asked_at;
            self.probe_delay = if is_fruitful { PROBE_FIRST } else { (self.probe_delay * 2).min(PROBE_MAX) };
        }
        let probe_at = match self.paused {
            // Repeated pauses do not put the probe off for ever.
            Some(paused) if paused.asked_at.is_none() => paused.probe_at,
            _ => must_probe.then(|| now + self.probe_delay),
        };
        self.paused = Some(Paused {
            since,
            probe_at,
            asked_at: None,
            is_probed: false,
            may_send: false,
            has_written: false,
        });
    }

    /// Data may flow again; says whether it could not before.
    pub(super) fn resume(&mut self) -> bool {
        self.probe_delay = PROBE_FIRST;
        self.paused.take().is_some()
    }

    /// A probe is due. It waits for room in our own buffer, since a peer with one flag for both directions takes it as
    /// leave to send.
    pub(super) fn probe(&mut self, now: Instant, has_room: bool) -> Option<Probe> {
        let delay = self.probe_delay;
        let paused = self.paused.as_mut()?;
        if paused.probe_at.is_none_or(|at| at > now) {
            return None;
        }
        if paused.is_probed && !paused.may_send {
            self.resume();
            return Some(Probe::Resumed);
        }
        paused.probe_at = Some(now + delay);
        // The peer's writer first gets a while for itself: our next message may make it pause both directions again.
        if paused.asked_at.is_some() && !paused.is_probed {
            paused.is_probed = true;
            paused.may_send = true;
            return Some(Probe::Try);
        }
        if !has_room {
            return None;
        }
        if paused.is_probed {
            // Nothing was there to be sent, so nothing was learned.
            self.probe_delay = (delay * 2).min(PROBE_MAX);
        }
        paused.asked_at = Some(now);
        Some(Probe::Ask)
    }

    /// When something is to be done about this stream.
    pub(super) fn next_due(&self, stall_timeout: Duration) -> Option<Instant> {
        let dialing = match self.state {
            State::Dialing(until) => Some(until),
            State::Ended => return None,
            State::Open | State::Closing => None,
        };
        let stalled = self.stalled_at(stall_timeout);
        let probe = self.paused.and_then(|paused| paused.probe_at);
        let loosen = self.brake.filter(|_| !self.queue.is_empty()).map(|brake| brake.loosen_at);
        [dialing, stalled, probe, loosen].into_iter().flatten().min()
    }

    /// When the peer has held back what waits for too long.
    pub(super) fn stalled_at(&self, stall_timeout: Duration) -> Option<Instant> {
        let paused = self.paused.and_then(|paused| paused.since);
        let since = paused.into_iter().chain(self.starved_at).min();
        since.map(|since| since + stall_timeout)
    }
}
