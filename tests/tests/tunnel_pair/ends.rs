//! An end of the pair, ours or an original, as its application sees it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::tunnel::{
    Content, Message, Role, StreamEnd, StreamId, TunnelCommand, TunnelConfig, TunnelNotice, data_cost,
};
use linkspan_core::{CloseReason, Event, Instant, Limits, Opcode};
use linkspan_tests::tunnel::{End, GoLike};

pub(crate) const PAUSE: usize = 64 << 10;
/// The window of a stream; it begins with 16 KiB.
const WINDOW: usize = 96 << 10;

/// What an application can do with its end. Streams have the number that they have on the wire.
pub(crate) trait Peer {
    /// Asks for a stream.
    fn dial(&mut self) -> i64;
    /// A stream that the other end has asked for.
    fn next_dialled(&mut self) -> Option<i64>;
    /// Answers that.
    fn answer(&mut self, wire: i64, is_refused: bool);
    /// Whether the application may write so much now; if so it is written.
    fn write(&mut self, wire: i64, body: Bytes) -> bool;
    /// The next bytes, at most so many; nothing if there are none yet, and `None` at the end.
    fn read(&mut self, wire: i64, max: usize) -> Option<Bytes>;
    fn close(&mut self, wire: i64);
    fn abort(&mut self, wire: i64);
    fn receive(&mut self, now: Instant, message: Message);
    /// The next message on its way; with `may_flush` others may follow.
    fn send(&mut self, now: Instant) -> Option<Message>;
    /// Everything that was sent has left.
    fn flushed(&mut self) {}
    fn pass(&mut self, now: Instant) {
        let _ = now;
    }
    fn next_timeout(&self) -> Option<Instant> {
        None
    }
    /// What must hold at any time.
    fn check(&self);
    /// The session is lost.
    fn lose(&mut self) {}
    /// What must hold when all streams are over.
    fn check_over(&self) {}
}

/// One stream of ours.
struct Stream {
    id: StreamId,
    /// Written and not sent.
    unsent: usize,
    inbox: VecDeque<Bytes>,
    held: usize,
    /// How it ended; once.
    end: Option<StreamEnd>,
    is_dialled: bool,
}

/// Whom one of ours has at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    Original,
    /// One of ours that pauses, as those before the credit do.
    Pausing,
    /// One of ours that counts.
    Counting,
}

pub(crate) struct Ours {
    end: End,
    other: Other,
    bounds: Limits,
    streams: BTreeMap<i64, Stream>,
    ids: BTreeMap<StreamId, i64>,
    asked: VecDeque<i64>,
    taken: usize,
    pinged_at: Instant,
    /// The streams that the peer has paused, and those that we have.
    paused: BTreeSet<i64>,
    we_paused: BTreeSet<i64>,
    errors: BTreeMap<i64, usize>,
    opened: usize,
}

impl Ours {
    pub(crate) fn new(role: Role, other: Other) -> Self {
        let limits = Limits {
            tunnel_stream_pause: PAUSE as u32,
            tunnel_stream_window: WINDOW as u32,
            tunnel_stream_bytes: 512 << 10,
            tunnel_session_bytes: 2 << 20,
            tunnel_window: 16 << 10,
            tunnel_streams: 64,
            ..Limits::default()
        };
        Self::within(role, other, limits)
    }

    /// An end with these bounds; the other end has the same.
    pub(crate) fn within(role: Role, other: Other, limits: Limits) -> Self {
        let bounds = limits.clone();
        let config = TunnelConfig {
            is_peer_ours: other != Other::Original,
            peer_window: Some(limits.tunnel_first_window()).filter(|_| other == Other::Counting),
            ..TunnelConfig::new(role)
        };
        let mut end = End::new(config, limits);
        end.flush_at_once = false;
        Self {
            end,
            other,
            bounds,
            streams: BTreeMap::new(),
            ids: BTreeMap::new(),
            asked: VecDeque::new(),
            taken: 0,
            pinged_at: Instant::ORIGIN,
            paused: BTreeSet::new(),
            we_paused: BTreeSet::new(),
            errors: BTreeMap::new(),
            opened: 0,
        }
    }

    fn add(&mut self, wire: i64, id: StreamId, is_dialled: bool) {
        let stream = Stream { id, unsent: 0, inbox: VecDeque::new(), held: 0, end: None, is_dialled };
        assert!(self.streams.insert(wire, stream).is_none(), "number {wire} has come twice");
        self.ids.insert(id, wire);
    }

    /// Looks at what the machine has told; `wire` is the stream that the message was about.
    fn listen(&mut self, wire: i64) {
        for notice in std::mem::take(&mut self.end.notices) {
            match notice {
                TunnelNotice::Opened { stream, .. } => {
                    self.opened += 1;
                    self.add(wire, stream, true);
                }
                TunnelNotice::DialRequested { stream, .. } => {
                    self.add(wire, stream, false);
                    self.asked.push_back(wire);
                }
                TunnelNotice::Data { stream, body } => {
                    let stream = self.stream_of(stream);
                    assert!(stream.end.is_none(), "data after the end");
                    stream.held += data_cost(&body) as usize;
                    stream.inbox.push_back(body);
                }
                TunnelNotice::Sent { stream, bytes } => {
                    let stream = self.stream_of(stream);
                    assert!(stream.end.is_none() && stream.unsent >= bytes as usize);
                    stream.unsent -= bytes as usize;
                }
                TunnelNotice::Ended { stream, end } => {
                    let stream = self.stream_of(stream);
                    assert_eq!(stream.end, None, "it ends twice");
                    stream.end = Some(end);
                }
                TunnelNotice::Window { cost, .. } => {
                    assert!(self.other == Other::Counting && cost <= self.bounds.tunnel_stream_window);
                }
                TunnelNotice::Quiet | TunnelNotice::Lively => {}
                other => panic!("{other:?}"),
            }
        }
        self.look_at_sent();
    }

    fn stream_of(&mut self, id: StreamId) -> &mut Stream {
        self.streams.get_mut(&self.ids[&id]).expect("known")
    }

    /// Checks what was sent since the last look.
    fn look_at_sent(&mut self) {
        for message in &self.end.sent[self.taken..] {
            let wire = message.stream;
            match &message.content {
                Content::Data(_) => {
                    let may = self.other == Other::Original || !self.paused.contains(&wire);
                    assert!(may, "data on the paused stream {wire}");
                    assert!(!self.errors.contains_key(&wire), "data after the end of {wire}");
                }
                Content::Pause => {
                    assert!(self.other != Other::Counting, "who counts does not pause");
                    assert!(self.we_paused.insert(wire), "paused twice");
                }
                Content::Credit(_) => assert_eq!(self.other, Other::Counting),
                Content::Resume => {
                    let was_paused = self.we_paused.remove(&wire);
                    assert!(was_paused || self.other == Other::Original, "resumed twice");
                }
                Content::Error(_) => *self.errors.entry(wire).or_default() += 1,
                _ => {}
            }
        }
        self.taken = self.end.sent.len();
    }

    /// What one stream may hold.
    fn stream_max(&self) -> usize {
        match self.other {
            Other::Counting => self.bounds.tunnel_stream_window as usize,
            _ => self.bounds.tunnel_stream_bytes as usize,
        }
    }

    fn command(&mut self, wire: i64, command: TunnelCommand) {
        self.end.command(command);
        self.listen(wire);
    }
}

impl Peer for Ours {
    fn dial(&mut self) -> i64 {
        let (proto, address) = (Bytes::from_static(b"tcp"), Bytes::from_static(b"127.0.0.1:80"));
        self.end.command(TunnelCommand::Dial { request: 1, proto, address });
        let connect = self.end.sent.iter().rfind(|message| matches!(message.content, Content::Connect(_)));
        let wire = connect.expect("it is asked for at once").stream;
        self.listen(wire);
        wire
    }

    fn next_dialled(&mut self) -> Option<i64> {
        self.asked.pop_front()
    }

    fn answer(&mut self, wire: i64, is_refused: bool) {
        let stream = self.streams.get_mut(&wire).expect("asked for");
        stream.is_dialled = true;
        let id = stream.id;
        let error = Bytes::from_static(b"connection refused");
        let command = if is_refused {
            TunnelCommand::DialFailed { stream: id, error }
        } else {
            TunnelCommand::Dialed(id)
        };
        self.command(wire, command);
    }

    fn write(&mut self, wire: i64, body: Bytes) -> bool {
        let stream = self.streams.get_mut(&wire).expect("open");
        if stream.end.is_some() || !stream.is_dialled || stream.unsent + body.len() > 128 << 10 {
            return false;
        }
        stream.unsent += body.len();
        let id = stream.id;
        self.command(wire, TunnelCommand::Data { stream: id, body });
        true
    }

    fn read(&mut self, wire: i64, max: usize) -> Option<Bytes> {
        let stream = self.streams.get_mut(&wire).expect("open");
        if !stream.is_dialled {
            return Some(Bytes::new());
        }
        let Some(body) = stream.inbox.pop_front() else {
            return if stream.end.is_some() { None } else { Some(Bytes::new()) };
        };
        let cost = data_cost(&body);
        let body = if body.len() <= max {
            stream.held -= cost as usize;
            let id = stream.id;
            self.command(wire, TunnelCommand::Read { stream: id, cost });
            body
        } else {
            // The rest stays, and is acknowledged with the last of it: the cost is that of the whole piece.
            let mut rest = body;
            let part = rest.split_to(max);
            let left = data_cost(&rest);
            stream.inbox.push_front(rest);
            stream.held -= (cost - left) as usize;
            let id = stream.id;
            self.command(wire, TunnelCommand::Read { stream: id, cost: cost - left });
            part
        };
        Some(body)
    }

    fn close(&mut self, wire: i64) {
        let id = self.streams[&wire].id;
        self.command(wire, TunnelCommand::Close(id));
    }

    fn abort(&mut self, wire: i64) {
        let id = self.streams[&wire].id;
        self.command(wire, TunnelCommand::Abort { stream: id, error: Bytes::from_static(b"aborted") });
    }

    fn receive(&mut self, now: Instant, message: Message) {
        self.pass(now);
        let wire = message.stream;
        let content = message.content.clone();
        // What it sends because of the message is judged by what the message says.
        match content {
            Content::Pause => _ = self.paused.insert(wire),
            Content::Resume => {
                self.paused.remove(&wire);
                if self.other == Other::Original {
                    // It has one flag for both, and has forgotten our pause too.
                    self.we_paused.remove(&wire);
                }
            }
            _ => {}
        }
        let data = message.encode().expect("sayable").into_bytes();
        self.end.event(Event::Received(Opcode::Binary, data));
        self.listen(wire);
    }

    fn send(&mut self, now: Instant) -> Option<Message> {
        self.pass(now);
        if self.end.sent.is_empty() {
            return None;
        }
        self.taken -= 1;
        Some(self.end.sent.remove(0))
    }

    fn flushed(&mut self) {
        let flushed = std::mem::take(&mut self.end.unflushed);
        if flushed.cost > 0 {
            self.end.event(Event::Flushed(flushed));
            self.listen(0);
        }
    }

    fn pass(&mut self, now: Instant) {
        while self.end.now < now {
            let next = (self.pinged_at + Duration::from_secs(5)).min(now);
            self.end.pass(next - self.end.now);
            if next < now || self.pinged_at + Duration::from_secs(5) <= now {
                self.pinged_at = next;
                self.end.event(Event::Received(Opcode::Ping, Bytes::new()));
            }
            self.listen(0);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        linkspan_core::Machine::next_timeout(&*self.end.machine)
    }

    fn check(&self) {
        let dialect = self.end.machine.dialect();
        assert_eq!((self.end.closed, &self.end.marks[..]), (None, &[][..]), "honest peers reach no limit");
        let held: usize = self.streams.values().map(|stream| stream.held).sum();
        let known = self.streams.values().filter(|stream| stream.end.is_none());
        let (stream_max, session_max) = (self.stream_max(), self.bounds.tunnel_session_bytes as usize);
        assert!(dialect.held() <= held as u64 && held <= session_max, "{held} bytes are held");
        assert!(known.into_iter().all(|stream| stream.held <= stream_max));
        assert!(self.streams.values().all(|stream| stream.unsent <= 128 << 10));
    }

    fn lose(&mut self) {
        self.end.event(Event::Closed(CloseReason::ConnectionLost));
        assert_eq!(self.end.closed, Some(CloseReason::ConnectionLost));
        let sent = self.end.sent.len();
        self.end.pass(Duration::from_secs(120));
        let wires: Vec<_> = self.streams.keys().copied().collect();
        for wire in wires {
            let id = self.streams[&wire].id;
            self.end.command(TunnelCommand::Data { stream: id, body: Bytes::from_static(b"x") });
            self.end.command(TunnelCommand::Close(id));
        }
        assert_eq!(self.end.sent.len(), sent, "a lost session is silent");
    }

    fn check_over(&self) {
        assert!(self.streams.values().all(|stream| stream.end.is_some()), "a stream has no end");
        assert_eq!(self.end.machine.dialect().streams(), 0, "nothing of a stream stays");
        assert!(self.errors.values().all(|errors| *errors <= 2), "{:?}", self.errors);
    }
}

/// An original with an application.
pub(crate) struct Go {
    peer: GoLike,
    pause: usize,
}

impl Go {
    pub(crate) fn new() -> Self {
        Self::pausing_above(PAUSE)
    }

    pub(crate) fn pausing_above(pause: usize) -> Self {
        Self { peer: GoLike::new(pause), pause }
    }
}

impl Peer for Go {
    fn dial(&mut self) -> i64 {
        self.peer.dial()
    }

    fn next_dialled(&mut self) -> Option<i64> {
        self.peer.dialled.pop_front()
    }

    fn answer(&mut self, wire: i64, is_refused: bool) {
        if is_refused {
            self.peer.close(wire);
        }
    }

    fn write(&mut self, wire: i64, body: Bytes) -> bool {
        // A write ends when the socket has taken it.
        self.peer.unsent() < 4 && self.peer.write(wire, body)
    }

    fn read(&mut self, wire: i64, max: usize) -> Option<Bytes> {
        self.peer.read(wire, max)
    }

    fn close(&mut self, wire: i64) {
        self.peer.close(wire);
    }

    fn abort(&mut self, wire: i64) {
        self.peer.close(wire);
    }

    fn receive(&mut self, _: Instant, message: Message) {
        self.peer.receive(message);
    }

    fn send(&mut self, _: Instant) -> Option<Message> {
        self.peer.send()
    }

    fn check(&self) {
        // What was on its way when it paused, and what probes bring: 32 KiB each.
        assert!(self.peer.buffer_max <= self.pause + (1 << 20), "{} bytes wait", self.peer.buffer_max);
    }
}
