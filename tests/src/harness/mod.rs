//! One way to drive a machine: every step checks the laws that hold after any event.
//!
//! Property tests, fuzz targets and the simulator all step machines through [`Checked`], so a law is written down once:
//! connections, and the hub, directory, services, pool, drain, doors and users of a gateway.

pub mod bench;
mod client_player;
mod random;
mod script;
mod server_player;
mod station;
mod subject;
mod toy;

use std::fmt::{self, Debug, Write};
use std::ops::Deref;
use std::time::Duration;
use std::vec::Drain;

use linkspan_core::{Actions, Instant, Limits};

pub use self::client_player::ClientPlayer;
pub use self::random::Random;
pub use self::script::{Script, package};
pub use self::server_player::ServerPlayer;
pub use self::station::{Ready, Station};
pub use self::subject::Subject;
pub use self::toy::{Toy, ToyCommand, ToyPlayer, unit};

/// A machine whose every step is checked:
///
/// - it never panics, and a clock that jumps back stands still (A1),
/// - its actions are bounded by the bytes of the event and by what it owns (A3),
/// - after a timeout the next one is later; called early it changes nothing (A4),
/// - an end comes once and last; afterwards there is no action and no timeout (A7),
/// - it owns no more than the bound it was given (G7).
///
/// It reads like the machine; whatever happens to the machine goes through here.
#[derive(Debug)]
pub struct Checked<M: Subject> {
    machine: M,
    actions: Actions<M::Action>,
    /// For calls that must do nothing.
    none: Actions<M::Action>,
    /// What it owned after the last step.
    owned: usize,
    /// The latest time seen.
    now: Instant,
    ended: bool,
    footprint_max: usize,
    /// Whether the state is compared before and after an early call; it costs a hash of the whole machine.
    digests: bool,
}

/// An event may have this many actions whatever it brings, and each owned or received byte two more.
const ACTIONS_FREE: usize = 16;
const ACTIONS_PER_BYTE: usize = 2;

impl<M: Subject + Debug> Checked<M> {
    /// Takes over a new machine and the actions it began with.
    pub fn new(machine: M, actions: Actions<M::Action>, now: Instant, footprint_max: usize) -> Self {
        let owned = machine.footprint();
        Self {
            machine,
            actions,
            none: Actions::new(),
            owned,
            now,
            ended: false,
            footprint_max,
            digests: true,
        }
    }

    /// Takes over a new machine that begins with nothing to do, and that names no bound of what it owns.
    pub fn idle(machine: M) -> Self {
        Self::new(machine, Actions::new(), Instant::ORIGIN, usize::MAX)
    }

    /// The same, without comparing states: for runs of millions.
    #[must_use]
    pub fn without_digests(mut self) -> Self {
        self.digests = false;
        self
    }

    /// The same, with states compared.
    #[must_use]
    pub fn with_digests(mut self) -> Self {
        self.digests = true;
        self
    }

    /// Does to the machine what is no event of it; afterwards it is weighed again.
    pub fn alter<R>(&mut self, change: impl FnOnce(&mut M) -> R) -> R {
        let result = change(&mut self.machine);
        self.owned = self.machine.footprint();
        result
    }

    /// The latest time that the machine has seen.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Hands over one event; gives its actions.
    pub fn step(&mut self, now: Instant, event: M::Event) -> Vec<M::Action> {
        self.pass(now, event).collect()
    }

    /// The same; whoever takes the actions one by one needs no list of them.
    pub fn pass(&mut self, now: Instant, event: M::Event) -> Drain<'_, M::Action> {
        let budget = M::weigh(&event) + self.owned;
        self.now = self.now.max(now);
        self.machine.handle_event(now, event, &mut self.actions);
        self.check(budget);
        self.actions.drain()
    }

    /// Tells the machine the time; gives its actions.
    pub fn timeout(&mut self, now: Instant) -> Vec<M::Action> {
        self.pass_time(now).collect()
    }

    /// The same, one by one.
    pub fn pass_time(&mut self, now: Instant) -> Drain<'_, M::Action> {
        let (budget, told) = (self.owned, self.now.max(now));
        // A call before the deadline is free: its time is not the machine's either, and a clock may go back behind it.
        if self.machine.next_timeout().is_some_and(|due| due <= told) {
            self.now = told;
        }
        self.machine.handle_timeout(now, &mut self.actions);
        let next = self.machine.next_timeout();
        assert!(next.is_none_or(|next| next > told), "spins: now {told:?}, next {next:?}");
        self.check(budget);
        self.actions.drain()
    }

    /// What was done before the first step.
    pub fn begin(&mut self) -> Vec<M::Action> {
        self.check(0);
        self.actions.drain().collect()
    }

    fn check(&mut self, budget: usize) {
        let actions = self.actions.as_slice();
        let ends = actions.iter().filter(|action| M::is_end(action)).count();
        if self.ended {
            assert!(actions.is_empty(), "acts after its end");
        } else if ends > 0 {
            assert_eq!(ends, 1, "ends more than once");
            assert!(actions.last().is_some_and(M::is_end), "acts behind its end");
            self.ended = true;
        }
        let most = ACTIONS_FREE + ACTIONS_PER_BYTE * budget;
        assert!(actions.len() <= most, "{} actions for {budget} bytes", actions.len());
        self.owned = self.machine.footprint();
        assert!(self.owned <= self.footprint_max, "owns {} of {} bytes", self.owned, self.footprint_max);
        self.check_early();
    }

    /// A call before the deadline is free: nothing happens and nothing changes.
    fn check_early(&mut self) {
        let next = self.machine.next_timeout();
        if self.ended {
            assert_eq!(next, None, "waits for something after its end");
        }
        let early = match next {
            None => self.now + Duration::from_secs(86_400),
            Some(next) if next > self.now => Instant::from_micros(next.as_micros() - 1),
            Some(_) => return,
        };
        let before = self.digests.then(|| digest(&self.machine));
        self.machine.handle_timeout(self.now, &mut self.none);
        self.machine.handle_timeout(early, &mut self.none);
        assert!(self.none.is_empty(), "acts before its deadline");
        assert_eq!(next, self.machine.next_timeout(), "moves its deadline when asked early");
        if let Some(before) = before {
            assert_eq!(before, digest(&self.machine), "changes when asked early");
        }
    }
}

impl<M: Subject> Deref for Checked<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.machine
    }
}

/// A fingerprint of the whole state, as its `Debug` form tells it.
pub fn digest(state: &impl Debug) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    write!(hash, "{state:?}").expect("hashing does not fail");
    hash.0
}

struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

/// The largest piece of input that the harness hands over at once.
pub const CHUNK: u32 = 128 * 1024;

/// What a connection may own at most, from its limits.
pub fn footprint_max(limits: &Limits) -> usize {
    usize::try_from(limits.connection_bytes_max(CHUNK)).expect("limits of tests are small")
}
