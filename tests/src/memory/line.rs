//! A connection whose dialect is forgotten.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use linkspan_core::{
    Action, Actions, CloseReason, Connection, Delivery, Dialect, Event, Flushed, Frame, Instant, Limits,
    Machine, Mark, Opcode, Route,
};

use crate::harness::{Checked, footprint_max};

/// What may happen to a connection of any dialect.
pub(crate) enum Input {
    Closed(CloseReason),
    Delivered(Delivery),
    Drain(CloseReason),
    Dropped(Flushed),
    Flushed(Flushed),
    Received(Opcode, Bytes),
}

/// What a connection of any dialect asks for.
pub(crate) enum Effect {
    Close(CloseReason),
    DropOldest,
    Mark(Mark),
    Route(Route),
    Send(Frame),
}

/// A connection of any dialect.
pub(crate) trait Line {
    fn step(&mut self, now: Instant, input: Input) -> Vec<Effect>;
    fn timeout(&mut self, now: Instant) -> Vec<Effect>;
    fn next_timeout(&self) -> Option<Instant>;
    fn wants_read(&self) -> bool;
    fn as_any(&mut self) -> &mut dyn Any;
}

/// A connection, and what its application was told.
pub(crate) struct Typed<D: Dialect> {
    checked: Checked<Connection<D>>,
    pub(crate) notices: Vec<D::Notice>,
}

impl<D: Dialect<Command: Debug, Notice: Debug> + Debug + 'static> Typed<D> {
    pub(crate) fn open(dialect: D, limits: Arc<Limits>, now: Instant) -> (Self, Vec<Effect>) {
        let mut actions = Actions::new();
        let max = footprint_max(&limits);
        let connection = Connection::new(dialect, limits, now, &mut actions);
        let checked = Checked::new(connection, actions, now, max).without_digests();
        let mut line = Self { checked, notices: Vec::new() };
        let begin = line.checked.begin();
        let effects = effects(begin.into_iter(), &mut line.notices);
        (line, effects)
    }

    pub(crate) fn command(&mut self, now: Instant, command: D::Command) -> Vec<Effect> {
        effects(self.checked.pass(now, Event::Command(command)), &mut self.notices)
    }

    /// Whether the application should say more now.
    pub(crate) fn has_room(&self) -> bool {
        self.checked.has_room()
    }

    /// How many messages it has read since it was asked last.
    pub(crate) fn take_messages(&mut self) -> u32 {
        self.checked.alter(Connection::take_messages)
    }

    /// The connection, to look at.
    pub(crate) fn connection(&self) -> &Connection<D> {
        &self.checked
    }
}

/// The effects among a connection's actions; what its application is told goes to `notices`.
fn effects<N>(actions: impl ExactSizeIterator<Item = Action<N>>, notices: &mut Vec<N>) -> Vec<Effect> {
    if actions.len() == 0 {
        return Vec::new();
    }
    let mut effects = Vec::with_capacity(actions.len());
    for action in actions {
        effects.push(match action {
            Action::Close(reason) => Effect::Close(reason),
            Action::DropOldest => Effect::DropOldest,
            Action::Mark(mark) => Effect::Mark(mark),
            Action::Route(route) => Effect::Route(route),
            Action::Send(frame) => Effect::Send(frame),
            Action::Notify(notice) => {
                notices.push(notice);
                continue;
            }
        });
    }
    effects
}

impl<D: Dialect<Command: Debug, Notice: Debug> + Debug + 'static> Line for Typed<D> {
    fn step(&mut self, now: Instant, input: Input) -> Vec<Effect> {
        let event = match input {
            Input::Closed(reason) => Event::Closed(reason),
            Input::Delivered(delivery) => Event::Delivered(delivery),
            Input::Drain(reason) => Event::Drain(reason),
            Input::Dropped(dropped) => Event::Dropped(dropped),
            Input::Flushed(flushed) => Event::Flushed(flushed),
            Input::Received(opcode, data) => Event::Received(opcode, data),
        };
        effects(self.checked.pass(now, event), &mut self.notices)
    }

    fn timeout(&mut self, now: Instant) -> Vec<Effect> {
        effects(self.checked.pass_time(now), &mut self.notices)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.checked.next_timeout()
    }

    fn wants_read(&self) -> bool {
        self.checked.wants_read()
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
