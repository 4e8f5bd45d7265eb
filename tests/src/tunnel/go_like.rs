//! A peer with the defects of the originals (rancher/remotedialer before a fix that does not exist yet).
//!
//! Per stream it has one flag for both directions, which its own reads clear without waking its own writer; it sends up
//! to three errors where one would do; and whatever it is sent, it takes.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use linkspan_core::tunnel::{Content, EOF, Message, Target};

/// One stream as the originals keep it.
#[derive(Debug, Default)]
struct Stream {
    buffer: VecDeque<u8>,
    /// "I have paused you" and "you have paused me" in one.
    is_paused: bool,
    /// The writer waits to be woken; only what comes from the peer wakes it.
    is_asleep: bool,
    /// The peer or the application has ended it.
    is_over: bool,
}

/// The peer: the application above it is the test.
#[derive(Debug)]
pub struct GoLike {
    streams: BTreeMap<i64, Stream>,
    control: VecDeque<(i64, Content)>,
    pause_above: usize,
    /// The most that any stream has held.
    pub buffer_max: usize,
    /// The streams that the peer has asked it to dial, until the application takes them.
    pub dialled: VecDeque<i64>,
    last_wire: i64,
}

impl GoLike {
    /// A peer that pauses a stream above so many bytes (the originals: 2 MiB), and resumes it below an eighth of them.
    pub fn new(pause_above: usize) -> Self {
        Self {
            streams: BTreeMap::new(),
            control: VecDeque::new(),
            pause_above,
            buffer_max: 0,
            dialled: VecDeque::new(),
            last_wire: 1,
        }
    }

    /// Takes a message.
    pub fn receive(&mut self, message: Message) {
        let wire = message.stream;
        let is_live = self.streams.get(&wire).is_some_and(|stream| !stream.is_over);
        match message.content {
            Content::Connect(_) => {
                self.streams.insert(wire, Stream::default());
                self.dialled.push_back(wire);
            }
            Content::Data(body) => self.take_in(wire, &body),
            Content::Error(text) if is_live => {
                // The id goes first; the writer is not woken.
                self.say(wire, Content::Error(text));
                self.stream(wire).is_over = true;
            }
            Content::Pause if is_live => {
                let stream = self.stream(wire);
                (stream.is_paused, stream.is_asleep) = (true, false);
            }
            Content::Resume if is_live => {
                let stream = self.stream(wire);
                (stream.is_paused, stream.is_asleep) = (false, false);
            }
            _ => {}
        }
    }

    fn take_in(&mut self, wire: i64, body: &Bytes) {
        let pause_above = self.pause_above;
        match self.streams.get_mut(&wire).filter(|stream| !stream.is_over) {
            None => {
                let text = format!("connection not found client/0/{wire}");
                self.say(wire, Content::Error(text.into()));
            }
            Some(stream) => {
                stream.buffer.extend(body);
                let held = stream.buffer.len();
                let pauses = held > pause_above && !stream.is_paused;
                stream.is_paused |= pauses;
                self.buffer_max = self.buffer_max.max(held);
                if pauses {
                    self.say(wire, Content::Pause);
                }
            }
        }
    }

    fn stream(&mut self, wire: i64) -> &mut Stream {
        self.streams.entry(wire).or_default()
    }

    fn say(&mut self, wire: i64, content: Content) {
        self.control.push_back((wire, content));
    }

    /// Asks for a stream; says which number it has.
    pub fn dial(&mut self) -> i64 {
        self.dial_to(Bytes::from_static(b"127.0.0.1:80"))
    }

    /// Asks for a stream to `address`; says which number it has.
    pub fn dial_to(&mut self, address: Bytes) -> i64 {
        self.last_wire += 1;
        let proto = Bytes::from_static(b"tcp");
        self.streams.insert(self.last_wire, Stream::default());
        self.say(self.last_wire, Content::Connect(Target { proto, address, is_cut: false }));
        self.last_wire
    }

    /// The application reads up to `max` bytes; `None` at the end of the stream.
    pub fn read(&mut self, wire: i64, max: usize) -> Option<Bytes> {
        let low = self.pause_above / 8;
        let stream = self.streams.get_mut(&wire)?;
        if stream.buffer.is_empty() && stream.is_over {
            return None;
        }
        if stream.buffer.is_empty() {
            // Its reader sleeps until something comes.
            return Some(Bytes::new());
        }
        let len = stream.buffer.len().min(max);
        let body = stream.buffer.drain(..len).collect();
        if stream.buffer.len() < low && stream.is_paused && !stream.is_over {
            // The defect: its own writer may wait for exactly this, and is not woken.
            stream.is_paused = false;
            self.say(wire, Content::Resume);
        }
        Some(body)
    }

    /// The application writes; says whether that was possible, or has to be tried again.
    pub fn write(&mut self, wire: i64, body: Bytes) -> bool {
        let Some(stream) = self.streams.get_mut(&wire).filter(|stream| !stream.is_over) else { return false };
        stream.is_asleep |= stream.is_paused;
        if !stream.is_asleep {
            self.say(wire, Content::Data(body));
        }
        !self.streams[&wire].is_asleep
    }

    /// How many messages wait for room on the wire; a writer waits with them.
    pub fn unsent(&self) -> usize {
        self.control.len()
    }

    /// Whether the stream can still be written to.
    pub fn is_open(&self, wire: i64) -> bool {
        self.streams.get(&wire).is_some_and(|stream| !stream.is_over)
    }

    /// The streams that it lists as its own, in order.
    pub fn known(&self) -> impl Iterator<Item = i64> {
        self.streams.iter().filter(|(_, stream)| !stream.is_over).map(|(wire, _)| *wire)
    }

    /// Pauses and resumes a stream for nothing, so many times.
    pub fn flip(&mut self, times: u64) {
        let live = self.streams.iter().find(|(_, stream)| !stream.is_over && !stream.is_paused);
        let Some(wire) = live.map(|(wire, _)| *wire) else { return };
        for _ in 0..times {
            self.say(wire, Content::Pause);
            self.say(wire, Content::Resume);
        }
    }

    /// The application closes; the peer hears of it more than once.
    pub fn close(&mut self, wire: i64) {
        let stream = self.stream(wire);
        if !std::mem::replace(&mut stream.is_over, true) {
            self.say(wire, Content::Error(Bytes::from_static(EOF)));
            self.say(wire, Content::Error(Bytes::from_static(EOF)));
        }
    }

    /// The next message it sends, if it has any.
    pub fn send(&mut self) -> Option<Message> {
        let (stream, content) = self.control.pop_front()?;
        Some(Message { id: 1, stream, content })
    }
}
