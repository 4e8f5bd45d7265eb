//! Listening sockets, and the loop that lets connections in.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future;
use linkspan_core::backoff::Backoff;
use linkspan_core::{CloseReason, Mark};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{Host, Permit, Runtime};

/// How listening sockets are made. Accepted sockets inherit the buffer sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// How many connections the kernel holds before they are accepted. Default 1,024.
    pub backlog: u16,
    /// The kernel's send buffer of each connection in bytes; `None` lets it grow to megabytes. Default 256 KiB: the
    /// kernel holds what a stalled peer does not read, and no limit of ours counts it.
    pub send_buffer: Option<usize>,
    /// The kernel's receive buffer of each connection in bytes. Default `None`.
    pub receive_buffer: Option<usize>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { backlog: 1024, send_buffer: Some(256 * 1024), receive_buffer: None }
    }
}

/// Binds `count` listening sockets to one address; the kernel spreads connections over them. If the port is 0, all get
/// the same free one: ask the first for it.
///
/// # Errors
///
/// What the operating system reports.
pub fn bind(
    address: SocketAddr,
    count: NonZeroUsize,
    options: &SocketOptions,
) -> io::Result<Vec<TcpListener>> {
    let shared = count.get() > 1;
    let first = bind_one(address, shared, options)?;
    let address = first.local_addr()?;
    let rest = (1..count.get()).map(|_| bind_one(address, shared, options));
    std::iter::once(Ok(first)).chain(rest).collect()
}

fn bind_one(address: SocketAddr, shared: bool, options: &SocketOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    #[cfg(unix)]
    {
        // A restart must not wait for old connections to time out. (On Windows the option means something else.)
        socket.set_reuse_address(true)?;
        if shared {
            socket.set_reuse_port(true)?;
        }
    }
    #[cfg(not(unix))]
    let _ = shared;
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::from(options.backlog))?;
    Ok(socket.into())
}

/// Lets connections in until the host's door is closed, and hands each to `serve`, which spawns its task. Whom the host
/// refuses is closed without a word; see [`accept_or`].
pub async fn accept<R: Runtime>(
    runtime: &R,
    host: &Arc<Host>,
    listener: &R::Listener,
    serve: impl FnMut(R::Stream, Permit),
) {
    // Closing is all that a flood is worth.
    accept_or(runtime, host, listener, serve, |stream, _| drop(stream)).await;
}

/// As [`accept`], and hands whom the host refuses to `refuse`, with the reason.
///
/// No error ends the loop: what may pass waits with a growing delay.
pub async fn accept_or<R: Runtime>(
    runtime: &R,
    host: &Arc<Host>,
    listener: &R::Listener,
    mut serve: impl FnMut(R::Stream, Permit),
    mut refuse: impl FnMut(R::Stream, CloseReason),
) {
    let mut backoff = Backoff::accept();
    let mut complaint = Complaint::default();
    let mut in_a_row = 0_u32;
    let mut spare = Spare::open();
    while let Some(accepted) = host.closed_door().unless_raised(runtime.accept(listener)).await {
        match accepted {
            Ok((stream, peer)) => {
                backoff.reset();
                match host.admit(peer) {
                    Ok(permit) => serve(stream, permit),
                    Err(reason) => refuse(stream, reason),
                }
            }
            Err(error) if is_about_peer(&error) => {}
            Err(error) => {
                host.stats().mark(Mark::AcceptFailed);
                complaint.log(&error);
                if is_out_of_files(&error) {
                    spare.turn_away(runtime, listener).await;
                }
                let sleep = runtime.sleep_until(Instant::now() + backoff.next_delay());
                let _ = host.closed_door().unless_raised(sleep).await;
            }
        }
        // A flood must not keep the thread from serving those who are inside.
        in_a_row += 1;
        if in_a_row.is_multiple_of(16) {
            future::yield_now().await;
        }
    }
}

/// A file that is held open, so that connections can be let in and closed again when the process has no more files: who
/// waits in the kernel's queue would otherwise hear nothing.
struct Spare(Option<File>);

impl Spare {
    /// How many are turned away at once.
    const MANY: usize = 64;

    fn open() -> Self {
        #[cfg(unix)]
        let file = File::open("/dev/null").ok();
        #[cfg(not(unix))]
        let file = None;
        Self(file)
    }

    async fn turn_away<R: Runtime>(&mut self, runtime: &R, listener: &R::Listener) {
        if self.0.take().is_some() {
            for _ in 0..Self::MANY {
                match future::poll_once(runtime.accept(listener)).await {
                    Some(Ok(refused)) => drop(refused),
                    _ => break,
                }
            }
        }
        *self = Self::open();
    }
}

/// Whether the process, or the system, has as many files open as it may.
fn is_out_of_files(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    cfg!(unix) && matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// Whether the connection that would have been accepted is gone, and nothing else is wrong.
fn is_about_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Logs the same trouble once in a while only.
#[derive(Default)]
struct Complaint {
    last: Option<Instant>,
    silent: u64,
}

impl Complaint {
    const EVERY: Duration = Duration::from_secs(10);

    fn log(&mut self, error: &io::Error) {
        if self.last.is_some_and(|last| last.elapsed() < Self::EVERY) {
            self.silent += 1;
            return;
        }
        tracing::warn!(%error, not_logged = self.silent, "cannot accept connections");
        *self = Self { last: Some(Instant::now()), silent: 0 };
    }
}
