//! One stream of the reference: what is unread, what waits, and whether it may go.

use std::collections::VecDeque;

use linkspan_core::Frame;
use linkspan_core::tunnel::data_cost;

use super::*;

const PROBE_FIRST: Duration = Duration::from_millis(5);
const PROBE_MAX: Duration = Duration::from_secs(1);

/// The largest message of data to who does not count credit, and to who does.
pub(super) const BODY_MAX: [usize; 2] = [32 << 10, 64 << 10];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The application dials, so long.
    Dialing(Instant),
    Open,
    /// The application is done, and what it wrote goes out first.
    Closing,
    /// Both sides were told.
    Over,
}

/// What an original that has paused us was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Unasked,
    /// It was told that we are ready.
    Asked,
    /// One message may go.
    Trying,
    /// One message has gone.
    Tried,
}

/// A pause of the peer's.
#[derive(Clone, Debug)]
struct Pause {
    /// Since when something waits for its end.
    since: Option<Instant>,
    /// When it is asked next; peers of ours are not.
    next: Option<Instant>,
    probe: Probe,
    /// When it was asked last.
    asked: Option<Instant>,
    has_written: bool,
}

/// What is written waits until more is read; now and then something goes all the same.
#[derive(Clone, Debug)]
pub(super) struct Brake {
    pub(super) next: Instant,
    pub(super) wait: Duration,
    /// What was unread the last time.
    pub(super) unread: u32,
    /// How many messages may go at a time, how many were let go then, and have gone since.
    pub(super) share: u32,
    pub(super) allowed: u32,
    pub(super) gone: u32,
    pub(super) is_echo: bool,
}

/// Credit, both ways.
#[derive(Clone, Debug)]
pub(super) struct Credit {
    /// What may still go out, and from how much on a piece is cut to it.
    pub(super) left: u32,
    cut_from: u32,
    /// What may still come in, and what may be unread or on its way in all.
    pub(super) open: u32,
    pub(super) window: u32,
    /// What was read since the window has grown.
    pub(super) read: u32,
}

impl Credit {
    pub(super) fn new(own: u32, peers: u32) -> Self {
        let cut_from = (peers / 2).max(Frame::COST_MIN);
        Self { left: peers, cut_from, open: own, window: own, read: 0 }
    }

    /// What is worth a message: a quarter of the window that is neither unread nor still open.
    pub(super) fn owed(&self, held: u32) -> Option<u32> {
        let owed = self.window - self.open - held;
        (owed >= Frame::COST_MIN && owed >= self.window / 4).then_some(owed)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) wire: i64,
    pub(super) phase: Phase,
    /// What the application has not read, in cost.
    pub(super) held: u32,
    /// What the application has written.
    pub(super) waiting: VecDeque<Bytes>,
    pub(super) credit: Option<Credit>,
    /// Since when what waits has no credit.
    pub(super) starved: Option<Instant>,
    pub(super) we_paused: bool,
    /// The peer's writer sleeps, and only we can wake it.
    pub(super) must_wake: bool,
    /// Its two directions are one, as too much is unread.
    pub(super) brake: Option<Brake>,
    pause: Option<Pause>,
    delay: Duration,
    /// Pauses and resumes for nothing.
    pub(super) flips: u32,
    pub(super) opened: Instant,
    pub(super) heard: Instant,
    pub(super) was_missing: bool,
}

impl Stream {
    pub(super) fn new(wire: i64, phase: Phase, now: Instant, credit: Option<Credit>) -> Self {
        Self {
            wire,
            phase,
            held: 0,
            waiting: VecDeque::new(),
            credit,
            starved: None,
            we_paused: false,
            must_wake: false,
            brake: None,
            pause: None,
            delay: PROBE_FIRST,
            flips: 0,
            opened: now,
            heard: now,
            was_missing: false,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.phase != Phase::Over
    }

    /// Whether it counts: it lives, or something of it is unread.
    pub(super) fn exists(&self) -> bool {
        self.is_live() || self.held > 0
    }

    pub(super) fn unsent(&self) -> usize {
        self.waiting.iter().map(Bytes::len).sum()
    }

    /// How much of the first piece one message may take; nothing if it has no credit.
    fn piece(&self) -> usize {
        let Some(first) = self.waiting.front() else { return 0 };
        let Some(credit) = &self.credit else { return first.len().min(BODY_MAX[0]) };
        let (piece, left) = (first.len().min(BODY_MAX[1]), credit.left as usize);
        if left >= piece.max(Frame::COST_MIN as usize) {
            piece
        } else if credit.left >= credit.cut_from {
            left.min(piece)
        } else {
            0
        }
    }

    pub(super) fn may_send(&self) -> bool {
        let is_allowed = self.pause.as_ref().is_none_or(|pause| pause.probe == Probe::Trying);
        let is_loose = self.brake.as_ref().is_none_or(|brake| brake.gone < brake.allowed);
        match self.phase {
            Phase::Over => false,
            Phase::Closing if self.waiting.is_empty() => true,
            _ => is_allowed && is_loose && self.piece() > 0,
        }
    }

    /// What goes out next.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let piece = self.piece();
        let first = self.waiting.front_mut()?;
        let body = first.split_to(piece);
        if first.is_empty() {
            self.waiting.pop_front();
        }
        if let Some(credit) = &mut self.credit {
            credit.left = credit.left.saturating_sub(data_cost(&body));
        }
        self.give_cause();
        self.starved = None;
        if let Some(pause) = self.pause.as_mut().filter(|pause| pause.probe == Probe::Trying) {
            pause.probe = Probe::Tried;
        }
        if let Some(brake) = &mut self.brake {
            brake.gone += 1;
        }
        Some(body)
    }

    /// What we send may be answered by one pause and one resume.
    pub(super) fn give_cause(&mut self) {
        self.flips = self.flips.saturating_sub(2);
    }

    pub(super) fn paused(&mut self, now: Instant, is_original: bool) {
        let last = self.pause.take();
        if let Some(asked) = last.as_ref().and_then(|last| last.asked) {
            let is_fruitful = self.heard > asked;
            self.delay = if is_fruitful { PROBE_FIRST } else { PROBE_MAX.min(self.delay * 2) };
        }
        let next = match &last {
            Some(last) if last.asked.is_none() => last.next,
            _ => is_original.then_some(now + self.delay),
        };
        let since = last.and_then(|last| last.since);
        self.pause = Some(Pause { since, next, probe: Probe::Unasked, asked: None, has_written: false });
    }

    /// Says whether it was paused.
    pub(super) fn resumed(&mut self) -> bool {
        self.delay = PROBE_FIRST;
        self.pause.take().is_some()
    }

    /// Data has come; whether an original that has paused us holds back all the same.
    pub(super) fn holds_back(&mut self) -> bool {
        let Some(pause) = &mut self.pause else { return false };
        let is_first = !std::mem::replace(&mut pause.has_written, true);
        is_first && pause.asked.is_none()
    }

    /// The time of a probe has come; whether the peer is to be told that we are ready.
    pub(super) fn probed(&mut self, now: Instant, has_room: bool) -> bool {
        let delay = self.delay;
        let Some(pause) = self.pause.as_mut().filter(|pause| pause.next.is_some_and(|at| at <= now)) else {
            return false;
        };
        pause.next = Some(now + delay);
        match pause.probe {
            // One message has gone, and no pause came back.
            Probe::Tried => {
                self.resumed();
                false
            }
            Probe::Asked => {
                pause.probe = Probe::Trying;
                false
            }
            Probe::Unasked | Probe::Trying if !has_room => false,
            Probe::Unasked => {
                (pause.probe, pause.asked) = (Probe::Asked, Some(now));
                true
            }
            // Nothing was there to be sent.
            Probe::Trying => {
                pause.asked = Some(now);
                self.delay = PROBE_MAX.min(delay * 2);
                true
            }
        }
    }

    /// Notes since when what waits may not go.
    pub(super) fn watch(&mut self, now: Instant) {
        let has_some = !self.waiting.is_empty();
        let is_starved = has_some && self.piece() == 0;
        self.starved = is_starved.then(|| self.starved.unwrap_or(now));
        if let Some(pause) = &mut self.pause {
            let waits = has_some || self.phase == Phase::Closing;
            pause.since = waits.then(|| pause.since.unwrap_or(now));
        }
    }

    pub(super) fn stalls(&self, timeout: Duration) -> Option<Instant> {
        let paused = self.pause.as_ref().and_then(|pause| pause.since);
        paused.into_iter().chain(self.starved).min().map(|since| since + timeout)
    }

    /// When something is to be done about it.
    pub(super) fn due(&self, stall_timeout: Duration) -> Option<Instant> {
        let dial = if let Phase::Dialing(until) = self.phase { Some(until) } else { None };
        let probe = self.pause.as_ref().and_then(|pause| pause.next);
        let brake = self.brake.as_ref().filter(|_| !self.waiting.is_empty()).map(|brake| brake.next);
        let dues = [dial, probe, brake, self.stalls(stall_timeout)];
        dues.into_iter().flatten().min().filter(|_| self.is_live())
    }

    pub(super) fn end(&mut self) {
        self.phase = Phase::Over;
        self.waiting.clear();
        (self.pause, self.starved) = (None, None);
    }
}
