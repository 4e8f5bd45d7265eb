//! An upstream that does as its path says, and remembers what it was asked.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::http::{Wire, decoded};
use crate::binary::PATIENCE;

/// What an origin has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    heads: Mutex<Vec<String>>,
    bodies: Mutex<Vec<Vec<u8>>>,
    /// Clients that left while their answer was on its way.
    left: AtomicUsize,
}

/// A running origin; its threads end with their connections.
pub(in crate::binary) struct Origin {
    pub(in crate::binary) address: SocketAddr,
    seen: Arc<Seen>,
}

impl Origin {
    pub(in crate::binary) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = shared.connections.fetch_add(1, Ordering::Relaxed);
                let seen = Arc::clone(&shared);
                thread::spawn(move || serve(stream, number, &seen));
            }
        });
        Self { address, seen }
    }

    pub(in crate::binary) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    pub(in crate::binary) fn left(&self) -> usize {
        self.seen.left.load(Ordering::Relaxed)
    }

    /// The heads of all requests so far.
    pub(in crate::binary) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The bodies of all requests that were read to their end.
    pub(in crate::binary) fn bodies(&self) -> Vec<Vec<u8>> {
        self.seen.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers the requests of one connection.
fn serve(stream: TcpStream, number: usize, seen: &Seen) {
    let mut wire = Wire::new(stream);
    for asked in 0.. {
        let Some(head) = wire.head() else { return };
        seen.heads.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
        let path = head.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap_or("/").to_owned();
        let name = path.rsplit('/').next().unwrap_or("").to_owned();
        if !answer(&mut wire, &head, &name, (number, asked), seen) {
            return;
        }
    }
}

/// Does what a name says; whether another request may follow.
fn answer(wire: &mut Wire, head: &str, name: &str, (number, asked): (usize, usize), seen: &Seen) -> bool {
    let (word, number_in_name) = name.split_once('-').unwrap_or((name, ""));
    let count = number_in_name.parse::<usize>().unwrap_or(0);
    if let Some(goes_on) = stream(wire, word, count, seen) {
        return goes_on;
    }
    match word {
        "slow" => {
            thread::sleep(Duration::from_millis(count as u64));
            sized(wire, b"slow");
        }
        "trailers" => wire.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n",
        ),
        "both" => wire.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n",
        ),
        "hops" => wire.send(
            b"HTTP/1.1 203 Fine\r\nConnection: X-Secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n\
              Proxy-Authenticate: Basic\r\nX-Kept: a\r\nX-Kept: b\r\nSet-Cookie: c=1\r\nSet-Cookie: d=2\r\n\
              Content-Length: 2\r\n\r\nok",
        ),
        // Looks kept alive, but ends at the second request.
        "stale" if asked > 0 => return false,
        _ if misbehaves(wire, word) => return false,
        _ => {
            let body = decoded(wire, head);
            seen.bodies.lock().unwrap_or_else(PoisonError::into_inner).push(body.clone());
            match word {
                "echo" => sized(wire, &body),
                "head" => sized(wire, head.as_bytes()),
                "which" => sized(wire, format!("{number} {asked}").as_bytes()),
                _ => sized(wire, b"fine"),
            }
        }
    }
    true
}

/// Answers that take their time; `None` if the word is for none of them.
fn stream(wire: &mut Wire, word: &str, count: usize, seen: &Seen) -> Option<bool> {
    match word {
        "bytes" => {
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {count}\r\n\r\n").as_bytes());
            let block = [b'x'; 64 * 1024];
            let mut left = count;
            while left > 0 && wire.try_send(&block[..left.min(block.len())]) {
                left -= left.min(block.len());
            }
            seen.left.fetch_add(usize::from(left > 0), Ordering::Relaxed);
            Some(left == 0)
        }
        // One event now, the next once the client has said something on another connection: its request.
        "events" => {
            wire.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
            wire.send(b"a\r\ndata: one\n\r\n");
            let heads = || seen.heads.lock().unwrap_or_else(PoisonError::into_inner).len();
            let before = heads();
            for _ in 0..1_000 {
                if heads() > before {
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
            wire.send(b"a\r\ndata: two\n\r\n0\r\n\r\n");
            Some(true)
        }
        "wait" => {
            // Nothing comes: the end of the connection is all there is to see.
            wire.stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
            let has_left = matches!(wire.stream.read(&mut [0; 16]), Ok(0) | Err(_));
            seen.left.fetch_add(usize::from(has_left), Ordering::Relaxed);
            Some(false)
        }
        "upgrade" => {
            wire.send(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nHELLO ",
            );
            let mut some = [0; 1024];
            while let Ok(count @ 1..) = wire.read(&mut some) {
                wire.send(&some[..count].to_ascii_uppercase());
            }
            let _ = wire.stream.shutdown(Shutdown::Both);
            Some(false)
        }
        _ => None,
    }
}

/// Says what no server should say, and then nothing more; whether the word is for that.
fn misbehaves(wire: &mut Wire, word: &str) -> bool {
    let said: &[u8] = match word {
        "garbage" => b"\x16\x03\x01 this is no HTTP\r\n\r\n",
        "endless" => {
            wire.send(b"HTTP/1.1 200 OK\r\n");
            while wire.try_send(&[b"X-Filler: ", &[b'x'; 4096][..], b"\r\n"].concat()) {}
            b""
        }
        "early" => b"",
        "cut" => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "cutchunk" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        "halflength" => b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabc",
        "unasked" => b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        "old" => b"HTTP/1.0 200 OK\r\n\r\nup to the end",
        _ => return false,
    };
    wire.send(said);
    true
}

fn sized(wire: &mut Wire, body: &[u8]) {
    wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    wire.stream.write_all(body).unwrap_or_default();
}
