//! Dials what the peer of a session asks for: the agent's side of a tunnel.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use linkspan_core::tunnel::policy::{Crowd, Destination, DialPolicy, Family, Transport};
use linkspan_runtime::{Host, Runtime};

use super::datagrams::{Connected, carry};
use super::pipe::{AtEof, pipe};
use super::session::Duty;
use super::stream::TunnelStream;
use crate::resolve::resolve;

/// Dials what the peer asks for, where the policy allows it.
pub(super) struct Targets<R> {
    runtime: R,
    yard: Arc<Yard>,
}

/// What the sessions of one agent share: what may be dialled, and where dials are on their way.
pub(super) struct Yard {
    policy: DialPolicy,
    host: Arc<Host>,
    crowd: Mutex<Crowd>,
}

impl Yard {
    pub(super) fn new(policy: DialPolicy, host: Arc<Host>) -> Self {
        let crowd = Mutex::new(Crowd::new(host.limits().tunnel_dials_per_target));
        Self { policy, host, crowd }
    }

    fn crowd(&self) -> MutexGuard<'_, Crowd> {
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place among the dials to `destination`, if there is one.
    fn enter(&self, destination: Destination) -> Result<Turn<'_>, String> {
        let entered = self.crowd().enter(&destination);
        match entered {
            Ok(()) => Ok(Turn { yard: self, destination }),
            Err(mark) => {
                self.host.stats().mark(mark);
                Err(format!("too many dials to {destination} at a time"))
            }
        }
    }
}

/// A dial that is counted until it is over.
struct Turn<'a> {
    yard: &'a Yard,
    destination: Destination,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.yard.crowd().leave(&self.destination);
    }
}

/// What was dialled.
enum Target<R: Runtime> {
    Tcp(R::Stream),
    Local(R::Local),
    Datagrams(R::Datagrams),
}

impl<R: Runtime> Targets<R> {
    pub(super) fn new(runtime: R, yard: Arc<Yard>) -> Self {
        Self { runtime, yard }
    }
}

impl<R: Runtime> Duty for Targets<R> {
    fn dial(&self, stream: TunnelStream, proto: Bytes, address: Bytes) {
        // The core bounds how many of these there are at a time, and for how long.
        self.runtime.spawn(serve(self.runtime.clone(), Arc::clone(&self.yard), stream, proto, address));
    }
}

async fn serve<R: Runtime>(runtime: R, yard: Arc<Yard>, stream: TunnelStream, proto: Bytes, address: Bytes) {
    let shown = |bytes: &Bytes| bytes.escape_ascii().to_string();
    let Some(dialled) = unless_failed(&stream, dial(&runtime, &yard, &proto, &address)).await else {
        return tracing::debug!(proto = shown(&proto), address = shown(&address), "nobody waits any more");
    };
    match dialled {
        Ok(target) => {
            tracing::debug!(proto = shown(&proto), address = shown(&address), "dialled");
            stream.accept();
            let stall = yard.host.limits().tunnel_stall_timeout;
            match target {
                Target::Tcp(socket) => pipe(&runtime, stream, socket, AtEof::Close, stall).await,
                Target::Local(socket) => pipe(&runtime, stream, socket, AtEof::Close, stall).await,
                Target::Datagrams(socket) => carry(&runtime, &yard.host, stream, Connected(socket)).await,
            }
        }
        Err(why) => {
            tracing::info!(proto = shown(&proto), address = shown(&address), why, "not dialled");
            stream.abort(why);
        }
    }
}

/// The outcome of `work`, or `None` if the stream fails first.
pub(super) async fn unless_failed<T>(stream: &TunnelStream, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => stream.poll_failed(cx).map(|_| None),
    })
    .await
}

async fn dial<R: Runtime>(
    runtime: &R,
    yard: &Yard,
    proto: &Bytes,
    address: &Bytes,
) -> Result<Target<R>, String> {
    let destination = Destination::parse(proto, address).map_err(|error| error.to_string())?;
    yard.policy.check(&destination).map_err(|refused| refused.to_string())?;
    let fail = |error: &io::Error| {
        let [proto, address] = [proto, address].map(|text| String::from_utf8_lossy(text));
        format!("dial {proto} {address}: {}", reason(error))
    };
    match &destination {
        Destination::Unix { path } => {
            let _turn = yard.enter(destination.clone())?;
            let local = runtime.connect_local(Path::new(path)).await;
            local.map(Target::Local).map_err(|error| fail(&error))
        }
        Destination::Socket { transport, address } => {
            let _turn = yard.enter(destination.clone())?;
            connect(runtime, *transport, *address).await.map_err(|error| fail(&error))
        }
        Destination::Name { transport, family, host, port } => {
            let addresses = resolve(host, *port).await.map_err(|error| fail(&error))?;
            let wanted = addresses.into_iter().filter(|address| is_of(*family, address.ip()));
            let mut last = fail(&io::Error::new(io::ErrorKind::NotFound, "no suitable address found"));
            for address in wanted {
                // What is dialled is what was checked: a name may mean something else a moment later.
                if let Err(refused) = yard.policy.check_resolved(&destination, address.ip()) {
                    last = refused.to_string();
                    continue;
                }
                let _turn = yard.enter(Destination::Socket { transport: *transport, address })?;
                match connect(runtime, *transport, address).await {
                    Ok(target) => return Ok(target),
                    Err(error) => last = fail(&error),
                }
            }
            Err(last)
        }
    }
}

fn is_of(family: Option<Family>, ip: IpAddr) -> bool {
    match family {
        None => true,
        Some(Family::V4) => ip.is_ipv4(),
        Some(Family::V6) => ip.is_ipv6(),
    }
}

async fn connect<R: Runtime>(runtime: &R, transport: Transport, to: SocketAddr) -> io::Result<Target<R>> {
    match transport {
        Transport::Tcp => runtime.connect(to).await.map(Target::Tcp),
        Transport::Udp => {
            let any = match to {
                SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            let socket = UdpSocket::bind((any, 0))?;
            socket.set_nonblocking(true)?;
            socket.connect(to)?;
            runtime.datagrams(socket).await.map(Target::Datagrams)
        }
    }
}

/// What went wrong, in the words that users of the originals know.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        io::ErrorKind::ConnectionReset => "connect: connection reset by peer".into(),
        io::ErrorKind::TimedOut => "i/o timeout".into(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".into(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".into(),
        _ => error.to_string(),
    }
}
