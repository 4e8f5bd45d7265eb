//! A gateway on free ports, and clients for it.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt};
use linkspan_core::Limits;
use linkspan_gateway::client::{Carrier, Client, Dialer, Message, Target};
use linkspan_gateway::server::{Config, Gateway};
use linkspan_gateway::services::Services;
use linkspan_runtime::{HostConfig, Placement, Runtime, Workers};

pub(crate) const CARRIERS: [Carrier; 2] = [Carrier::Tcp, Carrier::WebSocket];

/// One test's executors.
pub(crate) struct World<R> {
    pub(crate) workers: Workers<R>,
}

/// One case.
pub(crate) type Case<R> = fn(World<R>) -> Pin<Box<dyn Future<Output = ()>>>;

/// Runs one test on both placements; it fails if it takes too long.
pub(crate) fn run<R: Runtime>(test: Case<R>) {
    for placement in [Placement::WorkStealing, Placement::PerCore] {
        let threads = NonZeroUsize::new(2).unwrap();
        let ended = R::run(placement, threads, |workers| async move {
            let runtime = workers.first().clone();
            let late = async {
                runtime.sleep_until(Instant::now() + Duration::from_secs(20)).await;
                panic!("took too long with {placement:?}");
            };
            test(World { workers }).or(late).await;
        });
        ended.unwrap();
    }
}

pub(crate) fn loopback() -> Option<SocketAddr> {
    Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

impl<R: Runtime> World<R> {
    pub(crate) fn runtime(&self) -> &R {
        self.workers.first()
    }

    pub(crate) fn start(&self, services: Services) -> Gateway<R> {
        self.start_with(services, |_| {})
    }

    /// A gateway on free ports, with changes to its settings.
    pub(crate) fn start_with(&self, services: Services, change: impl FnOnce(&mut Config)) -> Gateway<R> {
        let limits = Arc::new(Limits { connects_per_second: 0, ..Limits::default() });
        let mut config = Config {
            pomelo_tcp: loopback(),
            pomelo_ws: loopback(),
            http: loopback(),
            host: HostConfig { limits, ..HostConfig::default() },
            ..Config::default()
        };
        change(&mut config);
        Gateway::start(&self.workers, config, services).unwrap()
    }

    pub(crate) fn dialer(&self) -> Dialer<R> {
        Dialer::new(self.runtime().clone())
    }

    pub(crate) async fn connect(&self, gateway: &Gateway<R>, carrier: Carrier) -> Client {
        self.dialer().connect(&target(gateway, carrier)).await.unwrap()
    }

    pub(crate) async fn sleep(&self, millis: u64) {
        self.runtime().sleep_until(Instant::now() + Duration::from_millis(millis)).await;
    }

    /// Waits until `holds`, for at most five seconds.
    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..500 {
            if holds() {
                return;
            }
            self.sleep(10).await;
        }
        panic!("never: {what}");
    }

    /// Sends bytes to a listener and reads until the peer ends or `until` is in the answer.
    pub(crate) async fn raw(&self, to: SocketAddr, parts: &[&str], until: &str) -> String {
        let mut stream = self.runtime().connect(to).await.unwrap();
        for part in parts {
            stream.write_all(part.as_bytes()).await.unwrap();
        }
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(n) = stream.read(&mut chunk).await {
            if n == 0 {
                break;
            }
            answer.extend_from_slice(&chunk[..n]);
            if !until.is_empty() && String::from_utf8_lossy(&answer).contains(until) {
                break;
            }
        }
        String::from_utf8_lossy(&answer).into_owned()
    }
}

pub(crate) fn target<R: Runtime>(gateway: &Gateway<R>, carrier: Carrier) -> Target {
    let addresses = gateway.addresses();
    let address = match carrier {
        Carrier::Tcp => addresses.pomelo_tcp,
        Carrier::WebSocket => addresses.pomelo_ws,
    };
    Target::new(carrier, address.unwrap())
}

/// The next message under `route` with this body.
pub(crate) async fn expect_push(client: &Client, route: &str, body: &str) {
    let push = client.next_push().await;
    let expected = Message { route: Bytes::from(route.to_owned()), body: Bytes::from(body.to_owned()) };
    assert_eq!(push, Some(expected));
}

/// The code of a failed request.
pub(crate) async fn code_of(client: &Client, route: &str, body: &str) -> String {
    let error = client.request(route.to_owned(), body.to_owned()).await.unwrap_err();
    error.error_body().unwrap().code.into_owned()
}
