//! Limits of the gateway at values of their own.

use std::io::{Read, Write};
use std::net::{Shutdown, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use linkspan_core::tunnel::{Content, EOF, HEADER};
use linkspan_core::{Limits, Mark};

use crate::original::{Session, handshake};
use crate::site::{AgentSite, Kind, PATIENCE, Server, eventually, forwards, is_over, loopback, target, tcp};

/// A message as large as it may be is taken, a larger one ends its session.
pub(crate) fn messages_have_a_size(kind: Kind) {
    let smaller = |limits: &mut Limits| limits.tunnel_receive_max = 4096;
    let server = Server::start_at(kind, forwards(&[]), loopback(), smaller);
    let mut session = Session::open(&server, "foo");
    server.until_clients(1);
    let message = |len: usize| Content::Data(Bytes::from(vec![0; len]));
    session.say(5, message(4000));
    let answer = session.until(|message| message.stream == 5);
    assert!(matches!(answer.content, Content::Error(_)));
    session.say(7, message(4200));
    session.until_over();
    server.until_clients(0);
}

/// How much a writer may be ahead, and how long who has said all is listened to.
pub(crate) fn streams_have_windows_and_an_end(kind: Kind) {
    let change = |limits: &mut Limits| {
        limits.tunnel_write_window = 8 * 1024;
        limits.tunnel_half_closed = Duration::from_millis(50);
    };
    // It answers as much as it was asked, late.
    let slow = target(|mut stream| {
        let mut question = vec![0; 256 * 1024];
        if stream.read_exact(&mut question).is_ok() && stream.write_all(&question).is_ok() {
            thread::sleep(PATIENCE);
        }
    });
    let server = Server::start_at(kind, forwards(&[tcp(slow)]), loopback(), change);
    let _agent = AgentSite::start(kind, &server);
    let mut stream = server.dial();
    stream.write_all(&vec![7; 256 * 1024]).unwrap();
    let mut answer = vec![0; 256 * 1024];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer.iter().all(|byte| *byte == 7));
    stream.shutdown(Shutdown::Write).unwrap();
    let started = Instant::now();
    assert!(is_over(&mut stream), "nothing comes any more");
    assert!(started.elapsed() < PATIENCE / 2);
}

/// A stream that its peer ends makes room for the next one, although something of it was never sent, and something that
/// was read never reported.
pub(crate) fn an_ended_stream_makes_room(kind: Kind) {
    let change = |limits: &mut Limits| {
        limits.tunnel_streams = 1;
        limits.tunnel_half_closed = Duration::from_millis(50);
    };
    let server = Server::start_at(kind, forwards(&["tcp/127.0.0.1:9".to_owned()]), loopback(), change);
    // One of ours that does not count: when it pauses, it is not asked again.
    let mut agent = handshake(server.http, &[("x-tunnel-id", "foo"), (HEADER, "1")]).unwrap().0;
    let mut stream = server.dial();
    let (id, _) = agent.until_connect();
    agent.say(id, Content::Pause);
    agent.say(id, Content::Data(Bytes::from_static(b"x")));
    stream.read_exact(&mut [0; 1]).unwrap();
    // More than the core is handed, and less than makes the sender wait.
    stream.write_all(&vec![7; 200 * 1024]).unwrap();
    drop(stream);
    eventually("only the agent is left", || server.host.stats().open() == 1);
    agent.say(id, Content::Error(Bytes::from_static(EOF)));
    agent.until(|message| message.stream == id && matches!(message.content, Content::Error(_)));
    let _next = server.dial();
    agent.until_connect();
}

/// Senders and datagrams that wait are counted, and a stream that is idle makes room for the next sender.
pub(crate) fn datagrams_have_bounds(kind: Kind) {
    let change = |limits: &mut Limits| {
        limits.tunnel_datagram_idle = Duration::from_millis(300);
        limits.tunnel_datagram_senders = 1;
        limits.tunnel_datagrams_waiting = 4;
    };
    let server = Server::start_at(kind, forwards(&["udp/127.0.0.1:9".to_owned()]), loopback(), change);
    let sender = || {
        let socket = UdpSocket::bind(loopback()).unwrap();
        socket.connect(server.forwards[0]).unwrap();
        socket
    };
    // No agent is there yet: the first four wait, and the rest is lost.
    let [one, other] = [sender(), sender()];
    (0..10).for_each(|number| _ = one.send(&[number]).unwrap());
    let marked = |mark| server.host.stats().marked(mark);
    eventually("six are lost", || marked(Mark::DatagramDropped) == 6);
    other.send(b"x").unwrap();
    eventually("one sender too many", || marked(Mark::SendersFull) == 1);
    let mut agent = Session::open(&server, "foo");
    let (id, _) = agent.until_connect();
    for number in 0..4 {
        let message = agent.until(|message| message.stream == id);
        assert_eq!(message.content, Content::Data(Bytes::from(vec![number])));
    }
    let end = agent.until(|message| message.stream == id);
    assert!(matches!(end.content, Content::Error(_)), "nothing came for a while: {end:?}");
    eventually("the other has its turn", || {
        other.send(b"y").unwrap();
        let heard = agent.hear(Duration::from_millis(50)).expect("the session lives");
        heard.is_some_and(|message| matches!(message.content, Content::Connect(_)))
    });
}
