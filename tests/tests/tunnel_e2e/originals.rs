//! Ends that behave as the originals: nothing may wait for ever.

use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use linkspan_core::tunnel::{Content, Target};

use crate::original::{Original, Session};
use crate::site::{
    AgentConfig, AgentSite, Kind, PATIENCE, Server, drink, echo, forwards, is_long, loopback, pour, target,
    tcp,
};

fn total() -> u64 {
    if is_long() { 256 << 20 } else { 16 << 20 }
}

/// A bulk echo through an agent whose writers lose wake-ups and whose pauses mean both directions.
pub(crate) fn an_original_agent_with_its_defects(kind: Kind) {
    let server = Server::start(kind, forwards(&[tcp(loopback())]));
    let mut original = Original::new(Session::open(&server, "foo"));
    let is_done = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_done);
    let running = thread::spawn(move || {
        original.run(|_| seen.load(Ordering::Relaxed));
        original.lost_wakes
    });
    let mut stream = server.dial();
    let mut writer = stream.try_clone().unwrap();
    let total = total();
    let writing = thread::spawn(move || pour(&mut writer, total));
    drink(&mut stream, total, |_| {});
    writing.join().unwrap();
    is_done.store(true, Ordering::Relaxed);
    running.join().unwrap();
}

/// Both directions at once: neither starves, and every byte is the right one.
pub(crate) fn full_duplex_with_an_original_agent(kind: Kind) {
    let server = Server::start(kind, forwards(&[tcp(loopback())]));
    let mut original = Original::new(Session::open(&server, "foo"));
    original.is_duplex = true;
    let is_done = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_done);
    let running = thread::spawn(move || original.run(|_| seen.load(Ordering::Relaxed)));
    let [up, down] = crate::streams::both_ways(&server.dial());
    is_done.store(true, Ordering::Relaxed);
    running.join().unwrap();
    eprintln!("{kind:?}: {} MiB up, {} MiB down", up >> 20, down >> 20);
}

/// An agent of ours, and the other end of its session.
fn agent_at_original(kind: Kind) -> (AgentSite, Session) {
    let listener = TcpListener::bind(loopback()).unwrap();
    let door = format!("ws://{}/connect", listener.local_addr().unwrap()).parse().unwrap();
    let agent = AgentSite::start_with(kind, AgentConfig::new(door));
    let (stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let session = Session::over(tungstenite::accept(stream).unwrap());
    agent.until_connected(1);
    (agent, session)
}

/// The same the other way round: an original server dials through our agent.
pub(crate) fn an_agent_of_ours_at_an_original_server(kind: Kind) {
    let (_agent, session) = agent_at_original(kind);
    let mut original = Original::new(session);
    // What nobody knows is ignored, and what cannot be dialled is told once, with the session alive.
    original.session.say(7, Content::Unknown(99));
    let free = TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
    let refused =
        Target { proto: Bytes::from_static(b"tcp"), address: free.to_string().into(), is_cut: false };
    original.session.say(4, Content::Connect(refused));
    let error = original.session.until(|message| matches!(message.content, Content::Error(_)));
    let Content::Error(text) = &error.content else { unreachable!() };
    assert_eq!(error.stream, 4);
    let expected = format!("dial tcp {free}: connect: connection refused");
    assert_eq!(text.escape_ascii().to_string(), expected);
    let started = Instant::now();
    original.check(2, echo(), total());
    original.check(6, echo(), 1 << 20);
    original.run(|own| own.is_done() || started.elapsed() > 4 * PATIENCE);
    assert!(original.is_done(), "it stalls");
}

/// A target that reads nothing does not keep a stream that the server has ended with an error.
pub(crate) fn a_target_that_never_reads_is_let_go(kind: Kind) {
    let (tell, told) = mpsc::channel();
    let deaf = target(move |mut stream| {
        // Whoever does not read learns by writing that the other end is gone.
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = tell.send(());
    });
    let (_agent, mut session) = agent_at_original(kind);
    let address = deaf.to_string().into();
    let dialled = Target { proto: Bytes::from_static(b"tcp"), address, is_cut: false };
    session.say(2, Content::Connect(dialled));
    // More than the buffers of two sockets hold.
    let piece = Bytes::from(vec![7; 32 * 1024]);
    for _ in 0..512 {
        session.say(2, Content::Data(piece.clone()));
    }
    thread::sleep(Duration::from_millis(200));
    session.say(2, Content::Error(Bytes::from_static(b"gone")));
    told.recv_timeout(PATIENCE / 2).unwrap();
}
