//! What targets may do to a stream, and kinds of targets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::Duration;

use linkspan_core::tunnel::policy::{DialPolicy, Rule};

use crate::site::{
    AgentConfig, AgentSite, Kind, PATIENCE, Server, dial, echo, forwards, is_over, loopback, pour, target,
    tcp, unix_echo,
};

/// A server and an agent with one local port for each target.
fn pair(kind: Kind, targets: &[String]) -> (Server, AgentSite) {
    let server = Server::start(kind, forwards(targets));
    let agent = AgentSite::start(kind, &server);
    (server, agent)
}

pub(crate) fn a_refused_target(kind: Kind) {
    let free = TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
    let (server, _agent) = pair(kind, &[tcp(free), tcp(echo())]);
    let mut refused = dial(server.forwards[0]);
    assert!(is_over(&mut refused));
    // The session lives on.
    let mut stream = dial(server.forwards[1]);
    stream.write_all(b"still here").unwrap();
    stream.read_exact(&mut [0; 10]).unwrap();
}

pub(crate) fn a_target_that_resets(kind: Kind) {
    let resets = target(|mut stream| {
        stream.read_exact(&mut [0; 1]).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let (server, _agent) = pair(kind, &[tcp(resets)]);
    let mut stream = server.dial();
    stream.write_all(b"x").unwrap();
    assert!(is_over(&mut stream));
}

/// What it sent before is delivered.
pub(crate) fn a_target_that_closes_in_the_middle(kind: Kind) {
    let total = 3 << 20;
    let source = target(move |mut stream| pour(&mut stream, total));
    let (server, _agent) = pair(kind, &[tcp(source)]);
    let mut stream = server.dial();
    crate::site::drink(&mut stream, total, |_| {});
    assert!(is_over(&mut stream));
}

/// It says all it has to say and goes on listening: the protocol has one end for both directions.
pub(crate) fn a_target_that_closes_one_direction(kind: Kind) {
    let half = target(|mut stream| {
        stream.write_all(b"all I have to say").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = stream.read(&mut [0; 1]);
    });
    let (server, _agent) = pair(kind, &[tcp(half)]);
    let mut stream = server.dial();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"all I have to say");
}

/// Whoever ends its own direction still gets what was asked for, if it comes soon.
pub(crate) fn an_answer_to_who_has_said_all(kind: Kind) {
    let answers = target(|mut stream| {
        stream.read_exact(&mut [0; 8]).unwrap();
        thread::sleep(Duration::from_millis(100));
        stream.write_all(b"the answer").unwrap();
    });
    let (server, _agent) = pair(kind, &[tcp(answers)]);
    let mut stream = server.dial();
    stream.write_all(b"question").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"the answer");
}

pub(crate) fn a_unix_socket(kind: Kind) {
    let path = std::env::temp_dir().join(format!("linkspan-{}-{kind:?}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    unix_echo(&path);
    let (server, _agent) = pair(kind, &[format!("unix/{}", path.display())]);
    let mut stream = server.dial();
    stream.write_all(b"across a file").unwrap();
    let mut answer = [0; 13];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"across a file");
    std::fs::remove_file(&path).unwrap();
}

/// Each datagram stays one, and each sender gets its own answers.
pub(crate) fn datagrams(kind: Kind) {
    let socket = UdpSocket::bind(loopback()).unwrap();
    let address: SocketAddr = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 64 * 1024];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            buffer[..count].reverse();
            socket.send_to(&buffer[..count], from).unwrap();
        }
    });
    let (server, _agent) = pair(kind, &[format!("udp/{address}")]);
    let senders: Vec<_> = (0..3)
        .map(|_| {
            let sender = UdpSocket::bind(loopback()).unwrap();
            sender.connect(server.forwards[0]).unwrap();
            sender.set_read_timeout(Some(PATIENCE)).unwrap();
            sender
        })
        .collect();
    for size in [1_usize, 7, 1400, 20_000] {
        for (number, sender) in senders.iter().enumerate() {
            let mut datagram = vec![number as u8; size];
            datagram[0] = size as u8;
            sender.send(&datagram).unwrap();
        }
        for (number, sender) in senders.iter().enumerate() {
            let mut answer = vec![0; 64 * 1024];
            let count = sender.recv(&mut answer).unwrap();
            let mut expected = vec![number as u8; size];
            expected[0] = size as u8;
            expected.reverse();
            assert!(answer[..count] == expected, "{size} bytes of sender {number}");
        }
    }
}

pub(crate) fn what_is_not_allowed(kind: Kind) {
    let (allowed, forbidden) = (echo(), echo());
    let port = |address: SocketAddr| address.port();
    let spellings = [
        format!("tcp/127.0.0.1:{}", port(forbidden)),
        format!("tcp/0x7f.1:{}", port(forbidden)),
        format!("tcp/[::ffff:127.0.0.1]:{}", port(forbidden)),
        format!("tcp/localhost:{}", port(forbidden)),
        format!("tcp/LOCALHOST.:{}", port(forbidden)),
        "tcp/169.254.169.254:80".to_owned(),
        "unix//run/x.sock".to_owned(),
        format!("tcp/127.0.0.1:{}", port(allowed)),
    ];
    let server = Server::start(kind, forwards(&spellings));
    let rule: Rule = format!("tcp/127.0.0.1:{}", port(allowed)).parse().unwrap();
    let config = AgentConfig { policy: DialPolicy::new([rule]), ..AgentConfig::new(server.door()) };
    let agent = AgentSite::start_with(kind, config);
    agent.until_connected(1);
    let (last, refused) = server.forwards.split_last().unwrap();
    for forward in refused {
        assert!(is_over(&mut dial(*forward)));
    }
    let mut stream = dial(*last);
    stream.write_all(b"allowed").unwrap();
    stream.read_exact(&mut [0; 7]).unwrap();
}
