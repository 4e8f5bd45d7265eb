//! What a connection does in ordinary life.

use std::collections::VecDeque;
use std::io::Write;
use std::net::Shutdown;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use linkspan_core::{CloseReason, Limits, Mark, Opcode};
use linkspan_runtime::{Host, HostConfig, Outbox, Placement, Received, Runtime, Transport, drive, mailbox};

use crate::harness::{Random, Server, Setup, eventually, package};
use crate::toy::{Echo, Toy};

/// A message that says which one it is.
fn numbered(number: usize, length: usize) -> Vec<u8> {
    let mut body = vec![b'x'; length.max(9)];
    body[1..9].copy_from_slice(&(number as u64).to_be_bytes());
    body
}

pub(crate) fn echoes_any_chunking<R: Runtime>() {
    let mut server = Server::start::<R>(Setup::default());
    let mut random = Random(1);
    let messages: Vec<_> = (0..400)
        .map(|number| numbered(number, if number % 50 == 7 { 40_000 } else { random.below(2_000) }))
        .collect();
    let bytes: Vec<u8> = messages.iter().flat_map(|body| package(body)).collect();
    let mut client = server.connect();
    let mut writer = client.stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(1 + random.below(rest.len().min(3_000)));
            writer.write_all(chunk).unwrap();
            rest = after;
        }
    });
    for message in &messages {
        assert_eq!(client.receive(), *message);
    }
    writing.join().unwrap();
    drop(client);
    server.assert_clean();
    assert_eq!(server.closed_for(CloseReason::PeerClosed), 1);
    server.stop();
}

pub(crate) fn echoes_any_window<R: Runtime>() {
    let server = Server::start::<R>(Setup::default());
    for window in [1, 16, 64, 1024] {
        let mut client = server.connect();
        let mut sent = 0;
        for expected in 0..3_000 {
            while sent < 3_000 && sent < expected + window {
                client.send(&numbered(sent, 64));
                sent += 1;
            }
            assert_eq!(client.receive(), numbered(expected, 64));
        }
    }
    server.assert_clean();
}

pub(crate) fn echoes_on_every_thread<R: Runtime>() {
    let setup = Setup { placement: Placement::PerCore, threads: 3, ..Setup::default() };
    let mut server = Server::start::<R>(setup);
    let mut clients: Vec<_> = (0..60).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(b"J");
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ask(&numbered(number, 64)), numbered(number, 64));
    }
    // A message from one thread reaches the connections of all.
    clients[0].send(b"Chello");
    for client in &mut clients {
        assert_eq!(client.receive(), b"hello");
    }
    drop(clients);
    server.assert_clean();
    server.stop();
}

pub(crate) fn pushes_back_without_loss<R: Runtime>() {
    let limits = Limits { send_queue_bytes: 64 * 1024, pending_requests: 64, ..Setup::default().limits };
    let server = Server::start::<R>(Setup { limits, ..Setup::default() });
    let mut client = server.connect();
    let mut writer = client.stream.try_clone().unwrap();
    let count = 8_000;
    let writing = thread::spawn(move || {
        for number in 0..count {
            writer.write_all(&package(&numbered(number, 1_000))).unwrap();
        }
    });
    eventually("the reader is paused", || server.host.stats().marked(Mark::ReadPaused) > 0);
    thread::sleep(Duration::from_millis(100));
    assert!(server.host.buffered() < 256 * 1024, "the queue is bounded");
    for number in 0..count {
        assert_eq!(client.receive(), numbered(number, 1_000));
    }
    writing.join().unwrap();
    drop(client);
    server.assert_clean();
}

pub(crate) fn answers_what_came_before_the_end<R: Runtime>() {
    let server = Server::start::<R>(Setup::default());
    let mut client = server.connect();
    let bytes: Vec<u8> = (0..20).flat_map(|number| package(&numbered(number, 64))).collect();
    client.stream.write_all(&bytes).unwrap();
    client.stream.shutdown(Shutdown::Write).unwrap();
    for number in 0..20 {
        assert_eq!(client.receive(), numbered(number, 64));
    }
    assert!(client.read_to_end());
    server.assert_clean();
}

/// A transport whose peer has said all it will say before anybody looks.
struct Said {
    input: VecDeque<Received>,
    sent: Arc<AtomicUsize>,
}

impl Transport for Said {
    const NAME: &'static str = "said";

    fn poll_receive(&mut self, _: &mut Context<'_>) -> Poll<Received> {
        self.input.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn poll_send(&mut self, _: &mut Context<'_>, outbox: &mut Outbox) -> Poll<Result<(), CloseReason>> {
        while outbox.pop().is_some() {
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
        outbox.settle();
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: CloseReason) -> Poll<()> {
        Poll::Ready(())
    }
}

/// As above, when one poll of the connection's task is not enough for all answers.
pub(crate) fn answers_a_long_queue_before_the_end<R: Runtime>() {
    let sent = Arc::new(AtomicUsize::new(0));
    let bytes: Vec<u8> = (0..600).flat_map(|number| package(&numbered(number, 64))).collect();
    let input = VecDeque::from([
        Received::Data(Opcode::Stream, bytes.into()),
        Received::Ended(CloseReason::PeerClosed),
    ]);
    let transport = Said { input, sent: Arc::clone(&sent) };
    let host = Host::new(HostConfig::default());
    let permit = host.admit(([127, 0, 0, 1], 1).into()).unwrap();
    let (mailbox, inbox) = mailbox(8);
    let app = Echo { mailbox, answers: VecDeque::new() };
    let reason = R::run(Placement::WorkStealing, NonZeroUsize::MIN, |workers| async move {
        drive(workers.first(), permit, transport, Toy::new(false), inbox, app).await
    });
    assert_eq!(reason.unwrap(), CloseReason::PeerClosed);
    assert_eq!(sent.load(Ordering::Relaxed), 600);
}

pub(crate) fn puts_pushes_before_answers<R: Runtime>() {
    let server = Server::start::<R>(Setup::default());
    let mut client = server.connect();
    for _ in 0..50 {
        assert_eq!(client.ask(b"?"), b"first");
        assert_eq!(client.receive(), b"?");
    }
}

pub(crate) fn beats_while_idle<R: Runtime>() {
    let beat = Duration::from_millis(100);
    let limits = Limits { heartbeat: Some(beat), silence: None, ..Limits::default() };
    let server = Server::start::<R>(Setup { limits, ..Setup::default() });
    let mut client = server.connect();
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(client.receive(), b"beat");
    }
    let took = start.elapsed();
    assert!(took >= 5 * beat - Duration::from_millis(20) && took < 15 * beat, "{took:?}");
}

pub(crate) fn ends_silent_peers<R: Runtime>() {
    let limits = Limits { heartbeat: None, silence: Some(Duration::from_millis(300)), ..Limits::default() };
    let server = Server::start::<R>(Setup { limits, ..Setup::default() });
    let mut silent = server.connect();
    let mut lively = server.connect();
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(60));
        assert_eq!(lively.ask(b"x"), b"x");
    }
    assert!(silent.read_to_end());
    assert_eq!(server.closed_for(CloseReason::HeartbeatTimeout), 1);
    assert_eq!(lively.ask(b"y"), b"y");
}

pub(crate) fn ends_unfinished_handshakes<R: Runtime>() {
    let limits = Limits { handshake_timeout: Duration::from_millis(200), ..Setup::default().limits };
    let server = Server::start::<R>(Setup { limits, waits: true, ..Setup::default() });
    let mut client = server.connect();
    // A single byte does not extend it.
    client.stream.write_all(&[0]).unwrap();
    assert!(client.read_to_end());
    assert_eq!(server.closed_for(CloseReason::HandshakeTimeout), 1);
    server.assert_clean();
}

pub(crate) fn a_slow_reader_stalls_nobody<R: Runtime>() {
    let limits = Limits {
        send_queue_bytes: 64 * 1024,
        close_grace: Duration::from_millis(300),
        mailbox: 100_000,
        ..Setup::default().limits
    };
    let server = Server::start::<R>(Setup { limits, ..Setup::default() });
    let (mut slow, mut good, mut talker) = (server.connect(), server.connect(), server.connect());
    for client in [&mut slow, &mut good] {
        client.send(b"J");
        assert_eq!(client.ask(b"in"), b"in");
    }
    for round in 0..400 {
        for number in 0..20 {
            let mut body = numbered(round * 20 + number, 1_000);
            body[0] = b'C';
            talker.send(&body);
        }
        for number in 0..20 {
            assert_eq!(good.receive(), numbered(round * 20 + number, 1_000)[1..]);
        }
    }
    eventually("the slow one is closed", || server.closed_for(CloseReason::SlowConsumer) == 1);
    assert_eq!(good.ask(b"x"), b"x");
    drop((slow, good, talker));
    server.assert_clean();
}

pub(crate) fn a_stalled_peer_is_cut<R: Runtime>() {
    let limits = Limits {
        write_timeout: Duration::from_millis(300),
        close_grace: Duration::from_millis(200),
        send_queue_bytes: 8 * 1024 * 1024,
        ..Setup::default().limits
    };
    let server = Server::start::<R>(Setup { limits, ..Setup::default() });
    let mut client = server.connect();
    client.stall();
    eventually("the stalled one is cut", || server.host.stats().open() == 0);
    assert_eq!(server.closed_for(CloseReason::WriteTimeout), 1);
    server.assert_clean();
}

pub(crate) fn a_full_mailbox_follows_its_policy<R: Runtime>() {
    let limits = Limits { mailbox: 8, ..Setup::default().limits };
    let server = Server::start::<R>(Setup { limits, ..Setup::default() });
    // All in one piece: the connection fills its own mailbox while it is busy with its input.
    let burst = |kind: &[u8]| [package(b"J"), package(kind).repeat(100), package(b"end")].concat();

    let mut dropper = server.connect();
    dropper.stream.write_all(&burst(b"Nx")).unwrap();
    let mut pushes = 0;
    while dropper.receive() != b"end" {
        pushes += 1;
    }
    assert!((8..100).contains(&pushes), "{pushes}");
    assert!(server.host.stats().marked(Mark::MailboxFull) > 0);
    assert_eq!(dropper.ask(b"still here"), b"still here");
    drop(dropper);
    server.assert_clean();

    let mut closer = server.connect();
    closer.stream.write_all(&burst(b"Cx")).unwrap();
    assert!(closer.read_to_end());
    assert_eq!(server.closed_for(CloseReason::SlowConsumer), 1);
    server.assert_clean();
}
