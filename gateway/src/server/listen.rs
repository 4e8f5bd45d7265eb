//! The listeners, and what becomes of a connection that comes in.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use linkspan_core::Mark;
use linkspan_runtime::{Host, Permit, Runtime, Workers, accept_or, bind};

use super::{Addresses, Config, EdgeConfig, StartError};
use crate::edge::{Refusals, read_header};
use crate::http::{Rules, Site, exchange};

/// Sockets that listen, one per worker and address; nothing is accepted yet.
pub(super) struct Listeners {
    pub(super) addresses: Addresses,
    bound: Vec<Bound>,
}

/// One address that is listened on.
struct Bound {
    name: &'static str,
    address: SocketAddr,
    sockets: Vec<TcpListener>,
}

/// What a listener does with its connections; both spawn a task and return.
#[derive(Clone)]
pub(super) struct Service<R: Runtime> {
    /// With one that was let in.
    serve: Serve<R>,
    /// With one that was not.
    refuse: Refuse<R>,
}

type Serve<R> = Arc<dyn Fn(&R, <R as Runtime>::Stream, Permit) + Send + Sync>;
type Refuse<R> = Arc<dyn Fn(&R, &Host, <R as Runtime>::Stream) + Send + Sync>;

impl Listeners {
    /// Binds every address of `config`.
    pub(super) fn bind(config: &Config, count: NonZeroUsize) -> Result<Self, StartError> {
        let mut bound = Vec::new();
        let mut one = |name, address: Option<SocketAddr>| {
            let Some(address) = address else { return Ok::<_, StartError>(None) };
            let error = |source| StartError::Listen { name, address, source };
            let sockets = bind(address, count, &config.sockets).map_err(error)?;
            let real = sockets.first().map(TcpListener::local_addr).transpose().map_err(error)?;
            bound.push(Bound { name, address: real.unwrap_or(address), sockets });
            Ok(real)
        };
        let addresses = Addresses {
            pomelo_tcp: one(Addresses::POMELO_TCP, config.pomelo_tcp)?,
            pomelo_ws: one(Addresses::POMELO_WS, config.pomelo_ws)?,
            http: one(Addresses::HTTP, config.http)?,
            im: one(Addresses::IM, config.im.as_ref().map(|im| im.listen))?,
            origin: one(Addresses::ORIGIN, config.origin)?,
        };
        Ok(Self { addresses, bound })
    }

    /// Accepts on all sockets; `serving` says what is done with the connections of the listener of a name.
    pub(super) fn serve<R: Runtime>(
        self,
        workers: &Workers<R>,
        host: &Arc<Host>,
        edge: &EdgeConfig,
        mut serving: impl FnMut(&'static str) -> Option<Service<R>>,
    ) -> Result<(), StartError> {
        for Bound { name, address, sockets } in self.bound {
            let Some(mut service) = serving(name) else { continue };
            if edge.proxy_protocol {
                service = behind_proxies(service);
            }
            for (runtime, socket) in workers.iter().zip(sockets) {
                let listener = runtime.listen(socket).map_err(|source| {
                    host.closed_door().raise();
                    StartError::Listen { name, address, source }
                })?;
                let (own, host, Service { serve, refuse }) =
                    (runtime.clone(), Arc::clone(host), service.clone());
                runtime.spawn(async move {
                    let serve = |stream, permit| serve(&own, stream, permit);
                    accept_or(&own, &host, &listener, serve, |stream, _| refuse(&own, &host, stream)).await;
                });
            }
        }
        Ok(())
    }
}

/// Hands connections to `serve`; whoever is refused is closed.
pub(super) fn serve_tcp<R: Runtime>(
    serve: impl Fn(&R, R::Stream, Permit) + Send + Sync + 'static,
) -> Service<R> {
    // Closing is all that a flood is worth.
    Service { serve: Arc::new(serve), refuse: Arc::new(|_, _, stream| drop(stream)) }
}

/// Answers HTTP with `site`; connections may live as long as they are of use.
pub(super) fn serve_http<R: Runtime>(site: impl Site<R>, edge: &EdgeConfig) -> Service<R> {
    serve_site(site, edge, |_| None)
}

/// Upgrades connections with `site`; one that is not upgraded soon ends.
pub(super) fn serve_sockets<R: Runtime>(site: impl Site<R>, edge: &EdgeConfig) -> Service<R> {
    serve_site(site, edge, |head_timeout| Some(head_timeout.saturating_mul(2)))
}

fn serve_site<R: Runtime>(
    site: impl Site<R>,
    edge: &EdgeConfig,
    lifetime: fn(Duration) -> Option<Duration>,
) -> Service<R> {
    let (site, edge, refusals) = (Arc::new(site), Arc::new(edge.clone()), Refusals::default());
    let serve = move |runtime: &R, stream, permit: Permit| {
        let head_timeout = permit.host().limits().handshake_timeout;
        let rules = Rules { head_timeout, lifetime: lifetime(head_timeout), edge: Arc::clone(&edge) };
        runtime.spawn(exchange(runtime.clone(), stream, permit, Arc::clone(&site), rules));
    };
    let refuse = move |runtime: &R, host: &Host, stream| refusals.refuse(runtime, host, stream);
    Service { serve: Arc::new(serve), refuse: Arc::new(refuse) }
}

/// The same service for connections of which those from trusted proxies begin with a PROXY header.
fn behind_proxies<R: Runtime>(service: Service<R>) -> Service<R> {
    let Service { serve, refuse } = service;
    let onwards = Arc::clone(&refuse);
    let serve = move |runtime: &R, mut stream: R::Stream, mut permit: Permit| {
        let peer = permit.peer();
        if !permit.host().trusted().iter().any(|network| network.contains(peer.ip())) {
            return serve(runtime, stream, permit);
        }
        let (own, serve, refuse) = (runtime.clone(), Arc::clone(&serve), Arc::clone(&onwards));
        let end = runtime.sleep_until(Instant::now() + permit.host().limits().handshake_timeout);
        runtime.spawn(async move {
            let late = async {
                end.await;
                Err(io::ErrorKind::TimedOut.into())
            };
            let host = Arc::clone(permit.host());
            match read_header(&mut stream).or(late).await {
                Ok(None) => serve(&own, stream, permit),
                Ok(Some(client)) => match permit.speak_for(client) {
                    Ok(()) => serve(&own, stream, permit),
                    Err(_) => refuse(&own, &host, stream),
                },
                Err(error) => {
                    host.stats().mark(Mark::ProxyHeaderInvalid);
                    tracing::debug!(%peer, %error, "no PROXY header");
                }
            }
        });
    };
    Service { serve: Arc::new(serve), refuse }
}
