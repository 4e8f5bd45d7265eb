//! A pomelo echo server on one thread: every connection and all timers in one readiness loop.
//!
//! `cargo run -p linkspan-core --example readiness -- 127.0.0.1:3250`; `docs/embedding.md` walks through it.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a driver has a clock; the core has not")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use linkspan_core::pomelo::{Server, ServerCommand as Command, ServerNotice as Notice};
use linkspan_core::wheel::Wheel;
use linkspan_core::{
    Action, Actions, Bytes, CloseReason, Connection, Event, Instant, Limits, Machine, Opcode, Outbox,
};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// How many pieces one connection may read before the others have their turn.
const READS: u32 = 4;

type List = Actions<Action<Notice>>;

/// One connection, and what its driver keeps for it.
struct Peer {
    socket: TcpStream,
    connection: Connection<Server>,
    outbox: Outbox,
    /// The system says once that there is something to read; that holds until a read finds nothing.
    readable: bool,
    /// The input has ended.
    hung_up: bool,
    /// Until when a closed connection may write what is left.
    ends_at: Option<Instant>,
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3250".into());
    let listener = std::net::TcpListener::bind(&address)?;
    println!("listening pomelo-tcp {}", listener.local_addr()?);
    run(listener)
}

/// Serves everybody who comes.
pub fn run(listener: std::net::TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let (mut poll, mut ready, mut newest) = (Poll::new()?, Events::with_capacity(1024), 0);
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    let start = Clock::now();
    let now = || Instant::from_micros(start.elapsed().as_micros() as u64);
    let limits: Arc<Limits> = Arc::default();
    let mut peers: BTreeMap<usize, Peer> = BTreeMap::new();
    let mut wheel = Wheel::new(0);
    // Whose turn it is; who is still here when the loop waits has more to do at once.
    let mut turns: BTreeSet<usize> = BTreeSet::new();
    // One list for all machines.
    let mut actions = Actions::new();
    loop {
        // 1. Wait for sockets, at most until the next deadline.
        let due = wheel.next().map(|due| due - now() + Duration::from_millis(1));
        match poll.poll(&mut ready, if turns.is_empty() { due } else { Some(Duration::ZERO) }) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &ready {
            if let Some(peer) = peers.get_mut(&event.token().0) {
                peer.readable |= event.is_readable() || event.is_read_closed();
                turns.insert(event.token().0);
            }
        }
        while let Ok((mut socket, _)) = listener.accept() {
            newest += 1;
            poll.registry().register(&mut socket, Token(newest), Interest::READABLE | Interest::WRITABLE)?;
            let mut peer = Peer::new(socket, now(), &limits, &mut actions);
            peer.perform(now(), &limits, &mut actions);
            peers.insert(newest, peer);
            turns.insert(newest);
        }
        while let Some(id) = wheel.pop_expired(now()) {
            turns.insert(id);
        }
        // 2. Who was heard of, or has waited long enough, has its turn; its next deadline goes into the wheel.
        for id in std::mem::take(&mut turns) {
            let Some(peer) = peers.get_mut(&id) else { continue };
            if peer.turn(now(), &limits, &mut actions) {
                turns.insert(id);
            }
            if peer.ends_at.is_some_and(|at| at <= now() || (peer.hung_up && peer.outbox.is_empty())) {
                wheel.cancel(&id);
                peers.remove(&id);
            } else if let Some(due) = peer.ends_at.or(peer.connection.next_timeout()) {
                wheel.schedule(id, due);
            } else {
                wheel.cancel(&id);
            }
        }
    }
}

impl Peer {
    fn new(socket: TcpStream, now: Instant, limits: &Arc<Limits>, actions: &mut List) -> Self {
        let _ = socket.set_nodelay(true);
        let connection = Connection::new(Server::new(Arc::default()), limits.clone(), now, actions);
        let outbox = Outbox::default();
        Self { socket, connection, outbox, readable: false, hung_up: false, ends_at: None }
    }

    /// All that can be done now; whether there is more to read.
    fn turn(&mut self, now: Instant, limits: &Limits, actions: &mut List) -> bool {
        self.connection.handle_timeout(now, actions);
        let mut reads = READS;
        let mut agenda = self.perform(now, limits, actions);
        // What follows from the last event comes first; then what is queued is written; then more is read.
        loop {
            let event = agenda.pop_front().or_else(|| self.write());
            let Some(event) = event.or_else(|| self.read(&mut reads)) else { break };
            self.connection.handle_event(now, event, actions);
            agenda.append(&mut self.perform(now, limits, actions));
        }
        if self.ends_at.is_some() && self.outbox.is_empty() {
            // The peer may read all of it before it hangs up.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
        self.wants_read()
    }

    fn wants_read(&self) -> bool {
        self.readable && !self.hung_up && (self.ends_at.is_some() || self.connection.wants_read())
    }

    /// Performs all actions in order; gives what comes of it.
    fn perform(&mut self, now: Instant, limits: &Limits, actions: &mut List) -> VecDeque<Event<Command>> {
        let mut agenda = VecDeque::new();
        for action in actions.drain() {
            match action {
                Action::Send(frame) => self.outbox.push(frame),
                Action::DropOldest => self.outbox.drop_oldest(),
                Action::Close(_) => self.ends_at = Some(now + limits.close_grace),
                Action::Notify(Notice::Handshake(_)) => {
                    agenda.push_back(Event::Command(Command::Accept { user: None }));
                }
                Action::Notify(Notice::Request { ticket, body, .. }) => {
                    agenda.push_back(Event::Command(Command::Answer { ticket, body }));
                }
                Action::Notify(Notice::Notify { receipt, .. }) => {
                    agenda.push_back(Event::Command(Command::Done(receipt)));
                }
                _ => {}
            }
        }
        if let Some(dropped) = self.outbox.take_dropped() {
            agenda.push_front(Event::Dropped(dropped));
        }
        agenda
    }

    /// Writes what the socket takes; what has left the queue is an event.
    fn write(&mut self) -> Option<Event<Command>> {
        while let Some(parts) = self.outbox.front() {
            match self.socket.write_vectored(&parts.map(IoSlice::new)) {
                Ok(count) => self.outbox.advance(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.outbox.clear();
                    self.hung_up = true;
                    return Some(Event::Closed(CloseReason::ConnectionLost));
                }
            }
        }
        self.outbox.take_flushed().map(Event::Flushed)
    }

    fn read(&mut self, reads: &mut u32) -> Option<Event<Command>> {
        if *reads == 0 || !self.wants_read() {
            return None;
        }
        *reads -= 1;
        let mut buffer = [0; 16 * 1024];
        let ended = match self.socket.read(&mut buffer) {
            Ok(0) => CloseReason::PeerClosed,
            Ok(count) => {
                let data = Bytes::copy_from_slice(&buffer[..count]);
                return Some(Event::Received(Opcode::Stream, data));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                return None;
            }
            Err(_) => CloseReason::ConnectionLost,
        };
        self.hung_up = true;
        Some(Event::Closed(ended))
    }
}
