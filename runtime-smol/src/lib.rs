#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
//! Linkspan on smol: [`Smol`] is the adapter, and the binary of this package is `linkspan-smol`.

mod sockets;

use std::future::{self, Future};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Instant;

use async_signal::Signals;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::StreamExt as _;
use linkspan_runtime::{Placement, Runtime, Signal, Stop, Workers};
use smol::{Async, Executor, Timer};

pub use self::sockets::Datagrams;

/// A handle to one smol executor of our own: the global one of the library has a single thread.
#[derive(Clone, Debug)]
pub struct Smol(Arc<Executor<'static>>);

impl Smol {
    /// A handle to `executor`, which somebody else runs.
    pub fn new(executor: Arc<Executor<'static>>) -> Self {
        Self(executor)
    }
}

impl Runtime for Smol {
    const NAME: &'static str = "smol";
    const PLACEMENT: Placement = Placement::PerCore;
    type Stream = Stream;
    type Listener = Async<TcpListener>;
    type Local = Async<UnixStream>;
    type Datagrams = Datagrams;
    type Sleep = Sleep;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task).detach();
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep(Timer::at(at))
    }

    fn reset(mut sleep: Pin<&mut Sleep>, at: Instant) {
        sleep.0.set_at(at);
    }

    fn listen(&self, socket: TcpListener) -> io::Result<Async<TcpListener>> {
        Async::new_nonblocking(socket)
    }

    async fn accept(&self, listener: &Async<TcpListener>) -> io::Result<(Stream, SocketAddr)> {
        let (stream, peer) = listener.accept().await?;
        Ok((Stream::new(stream)?, peer))
    }

    async fn connect(&self, to: SocketAddr) -> io::Result<Stream> {
        Stream::new(Async::<TcpStream>::connect(to).await?)
    }

    async fn connect_local(&self, path: &Path) -> io::Result<Self::Local> {
        Async::<UnixStream>::connect(path).await
    }

    async fn datagrams(&self, socket: UdpSocket) -> io::Result<Datagrams> {
        Datagrams::new(socket)
    }

    async fn stop_signal(&self) -> Signal {
        use async_signal::Signal::{Int, Term};
        let Ok(mut signals) = Signals::new([Int, Term]) else {
            // Without a handler the default of the operating system applies: the process ends.
            return future::pending().await;
        };
        match signals.next().await {
            Some(Ok(Int)) => Signal::Interrupt,
            _ => Signal::Terminate,
        }
    }

    fn run<T, F>(
        placement: Placement,
        threads: NonZeroUsize,
        main: impl FnOnce(Workers<Self>) -> F,
    ) -> io::Result<T>
    where
        F: Future<Output = T>,
    {
        let new = || Smol(Arc::new(Executor::new()));
        let first = new();
        let rest = match placement {
            // The same executor on all threads.
            Placement::WorkStealing => vec![first.clone(); threads.get() - 1],
            Placement::PerCore => (1..threads.get()).map(|_| new()).collect(),
        };
        let others = match placement {
            Placement::WorkStealing => Vec::new(),
            Placement::PerCore => rest.clone(),
        };
        let workers = Workers::new(first.clone(), others);
        let done = Stop::new();
        thread::scope(|scope| {
            // However `main` ends, the threads end with it.
            let _raise = RaiseOnDrop(done.clone());
            for (index, worker) in rest.into_iter().enumerate() {
                let done = done.clone();
                let thread = thread::Builder::new().name(format!("linkspan-{}", index + 1));
                thread.spawn_scoped(scope, move || smol::block_on(worker.0.run(done.raised())))?;
            }
            Ok(smol::block_on(first.0.run(main(workers))))
        })
    }
}

struct RaiseOnDrop(Stop);

impl Drop for RaiseOnDrop {
    fn drop(&mut self) {
        self.0.raise();
    }
}

/// A timer of smol.
#[derive(Debug)]
pub struct Sleep(Timer);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

/// A TCP connection of smol that does without the read which only finds out that there is nothing more.
#[derive(Debug)]
pub struct Stream {
    socket: Async<TcpStream>,
    /// The last read or write did less than it was asked for: wait before the next one.
    drained: bool,
    full: bool,
}

impl Stream {
    fn new(socket: Async<TcpStream>) -> io::Result<Self> {
        socket.get_ref().set_nodelay(true)?;
        Ok(Self { socket, drained: false, full: false })
    }

    /// The socket.
    pub fn get_ref(&self) -> &TcpStream {
        self.socket.get_ref()
    }

    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        length: usize,
        write: impl Fn(&mut &TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.full {
                ready!(self.socket.poll_writable(cx))?;
                self.full = false;
            }
            match write(&mut self.socket.get_ref()) {
                Ok(count) => {
                    self.full = count < length;
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.full = true,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.drained {
                ready!(self.socket.poll_readable(cx))?;
                self.drained = false;
            }
            match self.socket.get_ref().read(into) {
                Ok(count) => {
                    // A short read has emptied the socket. An end is not short: it stays readable.
                    self.drained = 0 < count && count < into.len();
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.drained = true,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, data.len(), |socket| socket.write(data))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = parts.iter().map(|part| part.len()).sum();
        self.poll_write_with(cx, length, |socket| socket.write_vectored(parts))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.get_ref().shutdown(Shutdown::Write))
    }
}
