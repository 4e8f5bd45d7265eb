//! A pomelo echo server on blocking threads: the whole driver, one thread per connection.
//!
//! ```sh
//! cargo run -p linkspan-core --example blocking -- 127.0.0.1:3250
//! cargo run --release -p linkspan-tokio -- connect tcp://127.0.0.1:3250
//! ```
//!
//! `docs/embedding.md` walks through it.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a driver has a clock and threads; the core has not")]

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use linkspan_core::pomelo::{Server, ServerCommand, ServerNotice};
use linkspan_core::{
    Action, Actions, Bytes, CloseReason, Connection, Event, Flushed, Instant, Limits, Machine, Opcode,
};

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3250".into());
    let listener = TcpListener::bind(&address)?;
    println!("listening pomelo-tcp {}", listener.local_addr()?);
    run(&listener);
    Ok(())
}

/// Serves everybody who comes.
pub fn run(listener: &TcpListener) {
    for socket in listener.incoming().flatten() {
        std::thread::spawn(move || serve(socket));
    }
}

fn serve(mut socket: TcpStream) -> std::io::Result<()> {
    let start = Clock::now();
    let now = || Instant::from_micros(start.elapsed().as_micros() as u64);
    let limits = Arc::new(Limits::default());
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(limits.write_timeout))?;

    let mut actions = Actions::new();
    let mut connection = Connection::new(Server::new(Arc::default()), limits, now(), &mut actions);
    let mut buffer = [0; 4096];
    // What comes of the last event, in order.
    let mut agenda = VecDeque::new();
    loop {
        // 1. Perform all actions in order. What the application answers, and what was written, are further events.
        let mut flushed = Flushed::default();
        for action in actions.drain() {
            match action {
                Action::Send(frame) => {
                    socket.write_all(frame.head())?;
                    socket.write_all(frame.body())?;
                    flushed.add(&frame);
                }
                Action::Notify(ServerNotice::Handshake(_)) => {
                    agenda.push_back(Event::Command(ServerCommand::Accept { user: None }));
                }
                Action::Notify(ServerNotice::Request { ticket, body, .. }) => {
                    agenda.push_back(Event::Command(ServerCommand::Answer { ticket, body }));
                }
                Action::Notify(ServerNotice::Notify { receipt, .. }) => {
                    agenda.push_back(Event::Command(ServerCommand::Done(receipt)));
                }
                Action::Close(reason) => {
                    println!("{reason}");
                    return Ok(());
                }
                _ => {}
            }
        }
        if flushed != Flushed::default() {
            agenda.push_front(Event::Flushed(flushed));
        }
        // 2. Nothing left to do: wait for bytes, at most until the next deadline.
        if agenda.is_empty() {
            let due = connection.next_timeout().map(|due| (due - now()).max(Duration::from_millis(1)));
            socket.set_read_timeout(due)?;
            match socket.read(&mut buffer) {
                Ok(0) => agenda.push_back(Event::Closed(CloseReason::PeerClosed)),
                Ok(n) => {
                    let data = Bytes::copy_from_slice(&buffer[..n]);
                    agenda.push_back(Event::Received(Opcode::Stream, data));
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => agenda.push_back(Event::Closed(CloseReason::ConnectionLost)),
            }
        }
        // 3. Feed the machine: what happened, and the time; a deadline that has not come does nothing.
        if let Some(event) = agenda.pop_front() {
            connection.handle_event(now(), event, &mut actions);
        }
        connection.handle_timeout(now(), &mut actions);
    }
}
