//! The client's end: what it may be told, how long it waits, and how it goes.

use std::net::{Ipv4Addr, SocketAddr};

use linkspan_core::Limits;
use linkspan_gateway::client::{Carrier, Dialer, Target};
use linkspan_gateway::demo;
use linkspan_runtime::Runtime;

use crate::harness::{World, target};

/// Found by reading: limits per address are about clients, yet a server that said much ended its own.
pub(crate) async fn a_client_is_not_paced<R: Runtime>(world: World<R>) {
    let gateway = world.start(demo::services(world.runtime()));
    let limits = Limits { messages_per_second: 1, messages_burst: 1, ..Limits::default() };
    let dialer = Dialer::with_limits(world.runtime().clone(), limits);
    // This host as well, but not by an address of the loopback, which is exempt from such limits.
    let port = gateway.addresses().pomelo_tcp.unwrap().port();
    let here = Target::new(Carrier::Tcp, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    let client = dialer.connect(&here).await.unwrap();
    let answer = client.request("Echo.PushN", r#"{"n":100,"size":1,"route":"onMany"}"#);
    assert_eq!(answer.await.unwrap(), r#"{"accepted":100,"asked":100}"#);
    assert_eq!(client.pushes(), 100);
}

/// Found by reading: with a full mailbox the last handle's goodbye was lost, and the connection stayed for good.
pub(crate) async fn a_client_ends_with_its_handle_though_its_mailbox_is_full<R: Runtime>(world: World<R>) {
    let gateway = world.start(demo::services(world.runtime()));
    let limits = Limits { mailbox: 1, ..Limits::default() };
    let dialer = Dialer::with_limits(world.runtime().clone(), limits);
    for _ in 0..50 {
        let client = dialer.connect(&target(&gateway, Carrier::Tcp)).await.unwrap();
        // Its task has no time to take them between the last one and the end.
        while client.notify("Echo.Raw", "").is_ok() {}
        drop(client);
    }
    world.until("all have ended", || dialer.host().stats().open() == 0).await;
}
