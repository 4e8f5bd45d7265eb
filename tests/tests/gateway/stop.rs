//! The graceful end.

use std::time::{Duration, Instant};

use linkspan_core::CloseReason;
use linkspan_gateway::demo;
use linkspan_gateway::services::Services;
use linkspan_runtime::Runtime;

use crate::harness::{CARRIERS, World};

pub(crate) async fn requests_in_flight_are_answered<R: Runtime>(world: World<R>) {
    let gateway = world.start(demo::services(world.runtime()));
    let mut clients = Vec::new();
    for carrier in CARRIERS.repeat(20) {
        clients.push(world.connect(&gateway, carrier).await);
    }
    let answers: Vec<_> = clients.iter().map(|client| client.request("Echo.Slow", r#"{"ms":400}"#)).collect();
    world.sleep(150).await;
    let started = Instant::now();
    let drained = gateway.stop().await;
    assert_eq!((drained.before, drained.left), (40, 0));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    for answer in answers {
        assert_eq!(answer.await.unwrap(), r#"{"ms":400}"#);
    }
    for client in clients {
        assert_eq!(client.ended().await, CloseReason::Kicked);
        assert_eq!(client.kicked().unwrap(), r#"{"reason":"server stopping"}"#);
    }
}

pub(crate) async fn probes_hear_of_it_first<R: Runtime>(world: World<R>) {
    let gateway = world.start_with(Services::new(), |config| {
        config.host.drain.delay = Duration::from_millis(400);
    });
    let http = gateway.addresses().http.unwrap();
    let ask = "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(world.raw(http, &[ask], "").await.starts_with("HTTP/1.1 200 "));
    let stopping = gateway.clone();
    let probe = async {
        world.sleep(100).await;
        let answer = world.raw(http, &[ask], "").await;
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.ends_with(r#""reasons":["draining"]}"#),
            "{answer}"
        );
    };
    let (drained, ()) = futures_lite::future::zip(stopping.stop(), probe).await;
    assert_eq!(drained.left, 0);
    world.until("nobody accepts", || std::net::TcpStream::connect(http).is_err()).await;
}

/// A browser keeps its connection open, and a WebSocket may be half-way through its upgrade.
pub(crate) async fn idle_pages_do_not_hold_it_up<R: Runtime>(world: World<R>) {
    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    let gateway = world.start(Services::new());
    let addresses = gateway.addresses();
    let mut page = world.runtime().connect(addresses.http.unwrap()).await.unwrap();
    page.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut chunk = [0; 1024];
    assert!(page.read(&mut chunk).await.unwrap() > 0);
    let mut half = world.runtime().connect(addresses.pomelo_ws.unwrap()).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    world.sleep(50).await;
    let started = Instant::now();
    let drained = gateway.stop().await;
    assert_eq!((drained.before, drained.left), (2, 0));
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}
