//! Stopping a whole server without making its clients come back all at once.
//!
//! ```text
//!  Running ──Order──▶ Delaying ──delay──▶ Draining ──timeout──▶ Aborting ──▶ Finished
//!                     not ready any more,  not accepting,         all cut       ▲
//!                     still accepting      batches say goodbye                  │
//!                        │  Order/Force        │      └── nobody is left ───────┤
//!                        └─────────────────────┴── Order/Force ─▶ Aborting ─────┘
//! ```

use core::time::Duration;

use crate::deadlines::Deadlines;
use crate::random::SplitMix;
use crate::{Actions, CloseReason, Instant, Machine};

/// How a server stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Decides the jitter of the batches.
    pub seed: u64,
    /// From the order to the end of accepting, while load balancers notice that the server is not ready any more.
    /// Default none.
    pub delay: Duration,
    /// In how many batches connections are told to go. Default 20.
    pub batches: u32,
    /// The smallest batch: few connections need no spreading. Default 64.
    pub batch_min: u32,
    /// Over which time the batches are spread; at most half of `timeout`. Default 10 s.
    pub spread: Duration,
    /// From the end of accepting until all that is left is cut. Default 30 s.
    pub timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            delay: Duration::ZERO,
            batches: 20,
            batch_min: 64,
            spread: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
        }
    }
}

/// What may happen to a server that stops one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Stop, gracefully. A second order is as [`Force`](Self::Force).
    Order {
        /// What the connections are told.
        reason: CloseReason,
    },
    /// A connection was accepted.
    Opened,
    /// A connection has ended.
    Closed,
    /// Stop now. The second time: do not even wait for the connections that were cut.
    Force,
}

/// What a stopping server must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Accept no more connections.
    StopAccepting,
    /// Drain so many connections that were not told yet, with [`Drain::reason`]; all of them if there are fewer.
    DrainSome(u32),
    /// Cut every connection.
    AbortAll,
    /// The server may exit. Always the last action.
    Finished,
}

/// Where a server is on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Nobody has ordered it to stop: the only phase in which it is ready.
    Running,
    /// It still accepts, but says that it is not ready.
    Delaying,
    /// It does not accept, and sends its connections away.
    Draining,
    /// It has cut its connections and waits for them to be gone.
    Aborting,
    /// It is done.
    Finished,
}

impl Phase {
    /// The name under which the phase is logged and counted.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Delaying => "delaying",
            Self::Draining => "draining",
            Self::Aborting => "aborting",
            Self::Finished => "finished",
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Timer {
    /// The end of the delay, the next batch.
    Step,
    /// The end of patience.
    Cap,
}

/// The stop of one server.
#[derive(Debug)]
pub struct Drain {
    config: Config,
    phase: Phase,
    reason: CloseReason,
    deadlines: Deadlines<2>,
    random: SplitMix,
    now: Instant,
    open: u32,
    /// When accepting ended; batches count from here.
    started: Instant,
    batch: u32,
    batches: u32,
    batch_size: u32,
}

impl Drain {
    /// How long connections that were cut may take to be gone.
    pub const ABORT_GRACE: Duration = Duration::from_secs(1);

    /// A server that runs and has no connections.
    pub fn new(config: Config) -> Self {
        let random = SplitMix::new(config.seed);
        Self {
            config,
            phase: Phase::Running,
            reason: CloseReason::Stopping,
            deadlines: Deadlines::new(),
            random,
            now: Instant::ORIGIN,
            open: 0,
            started: Instant::ORIGIN,
            batch: 0,
            batches: 0,
            batch_size: 0,
        }
    }

    /// Where the server is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What drained connections are told.
    pub fn reason(&self) -> CloseReason {
        self.reason
    }

    /// How many connections there are.
    pub fn connections(&self) -> u32 {
        self.open
    }

    fn order(&mut self, reason: CloseReason, actions: &mut Actions<Action>) {
        self.reason = reason;
        if self.config.delay.is_zero() {
            return self.start(actions);
        }
        self.phase = Phase::Delaying;
        self.deadlines.arm(Timer::Step as usize, self.now + self.config.delay);
    }

    /// The end of accepting, and the first batch.
    fn start(&mut self, actions: &mut Actions<Action>) {
        self.phase = Phase::Draining;
        self.started = self.now;
        actions.push(Action::StopAccepting);
        if self.open == 0 {
            return self.finish(actions);
        }
        if self.config.timeout.is_zero() {
            return self.abort(actions);
        }
        self.deadlines.arm(Timer::Cap as usize, self.now + self.config.timeout);
        let needed = self.open.div_ceil(self.config.batch_min.max(1));
        self.batches = if self.gap().is_zero() { 1 } else { needed.min(self.config.batches).max(1) };
        self.batch_size = self.open.div_ceil(self.batches);
        self.batch = 0;
        self.drain_due(actions);
    }

    /// The span that one batch has for itself.
    fn gap(&self) -> Duration {
        self.config.spread.min(self.config.timeout / 2) / self.config.batches.max(1)
    }

    /// Drains the batches whose time has come, at once if there are several, and arms the next.
    fn drain_due(&mut self, actions: &mut Actions<Action>) {
        let mut due = 0_u32;
        let mut at = self.now;
        while at <= self.now && self.batch < self.batches {
            self.batch += 1;
            due = due.saturating_add(self.batch_size);
            at = self.started + self.gap().saturating_mul(self.batch) + self.random.span_below(self.gap());
        }
        if self.batch < self.batches {
            self.deadlines.arm(Timer::Step as usize, at);
            actions.push(Action::DrainSome(due.min(self.open)));
        } else {
            // The last batch is all the rest: who came in between, and whom rounding left out.
            self.deadlines.disarm(Timer::Step as usize);
            actions.push(Action::DrainSome(self.open));
        }
    }

    fn abort(&mut self, actions: &mut Actions<Action>) {
        match self.phase {
            Phase::Running | Phase::Delaying => actions.push(Action::StopAccepting),
            Phase::Draining => {}
            Phase::Aborting | Phase::Finished => return self.finish(actions),
        }
        self.deadlines.disarm(Timer::Step as usize);
        actions.push(Action::AbortAll);
        if self.open == 0 {
            return self.finish(actions);
        }
        self.phase = Phase::Aborting;
        self.deadlines.arm(Timer::Cap as usize, self.now + Self::ABORT_GRACE);
    }

    fn finish(&mut self, actions: &mut Actions<Action>) {
        self.phase = Phase::Finished;
        self.deadlines = Deadlines::new();
        actions.push(Action::Finished);
    }

    fn opened(&mut self, actions: &mut Actions<Action>) {
        self.open = self.open.saturating_add(1);
        // It was on its way in when accepting ended.
        match self.phase {
            Phase::Draining if self.batch >= self.batches => actions.push(Action::DrainSome(1)),
            Phase::Aborting => actions.push(Action::AbortAll),
            _ => {}
        }
    }

    fn closed(&mut self, actions: &mut Actions<Action>) {
        self.open = self.open.saturating_sub(1);
        if self.open == 0 && self.phase >= Phase::Draining {
            self.finish(actions);
        }
    }
}

impl Machine for Drain {
    type Event = Event;
    type Action = Action;

    fn handle_event(&mut self, now: Instant, event: Event, actions: &mut Actions<Action>) {
        if self.phase == Phase::Finished {
            return;
        }
        self.now = self.now.max(now);
        match event {
            Event::Order { reason } if self.phase == Phase::Running => self.order(reason, actions),
            Event::Order { .. } | Event::Force => self.abort(actions),
            Event::Opened => self.opened(actions),
            Event::Closed => self.closed(actions),
        }
    }

    fn handle_timeout(&mut self, now: Instant, actions: &mut Actions<Action>) {
        let now = self.now.max(now);
        if self.next_timeout().is_none_or(|due| due > now) {
            return;
        }
        self.now = now;
        if self.deadlines.take_passed(Timer::Cap as usize, self.now) {
            return self.abort(actions);
        }
        if self.deadlines.take_passed(Timer::Step as usize, self.now) {
            match self.phase {
                Phase::Delaying => self.start(actions),
                _ => self.drain_due(actions),
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }
}
