//! Keeping one connection to a server, as long as somebody wants it.
//!
//! ```text
//!            ┌──────── Failed, or dial_timeout ───────┐
//!            ▼                                        │
//!         Waiting ──back-off──▶ Dialling ──Connected──┼─▶ Connected
//!            ▲                                        │      │
//!            └────────────────────────────────────────┴ Ended┘
//! ```

use core::time::Duration;

use crate::backoff::Backoff;
use crate::{Actions, Instant, Machine};

/// How a connection is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long to wait after the first failure; the half of it to all of it is waited. Default 0.5 s.
    pub first: Duration,
    /// The longest wait, which doubling ends at. Default 30 s.
    pub longest: Duration,
    /// For how long a connection must last so that the next wait is the first one again. Default 30 s.
    pub stable: Duration,
    /// How long one dial may take, handshake included. Default 10 s.
    pub dial_timeout: Duration,
    /// Whether to dial only once, as the original agent does. Default no.
    pub once: bool,
    /// Decides the jitter, so that many agents that lost a server together do not come back together.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            stable: Duration::from_secs(30),
            dial_timeout: Duration::from_secs(10),
            once: false,
            seed: 0,
        }
    }
}

/// What may happen to a connection that is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The dial has succeeded, handshake included.
    Connected,
    /// The dial has failed.
    Failed,
    /// The connection has ended.
    Ended,
    /// The connection is no longer wanted.
    Stop,
}

/// What the driver must do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Dial; answer with [`Connected`](Event::Connected) or [`Failed`](Event::Failed).
    Dial,
    /// Give up the dial that is going on, without an answer: it takes too long, or is no longer wanted.
    Abandon,
    /// Nothing, for so long: for the log. The next [`Dial`](Self::Dial) comes by itself.
    Wait(Duration),
    /// It is over: there is no connection and none is wanted any more. Always the last action.
    Finished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To dial at that time.
    Waiting(Instant),
    /// Dialling, until that time at most.
    Dialling(Instant),
    /// Connected since then.
    Connected(Instant),
    Finished,
}

/// One connection that is kept.
#[derive(Debug)]
pub struct Redial {
    config: Config,
    state: State,
    backoff: Backoff,
    now: Instant,
    is_stopping: bool,
}

impl Redial {
    /// A connection that is wanted from `now` on: the first dial is due at once.
    pub fn new(config: Config, now: Instant) -> Self {
        let backoff = Backoff::new(config.first, config.longest).with_jitter(config.seed);
        Self { config, state: State::Waiting(now), backoff, now: Instant::ORIGIN, is_stopping: false }
    }

    /// Whether the connection stands.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    fn dial(&mut self, actions: &mut Actions<Action>) {
        self.state = State::Dialling(self.now + self.config.dial_timeout.max(Backoff::FIRST_MIN));
        actions.push(Action::Dial);
    }

    /// There is no connection: wait, or let it be.
    fn lost(&mut self, actions: &mut Actions<Action>) {
        if self.config.once || self.is_stopping {
            self.state = State::Finished;
            return actions.push(Action::Finished);
        }
        let delay = self.backoff.next_delay();
        self.state = State::Waiting(self.now + delay);
        actions.push(Action::Wait(delay));
    }

    fn stop(&mut self, actions: &mut Actions<Action>) {
        self.is_stopping = true;
        match self.state {
            State::Waiting(_) => self.lost(actions),
            State::Dialling(_) => {
                actions.push(Action::Abandon);
                self.lost(actions);
            }
            // The driver ends the connection in its own time, and says so.
            State::Connected(_) | State::Finished => {}
        }
    }
}

impl Machine for Redial {
    type Event = Event;
    type Action = Action;

    fn handle_event(&mut self, now: Instant, event: Event, actions: &mut Actions<Action>) {
        self.now = self.now.max(now);
        match (event, self.state) {
            (Event::Connected, State::Dialling(_)) => self.state = State::Connected(self.now),
            (Event::Failed, State::Dialling(_)) => self.lost(actions),
            (Event::Ended, State::Connected(since)) => {
                if self.now - since >= self.config.stable {
                    self.backoff.reset();
                }
                self.lost(actions);
            }
            (Event::Stop, _) => self.stop(actions),
            // An answer to a dial that was given up.
            (Event::Connected | Event::Failed | Event::Ended, _) => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant, actions: &mut Actions<Action>) {
        let now = self.now.max(now);
        if self.next_timeout().is_none_or(|due| due > now) {
            return;
        }
        self.now = now;
        match self.state {
            State::Waiting(_) => self.dial(actions),
            State::Dialling(_) => {
                actions.push(Action::Abandon);
                self.lost(actions);
            }
            State::Connected(_) | State::Finished => {}
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(at) | State::Dialling(at) => Some(at),
            State::Connected(_) | State::Finished => None,
        }
    }
}
