//! An agent in the same process, so that there is something to reach through a tunnel.

use std::net::SocketAddr;
use std::sync::Arc;

use linkspan_core::Key;
use linkspan_core::redial;
use linkspan_core::tunnel::policy::DialPolicy;
use linkspan_runtime::{Host, HostConfig, Runtime};

use crate::tunnel::{Agent, Door, Timers};

/// The name by which it is dialled.
pub(crate) const ID: &str = "demo";

/// Connects an agent to the gateway that listens at `http`; it may dial loopback only.
pub(crate) fn start<R: Runtime>(runtime: &R, http: SocketAddr) {
    let (Ok(door), Ok(id)) = (format!("ws://{http}/connect").parse::<Door>(), Key::new(ID)) else { return };
    let agent = Agent {
        servers: vec![door],
        id,
        token: None,
        tls: None,
        policy: DialPolicy::default(),
        redial: redial::Config::default(),
        timers: Timers::default(),
        connected: Arc::new(|_| {}),
    };
    let own = runtime.clone();
    runtime.spawn(async move {
        let host = Host::new(HostConfig::default());
        agent.run(&own, &host).await;
    });
}
