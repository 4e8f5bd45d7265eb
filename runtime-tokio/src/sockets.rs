//! Sockets of Tokio besides TCP.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use tokio::io::ReadBuf;
use tokio::net::{UdpSocket, UnixStream};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

/// A connection to a Unix socket.
#[derive(Debug)]
pub struct Local(Compat<UnixStream>);

impl Local {
    pub(crate) async fn connect(path: &Path) -> io::Result<Self> {
        Ok(Self(UnixStream::connect(path).await?.compat()))
    }
}

impl AsyncRead for Local {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Local {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// A UDP socket.
#[derive(Debug)]
pub struct Datagrams(UdpSocket);

impl Datagrams {
    pub(crate) async fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let socket = UdpSocket::from_std(socket)?;
        // Until the poller has seen it, sending is refused.
        socket.writable().await?;
        Ok(Self(socket))
    }
}

impl linkspan_runtime::Datagrams for Datagrams {
    fn poll_receive(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut into = ReadBuf::new(into);
        let from = ready!(self.0.poll_recv_from(cx, &mut into))?;
        Poll::Ready(Ok((into.filled().len(), from)))
    }

    fn poll_send(&self, cx: &mut Context<'_>, data: &[u8], to: Option<SocketAddr>) -> Poll<io::Result<()>> {
        let sent = match to {
            Some(to) => ready!(self.0.poll_send_to(cx, data, to)),
            None => ready!(self.0.poll_send(cx, data)),
        };
        Poll::Ready(sent.map(drop))
    }
}
