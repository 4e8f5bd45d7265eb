//! The one trait every state machine of the core implements, and the list its effects are written to.

use alloc::vec::{self, Vec};

use crate::Instant;

/// A deterministic state machine: an event goes in, actions come out.
///
/// # Laws
///
/// Every implementation keeps these, and a property test checks each of them over every machine of this crate:
///
/// | Law | Statement |
/// | --- | --- |
/// | Total | any event is legal in any state; nothing panics or returns `Err`; a peer's fault becomes a close action |
/// | Nothing held back | all effects of a call are in `actions` when it returns |
/// | No spin | after `handle_timeout(now)`, `next_timeout()` is `None` or later than `now` |
/// | Early is free | `handle_timeout` before the deadline does nothing |
/// | Bounded | the number of actions is bounded by the bytes in the event plus what the peer has registered |
/// | Close is last | after a close action the machine is silent for ever |
/// | Chunks don't matter | any split of a byte stream gives the same actions |
/// | Same in, same out | equal configuration, seed and events give equal actions |
/// | Bounded memory | what a machine owns never exceeds a sum computed from [`Limits`](crate::Limits) |
///
/// `now` never goes backwards for a correct driver; a machine treats an earlier `now` as the latest one it has seen.
pub trait Machine {
    /// What may happen to this machine.
    type Event;
    /// What this machine may ask of its driver.
    type Action;

    /// Takes one event; appends every effect to `actions` in the order in which they must be performed.
    fn handle_event(&mut self, now: Instant, event: Self::Event, actions: &mut Actions<Self::Action>);

    /// Tells the machine that `now` has come; it acts on every deadline that has passed.
    fn handle_timeout(&mut self, now: Instant, actions: &mut Actions<Self::Action>);

    /// When `handle_timeout` must be called at the latest; `None` while nothing is due.
    fn next_timeout(&self) -> Option<Instant>;
}

/// The caller-owned list that actions are appended to.
///
/// One list serves any number of machines and is reused from event to event, so the core allocates nothing per event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actions<A>(Vec<A>);

impl<A> Actions<A> {
    /// An empty list; allocates on the first push.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends one action.
    pub fn push(&mut self, action: A) {
        self.0.push(action);
    }

    /// Takes the actions out in order and keeps the memory for the next event.
    pub fn drain(&mut self) -> vec::Drain<'_, A> {
        self.0.drain(..)
    }

    /// The actions so far, in order.
    pub fn as_slice(&self) -> &[A] {
        &self.0
    }

    /// How many actions there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// For how many actions there is memory.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<A> Default for Actions<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> IntoIterator for Actions<A> {
    type Item = A;
    type IntoIter = vec::IntoIter<A>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, A> IntoIterator for &'a Actions<A> {
    type Item = &'a A;
    type IntoIter = core::slice::Iter<'a, A>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
