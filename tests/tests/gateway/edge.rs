//! What is refused at the edge is counted.

use std::sync::Arc;

use linkspan_core::{Limits, Mark};
use linkspan_gateway::demo;
use linkspan_gateway::services::Services;
use linkspan_runtime::{HostConfig, Runtime};

use crate::harness::World;

const FOREIGN: &str = "GET / HTTP/1.1\r\nHost: own.example\r\nOrigin: https://evil.example\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn behind_a_proxy(limits: Limits) -> HostConfig {
    let trusted = vec!["127.0.0.0/8".parse().unwrap()];
    HostConfig { limits: Arc::new(limits), trusted, ..HostConfig::default() }
}

pub(crate) async fn pages_of_other_hosts_are_counted<R: Runtime>(world: World<R>) {
    let gateway = world.start(Services::new());
    let refused = world.raw(gateway.addresses().pomelo_ws.unwrap(), &[FOREIGN], "--origin").await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert_eq!(gateway.host().stats().marked(Mark::OriginRefused), 1);
    gateway.stop().await;
}

pub(crate) async fn what_is_no_proxy_header_is_counted<R: Runtime>(world: World<R>) {
    let gateway = world.start_with(Services::new(), |config| {
        config.edge.proxy_protocol = true;
        config.host = behind_a_proxy(Limits::default());
    });
    let answer = world.raw(gateway.addresses().http.unwrap(), &["GET / HTTP/1.1\r\n\r\n"], "").await;
    assert_eq!(answer, "");
    assert_eq!(gateway.host().stats().marked(Mark::ProxyHeaderInvalid), 1);
    gateway.stop().await;
}

pub(crate) async fn a_flood_of_messages_is_counted<R: Runtime>(world: World<R>) {
    let gateway = world.start_with(demo::services(world.runtime()), |config| {
        config.edge.proxy_protocol = true;
        config.host =
            behind_a_proxy(Limits { messages_per_second: 1, messages_burst: 5, ..Limits::default() });
    });
    let beats = "\x03\0\0\0".repeat(20);
    let hello = ["PROXY TCP4 192.0.2.7 10.0.0.1 5000 80\r\n", "\x01\0\0\x02{}", "\x02\0\0\0", &beats];
    world.raw(gateway.addresses().pomelo_tcp.unwrap(), &hello, "").await;
    assert_eq!(gateway.host().stats().marked(Mark::MessageRate), 1);
    gateway.stop().await;
}

pub(crate) async fn refusals_without_a_word_are_counted<R: Runtime>(world: World<R>) {
    let gateway = world.start_with(Services::new(), |config| {
        let limits = Limits { connections: 1, refusals: 0, ..Limits::default() };
        config.host.limits = Arc::new(limits);
    });
    let http = gateway.addresses().http.unwrap();
    let inside = world.runtime().connect(http).await.unwrap();
    world.until("it is inside", || gateway.host().stats().open() == 1).await;
    assert_eq!(world.raw(http, &["GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"], "").await, "");
    world.until("it is counted", || gateway.host().stats().marked(Mark::RefusalSilent) == 1).await;
    drop(inside);
    gateway.stop().await;
}
