//! What an async runtime must offer, and nothing more.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::num::NonZeroUsize;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_io::{AsyncRead, AsyncWrite};

/// A handle to one executor: everything the shared driver asks of an async runtime.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// The name that logs and `--version` show.
    const NAME: &'static str;
    /// The placement that was measured as the better one (`docs/benchmarks.md`); what a gateway uses unless told.
    const PLACEMENT: Placement;
    /// One TCP connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// A listening TCP socket.
    type Listener: Send + Sync + 'static;
    /// One connection within the machine: a Unix socket.
    type Local: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// A UDP socket.
    type Datagrams: Datagrams;
    /// A timer.
    type Sleep: Future<Output = ()> + Send + 'static;

    /// Runs `task` on this executor. A task that panics ends alone.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// A timer that ends at `at`, never before.
    fn sleep_until(&self, at: Instant) -> Self::Sleep;

    /// Moves a timer, ended or not, to `at`.
    fn reset(sleep: Pin<&mut Self::Sleep>, at: Instant);

    /// Takes over a listening socket that is already non-blocking.
    ///
    /// # Errors
    ///
    /// What the registration with the operating system's poller reports.
    fn listen(&self, socket: TcpListener) -> io::Result<Self::Listener>;

    /// The next connection; Nagle's algorithm is off.
    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// A new connection; Nagle's algorithm is off.
    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// A new connection to the Unix socket at `path`.
    fn connect_local(&self, path: &Path) -> impl Future<Output = io::Result<Self::Local>> + Send;

    /// Takes over a bound UDP socket that is already non-blocking, and waits until it can send.
    fn datagrams(&self, socket: UdpSocket) -> impl Future<Output = io::Result<Self::Datagrams>> + Send;

    /// The next signal to stop. Signals count from the first poll on.
    fn stop_signal(&self) -> impl Future<Output = Signal> + Send;

    /// Builds the executors, runs `main` to its end on the first, and drops whatever is still running.
    ///
    /// # Errors
    ///
    /// What the operating system reports when threads or pollers cannot be made.
    fn run<T, F>(
        placement: Placement,
        threads: NonZeroUsize,
        main: impl FnOnce(Workers<Self>) -> F,
    ) -> io::Result<T>
    where
        F: Future<Output = T>;
}

/// A UDP socket, polled by one task.
pub trait Datagrams: Send + Sync + 'static {
    /// The next datagram and its sender; what does not fit into `into` is lost.
    ///
    /// # Errors
    ///
    /// What the operating system reports; of a connected socket also that nobody listens at the other end.
    fn poll_receive(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>>;

    /// Sends one datagram: to `to`, or of a connected socket to its peer. Pending if the system has no room; whoever
    /// calls this in several tasks is not woken in each, and had better let the datagram go.
    ///
    /// # Errors
    ///
    /// What the operating system reports.
    fn poll_send(&self, cx: &mut Context<'_>, data: &[u8], to: Option<SocketAddr>) -> Poll<io::Result<()>>;
}

/// How connections are placed on threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Placement {
    /// One executor; its threads take each other's work.
    #[default]
    WorkStealing,
    /// One single-threaded executor per thread; a connection stays where it was accepted.
    PerCore,
}

/// The executors of one process: one handle each.
#[derive(Clone, Debug)]
pub struct Workers<R>(Vec<R>);

impl<R> Workers<R> {
    /// The executors of `first` and `rest`; `main` runs on the first.
    pub fn new(first: R, rest: impl IntoIterator<Item = R>) -> Self {
        Self(std::iter::once(first).chain(rest).collect())
    }

    /// The executor that `main` runs on.
    pub fn first(&self) -> &R {
        &self.0[0]
    }

    /// All executors; each wants its own listener.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &R> {
        self.0.iter()
    }

    /// How many executors there are; at least one.
    pub fn count(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.0.len()).unwrap_or(NonZeroUsize::MIN)
    }
}

/// Who asks the process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGINT: the terminal.
    Interrupt,
    /// SIGTERM: the supervisor.
    Terminate,
}

impl Signal {
    /// The exit code of a process that stops at once because of this signal.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}
