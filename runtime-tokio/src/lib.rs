#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
//! Linkspan on Tokio: [`Tokio`] is the adapter, and the binary of this package is `linkspan`.

mod sockets;

use std::future::{self, Future};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Instant;

use futures_io::{AsyncRead, AsyncWrite};
use linkspan_runtime::{Placement, Runtime, Signal, Stop, Workers};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::{self, Handle};
use tokio::signal::unix::{self, SignalKind};
use tokio::time::{self, Sleep};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

pub use self::sockets::Datagrams;

/// A handle to one Tokio runtime.
#[derive(Clone, Debug)]
pub struct Tokio(Handle);

impl Tokio {
    /// The runtime that the current task runs on.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn current() -> Self {
        Self(Handle::current())
    }
}

impl From<Handle> for Tokio {
    fn from(handle: Handle) -> Self {
        Self(handle)
    }
}

impl Runtime for Tokio {
    const NAME: &'static str = "tokio";
    const PLACEMENT: Placement = Placement::WorkStealing;
    type Stream = Stream;
    type Listener = TcpListener;
    type Local = Compat<UnixStream>;
    type Datagrams = Datagrams;
    type Sleep = Sleep;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.0.spawn(task));
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        let _inside = self.0.enter();
        time::sleep_until(at.into())
    }

    fn reset(sleep: Pin<&mut Sleep>, at: Instant) {
        sleep.reset(at.into());
    }

    fn listen(&self, socket: std::net::TcpListener) -> io::Result<TcpListener> {
        let _inside = self.0.enter();
        TcpListener::from_std(socket)
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(Stream, SocketAddr)> {
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((Stream(stream), peer))
    }

    async fn connect(&self, to: SocketAddr) -> io::Result<Stream> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Stream(stream))
    }

    async fn connect_local(&self, path: &Path) -> io::Result<Self::Local> {
        Ok(UnixStream::connect(path).await?.compat())
    }

    async fn datagrams(&self, socket: std::net::UdpSocket) -> io::Result<Datagrams> {
        Datagrams::new(socket).await
    }

    async fn stop_signal(&self) -> Signal {
        let interrupt = unix::signal(SignalKind::interrupt());
        let terminate = unix::signal(SignalKind::terminate());
        let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
            // Without a handler the default of the operating system applies: the process ends.
            return future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => Signal::Interrupt,
            _ = terminate.recv() => Signal::Terminate,
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
        match placement {
            Placement::WorkStealing => {
                let runtime = runtime::Builder::new_multi_thread()
                    .worker_threads(threads.get())
                    .enable_all()
                    .build()?;
                let workers = Workers::new(Self(runtime.handle().clone()), []);
                Ok(runtime.block_on(main(workers)))
            }
            Placement::PerCore => run_per_core(threads, main),
        }
    }
}

/// One single-threaded runtime per thread; the first is the caller's.
fn run_per_core<T, F>(threads: NonZeroUsize, main: impl FnOnce(Workers<Tokio>) -> F) -> io::Result<T>
where
    F: Future<Output = T>,
{
    let build = || runtime::Builder::new_current_thread().enable_all().build();
    let first = build()?;
    let rest = (1..threads.get()).map(|_| build()).collect::<io::Result<Vec<_>>>()?;
    let handles = rest.iter().map(|runtime| Tokio(runtime.handle().clone())).collect::<Vec<_>>();
    let workers = Workers::new(Tokio(first.handle().clone()), handles);
    let done = Stop::new();
    thread::scope(|scope| {
        // However `main` ends, the threads end with it.
        let _raise = RaiseOnDrop(done.clone());
        for (index, runtime) in rest.into_iter().enumerate() {
            let done = done.clone();
            let thread = thread::Builder::new().name(format!("linkspan-{}", index + 1));
            thread.spawn_scoped(scope, move || runtime.block_on(done.raised()))?;
        }
        Ok(first.block_on(main(workers)))
    })
}

struct RaiseOnDrop(Stop);

impl Drop for RaiseOnDrop {
    fn drop(&mut self) {
        self.0.raise();
    }
}

/// A TCP connection of Tokio with the I/O traits that all runtimes share.
#[derive(Debug)]
pub struct Stream(TcpStream);

impl Stream {
    /// The socket.
    pub fn get_ref(&self) -> &TcpStream {
        &self.0
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(into);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut into))?;
        Poll::Ready(Ok(into.filled().len()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, parts)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
