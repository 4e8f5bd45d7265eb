//! A server on its own threads, and blocking clients.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use linkspan_core::{CloseReason, Limits, drain};
use linkspan_runtime::{
    Host, HostConfig, Inbox, Metered, Permit, Placement, Runtime, SocketOptions, SocketTransport,
    StreamTransport, Transport, accept, bind, drive, mailbox, stop,
};

use crate::toy::{Echo, Toy, ToyCommand};

#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) placement: Placement,
    pub(crate) threads: usize,
    pub(crate) websocket: bool,
    pub(crate) waits: bool,
    pub(crate) drain_timeout: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: Limits { heartbeat: None, silence: None, ..Limits::default() },
            placement: Placement::WorkStealing,
            threads: 2,
            websocket: false,
            waits: false,
            drain_timeout: Duration::from_secs(1),
        }
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) host: Arc<Host>,
    thread: Option<JoinHandle<()>>,
    stop: mpsc::Sender<()>,
}

impl Server {
    pub(crate) fn start<R: Runtime>(setup: Setup) -> Self {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let threads = NonZeroUsize::new(setup.threads).unwrap();
            R::run(setup.placement, threads, |workers| async move {
                let drain = drain::Config {
                    timeout: setup.drain_timeout,
                    spread: Duration::from_millis(200),
                    ..drain::Config::default()
                };
                let limits = Arc::new(setup.limits.clone());
                let host = Host::new(HostConfig { limits, drain, ..HostConfig::default() });
                // Small kernel buffers, so that a few megabytes stall a connection.
                let options = SocketOptions { send_buffer: Some(32 * 1024), ..SocketOptions::default() };
                let sockets = bind(([127, 0, 0, 1], 0).into(), workers.count(), &options).unwrap();
                let address = sockets[0].local_addr().unwrap();
                for (runtime, socket) in workers.iter().zip(sockets) {
                    let listener = runtime.listen(socket).unwrap();
                    runtime.spawn(serve(runtime.clone(), Arc::clone(&host), listener, setup.clone()));
                }
                tell.send((address, Arc::clone(&host))).unwrap();
                let runtime = workers.first().clone();
                let orders = Arc::clone(&host);
                thread::spawn(move || {
                    // Dropped or told: stop.
                    let _ = stopped.recv();
                    let handle = runtime.clone();
                    runtime.spawn(async move {
                        stop_all(&handle, &orders).await;
                    });
                });
                host.finished().raised().await;
            })
            .unwrap();
        });
        let (address, host) = told.recv_timeout(Duration::from_secs(10)).unwrap();
        Self { address, host, thread: Some(thread), stop }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::over(TcpStream::connect(self.address).unwrap())
    }

    /// Orders the graceful stop and waits for its end.
    pub(crate) fn stop(&mut self) -> Duration {
        let start = Instant::now();
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        start.elapsed()
    }

    pub(crate) fn order_stop(&self) {
        self.stop.send(()).unwrap();
    }

    pub(crate) fn closed_for(&self, reason: CloseReason) -> u64 {
        self.host.stats().closes().iter().find(|(one, _)| *one == reason).map_or(0, |(_, count)| *count)
    }

    /// Waits until the connections are gone and checks that nothing of them stays.
    pub(crate) fn assert_clean(&self) {
        eventually("connections end", || self.host.stats().open() == 0);
        eventually("the hub is empty", || {
            self.host.shards().groups() == 0 && self.host.shards().sessions() == 0
        });
        assert_eq!(self.host.buffered(), 0);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.host.force();
        self.host.force();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn stop_all<R: Runtime>(runtime: &R, host: &Host) {
    stop(runtime, host, CloseReason::Stopping).await;
}

async fn serve<R: Runtime>(runtime: R, host: Arc<Host>, listener: R::Listener, setup: Setup) {
    accept(&runtime, &host, &listener, |stream, permit| {
        let waits = setup.waits;
        if setup.websocket {
            let handle = runtime.clone();
            runtime.spawn(async move {
                let config = Some(SocketTransport::<R::Stream>::config(permit.host().limits()));
                let stream = Metered::new(stream);
                if let Ok(socket) = async_tungstenite::accept_async_with_config(stream, config).await {
                    connection(&handle, permit, SocketTransport::over(socket), waits).await;
                }
            });
        } else {
            runtime.spawn(connection(&runtime, permit, StreamTransport::new(stream), waits));
        }
    })
    .await;
}

fn connection<R: Runtime, T: Transport + 'static>(
    runtime: &R,
    permit: Permit,
    transport: T,
    waits: bool,
) -> impl Future<Output = ()> + Send + use<R, T> {
    let (sender, inbox): (_, Inbox<ToyCommand>) = mailbox(permit.host().limits().mailbox);
    let app = Echo { mailbox: sender, answers: VecDeque::new() };
    let driver = drive(runtime, permit, transport, Toy::new(waits), inbox, app);
    async move {
        driver.await;
    }
}

/// A blocking client with a time limit on everything.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream }
    }

    pub(crate) fn send(&mut self, body: &[u8]) {
        self.stream.write_all(&package(body)).unwrap();
    }

    /// Asks a server that may hang up instead.
    pub(crate) fn try_ask(&mut self, body: &[u8]) -> std::io::Result<Vec<u8>> {
        self.stream.write_all(&package(body))?;
        self.try_receive()
    }

    pub(crate) fn receive(&mut self) -> Vec<u8> {
        self.try_receive().unwrap()
    }

    pub(crate) fn try_receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut length = [0; 2];
        self.stream.read_exact(&mut length)?;
        let mut body = vec![0; usize::from(u16::from_be_bytes(length))];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }

    pub(crate) fn ask(&mut self, body: &[u8]) -> Vec<u8> {
        self.send(body);
        self.receive()
    }

    /// Asks until nothing moves any more, and never reads.
    pub(crate) fn stall(&mut self) {
        self.stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        let start = Instant::now();
        while self.stream.write_all(&package(&[b'x'; 10_000])).is_ok() {
            assert!(start.elapsed() < Duration::from_secs(10));
        }
    }

    /// Reads until the server ends the connection; whether it did in order.
    pub(crate) fn read_to_end(&mut self) -> bool {
        let mut waste = Vec::new();
        self.stream.read_to_end(&mut waste).is_ok()
    }
}

pub(crate) fn package(body: &[u8]) -> Vec<u8> {
    let mut package = u16::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    package.extend_from_slice(body);
    package
}

/// Waits for at most ten seconds.
pub(crate) fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < Duration::from_secs(10), "in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A small generator, so that a failing case can be run again.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}
