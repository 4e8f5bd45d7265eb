//! Much data, both ways, and readers that are slow.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use linkspan_core::tunnel::{Content, EOF};

use crate::original::Session;
use crate::site::{
    AgentSite, Kind, Server, drink, echo, fill, forwards, is_long, is_over, pour, target, tcp,
};

const MIB: u64 = 1 << 20;

pub(crate) fn bulk_echo(server: Kind, agent: Kind) {
    let total = if is_long() { 256 * MIB } else { 16 * MIB };
    let own = Server::start(server, forwards(&[tcp(echo())]));
    let _agent = AgentSite::start(agent, &own);
    let mut stream = own.dial();
    let mut writer = stream.try_clone().unwrap();
    let started = Instant::now();
    let writing = thread::spawn(move || pour(&mut writer, total));
    drink(&mut stream, total, |_| {});
    writing.join().unwrap();
    // There and back.
    report(&format!("{server:?} server, {agent:?} agent, bulk echo"), 2 * total, started.elapsed());
}

/// Both directions as fast as they go, neither waiting for the other.
pub(crate) fn full_duplex(server: Kind, agent: Kind) {
    let source = target(move |mut stream| {
        let mut reader = stream.try_clone().unwrap();
        thread::spawn(move || {
            let mut at = 0;
            let (mut buffer, mut expected) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                fill(at, &mut expected[..count]);
                assert!(buffer[..count] == expected[..count], "other bytes from {at} on");
                at += count as u64;
            }
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
    let own = Server::start(server, forwards(&[tcp(source)]));
    let _agent = AgentSite::start(agent, &own);
    let started = Instant::now();
    let [up, down] = both_ways(&own.dial());
    report(&format!("{server:?} server, {agent:?} agent, full duplex"), up + down, started.elapsed());
}

/// Sends and reads the test data for as long as is asked for; how much there was of either. In each tenth of the time
/// both directions move.
pub(crate) fn both_ways(stream: &TcpStream) -> [u64; 2] {
    let span = if is_long() { Duration::from_secs(30) } else { Duration::from_millis(500) };
    let [up, down] = [AtomicU64::new(0), AtomicU64::new(0)];
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, mut buffer) = (stream, vec![0; 64 * 1024]);
            while !is_done.load(Ordering::Relaxed) {
                fill(up.load(Ordering::Relaxed), &mut buffer);
                stream.write_all(&buffer).unwrap();
                up.fetch_add(buffer.len() as u64, Ordering::Relaxed);
            }
        });
        let mut reader = stream.try_clone().unwrap();
        let counts = || [&up, &down].map(|count| count.load(Ordering::Relaxed));
        let started = Instant::now();
        let (mut last, mut parts) = (counts(), 0);
        while started.elapsed() < span {
            drink_on(&mut reader, &down);
            if is_long() && started.elapsed() > span * (parts + 1) / 10 {
                let now = counts();
                assert!(now.iter().zip(last).all(|(now, last)| *now > last), "{last:?} then {now:?}");
                (last, parts) = (now, parts + 1);
            }
        }
        is_done.store(true, Ordering::Relaxed);
        // The writer may wait for room.
        let last = up.load(Ordering::Relaxed);
        while up.load(Ordering::Relaxed) == last {
            drink_on(&mut reader, &down);
        }
    });
    let moved = [up, down].map(AtomicU64::into_inner);
    assert!(moved.iter().all(|count| *count > 0), "{moved:?}");
    moved
}

/// Says how fast it was; long runs of what was built to be fast must be at least as fast as was promised.
fn report(what: &str, bytes: u64, took: Duration) {
    let rate = bytes as f64 / 1e6 / took.as_secs_f64();
    eprintln!("{what}: {rate:.0} MB/s");
    assert!(!is_long() || cfg!(debug_assertions) || rate >= 100.0, "{what}: {rate:.0} MB/s");
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

/// Downloads at full speed whose readers do nothing for a while: the server holds no more than their windows, and each
/// gets all in the end.
pub(crate) fn sleeping_readers_lose_nothing(server: Kind, agent: Kind) {
    let total = if is_long() { 256 * MIB } else { 20 * MIB };
    let source = target(move |mut stream| pour(&mut stream, total));
    let server = Server::start(server, forwards(&[tcp(source)]));
    let _agent = AgentSite::start(agent, &server);
    let mut readers: Vec<_> = (0..3).map(|_| server.dial()).collect();
    let window = u64::from(server.host.limits().tunnel_stream_window);
    let mut unread = 0;
    for _ in 0..50 {
        unread = unread.max(unread_in(&crate::site::clients(server.http)));
        thread::sleep(Duration::from_millis(10));
    }
    assert!((1..=3 * window).contains(&unread), "{unread} bytes are unread");
    thread::scope(|scope| {
        for reader in &mut readers {
            scope.spawn(move || {
                drink(reader, total, |_| {});
                assert!(is_over(reader));
            });
        }
    });
}

/// The far end has said all and is gone. What is left goes to readers that are slower than anybody waits for an answer,
/// also to one that has said all itself.
pub(crate) fn the_tail_waits_for_slow_readers(kind: Kind) {
    let total = 8 * MIB;
    let server = Server::start(kind, forwards(&["tcp/127.0.0.1:9".to_owned()]));
    let mut agent = Session::open(&server, "foo");
    let mut readers = [server.dial(), server.dial()];
    let ids = [agent.until_connect().0, agent.until_connect().0];
    let mut piece = vec![0; 32 * 1024];
    for at in (0..total).step_by(piece.len()) {
        fill(at, &mut piece);
        ids.iter().for_each(|id| agent.say(*id, Content::Data(Bytes::copy_from_slice(&piece))));
    }
    readers[1].shutdown(Shutdown::Write).unwrap();
    thread::sleep(Duration::from_millis(100));
    for id in ids {
        agent.say(id, Content::Error(Bytes::from_static(EOF)));
        agent.until(|message| message.stream == id && matches!(message.content, Content::Error(_)));
    }
    thread::scope(|scope| {
        for reader in &mut readers {
            scope.spawn(move || {
                // 50 KB/s for more than two seconds, then as fast as it goes.
                let mut slow = 128 * 1024_usize;
                drink(reader, total, |count| {
                    if slow > 0 {
                        slow = slow.saturating_sub(count);
                        thread::sleep(Duration::from_micros(20 * count as u64));
                    }
                });
                assert!(is_over(reader));
            });
        }
    });
}

/// What a list of clients says is unread.
fn unread_in(list: &str) -> u64 {
    let count = |rest: &str| -> u64 {
        let digits = rest.find(|one: char| !one.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().unwrap()
    };
    list.split("\"unread\":").skip(1).map(count).sum()
}

/// Downloads beside one that nobody reads.
pub(crate) fn a_stalled_reader_harms_nobody(kind: Kind) {
    const PIECE: usize = 64 * 1024;
    let endless = target(|mut stream| {
        let buffer = vec![0; PIECE];
        while stream.write_all(&buffer).is_ok() {}
    });
    let pieces = target(|mut stream| {
        let mut round = [0];
        while stream.read_exact(&mut round).is_ok() && stream.write_all(&[round[0]; PIECE]).is_ok() {}
    });
    let server = Server::start(kind, forwards(&[tcp(endless), tcp(pieces)]));
    let _agent = AgentSite::start(kind, &server);
    let mut stalled = crate::site::dial(server.forwards[0]);
    stalled.read_exact(&mut [0; 1024]).unwrap();
    thread::sleep(Duration::from_millis(300));
    let others = if is_long() { 64 } else { 16 };
    let rounds = if is_long() { 100 } else { 20 };
    let mut times: Vec<_> = thread::scope(|scope| {
        let download = || {
            let mut stream = crate::site::dial(server.forwards[1]);
            let (mut own, mut piece) = (Vec::new(), vec![0; PIECE]);
            for round in 0..rounds {
                let started = Instant::now();
                stream.write_all(&[round]).unwrap();
                stream.read_exact(&mut piece).unwrap();
                assert!(piece.iter().all(|byte| *byte == round));
                own.push(started.elapsed());
                // Sixty-four at a time, and not as many as the machine can do at once.
                thread::sleep(Duration::from_millis(if is_long() { 50 } else { 0 }));
            }
            own
        };
        let running: Vec<_> = (0..others).map(|_| scope.spawn(download)).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    times.sort();
    let p99 = times[times.len() * 99 / 100];
    eprintln!("{kind:?}: p99 of {others} downloads beside a stalled one: {p99:?}");
    // Generous where the machine may be busy: a reader that stalls others does so for ever.
    let is_measured = is_long() && !cfg!(debug_assertions);
    assert!(p99 < Duration::from_millis(if is_measured { 50 } else { 2_000 }), "{p99:?}");
    let listed = crate::site::clients(server.http);
    assert!(listed.contains("\"unread\":"), "{listed}");
    drop(stalled);
}
