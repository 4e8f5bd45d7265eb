//! A connection with a driver around it that has no socket: queue, registrations and counters in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use linkspan_core::im;
use linkspan_core::pomelo::{Client, Server};
use linkspan_core::{
    Action, Actions, Class, CloseReason, Connection, Dialect, Event, Flushed, Frame, Instant, Limits,
    Machine, Mark, Opcode, Route,
};

use super::{Checked, footprint_max};

/// A dialect that can say whether its handshake is over.
pub trait Ready: Dialect {
    /// Whether messages flow.
    fn is_ready(&self) -> bool;
}

impl Ready for Server {
    fn is_ready(&self) -> bool {
        self.is_working()
    }
}

impl Ready for Client {
    fn is_ready(&self) -> bool {
        self.is_working()
    }
}

impl Ready for im::Server {
    fn is_ready(&self) -> bool {
        self.is_open()
    }
}

impl Ready for im::Client {
    fn is_ready(&self) -> bool {
        true
    }
}

/// What a connection is registered under at the hub.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Registered {
    /// A key.
    Key(Vec<u8>),
    /// A group.
    Group(Vec<u8>),
    /// The watch of a key.
    Watch(Vec<u8>),
    /// A key that is waited for.
    Wait(Vec<u8>),
}

/// One connection and what its driver keeps for it. Besides the laws of [`Checked`] every step checks that
///
/// - the queue keeps its bound in bytes, and nothing that must not be dropped is dropped,
/// - no deadline is forgotten: the handshake's, and that of a queue that does not move,
/// - nothing but the connection's own goodbye leaves before the handshake is over,
/// - at the end no registration is left.
#[derive(Debug)]
pub struct Station<D: Dialect> {
    checked: Checked<Connection<D>>,
    limits: Arc<Limits>,
    opened_at: Instant,
    progress_at: Instant,
    queue: VecDeque<Frame>,
    queued_cost: u64,
    registered: BTreeSet<Registered>,
    notices: Vec<D::Notice>,
    routes: Vec<Route>,
    marks: BTreeMap<Mark, u64>,
    closed: Option<CloseReason>,
    /// Frames that were queued, and that were dropped again.
    pub enqueued: u64,
    /// Frames that were taken out because of [`Action::DropOldest`].
    pub dropped: u64,
    /// Frames that the peer got.
    pub sent: u64,
    log: Option<Vec<Action<D::Notice>>>,
}

impl<D> Station<D>
where
    D: Ready + Debug,
    D::Notice: Debug + Clone,
{
    /// A connection that opens at `now`.
    pub fn new(dialect: D, limits: Arc<Limits>, now: Instant) -> Self {
        let mut actions = Actions::new();
        let machine = Connection::new(dialect, Arc::clone(&limits), now, &mut actions);
        let max = footprint_max(&limits);
        let mut station = Self {
            checked: Checked::new(machine, actions, now, max),
            limits,
            opened_at: now,
            progress_at: now,
            queue: VecDeque::new(),
            queued_cost: 0,
            registered: BTreeSet::new(),
            notices: Vec::new(),
            routes: Vec::new(),
            marks: BTreeMap::new(),
            closed: None,
            enqueued: 0,
            dropped: 0,
            sent: 0,
            log: None,
        };
        let begin = station.checked.begin();
        station.perform(now, begin);
        station
    }

    /// Keeps all actions from now on.
    #[must_use]
    pub fn logged(mut self) -> Self {
        self.log = Some(Vec::new());
        self
    }

    /// Does not compare states: for runs of millions.
    #[must_use]
    pub fn without_digests(mut self) -> Self {
        self.checked = self.checked.without_digests();
        self
    }

    /// The connection, to look at.
    pub fn connection(&self) -> &Connection<D> {
        &self.checked
    }

    /// The latest time seen.
    pub fn now(&self) -> Instant {
        self.checked.now()
    }

    /// Hands over one event.
    pub fn event(&mut self, now: Instant, event: Event<D::Command>) {
        if let Event::Delivered(linkspan_core::Delivery::Relieved(key)) = &event {
            self.registered.remove(&Registered::Wait(key.as_bytes().to_vec()));
        }
        if let Event::Flushed(_) = &event {
            self.progress_at = self.now().max(now);
        }
        let actions = self.checked.step(now, event);
        self.perform(now, actions);
    }

    /// Hands over bytes of a stream.
    pub fn receive(&mut self, now: Instant, data: impl Into<Bytes>) {
        self.event(now, Event::Received(Opcode::Stream, data.into()));
    }

    /// Hands over a command of the application.
    pub fn command(&mut self, now: Instant, command: D::Command) {
        self.event(now, Event::Command(command));
    }

    /// Tells the time.
    pub fn timeout(&mut self, now: Instant) {
        let actions = self.checked.timeout(now);
        self.perform(now, actions);
    }

    /// Lets the time run up to `until`, waking the connection exactly when it asks for it.
    pub fn run_until(&mut self, until: Instant) {
        while let Some(next) = self.next_timeout().filter(|next| *next <= until) {
            self.timeout(next);
        }
    }

    /// As [`run_until`](Self::run_until), with a peer that reads everything at once; gives the frames it got.
    pub fn run_reading(&mut self, until: Instant) -> Vec<(Instant, Frame)> {
        let mut got = Vec::new();
        loop {
            let now = self.now();
            got.extend(self.flush(now, usize::MAX).into_iter().map(|frame| (now, frame)));
            match self.next_timeout().filter(|next| *next <= until) {
                Some(next) => self.timeout(next),
                None => return got,
            }
        }
    }

    /// When the connection wants to be woken.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.connection().next_timeout()
    }

    /// Brings up to `count` frames to the peer, and reports them; gives them.
    pub fn flush(&mut self, now: Instant, count: usize) -> Vec<Frame> {
        let count = count.min(self.queue.len());
        let frames: Vec<_> = self.queue.drain(..count).collect();
        let mut flushed = Flushed::default();
        for frame in &frames {
            flushed.add(frame);
            self.queued_cost -= u64::from(frame.cost());
        }
        self.sent += frames.len() as u64;
        if !frames.is_empty() {
            self.event(now, Event::Flushed(flushed));
        }
        frames
    }

    /// Brings everything to the peer as one run of bytes.
    pub fn flush_bytes(&mut self, now: Instant) -> Bytes {
        let mut all = BytesMut::new();
        for frame in self.flush(now, usize::MAX) {
            all.extend_from_slice(&frame.into_bytes());
        }
        all.freeze()
    }

    /// What the application was told since the last look.
    pub fn notices(&mut self) -> Vec<D::Notice> {
        std::mem::take(&mut self.notices)
    }

    /// What the hub was asked since the last look.
    pub fn routes(&mut self) -> Vec<Route> {
        std::mem::take(&mut self.routes)
    }

    /// All actions since the last look, if they are [logged](Self::logged).
    pub fn log(&mut self) -> Vec<Action<D::Notice>> {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How often a mark was counted.
    pub fn marked(&self, mark: Mark) -> u64 {
        self.marks.get(&mark).copied().unwrap_or_default()
    }

    /// Why the connection ended, if it has.
    pub fn closed(&self) -> Option<CloseReason> {
        self.closed
    }

    /// How many frames wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn perform(&mut self, now: Instant, actions: Vec<Action<D::Notice>>) {
        if let Some(log) = &mut self.log {
            log.extend(actions.iter().cloned());
        }
        let now = self.now().max(now);
        let mut dropped = Flushed::default();
        for action in actions {
            match action {
                Action::Close(reason) => self.close(reason),
                Action::DropOldest => self.drop_oldest(&mut dropped),
                Action::Mark(mark) => *self.marks.entry(mark).or_default() += 1,
                Action::Notify(notice) => self.notices.push(notice),
                Action::Route(route) => self.route(route),
                Action::Send(frame) => self.enqueue(now, frame),
            }
        }
        // The bound of the queue, and the one small goodbye that goes behind anything.
        let most = self.limits.send_queue_max() + u64::from(Frame::COST_MIN);
        assert!(self.queued_cost <= most, "{} of {most} bytes wait", self.queued_cost);
        if dropped.cost > 0 {
            self.event(now, Event::Dropped(dropped));
        }
        self.check_deadlines();
    }

    fn enqueue(&mut self, now: Instant, frame: Frame) {
        if self.queue.is_empty() {
            self.progress_at = now;
        }
        self.enqueued += 1;
        self.queued_cost += u64::from(frame.cost());
        self.queue.push_back(frame);
    }

    fn drop_oldest(&mut self, dropped: &mut Flushed) {
        if let Some(at) = self.queue.iter().position(|frame| frame.class == Class::Lossy)
            && let Some(frame) = self.queue.remove(at)
        {
            self.queued_cost -= u64::from(frame.cost());
            self.dropped += 1;
            dropped.add(&frame);
        }
    }

    fn close(&mut self, reason: CloseReason) {
        assert_eq!(self.closed, None, "closed once");
        assert!(self.registered.is_empty(), "left behind: {:?}", self.registered);
        self.closed = Some(reason);
    }

    fn route(&mut self, route: Route) {
        assert!(self.closed.is_none());
        match &route {
            Route::Register { key, .. } | Route::Reserve { key, .. } => {
                self.registered.insert(Registered::Key(key.as_bytes().to_vec()));
            }
            Route::Unregister(key) => _ = self.registered.remove(&Registered::Key(key.as_bytes().to_vec())),
            Route::Wait(key) => _ = self.registered.insert(Registered::Wait(key.as_bytes().to_vec())),
            Route::Unwait(key) => _ = self.registered.remove(&Registered::Wait(key.as_bytes().to_vec())),
            Route::Watch(key) => _ = self.registered.insert(Registered::Watch(key.as_bytes().to_vec())),
            Route::Unwatch(key) => _ = self.registered.remove(&Registered::Watch(key.as_bytes().to_vec())),
            Route::Join(group) => _ = self.registered.insert(Registered::Group(group.as_bytes().to_vec())),
            Route::Leave(group) => _ = self.registered.remove(&Registered::Group(group.as_bytes().to_vec())),
            _ => {}
        }
        self.routes.push(route);
    }

    /// Deadlines that must be armed, however the machine keeps them (A5).
    fn check_deadlines(&self) {
        if self.closed.is_some() {
            return;
        }
        let next = self.next_timeout();
        let armed_by = |due: Instant| due.as_micros() == u64::MAX || next.is_some_and(|next| next <= due);
        if !self.connection().dialect().is_ready() {
            // A graceful end that has begun replaces the deadline by its own.
            let due = self.opened_at + self.limits.handshake_timeout;
            let due = due.max(self.now() + self.limits.close_grace);
            assert!(armed_by(due), "forgot the handshake: {next:?}");
        }
        if !self.queue.is_empty() {
            assert!(armed_by(self.progress_at + self.limits.write_timeout), "forgot the write: {next:?}");
        }
    }
}
