//! A flight recorder: what happened to a machine, written down so that a test can make it happen again.
//!
//! A machine does the same whenever the same happens to it, so its configuration and a list of `(now, event)` are the
//! whole story of a connection, however long after the crash they are read. A [`Recorder`] is the machine with a log:
//! it is driven as the machine is, and hands every entry to a function of yours *before* the machine sees the event, so
//! the one that broke it is in the log. [`replay`] drives another machine by the log and says where it first differs.
//!
//! With the feature `record` every event of this crate is serde's, and an [`Entry`] is one line of JSON
//! ([`Entry::to_line`], [`Entry::from_line`]). A log holds what the peer has sent, credentials too: keep it as you keep
//! those. It grows with the traffic, and its bound is yours: a log without its beginning cannot be replayed, so record
//! few connections, and stop when it is long enough.
//!
//! ```
//! use linkspan_core::record::{Entry, Recorder, replay};
//! use linkspan_core::wheel::{Event, Wheel};
//! use linkspan_core::{Actions, Instant, Machine};
//!
//! let make = |_now| Wheel::new(0);
//! let (mut log, mut actions) = (Vec::new(), Actions::new());
//! let mut wheel = Recorder::new(make, Instant::ORIGIN, |entry: Entry<&Event<u32>>| log.push(entry.cloned()));
//! let soon = Instant::from_micros(5_000);
//! wheel.handle_event(Instant::ORIGIN, Event::Schedule(7, soon), &mut actions);
//! wheel.handle_timeout(wheel.next_timeout().expect("one is scheduled"), &mut actions);
//!
//! let mut again = Vec::new();
//! replay(make, log, |_now, action| again.push(action.clone())).expect("it does the same again");
//! assert_eq!(again, actions.as_slice());
//! ```

use core::fmt::{self, Debug, Write};

use crate::{Actions, Instant, Machine};

/// One entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Entry<E> {
    /// The machine was made at this time. Always the first one.
    Begun(Instant),
    /// An event is handed over.
    Event(Instant, E),
    /// The machine is told the time; only what is not too early is written down, since the rest does nothing.
    Timeout(Instant),
    /// What it has done: nothing if this is missing behind the entries above.
    Acted {
        /// How many actions it has emitted in all.
        actions: u64,
        /// A fingerprint of all of them, in order.
        fingerprint: u64,
    },
}

impl<E: Clone> Entry<&E> {
    /// The same entry, to keep.
    pub fn cloned(self) -> Entry<E> {
        match self {
            Self::Begun(at) => Entry::Begun(at),
            Self::Event(at, event) => Entry::Event(at, event.clone()),
            Self::Timeout(at) => Entry::Timeout(at),
            Self::Acted { actions, fingerprint } => Entry::Acted { actions, fingerprint },
        }
    }
}

#[cfg(feature = "record")]
impl<E: serde::Serialize> Entry<E> {
    /// The entry as a line of JSON, without its end.
    ///
    /// # Errors
    ///
    /// Those of the events' own [`Serialize`](serde::Serialize); the ones of this crate have none.
    pub fn to_line(&self) -> Result<alloc::string::String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

#[cfg(feature = "record")]
impl<E: serde::de::DeserializeOwned> Entry<E> {
    /// Reads a line that [`to_line`](Self::to_line) has written.
    ///
    /// # Errors
    ///
    /// What is wrong with the line.
    pub fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }
}

/// A machine, and a log of all that happens to it.
///
/// `M`'s other methods are behind [`machine`](Self::machine).
#[derive(Debug)]
pub struct Recorder<M, L> {
    machine: M,
    log: L,
    tally: Tally,
    /// The latest time that the machine has seen: a clock that jumps back stands still for it.
    now: Instant,
}

impl<M, L> Recorder<M, L>
where
    M: Machine<Action: Debug>,
    L: FnMut(Entry<&M::Event>),
{
    /// Makes a machine and begins its log. What it does while it is made belongs to its configuration, and is not in
    /// the log.
    pub fn new(make: impl FnOnce(Instant) -> M, now: Instant, mut log: L) -> Self {
        log(Entry::Begun(now));
        Self { machine: make(now), log, tally: Tally::default(), now }
    }

    /// The machine, to ask it what else a driver asks.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    fn acted(&mut self, new: &[M::Action]) {
        if !new.is_empty() {
            self.tally.add(new);
            let Tally { actions, fingerprint } = self.tally;
            (self.log)(Entry::Acted { actions, fingerprint });
        }
    }
}

impl<M, L> Machine for Recorder<M, L>
where
    M: Machine<Action: Debug>,
    L: FnMut(Entry<&M::Event>),
{
    type Event = M::Event;
    type Action = M::Action;

    fn handle_event(&mut self, now: Instant, event: Self::Event, actions: &mut Actions<Self::Action>) {
        self.now = self.now.max(now);
        (self.log)(Entry::Event(now, &event));
        let before = actions.len();
        self.machine.handle_event(now, event, actions);
        self.acted(actions.as_slice().get(before..).unwrap_or_default());
    }

    fn handle_timeout(&mut self, now: Instant, actions: &mut Actions<Self::Action>) {
        let told = self.now.max(now);
        if self.machine.next_timeout().is_some_and(|due| due <= told) {
            self.now = told;
            (self.log)(Entry::Timeout(now));
        }
        let before = actions.len();
        self.machine.handle_timeout(now, actions);
        self.acted(actions.as_slice().get(before..).unwrap_or_default());
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.machine.next_timeout()
    }
}

/// Makes a machine as the log says, lets the same happen to it, and shows each of its actions to `look`. Gives the
/// machine as it is in the end.
///
/// # Errors
///
/// [`ReplayError`] as soon as the machine does something else than the log says, or if it is no log. A log that breaks
/// off is no error: what the last event did is then unknown.
pub fn replay<M: Machine<Action: Debug>>(
    make: impl FnOnce(Instant) -> M,
    log: impl IntoIterator<Item = Entry<M::Event>>,
    mut look: impl FnMut(Instant, &M::Action),
) -> Result<M, ReplayError> {
    let mut log = log.into_iter();
    let Some(Entry::Begun(begun)) = log.next() else { return Err(ReplayError::NoBeginning) };
    let mut machine = make(begun);
    let mut actions = Actions::new();
    let (mut done, mut said) = (Tally::default(), Tally::default());
    for (at, entry) in (1..).zip(log) {
        let now = match entry {
            Entry::Begun(_) => return Err(ReplayError::NoBeginning),
            Entry::Acted { actions, fingerprint } => {
                said = Tally { actions, fingerprint };
                if said != done {
                    return Err(ReplayError::Differs { entry: at, said: said.actions, done: done.actions });
                }
                continue;
            }
            Entry::Event(now, _) | Entry::Timeout(now) => {
                // The entry before did more than the log says, which is nothing.
                if said != done {
                    return Err(ReplayError::Differs {
                        entry: at - 1,
                        said: said.actions,
                        done: done.actions,
                    });
                }
                now
            }
        };
        match entry {
            Entry::Event(_, event) => machine.handle_event(now, event, &mut actions),
            _ => machine.handle_timeout(now, &mut actions),
        }
        done.add(actions.as_slice());
        actions.drain().for_each(|action| look(now, &action));
    }
    Ok(machine)
}

/// Why a log cannot be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The log does not begin with [`Entry::Begun`], or has another one: it is not the log of one machine.
    #[error("the log does not begin with the making of one machine")]
    NoBeginning,
    /// The machine is not what it was: its code or its configuration is another.
    #[error("at entry {entry} the log has {said} actions so far, the machine {done}, or others")]
    Differs {
        /// Which entry, from 0.
        entry: u64,
        /// How many actions the log has so far.
        said: u64,
        /// How many the machine has emitted.
        done: u64,
    },
}

/// What a machine has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tally {
    actions: u64,
    fingerprint: u64,
}

impl Default for Tally {
    /// Nothing: the basis of the 64-bit FNV-1a hash.
    fn default() -> Self {
        Self { actions: 0, fingerprint: 0xcbf2_9ce4_8422_2325 }
    }
}

impl Tally {
    fn add<A: Debug>(&mut self, actions: &[A]) {
        for action in actions {
            self.actions += 1;
            // Hashing does not fail.
            let _ = writeln!(self, "{action:?}");
        }
    }
}

impl fmt::Write for Tally {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.fingerprint = (self.fingerprint ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
