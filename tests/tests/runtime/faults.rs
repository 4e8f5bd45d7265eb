//! What must not bring the server down.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use linkspan_core::{CloseReason, Limits, Mark};
use linkspan_runtime::Runtime;
use socket2::SockRef;

use crate::harness::{Client, Random, Server, Setup, eventually, package};

pub(crate) fn resets_leave_nothing_behind<R: Runtime>() {
    let mut server = Server::start::<R>(Setup::default());
    let mut random = Random(7);
    let recorded = [package(b"J"), package(b"hello"), package(b"Cto all"), package(&[b'x'; 5_000])].concat();
    for _ in 0..300 {
        let mut client = server.connect();
        client.stream.write_all(&recorded[..random.below(recorded.len() + 1)]).unwrap();
        if random.below(4) == 0 {
            thread::sleep(Duration::from_micros(random.below(2_000) as u64));
        }
        if random.below(3) > 0 {
            SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    // The last ones may still wait to be accepted.
    let closes = || server.host.stats().closes().iter().map(|(_, count)| count).sum::<u64>();
    eventually("all have ended", || closes() == 300);
    server.assert_clean();
    assert_eq!(server.connect().ask(b"x"), b"x");
    server.stop();
}

pub(crate) fn a_panic_ends_one_connection<R: Runtime>() {
    let server = Server::start::<R>(Setup::default());
    let mut other = server.connect();
    let mut unlucky = server.connect();
    for client in [&mut other, &mut unlucky] {
        client.send(b"J");
        assert_eq!(client.ask(b"in"), b"in");
    }
    unlucky.send(b"!");
    unlucky.read_to_end();
    assert_eq!(other.ask(b"x"), b"x");
    eventually("the place is free", || server.host.stats().open() == 1);
    drop(other);
    server.assert_clean();
}

pub(crate) fn stops_within_its_time<R: Runtime>() {
    let limits = Limits { close_grace: Duration::from_secs(60), ..Setup::default().limits };
    let mut server = Server::start::<R>(Setup { limits, ..Setup::default() });
    let mut polite: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for client in &mut polite {
        assert_eq!(client.ask(b"x"), b"x");
    }
    // Waits for an answer that never comes: the graceful end would last a minute.
    let mut waiting = server.connect();
    waiting.send(b"~");
    assert!(waiting.stream.set_nonblocking(false).is_ok());
    let readers: Vec<_> =
        polite.into_iter().map(|mut client| thread::spawn(move || client.read_to_end())).collect();
    let took = server.stop();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(readers.into_iter().all(|reader| reader.join().unwrap()));
    assert!(TcpStream::connect(server.address).is_err(), "nobody is let in any more");
    assert_eq!(server.host.stats().open(), 0);
}

pub(crate) fn stops_at_once_when_forced<R: Runtime>() {
    let limits = Limits { close_grace: Duration::from_secs(60), ..Setup::default().limits };
    let setup = Setup { limits, drain_timeout: Duration::from_secs(60), ..Setup::default() };
    let mut server = Server::start::<R>(setup);
    let mut waiting = server.connect();
    waiting.send(b"~");
    thread::sleep(Duration::from_millis(50));
    server.order_stop();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(server.host.stats().open(), 1, "it waits for the answer");
    server.host.force();
    let took = server.stop();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

pub(crate) fn last_words_do_not_outlast_force<R: Runtime>() {
    let limits = Limits {
        write_timeout: Duration::from_millis(200),
        close_grace: Duration::from_secs(60),
        send_queue_bytes: 8 * 1024 * 1024,
        ..Setup::default().limits
    };
    let server = Server::start::<R>(Setup { limits, ..Setup::default() });
    let mut client = server.connect();
    client.stall();
    eventually("it has closed", || server.closed_for(CloseReason::WriteTimeout) == 1);
    assert_eq!(server.host.stats().open(), 1, "what it has queued waits for a reader");
    server.host.force();
    eventually("it is cut", || server.host.stats().open() == 0);
    server.assert_clean();
}

const CHILD: &str = "LINKSPAN_TEST_CHILD";

/// The server runs in a process of its own, where files are few.
pub(crate) fn survives_without_file_descriptors<R: Runtime>() {
    if env::var_os(CHILD).is_some() {
        return serve_with_few_files::<R>();
    }
    let case = format!("{}::survives_without_file_descriptors", R::NAME);
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", &case, "--nocapture", "--test-threads", "1"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address =
        lines.find_map(|line| line.split_once("ADDRESS ").map(|(_, rest)| rest.to_owned())).unwrap();
    let address: SocketAddr = address.parse().unwrap();

    let mut inside = Client::over(TcpStream::connect(address).unwrap());
    assert_eq!(inside.ask(b"x"), b"x");
    // The kernel takes them all; the server cannot.
    let crowd: Vec<_> = (0..150).map(|_| TcpStream::connect(address).unwrap()).collect();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(inside.ask(b"y"), b"y");
    drop(crowd);
    let start = Instant::now();
    // Until the server has seen that the crowd is gone it refuses whoever comes.
    while Client::over(TcpStream::connect(address).unwrap()).try_ask(b"z").ok().as_deref() != Some(b"z") {
        assert!(start.elapsed() < Duration::from_secs(5), "there is room again");
        thread::sleep(Duration::from_millis(10));
    }
    assert!(start.elapsed() < Duration::from_secs(5));

    drop(child.stdin.take());
    let failed = lines.find_map(|line| line.split_once("FAILED ").map(|(_, rest)| rest.to_owned())).unwrap();
    let failed: u64 = failed.trim().parse().unwrap();
    assert!((1..100).contains(&failed), "the limit was reached, and the delays grew: {failed}");
    assert!(child.wait().unwrap().success());
}

fn serve_with_few_files<R: Runtime>() {
    rlimit::setrlimit(rlimit::Resource::NOFILE, 64, 64).unwrap();
    let mut server = Server::start::<R>(Setup::default());
    println!("\nADDRESS {}", server.address);
    let _ = std::io::stdin().read(&mut [0]);
    println!("\nFAILED {}", server.host.stats().marked(Mark::AcceptFailed));
    server.stop();
}

pub(crate) fn too_much_memory_closes_the_greedy<R: Runtime>() {
    let limits = Limits {
        send_queue_bytes: 16 * 1024 * 1024,
        pending_requests: 100_000,
        buffered_bytes: 2 * 1024 * 1024,
        close_grace: Duration::from_millis(100),
        ..Setup::default().limits
    };
    let server = Server::start::<R>(Setup { limits, ..Setup::default() });
    let mut modest = server.connect();
    assert_eq!(modest.ask(b"x"), b"x");
    let mut greedy = server.connect();
    greedy.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let start = Instant::now();
    while greedy.stream.write_all(&package(&[b'x'; 10_000])).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    eventually("the greedy one is closed", || server.closed_for(CloseReason::Overloaded) == 1);
    assert_eq!(modest.ask(b"x"), b"x");
    drop((modest, greedy));
    server.assert_clean();
}
