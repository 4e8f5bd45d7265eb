//! Byte streams to upstreams: bare TCP, through a tunnel, and TLS over either.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite, IoSlice};
use linkspan_core::http::upstream::{Scheme, Upstream};
use linkspan_runtime::Runtime;

use crate::resolve::resolve;
use crate::tls::Tls;
use crate::tunnel::{DialFailure, Tunnels};

/// A byte stream of any kind.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// A stream to an upstream; it counts what comes from there.
pub(super) struct Link {
    stream: Box<dyn ByteStream>,
    received: Arc<AtomicU64>,
}

impl Link {
    fn new(stream: impl ByteStream + 'static) -> Self {
        Self { stream: Box::new(stream), received: Arc::default() }
    }

    /// How many bytes have come, now and later.
    pub(super) fn received(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.received)
    }
}

impl AsyncRead for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        if let Poll::Ready(Ok(count)) = read {
            self.received.fetch_add(count as u64, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Why an upstream cannot be reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialFault {
    /// It cannot be connected to, or speaks no TLS that we trust.
    #[error("{0}")]
    Connect(#[from] io::Error),
    /// The tunnel does not lead there.
    #[error("{0}")]
    Tunnel(#[from] DialFailure),
    /// It takes too long.
    #[error("connecting took too long")]
    Late,
    /// The way there is not open in this process.
    #[error("{0}")]
    Closed(&'static str),
}

/// Connects to upstreams.
pub(super) struct Dialer<R> {
    /// `None` if this process has no tunnels.
    pub(super) tunnels: Option<Tunnels<R>>,
    /// `None` if no certificate authority is known.
    pub(super) tls: Option<Tls>,
    /// How long a client that is not there is waited for.
    pub(super) wait: Option<Duration>,
}

impl<R: Runtime> Dialer<R> {
    /// A new stream to `upstream`.
    pub(super) async fn dial(&self, runtime: &R, upstream: &Upstream) -> Result<Link, DialFault> {
        match upstream.client() {
            Some(client) => {
                let tunnels = self.tunnels.as_ref().ok_or(DialFault::Closed("tunnels are off"))?;
                let address = upstream.address();
                let stream = tunnels.dial(client.as_bytes(), "tcp", &address, self.wait).await?;
                self.secure(upstream, stream).await
            }
            None => {
                let addresses = resolve(upstream.host(), upstream.port()).await?;
                let mut last = io::Error::from(io::ErrorKind::NotFound);
                for address in addresses {
                    match runtime.connect(address).await {
                        Ok(stream) => return self.secure(upstream, stream).await,
                        Err(error) => last = error,
                    }
                }
                Err(last.into())
            }
        }
    }

    async fn secure(
        &self,
        upstream: &Upstream,
        stream: impl ByteStream + 'static,
    ) -> Result<Link, DialFault> {
        match upstream.scheme() {
            Scheme::Http => Ok(Link::new(stream)),
            Scheme::Https => {
                let tls = self.tls.as_ref();
                let tls = tls.ok_or(DialFault::Closed("no certificate authorities are known"))?;
                Ok(Link::new(tls.connect(upstream.host(), stream).await?))
            }
        }
    }
}
