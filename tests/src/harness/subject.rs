//! What the harness has to know of a machine: the machines of the core, one by one.

use std::hash::Hash;

use linkspan_core::drain::{self, Drain};
use linkspan_core::http::pool::Pool;
use linkspan_core::hub::Hub;
use linkspan_core::hub::directory::Directory;
use linkspan_core::im::{Door, DoorAction, User};
use linkspan_core::redial::{self, Redial};
use linkspan_core::services::Services;
use linkspan_core::wheel::Wheel;
use linkspan_core::{Action, Connection, Delivery, Dialect, Event, Machine};

/// A machine that the harness can weigh. Most bring in little with an event and never end.
pub trait Subject: Machine {
    /// How many bytes an event brings in.
    fn weigh(_: &Self::Event) -> usize {
        0
    }

    /// Whether this action is the last one.
    fn is_end(_: &Self::Action) -> bool {
        false
    }

    /// Bytes on the heap that the machine owns.
    fn footprint(&self) -> usize;
}

impl<D: Dialect> Subject for Connection<D> {
    fn weigh(event: &Self::Event) -> usize {
        match event {
            Event::Received(_, data) => data.len(),
            Event::Delivered(Delivery::Push(push)) => push.body().len(),
            _ => 0,
        }
    }

    fn is_end(action: &Self::Action) -> bool {
        matches!(action, Action::Close(_))
    }

    fn footprint(&self) -> usize {
        Self::footprint(self)
    }
}

impl<M: Clone> Subject for Hub<M> {
    fn footprint(&self) -> usize {
        Self::footprint(self)
    }
}

impl<M: Clone> Subject for Directory<M> {
    fn footprint(&self) -> usize {
        Self::footprint(self)
    }
}

impl Subject for Services {
    fn footprint(&self) -> usize {
        Self::footprint(self)
    }
}

impl<K: Ord + Clone> Subject for Pool<K> {
    /// The pool does not say: each thing that it knows counts as one byte.
    fn footprint(&self) -> usize {
        self.keys() + self.requests() + self.dials() + self.upstreams()
    }
}

impl Subject for Drain {
    fn is_end(action: &Self::Action) -> bool {
        *action == drain::Action::Finished
    }

    fn footprint(&self) -> usize {
        0
    }
}

impl Subject for Redial {
    fn is_end(action: &Self::Action) -> bool {
        *action == redial::Action::Finished
    }

    fn footprint(&self) -> usize {
        0
    }
}

impl Subject for Door {
    fn is_end(action: &Self::Action) -> bool {
        matches!(action, DoorAction::Reject(_) | DoorAction::Abort)
    }

    fn footprint(&self) -> usize {
        Self::footprint(self)
    }
}

impl Subject for User {
    fn footprint(&self) -> usize {
        Self::footprint(self)
    }
}

impl<K: Eq + Hash> Subject for Wheel<K> {
    fn footprint(&self) -> usize {
        Self::footprint(self)
    }
}
