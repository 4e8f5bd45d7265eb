//! Local ports that lead to what agents reach.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::Arc;

use linkspan_core::{CloseReason, Delivery};
use linkspan_runtime::{Mail, Permit, PushError, Runtime, SocketOptions, Stop, Workers, accept, bind};

use super::Tunnels;
use super::config::Forward;
use super::pipe::{AtEof, pipe};
use super::senders::serve_udp;
use super::stream::TunnelStream;

/// Ports that are bound; nothing is accepted yet.
pub(crate) struct Forwards(Vec<(Forward, Sockets)>);

enum Sockets {
    Tcp(Vec<TcpListener>),
    Udp(UdpSocket),
}

impl Forwards {
    /// Binds all.
    ///
    /// # Errors
    ///
    /// The address that cannot be used, and why.
    pub(crate) fn bind(
        forwards: &[Forward],
        count: NonZeroUsize,
        options: &SocketOptions,
    ) -> Result<Self, (SocketAddr, io::Error)> {
        let one = |forward: &Forward| {
            let sockets = match forward.proto.starts_with("udp") {
                true => Sockets::Udp(bind_udp(forward.listen)?),
                false => Sockets::Tcp(bind(forward.listen, count, options)?),
            };
            Ok((forward.clone(), sockets))
        };
        let bound = forwards.iter().map(|forward| one(forward).map_err(|error| (forward.listen, error)));
        bound.collect::<Result<_, _>>().map(Self)
    }

    /// Where they listen, in the order in which they were given.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let address = |(forward, sockets): &(Forward, Sockets)| {
            let real = match sockets {
                Sockets::Tcp(sockets) => sockets.first().and_then(|socket| socket.local_addr().ok()),
                Sockets::Udp(socket) => socket.local_addr().ok(),
            };
            real.unwrap_or(forward.listen)
        };
        self.0.iter().map(address).collect()
    }

    /// Serves whoever connects.
    ///
    /// # Errors
    ///
    /// The address whose socket cannot be registered, and why.
    pub(crate) fn serve<R: Runtime>(
        self,
        workers: &Workers<R>,
        tunnels: &Tunnels<R>,
    ) -> Result<(), (SocketAddr, io::Error)> {
        for (forward, sockets) in self.0 {
            let address = forward.listen;
            let way = Arc::new(Way { forward, tunnels: tunnels.clone() });
            match sockets {
                Sockets::Tcp(sockets) => {
                    for (runtime, socket) in workers.iter().zip(sockets) {
                        let listener = runtime.listen(socket).map_err(|error| (address, error))?;
                        let (own, way) = (runtime.clone(), Arc::clone(&way));
                        let host = Arc::clone(tunnels.registry().host());
                        runtime.spawn(async move {
                            accept(&own, &host, &listener, |stream, permit| {
                                own.spawn(serve_tcp(own.clone(), Arc::clone(&way), stream, permit));
                            })
                            .await;
                        });
                    }
                }
                Sockets::Udp(socket) => {
                    let runtime = workers.first();
                    runtime.spawn(serve_udp(runtime.clone(), way, socket));
                }
            }
        }
        Ok(())
    }
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Where a port leads.
pub(super) struct Way<R> {
    pub(super) forward: Forward,
    pub(super) tunnels: Tunnels<R>,
}

impl<R: Runtime> Way<R> {
    pub(super) async fn dial(&self) -> Option<TunnelStream> {
        let Forward { client, proto, address, listen } = &self.forward;
        let wait = Some(self.tunnels.config.wait).filter(|wait| !wait.is_zero());
        match self.tunnels.dial(client.as_bytes(), proto, address, wait).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::info!(%listen, %error, "not forwarded");
                None
            }
        }
    }
}

/// The mailbox of a connection that is passed on: it ends with its stream, or when the process will not wait longer.
struct Passenger(Stop);

impl Mail for Passenger {
    fn deliver(&self, _delivery: Delivery) -> Result<(), PushError> {
        Err(PushError::Closed)
    }

    fn close(&self, _reason: CloseReason) {}

    fn abort(&self, _reason: CloseReason) {
        self.0.raise();
    }
}

async fn serve_tcp<R: Runtime>(runtime: R, way: Arc<Way<R>>, socket: R::Stream, permit: Permit) {
    let cut = Stop::new();
    let limits = permit.host().limits();
    let (half_closed, stall) = (limits.tunnel_half_closed, limits.tunnel_stall_timeout);
    permit.host().move_in(permit.conn(), &(Arc::new(Passenger(cut.clone())) as Arc<dyn Mail>));
    let work = async {
        if let Some(stream) = way.dial().await {
            pipe(&runtime, stream, socket, AtEof::Await(half_closed), stall).await;
        }
    };
    let _ = cut.unless_raised(work).await;
}
