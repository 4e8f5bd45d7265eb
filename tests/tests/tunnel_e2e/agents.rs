//! Agents that come and go.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::original::Session;
use crate::site::{
    AgentConfig, AgentSite, Kind, PATIENCE, Server, dial, echo, eventually, forwards, is_long, is_over, tcp,
};

/// One question and its answer on a connection of their own; whether it worked.
fn ask(to: std::net::SocketAddr) -> bool {
    let mut stream = dial(to);
    let mut answer = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut answer).is_ok() && &answer == b"ping"
}

pub(crate) fn restarted_under_load(kind: Kind) {
    let server = Server::start(kind, forwards(&[tcp(echo())]));
    let [asked, answered] = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let is_done = AtomicBool::new(false);
    let to = server.forwards[0];
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    asked.fetch_add(1, Ordering::Relaxed);
                    answered.fetch_add(usize::from(ask(to)), Ordering::Relaxed);
                }
            });
        }
        for _ in 0..3 {
            let agent = AgentSite::start(kind, &server);
            let before = answered.load(Ordering::Relaxed);
            eventually("answers", || answered.load(Ordering::Relaxed) > before + 20);
            drop(agent);
        }
        let _agent = AgentSite::start(kind, &server);
        let before = answered.load(Ordering::Relaxed);
        eventually("answers after all", || answered.load(Ordering::Relaxed) > before + 20);
        is_done.store(true, Ordering::Relaxed);
        // Who was cut was told: nobody hangs, and the threads end.
    });
    let [asked, answered] = [asked, answered].map(AtomicUsize::into_inner);
    assert!(answered >= 80 && asked - answered < asked / 2, "{answered} of {asked}");
}

pub(crate) fn whoever_connects_waits_for_the_agent(kind: Kind) {
    let server = Server::start(kind, forwards(&[tcp(echo())]));
    let to = server.forwards[0];
    let waiting = thread::spawn(move || ask(to));
    thread::sleep(Duration::from_millis(200));
    let _agent = AgentSite::start(kind, &server);
    assert!(waiting.join().unwrap());
    // Without waiting there is nobody to wait for.
    let mut config = forwards(&[tcp(echo())]);
    config.wait = Duration::ZERO;
    let hasty = Server::start(kind, config);
    let started = Instant::now();
    assert!(is_over(&mut hasty.dial()));
    assert!(started.elapsed() < PATIENCE / 2);
}

/// Each costs little, and all go when they go.
pub(crate) fn many_idle(kind: Kind) {
    let count = if is_long() { 1000 } else { 200 };
    let server = Server::start_at(kind, forwards(&[tcp(echo())]), crate::site::loopback(), |_| {});
    let agents: Vec<_> = (0..count).map(|number| Session::open(&server, &format!("idle-{number}"))).collect();
    server.until_clients(count);
    let _agent = AgentSite::start(kind, &server);
    assert!(ask(server.forwards[0]));
    drop(agents);
    server.until_clients(1);
    assert!(ask(server.forwards[0]));
}

pub(crate) fn one_to_two_servers(kind: Kind) {
    let target = echo();
    let servers = [(); 2].map(|()| Server::start(kind, forwards(&[tcp(target)])));
    let doors = servers.iter().map(Server::door).collect();
    let agent =
        AgentSite::start_with(kind, AgentConfig { servers: doors, ..AgentConfig::new(servers[0].door()) });
    agent.until_connected(2);
    assert!(servers.iter().all(|server| ask(server.forwards[0])));
    // One that goes does not take the other along.
    let [one, other] = servers;
    drop(one);
    assert!(ask(other.forwards[0]));
    agent.stop();
    other.until_clients(0);
}

/// A stop waits a while for streams, tells every session, and ends.
pub(crate) fn streams_end_before_the_server(kind: Kind) {
    let server = Server::start(kind, forwards(&[tcp(echo())]));
    let _agent = AgentSite::start(kind, &server);
    let mut stream = server.dial();
    stream.write_all(b"before").unwrap();
    stream.read_exact(&mut [0; 6]).unwrap();
    let door = server.door();
    let stopping = thread::spawn(move || server.stop());
    thread::sleep(Duration::from_millis(200));
    stream.write_all(b"within").unwrap();
    stream.read_exact(&mut [0; 6]).unwrap();
    drop(stream);
    assert!(stopping.join().unwrap() < PATIENCE / 2);
    drop(door);
}
