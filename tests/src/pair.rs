//! A server and a client of ours, joined by a link in memory, in virtual time.
//!
//! The link keeps bytes and their order; it cuts and joins them as it likes and takes its time. A side that does not want
//! to read is not read to, so back-pressure is as real as on a socket.

use std::collections::btree_map::OccupiedEntry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::pomelo::{Client, ClientConfig, Server, ServerCommand, ServerConfig, ServerNotice};
use linkspan_core::{CloseReason, Event, Instant, Limits, Opcode};

use crate::harness::{Random, Station};

/// One direction of a link.
#[derive(Debug)]
struct Wire {
    pieces: VecDeque<(Instant, Bytes)>,
    /// Nothing arrives before what was sent before it.
    last: Instant,
    delay_max: Duration,
    /// The sender has hung up.
    ended: Option<Instant>,
}

impl Wire {
    fn new(delay_max: Duration) -> Self {
        Self { pieces: VecDeque::new(), last: Instant::ORIGIN, delay_max, ended: None }
    }

    fn send(&mut self, now: Instant, mut data: Bytes, random: &mut Random) {
        while !data.is_empty() {
            let most = [1, 5, 40, data.len()][random.below(4)].min(data.len());
            let delay = Duration::from_micros(random.below(self.delay_max.as_micros() as usize + 1) as u64);
            self.last = self.last.max(now + delay);
            self.pieces.push_back((self.last, data.split_to(most)));
        }
    }

    fn end(&mut self, now: Instant) {
        self.ended.get_or_insert(self.last.max(now));
    }

    fn next(&self) -> Option<Instant> {
        self.pieces.front().map(|(at, _)| *at).or(self.ended)
    }

    /// What arrives now.
    fn take(&mut self, now: Instant) -> Option<Bytes> {
        let due = self.pieces.front().is_some_and(|(at, _)| *at <= now);
        if due { self.pieces.pop_front().map(|(_, piece)| piece) } else { None }
    }
}

/// What the server's application does about a notice: commands, each after a delay.
pub type Answers = Vec<(Duration, ServerCommand)>;

/// A server and a client with a link between them.
#[derive(Debug)]
pub struct Pair {
    /// The server's end.
    pub server: Station<Server>,
    /// The client's end.
    pub client: Station<Client>,
    /// The time.
    pub now: Instant,
    up: Wire,
    down: Wire,
    random: Random,
    commands: BTreeMap<(Instant, u64), ServerCommand>,
    scheduled: u64,
}

impl Pair {
    /// Two ends whose link delays each piece by up to `delay_max`; `seed` decides about pieces and delays.
    pub fn new(
        server: ServerConfig,
        client: ClientConfig,
        limits: [Limits; 2],
        delay_max: Duration,
        seed: u64,
    ) -> Self {
        let now = Instant::from_micros(1_000_000);
        let [server_limits, client_limits] = limits.map(Arc::new);
        Self {
            server: Station::new(Server::new(Arc::new(server)), server_limits, now).without_digests(),
            client: Station::new(Client::new(Arc::new(client)), client_limits, now).without_digests(),
            now,
            up: Wire::new(delay_max),
            down: Wire::new(delay_max),
            random: Random::new(seed),
            commands: BTreeMap::new(),
            scheduled: 0,
        }
    }

    /// Both ends with their defaults.
    pub fn plain(seed: u64) -> Self {
        let limits = [Limits::default(), Limits::default()];
        Self::new(Default::default(), Default::default(), limits, Duration::from_millis(50), seed)
    }

    /// Breaks the link without telling anybody: nothing arrives any more.
    pub fn cut(&mut self) {
        for wire in [&mut self.up, &mut self.down] {
            wire.pieces.clear();
            wire.delay_max = Duration::from_secs(1 << 40);
            wire.last = Instant::from_micros(u64::MAX);
        }
    }

    /// Lets `span` pass. `app` is told each notice of the server and says what the application does about it.
    pub fn run(&mut self, span: Duration, mut app: impl FnMut(ServerNotice) -> Answers) {
        let until = self.now + span;
        loop {
            self.settle(&mut app);
            let Some(next) = self.next().filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            self.arrive();
            self.wake();
        }
        self.now = until;
    }

    /// As [`run`](Self::run), with an application that accepts everybody and sends every payload back.
    pub fn run_echo(&mut self, span: Duration) {
        self.run(span, echo);
    }

    /// Everything that can happen without time passing.
    fn settle(&mut self, app: &mut impl FnMut(ServerNotice) -> Answers) {
        loop {
            for notice in self.server.notices() {
                for (delay, command) in app(notice) {
                    self.scheduled += 1;
                    self.commands.insert((self.now + delay, self.scheduled), command);
                }
            }
            let down = self.server.flush_bytes(self.now);
            let up = self.client.flush_bytes(self.now);
            let idle = down.is_empty() && up.is_empty();
            self.down.send(self.now, down, &mut self.random);
            self.up.send(self.now, up, &mut self.random);
            let due = self.commands.first_entry().filter(|entry| entry.key().0 <= self.now);
            let due = due.map(OccupiedEntry::remove);
            if let Some(command) = due {
                self.server.command(self.now, command);
            } else if idle {
                break;
            }
        }
        if self.server.closed().is_some() {
            self.down.end(self.now);
        }
        if self.client.closed().is_some() {
            self.up.end(self.now);
        }
    }

    fn next(&self) -> Option<Instant> {
        // What arrives where nobody reads waits in the socket.
        let up = self.up.next().filter(|_| self.server.connection().wants_read());
        let down = self.down.next().filter(|_| self.client.connection().wants_read());
        let command = self.commands.keys().next().map(|(at, _)| *at);
        let wakes = [self.server.next_timeout(), self.client.next_timeout(), up, down, command];
        wakes.into_iter().flatten().min()
    }

    fn arrive(&mut self) {
        let now = self.now;
        if self.server.connection().wants_read() {
            if let Some(piece) = self.up.take(now) {
                self.server.event(now, Event::Received(Opcode::Stream, piece));
            } else if self.up.ended.is_some_and(|at| at <= now) {
                self.server.event(now, Event::Closed(CloseReason::PeerClosed));
            }
        }
        if self.client.connection().wants_read() {
            if let Some(piece) = self.down.take(now) {
                self.client.event(now, Event::Received(Opcode::Stream, piece));
            } else if self.down.ended.is_some_and(|at| at <= now) {
                self.client.event(now, Event::Closed(CloseReason::PeerClosed));
            }
        }
    }

    fn wake(&mut self) {
        if self.server.next_timeout().is_some_and(|next| next <= self.now) {
            self.server.timeout(self.now);
        }
        if self.client.next_timeout().is_some_and(|next| next <= self.now) {
            self.client.timeout(self.now);
        }
    }
}

/// An application that accepts everybody and sends every payload back, at once.
pub fn echo(notice: ServerNotice) -> Answers {
    let command = match notice {
        ServerNotice::Handshake(_) => ServerCommand::Accept { user: None },
        ServerNotice::Request { ticket, body, .. } => ServerCommand::Answer { ticket, body },
        _ => return Vec::new(),
    };
    vec![(Duration::ZERO, command)]
}
