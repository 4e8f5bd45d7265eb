//! A chat server on blocking threads: a hub behind a lock, a bounded mailbox and two threads per connection.
//! `cargo run -p linkspan-core --example blocking_chat -- 127.0.0.1:8080`; `docs/embedding.md` walks through it.
#![forbid(unsafe_code)]
// A driver has what the core has not; the library's refusals are large.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::result_large_err)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Clock};

use linkspan_core::chat::{self, Server, ServerCommand, ServerNotice};
use linkspan_core::hub::{self, Address, Hub};
use linkspan_core::{
    Action, Actions, CloseReason, ConnId, Connection, Delivery, Event, Flushed, Instant, Limits, Machine,
    Opcode, Violation,
};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};
use tungstenite::{Error, WebSocket};

/// How the hub reaches a connection's thread, and cuts its line; the hub itself never looks into it.
type Mailbox = (SyncSender<Happened>, Arc<TcpStream>);
type Happened = Event<ServerCommand>;

/// What all connections share.
struct Office {
    hub: Mutex<Hub<Mailbox>>,
    limits: Arc<Limits>,
    start: Clock,
}

impl Office {
    fn now(&self) -> Instant {
        Instant::from_micros(self.start.elapsed().as_micros() as u64)
    }

    /// One event for the hub, under its lock; what it says is performed without.
    fn tell_hub(&self, event: hub::Event<Mailbox>) {
        let mut actions = Actions::new();
        self.hub.lock().unwrap_or_else(PoisonError::into_inner).handle_event(self.now(), event, &mut actions);
        for action in actions {
            let (to, event) = match action {
                hub::Action::Deliver { to, delivery } => (to, Event::Delivered(delivery)),
                hub::Action::Close { to, reason } => (to, Event::Drain(reason)),
                _ => continue,
            };
            for one in to.as_slice() {
                match (one.mailbox.0.try_send(event.clone()), &event) {
                    (Err(TrySendError::Full(_)), Event::Delivered(Delivery::Push(push))) => {
                        self.tell_hub(hub::Event::Refused { to: one.clone(), overflow: push.overflow() });
                    }
                    // Who has no room for a word that counts is cut off, and its reader tells it.
                    (Err(_), _) => _ = one.mailbox.1.shutdown(Shutdown::Both),
                    (Ok(()), _) => {}
                }
            }
        }
    }
}

/// What the WebSocket library reads from. It would answer pings by itself, in the middle of what another thread writes.
struct ReadOnly(TcpStream);

impl Read for ReadOnly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for ReadOnly {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(&address)?;
    println!("listening chat-ws {}", listener.local_addr()?);
    run(&listener);
    Ok(())
}

/// Serves everybody who comes.
pub fn run(listener: &TcpListener) {
    let hub = Mutex::new(Hub::new(hub::Config::default()));
    let office = Arc::new(Office { hub, limits: Arc::default(), start: Clock::now() });
    for (id, socket) in listener.incoming().flatten().enumerate() {
        let office = office.clone();
        std::thread::spawn(move || serve(&office, ConnId(id as u64), socket));
    }
}

/// The thread that waits for messages: one for each `go`, so only while the machine wants to read.
fn read(mut web: WebSocket<ReadOnly>, posts: &SyncSender<Happened>, go: &Receiver<()>) {
    while go.recv().is_ok() {
        let event = match web.read() {
            Ok(Message::Text(text)) => Event::Received(Opcode::Text, text.into()),
            Ok(Message::Binary(data)) => Event::Received(Opcode::Binary, data),
            Ok(Message::Ping(data)) => Event::Received(Opcode::Ping, data),
            Ok(Message::Pong(data)) => Event::Received(Opcode::Pong, data),
            Ok(Message::Close(_) | Message::Frame(_)) => Event::Closed(CloseReason::PeerClosed),
            Err(Error::Capacity(_)) => Event::Closed(Violation::PackageTooLarge.into()),
            Err(_) => Event::Closed(CloseReason::ConnectionLost),
        };
        let _ = posts.send(event);
    }
}

fn serve(office: &Office, conn: ConnId, socket: TcpStream) -> io::Result<()> {
    // A write that blocks holds this thread: the socket keeps the write timeout instead of the machine.
    socket.set_write_timeout(Some(office.limits.write_timeout))?;
    socket.set_read_timeout(Some(office.limits.handshake_timeout))?;
    let mut user = Err(chat::InvalidUser);
    let upgraded = tungstenite::accept_hdr(socket, |request: &Request, response: Response| {
        user = chat::parse_user(request.uri().path().strip_prefix("/ws/").unwrap_or_default());
        let refusal = Response::builder().status(400).body(Some("invalid user id".to_owned()));
        user.map(|_| response).map_err(|_| refusal.expect("a good answer"))
    });
    let socket = upgraded.map_err(|error| io::Error::other(error.to_string()))?.into_inner();
    socket.set_read_timeout(None)?;
    let ((posts, inbox), (go, went)) = (sync_channel(office.limits.mailbox as usize), sync_channel(1));
    let most = Some(office.limits.receive_max as usize);
    let config =
        WebSocketConfig::default().read_buffer_size(4096).max_message_size(most).max_frame_size(most);
    let reading = WebSocket::from_raw_socket(ReadOnly(socket.try_clone()?), Role::Server, Some(config));
    let to_inbox = posts.clone();
    std::thread::spawn(move || read(reading, &to_inbox, &went));
    let from = Address { conn, mailbox: (posts, Arc::new(socket.try_clone()?)) };
    let mut web = WebSocket::from_raw_socket(socket, Role::Server, None);
    let (mut actions, mut may_read) = (Actions::new(), true);
    let dialect = Server::new(Arc::default(), user.map_err(io::Error::other)?);
    let mut connection = Connection::new(dialect, office.limits.clone(), office.now(), &mut actions);
    loop {
        // 1. Perform all actions, in order. What comes of it is the next event.
        let mut event = perform(office, &from, &mut web, &mut actions);
        if connection.is_closed() {
            break;
        }
        // 2. Nothing left to do: wait for an event, at most until the next deadline.
        if event.is_none() {
            if connection.wants_read() && std::mem::take(&mut may_read) {
                let _ = go.send(());
            }
            let due = connection.next_timeout().map_or(Duration::MAX, |due| due - office.now());
            event = inbox.recv_timeout(due).ok();
        }
        // 3. Feed the machine.
        if let Some(event) = event {
            may_read |= matches!(event, Event::Received(..));
            if let Event::Received(Opcode::Ping, data) = &event {
                let _ = web.send(Message::Pong(data.clone()));
            }
            connection.handle_event(office.now(), event, &mut actions);
        }
        connection.handle_timeout(office.now(), &mut actions);
    }
    // The peer may read the goodbye before the line is cut.
    from.mailbox.1.shutdown(Shutdown::Write)?;
    let _ = go.send(());
    let _ = inbox.recv_timeout(office.limits.close_grace);
    from.mailbox.1.shutdown(Shutdown::Both)
}

fn perform(
    office: &Office,
    from: &Address<Mailbox>,
    web: &mut WebSocket<TcpStream>,
    actions: &mut Actions<Action<ServerNotice>>,
) -> Option<Happened> {
    let (mut flushed, mut written) = (Flushed::default(), Ok(()));
    for action in actions.drain() {
        match action {
            Action::Send(frame) => {
                flushed.add(&frame);
                written = written.and_then(|()| match frame.opcode {
                    Opcode::Ping => web.write(Message::Ping(frame.into_bytes())),
                    _ => web.write(Message::Text(frame.into_bytes().try_into()?)),
                });
            }
            Action::Route(route) => office.tell_hub(hub::Event::Routed { from: Some(from.clone()), route }),
            Action::Close(reason) => {
                let text = reason.close_text().into_owned().into();
                written = web.close(Some(CloseFrame { code: reason.code().into(), reason: text }));
            }
            _ => {}
        }
    }
    match written.and_then(|()| web.flush()) {
        Ok(()) => (flushed != Flushed::default()).then_some(Event::Flushed(flushed)),
        Err(_) => Some(Event::Closed(CloseReason::ConnectionLost)),
    }
}
