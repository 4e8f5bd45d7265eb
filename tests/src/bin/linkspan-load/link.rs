//! One connection to a server, over TCP or WebSocket, with the same two moves for both: queue, and exchange.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use bytes::{Bytes, BytesMut};
use futures_core::Stream as _;
use futures_sink::Sink as _;
use tokio::io::AsyncWrite as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use crate::wire;

/// Where to connect to, and how to speak there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    Ws(SocketAddr),
    /// A plain TCP echo without any protocol.
    Floor(SocketAddr),
}

impl Target {
    pub(crate) fn address(self) -> SocketAddr {
        match self {
            Self::Tcp(address) | Self::Ws(address) | Self::Floor(address) => address,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Ws(_) => "ws",
            Self::Floor(_) => "floor",
        }
    }
}

/// How much is read in one turn before what came is looked at.
const READ_MAX: usize = 64 * 1024;

enum Wire {
    Tcp { stream: TcpStream, out: Vec<u8>, written: usize },
    Ws { stream: Box<WebSocketStream<Compat<TcpStream>>>, out: VecDeque<Bytes> },
}

/// A connection and what it has received.
pub(crate) struct Link {
    wire: Wire,
    /// Received and not yet taken.
    pub(crate) received: BytesMut,
    /// WebSocket messages that did not hold exactly one package.
    pub(crate) misframed: u64,
}

/// Opens the TCP connection; `index` spreads many of them over source addresses, as each has a limited number of ports.
pub(crate) async fn connect_tcp(address: SocketAddr, index: usize) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv4() {
        let last = u8::try_from(1 + index % SOURCES).unwrap_or(1);
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// How many source addresses are used.
const SOURCES: usize = 16;

impl Link {
    /// Opens a connection.
    pub(crate) async fn open(target: Target, index: usize) -> io::Result<Self> {
        let stream = connect_tcp(target.address(), index).await?;
        let wire = match target {
            Target::Tcp(_) | Target::Floor(_) => Wire::Tcp { stream, out: Vec::new(), written: 0 },
            Target::Ws(address) => {
                let config =
                    WebSocketConfig::default().read_buffer_size(8 * 1024).write_buffer_size(16 * 1024);
                let url = format!("ws://{address}/");
                let upgrade =
                    async_tungstenite::client_async_with_config(url, stream.compat(), Some(config)).await;
                let (stream, _) = upgrade.map_err(io::Error::other)?;
                Wire::Ws { stream: Box::new(stream), out: VecDeque::new() }
            }
        };
        Ok(Self { wire, received: BytesMut::new(), misframed: 0 })
    }

    /// Opens a connection and shakes hands, until requests may follow.
    pub(crate) async fn open_session(target: Target, index: usize) -> io::Result<Self> {
        let mut link = Self::open(target, index).await?;
        let mut hello = Vec::new();
        wire::put_package(
            &mut hello,
            wire::HANDSHAKE,
            br#"{"sys":{"type":"linkspan-load","version":"1"},"user":{}}"#,
        );
        link.queue(&hello);
        let (kind, body) = link.next_package().await?;
        let is_accepted = kind == wire::HANDSHAKE && find(&body, br#""code":200"#).is_some();
        if !is_accepted {
            return Err(io::Error::other(format!("handshake answered with package {kind}: {body:?}")));
        }
        let mut ack = Vec::new();
        wire::put_package(&mut ack, wire::ACK, &[]);
        link.queue(&ack);
        link.flush().await?;
        Ok(link)
    }

    /// Queues one package (or raw bytes) to be sent by the next exchange.
    pub(crate) fn queue(&mut self, package: &[u8]) {
        match &mut self.wire {
            Wire::Tcp { out, .. } => out.extend_from_slice(package),
            Wire::Ws { out, .. } => out.push_back(Bytes::copy_from_slice(package)),
        }
    }

    /// Sends what is queued, as far as the peer takes it, and waits until something was received.
    pub(crate) async fn exchange(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            self.poll_receive(cx)
        })
        .await
    }

    /// Sends what is queued.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_send(cx)).await
    }

    /// The next package, heartbeats included.
    pub(crate) async fn next_package(&mut self) -> io::Result<(u8, Bytes)> {
        loop {
            if let Some(package) = wire::take_package(&mut self.received) {
                return Ok(package);
            }
            self.exchange().await?;
        }
    }

    /// Says goodbye as a client does that closes in order, and waits for nothing.
    pub(crate) async fn close(mut self) {
        // A peer that is gone already needs no goodbye.
        match &mut self.wire {
            Wire::Tcp { stream, .. } => drop(poll_fn(|cx| Pin::new(&mut *stream).poll_shutdown(cx)).await),
            Wire::Ws { stream, .. } => drop(stream.close(None).await),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Tcp { stream, out, written } => {
                while *written < out.len() {
                    *written += ready!(Pin::new(&mut *stream).poll_write(cx, &out[*written..]))?;
                }
                out.clear();
                *written = 0;
                Poll::Ready(Ok(()))
            }
            Wire::Ws { stream, out } => {
                let mut stream = Pin::new(&mut **stream);
                while !out.is_empty() {
                    ready!(stream.as_mut().poll_ready(cx)).map_err(io::Error::other)?;
                    if let Some(package) = out.pop_front() {
                        stream.as_mut().start_send(Message::Binary(package)).map_err(io::Error::other)?;
                    }
                }
                stream.poll_flush(cx).map_err(io::Error::other)
            }
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.received.len();
        loop {
            let got = match &mut self.wire {
                Wire::Tcp { stream, .. } => poll_read(Pin::new(stream), cx, &mut self.received),
                Wire::Ws { stream, .. } => {
                    Pin::new(&mut **stream).poll_next(cx).map(|message| match message {
                        Some(Ok(Message::Binary(package))) => {
                            self.misframed += u64::from(!is_one_package(&package));
                            self.received.extend_from_slice(&package);
                            Ok(package.len())
                        }
                        Some(Ok(Message::Close(_))) | None => Ok(0),
                        Some(Ok(_)) => Err(io::Error::other("a WebSocket message that is not binary")),
                        Some(Err(error)) => Err(io::Error::other(error)),
                    })
                }
            };
            match got {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Ok(_)) if self.received.len() < before + READ_MAX && self.is_ws() => {}
                Poll::Ready(Ok(_)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if self.received.len() > before => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_ws(&self) -> bool {
        matches!(self.wire, Wire::Ws { .. })
    }
}

fn poll_read(
    stream: Pin<&mut TcpStream>,
    cx: &mut Context<'_>,
    into: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    into.reserve(READ_MIN);
    tokio_util::io::poll_read_buf(stream, cx, into)
}

/// How much room a read gets.
const READ_MIN: usize = 8 * 1024;

fn is_one_package(message: &[u8]) -> bool {
    match message {
        [_, a, b, c, body @ ..] => u32::from_be_bytes([0, *a, *b, *c]) as usize == body.len(),
        _ => false,
    }
}

/// Where `needle` starts in `bytes`.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
