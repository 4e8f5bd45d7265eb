//! Agents that are killed, and agents that run out of files.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{Gateway, ask, dial, echo, eventually, get, target};
use crate::binary::Process;
use crate::binary::proxy::http::Wire;

const SIZE: usize = 4 << 20;

/// Says how much comes, sends it, and ends.
fn file(mut stream: TcpStream) {
    let mut some = [0; 1024];
    if !matches!(stream.read(&mut some), Ok(1..)) {
        return;
    }
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
    let block = [b'x'; 64 * 1024];
    let _ = stream.write_all(head.as_bytes());
    let _ = (0..SIZE / block.len()).try_for_each(|_| stream.write_all(&block));
}

/// Downloads until it is told to stop: whole ones, and ones that are visibly cut.
fn download(http: SocketAddr, path: &str, [whole, cut, refused]: [&AtomicUsize; 3], done: impl Fn() -> bool) {
    while !done() {
        let reply = Wire::connect(http).ask(&format!("GET {path} HTTP/1.1\r\nHost: g\r\n\r\n"));
        let counter = match (reply.status, reply.body.len()) {
            (200, SIZE) => whole,
            (200, _) => {
                assert!(!reply.is_whole, "a part looks like the whole");
                cut
            }
            (502 | 503, _) => refused,
            (status, _) => panic!("{status}: {}", reply.text()),
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// An agent that is killed in the middle of downloads: each ends at once and is seen to be cut, those after it are refused
/// in words, and with the next agent all is as before. The gateway keeps nothing.
pub fn an_agent_under_load(program: &str) {
    let (source, echo) = (target(file), echo());
    let forward = format!("127.0.0.1:0=foo/tcp/{echo}");
    let mut gateway = Gateway::start(program, &["--forward", &forward]);
    let start = |gateway: &Gateway| gateway.agent(program, &["--allow-any"], 1);
    // Only where it listens.
    let idle = gateway.process.sockets();
    let counters: [AtomicUsize; 3] = Default::default();
    let done = AtomicUsize::new(0);
    let path = format!("/client/foo/http/{source}/file");
    thread::scope(|scope| {
        let [whole, cut, refused] = &counters;
        for _ in 0..6 {
            let counters = [whole, cut, refused];
            let (path, done, http) = (&path, &done, gateway.http);
            scope.spawn(move || download(http, path, counters, || done.load(Ordering::Relaxed) > 0));
        }
        for _ in 0..3 {
            let mut held = Vec::new();
            let agent = start(&gateway);
            let before = whole.load(Ordering::Relaxed);
            eventually("downloads", || whole.load(Ordering::Relaxed) > before + 6);
            for _ in 0..4 {
                let mut stream = dial(gateway.forward());
                stream.write_all(b"held").expect("it is taken");
                stream.read_exact(&mut [0; 4]).expect("an answer");
                held.push(stream);
            }
            // No goodbye: the kernel ends its connections.
            agent.signal("KILL");
            for stream in &mut held {
                let end = stream.read(&mut [0; 1]).map_err(|error| error.kind());
                assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
            }
            let before = refused.load(Ordering::Relaxed);
            eventually("refusals", || refused.load(Ordering::Relaxed) > before);
            gateway.until_sessions(0);
        }
        let _agent = start(&gateway);
        let before = whole.load(Ordering::Relaxed);
        eventually("downloads after all", || whole.load(Ordering::Relaxed) > before + 6);
        done.store(1, Ordering::Relaxed);
    });
    gateway.until_sessions(0);
    eventually("nothing is left", || gateway.process.sockets() <= idle);
    assert!(counters[1].load(Ordering::Relaxed) > 0, "some were cut: {counters:?}");
    gateway.process.stop();
}

/// An agent without files left refuses dials one by one, and neither it nor its session ends.
pub fn an_agent_with_few_files(program: &str) {
    let target = echo();
    let forward = format!("127.0.0.1:0=foo/tcp/{target}");
    let mut gateway = Gateway::start(program, &["--forward", &forward]);
    let url = gateway.url();
    let few = ["-c", "ulimit -n 48; exec \"$0\" \"$@\"", program, "agent", "--connect", &url, "--id", "foo"];
    let mut agent = Process::start("sh", &few);
    gateway.until_sessions(1);
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..80 {
        let mut stream = dial(gateway.forward());
        let answered = stream.write_all(b"x").is_ok() && stream.read_exact(&mut [0; 1]).is_ok();
        if answered { open.push(stream) } else { refused += 1 }
    }
    assert!(refused > 20 && open.len() > 5, "{refused} refused, {} served", open.len());
    for stream in &mut open {
        stream.write_all(b"y").expect("those inside go on");
        stream.read_exact(&mut [0; 1]).expect("those inside go on");
    }
    drop(open);
    eventually("it dials again", || ask(gateway.forward()));
    assert!(get(gateway.http, "/clients").contains("\"opened\":"), "the session is the first one");
    agent.stop();
    gateway.process.stop();
}
