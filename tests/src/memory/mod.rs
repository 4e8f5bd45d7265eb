//! A gateway in memory: connections of any dialect, one hub, their mailboxes, and one clock.
//!
//! It does what the driver does, with peers that are made of two lists: what they send and what they got. Everything
//! runs on one thread, in an order that a seed decides, so a run can be repeated. Every connection is
//! [checked](crate::harness::Checked) at every step.

pub(crate) mod line;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::hub::{Action, Address, Config, Event, Hub, Recipients};
use linkspan_core::{
    Actions, CloseReason, ConnId, Delivery, Dialect, Instant, Limits, Machine, Mark, Opcode, Overflow, Route,
};

use self::line::{Effect, Input, Line, Typed};
use self::wire::Wire;
pub use self::wire::{Arrival, Patience};
use crate::harness::Random;

/// How many frames of a peer one turn of its connection takes, as in the driver.
const READS: usize = 32;

/// A gateway in memory.
pub struct Gateway {
    now: Instant,
    limits: Arc<Limits>,
    hub: Hub<()>,
    lines: BTreeMap<ConnId, (Box<dyn Line>, Wire)>,
    /// Whose turn may bring something, each once, in the order in which that became known.
    ready: VecDeque<ConnId>,
    order: Option<Random>,
    marks: BTreeMap<Mark, u64>,
    next_conn: u64,
    turns: u64,
}

impl Gateway {
    /// A gateway without connections; its clock stands at the origin.
    pub fn new(config: Config) -> Self {
        Self {
            now: Instant::ORIGIN,
            limits: Arc::clone(&config.limits),
            hub: Hub::new(config),
            lines: BTreeMap::new(),
            ready: VecDeque::new(),
            order: None,
            marks: BTreeMap::new(),
            next_conn: 1,
            turns: 0,
        }
    }

    /// Lets `seed` decide whose turn comes next, instead of first come, first served.
    #[must_use]
    pub fn in_any_order(mut self, seed: u64) -> Self {
        self.order = Some(Random::new(seed));
        self
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The hub, to look at.
    pub fn hub(&self) -> &Hub<()> {
        &self.hub
    }

    /// How often a connection or the hub counted `mark`.
    pub fn marked(&self, mark: Mark) -> u64 {
        self.marks.get(&mark).copied().unwrap_or_default()
    }

    // Connections.

    /// Opens a connection, whose peer is played by the test.
    pub fn connect<D>(&mut self, dialect: D) -> ConnId
    where
        D: Dialect<Command: Debug, Notice: Debug> + Debug + 'static,
    {
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        let (line, effects) = Typed::open(dialect, Arc::clone(&self.limits), self.now);
        self.lines.insert(conn, (Box::new(line), Wire::default()));
        self.perform(conn, effects);
        self.wake(conn);
        conn
    }

    /// Makes two connections each other's peer: what one sends the other receives.
    pub fn link(&mut self, one: ConnId, other: ConnId) {
        self.wire(one).peer = Some(other);
        self.wire(other).peer = Some(one);
        self.wake(one);
        self.wake(other);
    }

    /// Hands a frame of the peer to its connection, which reads it when it wants to.
    pub fn receive(&mut self, conn: ConnId, opcode: Opcode, data: impl Into<Bytes>) {
        self.wire(conn).incoming.push_back((opcode, data.into()));
        self.wake(conn);
    }

    /// The peer ends the connection: in order, or ([`CloseReason::ConnectionLost`]) not.
    pub fn hang_up(&mut self, conn: ConnId, reason: CloseReason) {
        self.wire(conn).incoming_end.get_or_insert(reason);
        self.wake(conn);
    }

    /// Says how the peer reads from now on.
    pub fn read_with(&mut self, conn: ConnId, patience: Patience) {
        self.wire(conn).patience = patience;
        self.wake(conn);
    }

    /// Orders a graceful end, as an operator does.
    pub fn drain(&mut self, conn: ConnId, reason: CloseReason) {
        self.wire(conn).drain.get_or_insert(reason);
        self.wake(conn);
    }

    /// Hands over a command of the application.
    ///
    /// # Panics
    ///
    /// If the connection is not of dialect `D`.
    pub fn command<D>(&mut self, conn: ConnId, command: D::Command)
    where
        D: Dialect<Command: Debug, Notice: Debug> + Debug + 'static,
    {
        let now = self.now;
        let effects = self.typed::<D>(conn).command(now, command);
        self.perform(conn, effects);
        self.wake(conn);
    }

    /// What the application was told since the last look.
    ///
    /// # Panics
    ///
    /// If the connection is not of dialect `D`.
    pub fn notices<D>(&mut self, conn: ConnId) -> Vec<D::Notice>
    where
        D: Dialect<Command: Debug, Notice: Debug> + Debug + 'static,
    {
        std::mem::take(&mut self.typed::<D>(conn).notices)
    }

    /// A request of a service, which is no connection.
    pub fn route(&mut self, route: Route) {
        self.ask_hub(Event::Routed { from: None, route });
    }

    /// What the peer got since the last look.
    pub fn arrivals(&mut self, conn: ConnId) -> Vec<Arrival> {
        std::mem::take(&mut self.wire(conn).arrived)
    }

    /// Why the connection ended, if it has.
    pub fn closed(&self, conn: ConnId) -> Option<CloseReason> {
        self.lines[&conn].1.ended.map(|(reason, _)| reason)
    }

    /// Whether the connection is read at present.
    pub fn wants_read(&self, conn: ConnId) -> bool {
        self.lines[&conn].0.wants_read()
    }

    /// How many frames wait for the peer.
    pub fn waiting(&self, conn: ConnId) -> usize {
        self.lines[&conn].1.queue.len()
    }

    // Time.

    /// Lets everything happen that can happen now.
    pub fn run(&mut self) {
        while let Some(conn) = self.next_ready() {
            self.turns += 1;
            assert!(self.turns < 50_000_000, "the gateway does not come to rest");
            self.turn(conn);
        }
    }

    /// Lets everything happen that happens within `span`, each thing in its time.
    pub fn advance(&mut self, span: Duration) {
        let until = self.now + span;
        loop {
            self.run();
            let Some(due) = self.next_deadline().filter(|due| *due <= until) else { break };
            self.now = self.now.max(due);
            let passed = |(conn, (line, wire)): (&ConnId, &(Box<dyn Line>, Wire))| {
                wire.deadline(&**line).is_some_and(|due| due <= self.now).then_some(*conn)
            };
            let due: Vec<_> = self.lines.iter().filter_map(passed).collect();
            due.into_iter().for_each(|conn| self.wake(conn));
        }
        self.now = until;
    }

    /// Ends every connection, and checks that nothing is left of them.
    pub fn finish(&mut self) {
        let all: Vec<_> = self.lines.keys().copied().collect();
        for conn in &all {
            self.hang_up(*conn, CloseReason::ConnectionLost);
        }
        self.run();
        assert!(all.iter().all(|conn| self.closed(*conn).is_some()), "a connection is left");
        assert_eq!(
            (self.hub.sessions(), self.hub.keys(), self.hub.groups()),
            (0, 0, 0),
            "registrations are left"
        );
        let rest = (self.hub.reserved(), self.hub.watchers(), self.hub.waiting());
        assert_eq!(rest, (0, 0, 0), "places, watches or waits are left");
        self.hub.sweep(self.now + self.limits.replacement_window);
        assert_eq!(self.hub.footprint(), 0, "the hub keeps memory");
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.lines.values().filter_map(|(line, wire)| wire.deadline(&**line)).min()
    }

    fn next_ready(&mut self) -> Option<ConnId> {
        let next = match &mut self.order {
            Some(random) => self.ready.swap_remove_back(random.below(self.ready.len())),
            None => self.ready.pop_front(),
        };
        next.inspect(|conn| self.wire(*conn).is_ready = false)
    }

    fn wake(&mut self, conn: ConnId) {
        if !std::mem::replace(&mut self.wire(conn).is_ready, true) {
            self.ready.push_back(conn);
        }
    }

    // One connection's turn, as the driver's.

    fn turn(&mut self, conn: ConnId) {
        if self.closed(conn).is_some() {
            return self.wind_up(conn);
        }
        for delivery in std::mem::take(&mut self.wire(conn).mailbox) {
            self.step(conn, Input::Delivered(delivery));
        }
        if let Some(reason) = self.wire(conn).drain.take() {
            self.step(conn, Input::Drain(reason));
        }
        for _ in 0..READS {
            self.read(conn);
        }
        self.write(conn);
        let (line, wire) = &self.lines[&conn];
        if line.next_timeout().is_some_and(|due| due <= self.now) {
            let now = self.now;
            let effects = self.line(conn).timeout(now);
            self.perform(conn, effects);
            self.wake(conn);
        } else if wire.is_writable() || wire.is_readable() && line.wants_read() {
            self.wake(conn);
        }
    }

    fn read(&mut self, conn: ConnId) {
        if self.closed(conn).is_some() {
            return;
        }
        if !self.wants_read(conn) {
            // A line that is cut is noticed without reading: writing fails.
            if let Some(reason) =
                self.wire(conn).incoming_end.take_if(|end| *end == CloseReason::ConnectionLost)
            {
                self.step(conn, Input::Closed(reason));
            }
            return;
        }
        if let Some((opcode, data)) = self.wire(conn).incoming.pop_front() {
            if opcode == Opcode::Ping {
                // The transport answers by itself, behind what is being written.
                self.bring(conn, Arrival::Frame(Opcode::Pong, data.clone()));
            }
            self.step(conn, Input::Received(opcode, data));
        } else if let Some(reason) = self.wire(conn).incoming_end.take() {
            self.step(conn, Input::Closed(reason));
        }
    }

    fn write(&mut self, conn: ConnId) {
        let (frames, flushed) = self.wire(conn).write();
        for frame in frames {
            let opcode = frame.opcode;
            self.bring(conn, Arrival::Frame(opcode, frame.into_bytes()));
        }
        if let Some(flushed) = flushed
            && self.closed(conn).is_none()
        {
            self.step(conn, Input::Flushed(flushed));
        }
    }

    /// What is left to do for a connection that has ended: its queue, its goodbye.
    fn wind_up(&mut self, conn: ConnId) {
        self.write(conn);
        let now = self.now;
        let wire = self.wire(conn);
        let Some((reason, until)) = wire.ended.filter(|_| !wire.gone) else { return };
        if wire.queue.is_empty() && wire.patience != Patience::None {
            wire.gone = true;
            let text = reason.close_text().into_owned();
            self.bring(conn, Arrival::Closed { code: reason.code(), text });
        } else if until <= now {
            wire.gone = true;
            wire.queue.clear();
            self.bring(conn, Arrival::Aborted);
        }
    }

    /// Hands something to the peer.
    fn bring(&mut self, conn: ConnId, arrival: Arrival) {
        let wire = self.wire(conn);
        let Some(peer) = wire.peer else {
            if let (Arrival::Frame(Opcode::Ping, data), Patience::All) = (&arrival, wire.patience) {
                wire.incoming.push_back((Opcode::Pong, data.clone()));
                wire.arrived.push(arrival);
                return self.wake(conn);
            }
            return wire.arrived.push(arrival);
        };
        match arrival {
            Arrival::Frame(opcode, data) => self.receive(peer, opcode, data),
            Arrival::Closed { .. } => self.hang_up(peer, CloseReason::PeerClosed),
            Arrival::Aborted => self.hang_up(peer, CloseReason::ConnectionLost),
        }
    }

    // Machines.

    fn step(&mut self, conn: ConnId, input: Input) {
        let now = self.now;
        let effects = self.line(conn).step(now, input);
        self.perform(conn, effects);
    }

    fn perform(&mut self, conn: ConnId, effects: Vec<Effect>) {
        let now = self.now;
        let until = now + self.limits.close_grace;
        let mut dropped = None;
        for effect in effects {
            match effect {
                Effect::Send(frame) => self.wire(conn).queue.push_back(frame),
                Effect::DropOldest => dropped = self.wire(conn).drop_oldest(dropped),
                Effect::Mark(mark) => self.count(mark),
                Effect::Route(route) => {
                    let from = Some(Address { conn, mailbox: () });
                    self.ask_hub(Event::Routed { from, route });
                }
                Effect::Close(reason) => {
                    let wire = self.wire(conn);
                    wire.ended = Some((reason, until));
                    wire.mailbox.clear();
                    self.wake(conn);
                }
            }
        }
        if let Some(dropped) = dropped {
            self.step(conn, Input::Dropped(dropped));
        }
    }

    fn ask_hub(&mut self, event: Event<()>) {
        let mut actions = Actions::new();
        self.hub.handle_event(self.now, event, &mut actions);
        let mut refused = Vec::new();
        for action in actions {
            match action {
                Action::Close { to, reason } => {
                    to.as_slice().iter().for_each(|to| self.drain(to.conn, reason));
                }
                Action::Deliver { to, delivery } => self.deliver(&to, &delivery, &mut refused),
                Action::Mark(mark) => self.count(mark),
                other => panic!("the gateway in memory does not know {other:?}"),
            }
        }
        for (to, overflow) in refused {
            self.ask_hub(Event::Refused { to, overflow });
        }
    }

    fn deliver(
        &mut self,
        to: &Recipients<()>,
        delivery: &Delivery,
        refused: &mut Vec<(Address<()>, Overflow)>,
    ) {
        let overflow = match delivery {
            Delivery::Push(push) => push.overflow(),
            _ => Overflow::Close,
        };
        let capacity = self.limits.mailbox as usize;
        for address in to.as_slice() {
            let wire = self.wire(address.conn);
            if wire.ended.is_some() {
                continue;
            }
            if wire.mailbox.len() < capacity {
                wire.mailbox.push_back(delivery.clone());
                self.wake(address.conn);
            } else {
                refused.push((address.clone(), overflow));
            }
        }
    }

    fn count(&mut self, mark: Mark) {
        *self.marks.entry(mark).or_default() += 1;
    }

    fn wire(&mut self, conn: ConnId) -> &mut Wire {
        &mut self.lines.get_mut(&conn).expect("a connection of this gateway").1
    }

    fn line(&mut self, conn: ConnId) -> &mut dyn Line {
        &mut *self.lines.get_mut(&conn).expect("a connection of this gateway").0
    }

    fn typed<D>(&mut self, conn: ConnId) -> &mut Typed<D>
    where
        D: Dialect<Command: Debug, Notice: Debug> + Debug + 'static,
    {
        self.line(conn).as_any().downcast_mut().expect("a connection of this dialect")
    }
}
