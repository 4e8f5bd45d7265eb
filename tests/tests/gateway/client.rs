//! The client's end: what it may be told, how long it waits, and how it goes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use linkspan_core::{CloseReason, Limits};
use linkspan_gateway::client::{Carrier, Dialer, Target};
use linkspan_gateway::demo;
use linkspan_runtime::{Placement, Runtime, Workers};

use crate::harness::{World, target};

/// A server of one client on a thread of its own: says hello after `think`, then does `what`.
fn serve<T: Send + 'static>(
    think: Duration,
    what: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (Target, JoinHandle<T>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = Target::new(Carrier::Tcp, listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let hello = read_package(&mut stream);
        assert_eq!(hello[0], 1, "a handshake");
        thread::sleep(think);
        stream.write_all(b"\x01\0\0\x1a{\"code\":200,\"sys\":{\"x\":0}}").unwrap();
        assert_eq!(read_package(&mut stream)[0], 2, "its acknowledgement");
        what(stream)
    });
    (target, thread)
}

fn read_package(stream: &mut TcpStream) -> Vec<u8> {
    let mut package = vec![0; 4];
    stream.read_exact(&mut package).unwrap();
    let len = usize::from(package[1]) << 16 | usize::from(package[2]) << 8 | usize::from(package[3]);
    package.resize(4 + len, 0);
    stream.read_exact(&mut package[4..]).unwrap();
    package
}

/// Found by reading: limits per address are about clients, yet a server that said much ended its own.
pub(crate) async fn a_client_is_not_paced<R: Runtime>(world: World<R>) {
    let gateway = world.start(demo::services(world.runtime()));
    let limits = Limits { messages_per_second: 1, messages_burst: 1, ..Limits::default() };
    let dialer = Dialer::with_limits(world.runtime().clone(), limits);
    // This host as well, but not by an address of the loopback, which is exempt from such limits.
    let port = gateway.addresses().pomelo_tcp.unwrap().port();
    let here = Target::new(Carrier::Tcp, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    let client = dialer.connect(&here).await.unwrap();
    for n in 0..20 {
        assert_eq!(client.request("Echo.Raw", n.to_string()).await.unwrap(), n.to_string());
    }
}

/// Found by reading: with a full mailbox the last handle's goodbye was lost, and the connection stayed for good.
pub(crate) async fn a_client_ends_with_its_handle_though_its_mailbox_is_full<R: Runtime>(world: World<R>) {
    let gateway = world.start(demo::services(world.runtime()));
    let limits = Limits { mailbox: 1, ..Limits::default() };
    let dialer = Dialer::with_limits(world.runtime().clone(), limits);
    for _ in 0..50 {
        let client = dialer.connect(&target(&gateway, Carrier::Tcp)).await.unwrap();
        // Its task has no time to take them between the last one and the end.
        while client.notify("Echo.Raw", "").is_ok() {}
        drop(client);
    }
    world.until("all have ended", || dialer.host().stats().open() == 0).await;
}

/// Found by reading: a time to connect of more than 10 s had no effect, as the bound of the core stayed what it was.
pub(crate) async fn a_client_waits_for_its_server_as_long_as_it_was_told<R: Runtime>(world: World<R>) {
    let (target, server) = serve(Duration::from_millis(500), drop);
    let limits = Limits { handshake_timeout: Duration::from_millis(50), ..Limits::default() };
    let dialer = Dialer::with_limits(world.runtime().clone(), limits).timeout(Duration::from_secs(10));
    dialer.connect(&target).await.unwrap();
    server.join().unwrap();
}

/// A program of one client that queues `count` bodies of `len` bytes, closes, and exits.
fn program<R: Runtime>(target: Target, count: usize, len: usize, limits: Limits) -> JoinHandle<CloseReason> {
    let program = move |workers: Workers<R>| async move {
        let dialer = Dialer::with_limits(workers.first().clone(), limits);
        let client = dialer.connect(&target).await.unwrap();
        for _ in 0..count {
            client.notify("Any.Where", vec![7; len]).unwrap();
        }
        client.close().await
    };
    thread::spawn(move || R::run(Placement::PerCore, NonZeroUsize::MIN, program).unwrap())
}

/// Found by reading: `close` did not wait for what it promises to write, and a program that exits after it lost that.
pub(crate) async fn a_client_that_is_closed_has_written_everything<R: Runtime>(_: World<R>) {
    const COUNT: usize = 24;
    const LEN: usize = 1 << 20;
    // More than two sockets hold, to a server that does not read at first.
    let (target, server) = serve(Duration::ZERO, |mut stream| {
        thread::sleep(Duration::from_millis(300));
        (0..COUNT).take_while(|_| read_package(&mut stream).len() > LEN).count()
    });
    let limits =
        Limits { send_queue_bytes: 64 << 20, close_grace: Duration::from_secs(15), ..Limits::default() };
    let client = program::<R>(target, COUNT, LEN, limits);
    assert_eq!(server.join().unwrap(), COUNT);
    assert_eq!(client.join().unwrap(), CloseReason::Finished);
}

pub(crate) async fn a_client_closes_though_its_server_does_not_read<R: Runtime>(_: World<R>) {
    let (go, gone) = mpsc::channel::<()>();
    let (target, server) = serve(Duration::ZERO, move |stream| {
        let _ = gone.recv_timeout(Duration::from_secs(15));
        drop(stream);
    });
    let grace = Duration::from_millis(300);
    let limits = Limits { send_queue_bytes: 64 << 20, close_grace: grace, ..Limits::default() };
    let client = program::<R>(target, 24, 1 << 20, limits);
    assert_eq!(client.join().unwrap(), CloseReason::Finished);
    assert!(!server.is_finished(), "it has waited for the server");
    drop(go);
    server.join().unwrap();
}
