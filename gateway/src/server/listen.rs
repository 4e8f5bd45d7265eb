//! The listeners, and what becomes of a connection that comes in.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use linkspan_runtime::{Host, Permit, Runtime, Workers, accept, bind};

use super::{Addresses, Config, StartError};
use crate::http::{Bounds, Site, exchange};

/// How long a connection to the HTTP address may live, however busy it is.
const HTTP_LIFETIME: Duration = Duration::from_secs(300);

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

/// What is done with a connection: it spawns a task and returns.
pub(super) type Serve<R> = Arc<dyn Fn(&R, <R as Runtime>::Stream, Permit) + Send + Sync>;

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
        };
        Ok(Self { addresses, bound })
    }

    /// Accepts on all sockets; `serving` says what is done with the connections of the listener of a name.
    pub(super) fn serve<R: Runtime>(
        self,
        workers: &Workers<R>,
        host: &Arc<Host>,
        mut serving: impl FnMut(&'static str) -> Option<Serve<R>>,
    ) -> Result<(), StartError> {
        for Bound { name, address, sockets } in self.bound {
            let Some(serve) = serving(name) else { continue };
            for (runtime, socket) in workers.iter().zip(sockets) {
                let listener = runtime.listen(socket).map_err(|source| {
                    host.closed_door().raise();
                    StartError::Listen { name, address, source }
                })?;
                let (own, host, serve) = (runtime.clone(), Arc::clone(host), Arc::clone(&serve));
                runtime.spawn(async move {
                    accept(&own, &host, &listener, |stream, permit| serve(&own, stream, permit)).await;
                });
            }
        }
        Ok(())
    }
}

/// Answers HTTP with `site`; connections that are not upgraded may live as long as it is useful.
pub(super) fn serve_http<R: Runtime>(site: impl Site<R>) -> Serve<R> {
    serve_site(site, |_| HTTP_LIFETIME)
}

/// Upgrades connections with `site`; one that is not upgraded soon ends.
pub(super) fn serve_sockets<R: Runtime>(site: impl Site<R>) -> Serve<R> {
    serve_site(site, |head_timeout| head_timeout.saturating_mul(2))
}

fn serve_site<R: Runtime>(site: impl Site<R>, lifetime: fn(Duration) -> Duration) -> Serve<R> {
    let site = Arc::new(site);
    Arc::new(move |runtime, stream, permit| {
        let head_timeout = permit.host().limits().handshake_timeout;
        let bounds = Bounds { head_timeout, lifetime: lifetime(head_timeout) };
        runtime.spawn(exchange(runtime.clone(), stream, permit, Arc::clone(&site), bounds));
    })
}
