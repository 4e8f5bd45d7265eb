//! What was recorded of the originals, played to the programs over real sockets.

use super::{Gateway, agent};
use crate::tunnel::{probes, replays};

/// Frames and handshakes at a gateway.
pub fn probes_of_a_server(program: &str) {
    let mut gateway = Gateway::start(program, &[]);
    probes::our_server(gateway.http);
    gateway.process.stop();
}

/// Frames at an agent.
pub fn probes_of_an_agent(program: &str) {
    probes::our_agent(|url| agent(program, url, &["--allow-any", "--redial-longest", "50ms"]));
}

/// Sessions with the gateway in the server's place.
pub fn sessions_of_a_server(program: &str) {
    replays::our_server(|target| {
        let forward = format!("127.0.0.1:0=foo/{target}");
        let gateway = Gateway::start(program, &["--forward", &forward, "--forward-wait", "10s"]);
        let (http, forward) = (gateway.http, gateway.forward());
        (gateway, http, forward)
    });
}

/// Sessions with the agent in the client's place.
pub fn sessions_of_an_agent(program: &str) {
    replays::our_agent(|url| agent(program, url, &["--allow-any"]));
}

/// Lists of streams at a gateway.
pub fn lists_of_streams(program: &str) {
    replays::lists_of_streams(|| {
        let forward = ["--forward", "127.0.0.1:0=foo/tcp/127.0.0.1:1", "--forward-wait", "10s"];
        let gateway = Gateway::start(program, &[&forward[..], &["--tunnel-sync-grace", "0s"]].concat());
        let (http, forward) = (gateway.http, gateway.forward());
        (gateway, http, forward)
    });
}
