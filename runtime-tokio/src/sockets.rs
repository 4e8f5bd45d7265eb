//! Datagram sockets of Tokio.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

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
