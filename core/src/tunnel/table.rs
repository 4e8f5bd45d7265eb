//! The streams of one session: by their name, by their number on the wire, by their next timer, and in line to send.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::mem;
use core::time::Duration;

use bytes::Bytes;

use super::StreamId;
use super::stream::{State, Stream};
use crate::{Instant, memory};

/// All streams of a session, and the sums over them.
#[derive(Debug, Default)]
pub(super) struct Table {
    streams: BTreeMap<StreamId, Stream>,
    wires: BTreeMap<i64, StreamId>,
    timers: BTreeSet<(Instant, StreamId)>,
    line: VecDeque<StreamId>,
    gone: Gone,
    last: u64,
    /// Streams that the application is dialling.
    pub(super) dials: u32,
    /// What the application holds, in cost.
    pub(super) held: u64,
    /// What waits to be sent, in bytes.
    pub(super) queued: u64,
    /// By how much the windows of all streams have grown, in cost.
    pub(super) grown: u64,
    /// The window with which each begins.
    pub(super) first_window: u32,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn find(&self, wire: i64) -> Option<StreamId> {
        self.wires.get(&wire).copied()
    }

    pub(super) fn get(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams.get_mut(&id)
    }

    /// All streams that the peer knows too, by number.
    pub(super) fn wires(&self) -> impl Iterator<Item = (i64, StreamId)> + '_ {
        self.wires.iter().map(|(wire, id)| (*wire, *id))
    }

    pub(super) fn add(&mut self, stream: Stream) -> StreamId {
        self.last += 1;
        let id = StreamId(self.last);
        self.dials += u32::from(matches!(stream.state, State::Dialing(_)));
        self.gone.remove(stream.wire);
        self.wires.insert(stream.wire, id);
        self.streams.insert(id, stream);
        id
    }

    /// Ends a stream on the wire; what the application still holds of it stays counted. `None` if it was over already.
    pub(super) fn end(&mut self, id: StreamId) -> Option<i64> {
        let stream = self.streams.get_mut(&id)?;
        match mem::replace(&mut stream.state, State::Ended) {
            State::Ended => return None,
            State::Dialing(_) => self.dials -= 1,
            State::Open | State::Closing => {}
        }
        stream.queue = VecDeque::new();
        self.queued -= u64::from(mem::take(&mut stream.queued));
        stream.paused = None;
        if let Some(due) = stream.due.take() {
            self.timers.remove(&(due, id));
        }
        let (wire, is_held) = (stream.wire, stream.held > 0);
        self.wires.remove(&wire);
        if !is_held {
            self.remove(id);
        }
        // Who is over leaves its place in the line with its next turn; where nobody gets one, they are cleared away.
        if self.line.len() > 2 * self.streams.len() + 16 {
            let streams = &self.streams;
            self.line.retain(|id| streams.contains_key(id));
        }
        Some(wire)
    }

    fn remove(&mut self, id: StreamId) {
        if let Some(Stream { credit: Some(credit), .. }) = self.streams.remove(&id) {
            self.grown -= u64::from(credit.window.saturating_sub(self.first_window));
        }
    }

    /// The application is done with this much of what it was given.
    pub(super) fn release(&mut self, id: StreamId, cost: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let cost = cost.min(stream.held);
        stream.held -= cost;
        stream.brake = stream.brake.filter(|_| stream.held > 0);
        self.held -= u64::from(cost);
        if stream.held == 0 && stream.state == State::Ended {
            self.remove(id);
        }
    }

    /// The live stream of which the application holds most.
    pub(super) fn largest(&self) -> Option<StreamId> {
        let live = self.wires.values().filter_map(|id| self.streams.get(id).map(|stream| (stream.held, *id)));
        live.max().filter(|(held, _)| *held > 0).map(|(_, id)| id)
    }

    /// Hands a body to the stream's queue.
    pub(super) fn push(&mut self, id: StreamId, body: Bytes) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.queued += body.len() as u32;
            self.queued += body.len() as u64;
            stream.queue.push_back(body);
        }
    }

    /// Puts a stream at the end of the line, if it may send and does not stand there.
    pub(super) fn enlist(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.may_send()
            && !mem::replace(&mut stream.in_line, true)
        {
            self.line.push_back(id);
        }
    }

    /// The next stream that may send.
    pub(super) fn next_in_line(&mut self) -> Option<StreamId> {
        while let Some(id) = self.line.pop_front() {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.in_line = false;
                if stream.may_send() {
                    return Some(id);
                }
            }
        }
        None
    }

    /// Whether any stream may send.
    pub(super) fn has_line(&self) -> bool {
        self.line.iter().any(|id| self.streams.get(id).is_some_and(Stream::may_send))
    }

    /// Moves the stream's timer to where its state wants it.
    pub(super) fn reschedule(&mut self, id: StreamId, stall_timeout: Duration) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let due = stream.next_due(stall_timeout);
        let old = mem::replace(&mut stream.due, due);
        if old != due {
            if let Some(old) = old {
                self.timers.remove(&(old, id));
            }
            if let Some(due) = due {
                self.timers.insert((due, id));
            }
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Takes the next timer that has passed.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<StreamId> {
        let (due, id) = *self.timers.first().filter(|(due, _)| *due <= now)?;
        self.timers.remove(&(due, id));
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.due = None;
        }
        Some(id)
    }

    /// Whether the peer was told already that this stream is over; from now on it was.
    pub(super) fn forget(&mut self, wire: i64, limit: u32) -> bool {
        self.gone.insert(wire, limit as usize)
    }

    pub(super) fn footprint(&self) -> usize {
        let bodies: usize = self.streams.values().map(|stream| stream.queue.capacity()).sum();
        let ids = self.line.capacity() + self.gone.order.capacity();
        memory::tree::<StreamId, Stream>(self.streams.len())
            + memory::tree::<i64, StreamId>(self.wires.len())
            + memory::tree::<(Instant, StreamId), ()>(self.timers.len())
            + memory::tree::<i64, ()>(self.gone.ids.len())
            + bodies * size_of::<Bytes>()
            + ids * size_of::<u64>()
            + self.queued as usize
    }
}

/// The numbers of streams whose end the peer was told of last.
#[derive(Debug, Default)]
struct Gone {
    order: VecDeque<i64>,
    ids: BTreeSet<i64>,
}

impl Gone {
    fn insert(&mut self, wire: i64, limit: usize) -> bool {
        if !self.ids.insert(wire) {
            return true;
        }
        self.order.push_back(wire);
        while self.order.len() > limit {
            if let Some(oldest) = self.order.pop_front() {
                self.ids.remove(&oldest);
            }
        }
        false
    }

    fn remove(&mut self, wire: i64) {
        if self.ids.remove(&wire) {
            self.order.retain(|one| *one != wire);
        }
    }
}
