//! Datagram sockets of smol.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::task::{Context, Poll, ready};

use smol::Async;

/// A UDP socket.
#[derive(Debug)]
pub struct Datagrams(Async<UdpSocket>);

impl Datagrams {
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        Async::new_nonblocking(socket).map(Self)
    }
}

impl linkspan_runtime::Datagrams for Datagrams {
    fn poll_receive(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        loop {
            match self.0.get_ref().recv_from(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
            ready!(self.0.poll_readable(cx))?;
        }
    }

    fn poll_send(&self, cx: &mut Context<'_>, data: &[u8], to: Option<SocketAddr>) -> Poll<io::Result<()>> {
        loop {
            let sent = match to {
                Some(to) => self.0.get_ref().send_to(data, to),
                None => self.0.get_ref().send(data),
            };
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome.map(drop)),
            }
            ready!(self.0.poll_writable(cx))?;
        }
    }
}
