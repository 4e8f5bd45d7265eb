//! Tunnels of real processes: gateways, agents, and what is behind them.

pub mod flags;
pub mod killed;
pub mod recorded;
#[cfg(feature = "tls")]
pub mod secure;
pub mod silent;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use linkspan_core::Mark;

use super::proxy::http::Wire;
use super::{PATIENCE, Process, eventually};

/// A gateway with tunnels.
struct Gateway {
    process: Process,
    http: SocketAddr,
}

impl Gateway {
    fn start(program: &str, more: &[&str]) -> Self {
        let mut plain = vec!["serve", "--http", "127.0.0.1:0", "--tunnel"];
        if !more.contains(&"--forward-wait") {
            plain.extend(["--forward-wait", "0s"]);
        }
        Self::over(Process::start(program, &[&plain, more].concat()))
    }

    fn over(process: Process) -> Self {
        let http = process.listening("http");
        Self { process, http }
    }

    /// The port of its only forward.
    fn forward(&self) -> SocketAddr {
        self.process.listening("forward")
    }

    fn url(&self) -> String {
        format!("ws://{}/connect", self.http)
    }

    /// An agent `foo` that is connected; so many sessions of it there are then.
    fn agent(&self, program: &str, more: &[&str], sessions: usize) -> Process {
        let url = self.url();
        let agent = agent(program, &url, more);
        self.until_sessions(sessions);
        agent
    }

    fn until_sessions(&self, count: usize) {
        eventually("sessions", || get(self.http, "/clients").matches("\"client\"").count() == count);
    }

    /// How often a limit was reached.
    fn marked(&self, mark: Mark) -> u64 {
        marked(self.http, mark)
    }
}

/// How often a limit of the gateway was reached.
pub(in crate::binary) fn marked(http: SocketAddr, mark: Mark) -> u64 {
    let page = get(http, "/metrics");
    let name = format!("linkspan_marks_total{{mark=\"{}\"}} ", mark.name());
    let row = page.lines().find_map(|line| line.strip_prefix(&name));
    row.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no {mark:?} in {page}"))
}

/// An agent `foo`.
fn agent(program: &str, url: &str, more: &[&str]) -> Process {
    Process::start(
        program,
        &[&["agent", "--connect", url, "--id", "foo", "--redial-first", "50ms"], more].concat(),
    )
}

fn get(http: SocketAddr, path: &str) -> String {
    Wire::connect(http).ask(&format!("GET {path} HTTP/1.1\r\nHost: g\r\n\r\n")).text()
}

/// Something to dial: what is done with each connection, in a thread of its own.
fn target(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

fn echo() -> SocketAddr {
    target(|mut stream| {
        let mut some = [0; 16 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut some) {
            if stream.write_all(&some[..count]).is_err() {
                break;
            }
        }
    })
}

fn dial(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
    stream.set_write_timeout(Some(PATIENCE)).expect("it can be set");
    stream
}

/// One question and its answer on a connection of their own; whether it worked.
fn ask(to: SocketAddr) -> bool {
    let mut stream = dial(to);
    let mut answer = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut answer).is_ok() && &answer == b"ping"
}
