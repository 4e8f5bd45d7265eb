//! Much data, both ways, and readers that are slow.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::site::{
    AgentSite, Kind, Server, drink, echo, fill, forwards, is_long, is_over, pour, target, tcp,
};

const MIB: u64 = 1 << 20;

pub(crate) fn bulk_echo(server: Kind, agent: Kind) {
    let total = if is_long() { 256 * MIB } else { 16 * MIB };
    let server = Server::start(server, forwards(&[tcp(echo())]));
    let _agent = AgentSite::start(agent, &server);
    let mut stream = server.dial();
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || pour(&mut writer, total));
    drink(&mut stream, total, |_| {});
    writing.join().unwrap();
}

/// Both directions as fast as they go, neither waiting for the other.
pub(crate) fn full_duplex(server: Kind, agent: Kind) {
    let span = if is_long() { Duration::from_secs(30) } else { Duration::from_millis(500) };
    let source = target(move |mut stream| {
        let mut reader = stream.try_clone().unwrap();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(1..) = reader.read(&mut buffer) {}
        });
        let (mut at, mut buffer) = (0, vec![0; 64 * 1024]);
        loop {
            fill(at, &mut buffer);
            at += buffer.len() as u64;
            if stream.write_all(&buffer).is_err() {
                return;
            }
        }
    });
    let server = Server::start(server, forwards(&[tcp(source)]));
    let _agent = AgentSite::start(agent, &server);
    let stream = server.dial();
    let [up, down] = [AtomicU64::new(0), AtomicU64::new(0)];
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = &stream;
            let buffer = vec![0; 64 * 1024];
            while !is_done.load(Ordering::Relaxed) {
                stream.write_all(&buffer).unwrap();
                up.fetch_add(buffer.len() as u64, Ordering::Relaxed);
            }
        });
        let started = Instant::now();
        let mut reader = stream.try_clone().unwrap();
        let mut last = [0; 2];
        while started.elapsed() < span {
            drink_on(&mut reader, &down);
            // Neither may starve: both move within any second or so.
            if started.elapsed() > span / 2 && last == [0; 2] {
                last = [up.load(Ordering::Relaxed), down.load(Ordering::Relaxed)];
                assert!(last.iter().all(|count| *count > 0), "{last:?}");
            }
        }
        is_done.store(true, Ordering::Relaxed);
        // The writer may wait for room.
        while up.load(Ordering::Relaxed) == last[0] {
            drink_on(&mut reader, &down);
        }
    });
    assert!(up.into_inner() > 0 && down.into_inner() > 0);
}

/// Reads one piece, which must be the next of the test data.
fn drink_on(stream: &mut std::net::TcpStream, at: &AtomicU64) {
    let (mut buffer, mut expected) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let count = stream.read(&mut buffer).unwrap();
    assert!(count > 0);
    fill(at.load(Ordering::Relaxed), &mut expected[..count]);
    assert!(buffer[..count] == expected[..count]);
    at.fetch_add(count as u64, Ordering::Relaxed);
}

pub(crate) fn a_slow_reader_gets_all(server: Kind, agent: Kind) {
    let total = 8 * MIB;
    let source = target(move |mut stream| pour(&mut stream, total));
    let server = Server::start(server, forwards(&[tcp(source)]));
    let _agent = AgentSite::start(agent, &server);
    let mut stream = server.dial();
    // Slow at first, so that the far end is paused; then as fast as it goes.
    thread::sleep(Duration::from_millis(300));
    let mut budget = 20;
    drink(&mut stream, total, |_| {
        if budget > 0 {
            budget -= 1;
            thread::sleep(Duration::from_millis(10));
        }
    });
    assert!(is_over(&mut stream));
}

pub(crate) fn a_stalled_reader_harms_nobody(kind: Kind) {
    let endless = target(|mut stream| {
        let buffer = vec![0; 64 * 1024];
        while stream.write_all(&buffer).is_ok() {}
    });
    let server = Server::start(kind, forwards(&[tcp(endless), tcp(echo())]));
    let _agent = AgentSite::start(kind, &server);
    let mut stalled = crate::site::dial(server.forwards[0]);
    stalled.read_exact(&mut [0; 1024]).unwrap();
    thread::sleep(Duration::from_millis(300));
    let others = if is_long() { 64 } else { 16 };
    let mut times: Vec<_> = thread::scope(|scope| {
        let ask = || {
            let mut stream = crate::site::dial(server.forwards[1]);
            let mut own = Vec::new();
            for round in 0..20_u8 {
                let started = Instant::now();
                stream.write_all(&[round; 512]).unwrap();
                let mut answer = [0; 512];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(answer, [round; 512]);
                own.push(started.elapsed());
            }
            own
        };
        let running: Vec<_> = (0..others).map(|_| scope.spawn(ask)).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    times.sort();
    // Generous: what is asked for is 50 ms on a quiet machine, and a reader that stalls others does so for ever.
    let p99 = times[times.len() * 99 / 100];
    assert!(p99 < Duration::from_secs(2), "{p99:?}");
    let listed = crate::site::clients(server.http);
    assert!(listed.contains("\"unread\":"), "{listed}");
    drop(stalled);
}
