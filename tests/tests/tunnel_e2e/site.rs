//! Servers, agents and targets that run in threads of their own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use linkspan_core::tunnel::policy::DialPolicy;
use linkspan_core::{CloseReason, Limits, drain, redial};
use linkspan_gateway::server::{self, Gateway};
use linkspan_gateway::services::Services;
use linkspan_gateway::tls::Tls;
use linkspan_gateway::tunnel::{Agent, Config, Door, Forward, Secret, Timers, parse_name};
use linkspan_runtime::{Host, HostConfig, Placement, Runtime, Stop, stop};
use linkspan_smol::Smol;
use linkspan_tokio::Tokio;

/// How long anything may take that takes no time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tokio,
    Smol,
}

/// Whether tests take as long as the issue says.
pub(crate) fn is_long() -> bool {
    std::env::var_os("LINKSPAN_LONG").is_some_and(|value| value == "1")
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// Waits until `done` holds.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn host(limits: Limits) -> HostConfig {
    let quick = drain::Config { spread: Duration::ZERO, ..drain::Config::default() };
    HostConfig { limits: Arc::new(limits), drain: quick, ..HostConfig::default() }
}

fn two() -> NonZeroUsize {
    NonZeroUsize::new(2).unwrap()
}

/// Cuts all connections, as the end of a process would: not every executor drops its tasks at once.
async fn hang_up<R: Runtime>(runtime: &R, host: &Host) {
    host.force();
    for _ in 0..200 {
        if host.stats().open() == 0 {
            return;
        }
        runtime.sleep_until(Instant::now() + Duration::from_millis(5)).await;
    }
}

/// A server; dropping it cuts everything.
pub(crate) struct Server {
    pub(crate) http: SocketAddr,
    pub(crate) forwards: Vec<SocketAddr>,
    pub(crate) host: Arc<Host>,
    orders: Orders,
}

/// How a thread is told to end.
struct Orders {
    /// Ends at once.
    cut: Stop,
    /// Ends gracefully first.
    leave: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Orders {
    fn start(run: impl FnOnce(Stop, Stop) + Send + 'static) -> Self {
        let (cut, leave) = (Stop::new(), Stop::new());
        let (own_cut, own_leave) = (cut.clone(), leave.clone());
        let thread = thread::spawn(move || run(own_cut, own_leave));
        Self { cut, leave, thread: Some(thread) }
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let outcome = thread.join();
            assert!(thread::panicking() || outcome.is_ok());
        }
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.cut.raise();
        self.join();
    }
}

impl Server {
    pub(crate) fn start(kind: Kind, config: Config) -> Self {
        Self::start_at(kind, config, loopback(), |_| {})
    }

    pub(crate) fn start_at(
        kind: Kind,
        config: Config,
        http: SocketAddr,
        change: impl FnOnce(&mut Limits),
    ) -> Self {
        let mut limits = Limits { close_grace: Duration::from_secs(1), ..Limits::default() };
        change(&mut limits);
        let config = server::Config {
            http: Some(http),
            tunnel: Some(config),
            host: host(limits),
            ..server::Config::default()
        };
        match kind {
            Kind::Tokio => Self::run::<Tokio>(config),
            Kind::Smol => Self::run::<Smol>(config),
        }
    }

    fn run<R: Runtime>(config: server::Config) -> Self {
        let (tell, told) = mpsc::channel();
        let orders = Orders::start(move |cut, leave| {
            R::run(R::PLACEMENT, two(), |workers| async move {
                let gateway = Gateway::start(&workers, config, Services::new()).unwrap();
                let http = gateway.addresses().http.unwrap();
                tell.send((http, gateway.forwards().to_vec(), Arc::clone(gateway.host()))).unwrap();
                let leaving = async {
                    leave.raised().await;
                    gateway.stop().await;
                };
                futures_lite::future::or(leaving, cut.raised()).await;
                hang_up(workers.first(), gateway.host()).await;
            })
            .unwrap();
        });
        let (http, forwards, host) = told.recv_timeout(PATIENCE).unwrap();
        Self { http, forwards, host, orders }
    }

    pub(crate) fn door(&self) -> Door {
        format!("ws://{}/connect", self.http).parse().unwrap()
    }

    /// Connects to its only local port.
    pub(crate) fn dial(&self) -> TcpStream {
        dial(self.forwards[0])
    }

    /// Stops gracefully; how long it took.
    pub(crate) fn stop(mut self) -> Duration {
        let started = Instant::now();
        self.orders.leave.raise();
        self.orders.join();
        started.elapsed()
    }

    /// Waits until so many agents are there.
    pub(crate) fn until_clients(&self, count: usize) {
        eventually("agents", || clients(self.http).matches("\"client\"").count() == count);
    }
}

/// What `/clients` says.
pub(crate) fn clients(http: SocketAddr) -> String {
    let answer = exchange(http, "GET /clients HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// Sends text and reads to the end.
pub(crate) fn exchange(to: SocketAddr, text: &str) -> String {
    let mut stream = dial(to);
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn dial(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The settings of a server with one local port that leads through agent `foo` to each target.
pub(crate) fn forwards(targets: &[String]) -> Config {
    let forwards =
        targets.iter().map(|target| format!("127.0.0.1:0=foo/{target}").parse::<Forward>().unwrap());
    Config { forwards: forwards.collect(), wait: Duration::from_secs(10), ..Config::default() }
}

pub(crate) fn tcp(target: SocketAddr) -> String {
    format!("tcp/{target}")
}

/// An agent; dropping it cuts everything.
pub(crate) struct AgentSite {
    orders: Orders,
    connected: Arc<AtomicUsize>,
}

/// What an agent is started with.
pub(crate) struct AgentConfig {
    pub(crate) servers: Vec<Door>,
    pub(crate) id: &'static str,
    pub(crate) token: Option<&'static str>,
    pub(crate) policy: DialPolicy,
    pub(crate) tls: Option<Tls>,
}

impl AgentConfig {
    /// The agent `foo`, which may dial everything.
    pub(crate) fn new(door: Door) -> Self {
        Self { servers: vec![door], id: "foo", token: None, policy: DialPolicy::any(), tls: None }
    }
}

impl AgentSite {
    /// An agent of `server` that is connected.
    pub(crate) fn start(kind: Kind, server: &Server) -> Self {
        let agent = Self::start_with(kind, AgentConfig::new(server.door()));
        agent.until_connected(1);
        agent
    }

    pub(crate) fn start_with(kind: Kind, config: AgentConfig) -> Self {
        match kind {
            Kind::Tokio => Self::run::<Tokio>(config),
            Kind::Smol => Self::run::<Smol>(config),
        }
    }

    fn run<R: Runtime>(config: AgentConfig) -> Self {
        let connected = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connected);
        let agent = Agent {
            servers: config.servers,
            id: parse_name(config.id).unwrap(),
            token: config.token.map(Secret::new),
            tls: config.tls,
            policy: config.policy,
            redial: redial::Config {
                first: Duration::from_millis(20),
                longest: Duration::from_millis(100),
                ..redial::Config::default()
            },
            timers: Timers::default(),
            connected: Arc::new(move |_| _ = count.fetch_add(1, Ordering::AcqRel)),
        };
        let orders = Orders::start(move |cut, leave| {
            let host = Host::new(host(Limits { close_grace: Duration::from_secs(1), ..Limits::default() }));
            R::run(Placement::WorkStealing, two(), |workers| async move {
                let runtime = workers.first();
                let leaving = async {
                    leave.raised().await;
                    stop(runtime, &host, CloseReason::Stopping).await;
                };
                let work = async {
                    agent.run(runtime, &host).await;
                    host.finished().raised().await;
                };
                futures_lite::future::or(futures_lite::future::or(leaving, work), cut.raised()).await;
                hang_up(runtime, &host).await;
            })
            .unwrap();
        });
        Self { orders, connected }
    }

    /// Waits until it has connected so often.
    pub(crate) fn until_connected(&self, times: usize) {
        eventually("the agent connects", || self.connected.load(Ordering::Acquire) >= times);
    }

    /// Stops gracefully.
    pub(crate) fn stop(mut self) {
        self.orders.leave.raise();
        self.orders.join();
    }
}

/// Something to dial: a listener, and what is done with each connection in a thread of its own.
pub(crate) fn target(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A target that sends back what it gets.
pub(crate) fn echo() -> SocketAddr {
    target(|mut stream| {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
    })
}

/// A Unix socket that sends back what it gets.
pub(crate) fn unix_echo(path: &Path) {
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
        }
    });
}

/// The byte at a place of the test data: no period that a buffer could hide.
pub(crate) fn fill(from: u64, into: &mut [u8]) {
    for (at, byte) in (from..).zip(into) {
        *byte = (7 * at + 13 * (at >> 8) + 31 * (at >> 16)) as u8;
    }
}

/// Writes so many bytes of the test data.
pub(crate) fn pour(stream: &mut TcpStream, total: u64) {
    let mut buffer = vec![0; 64 * 1024];
    let mut at = 0;
    while at < total {
        let count = (total - at).min(buffer.len() as u64) as usize;
        fill(at, &mut buffer[..count]);
        stream.write_all(&buffer[..count]).unwrap();
        at += count as u64;
    }
}

/// Reads so many bytes, which must be the test data; `pause` is called after each piece.
pub(crate) fn drink(stream: &mut TcpStream, total: u64, mut pause: impl FnMut(usize)) {
    let (mut buffer, mut expected) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut at = 0;
    while at < total {
        let most = (total - at).min(buffer.len() as u64) as usize;
        let count = stream.read(&mut buffer[..most]).unwrap();
        assert!(count > 0, "ended after {at} of {total} bytes");
        fill(at, &mut expected[..count]);
        assert!(buffer[..count] == expected[..count], "other bytes from {at} on");
        at += count as u64;
        pause(count);
    }
}

/// Whether nothing follows: the end, or a reset.
pub(crate) fn is_over(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(count) => count == 0,
        Err(error) => !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
    }
}
