//! The two pomelo servers of the examples.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use linkspan_gateway::client::{Dialer, Target};
use linkspan_smol::Smol;

/// Runs a test of a client, which needs a runtime; the servers need none.
fn block_on(test: impl AsyncFnOnce(Smol)) {
    let executor = Arc::new(smol::Executor::new());
    smol::block_on(executor.clone().run(test(Smol::new(executor))));
}

/// Each server on a port of its own, on a thread that ends with the test program.
fn servers() -> [SocketAddr; 2] {
    let [first, second] = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = [first.local_addr().unwrap(), second.local_addr().unwrap()];
    std::thread::spawn(move || crate::blocking::run(&first));
    std::thread::spawn(move || crate::readiness::run(second));
    addresses
}

#[test]
fn many_clients_are_answered() {
    for address in servers() {
        block_on(async |runtime| {
            let (dialer, target) =
                (Dialer::new(runtime), Target::resolve(&format!("tcp://{address}")).unwrap());
            let mut clients = Vec::new();
            for _ in 0..50 {
                clients.push(dialer.connect(&target).await.unwrap());
            }
            for round in 0..20_usize {
                // Larger than a socket's buffer now and then: the answer is written in parts.
                let len = if round == 10 { 60_000 } else { round };
                for (at, client) in clients.iter().enumerate() {
                    let body = vec![at as u8; len];
                    assert_eq!(client.request("Echo.Raw", body.clone()).await.unwrap(), body);
                }
            }
            for client in clients {
                client.close().await;
            }
        });
    }
}

#[test]
fn a_client_that_does_not_read_harms_nobody() {
    for address in servers() {
        let mut greedy = TcpStream::connect(address).unwrap();
        greedy.write_all(b"\x01\0\0\x0a{\"sys\":{}}").unwrap();
        greedy.write_all(b"\x02\0\0\0").unwrap();
        let request = [&b"\x04\0\x80\x0c\x00\x01\x09anyroute.\x00"[..], &[7; 0x8000 - 1]].concat();
        greedy.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        // Until the server reads no more: what it owes this client fills its socket and its queue.
        let mut taken = 0;
        while let Ok(count) = greedy.write(&request[taken % request.len()..]) {
            taken += count;
            assert!(taken < 256 << 20, "the server takes everything");
        }
        block_on(async |runtime| {
            let target = Target::resolve(&format!("tcp://{address}")).unwrap();
            let client = Dialer::new(runtime).connect(&target).await.unwrap();
            assert_eq!(client.request("Echo.Raw", "there?").await.unwrap(), "there?");
            client.close().await;
        });
    }
}

#[test]
fn a_peer_that_breaks_the_protocol_is_closed() {
    for address in servers() {
        let mut peer = TcpStream::connect(address).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        // An orderly end or a reset, and nothing else.
        let _ = peer.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{answer:?}");
    }
}
