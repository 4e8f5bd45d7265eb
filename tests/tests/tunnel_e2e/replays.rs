//! Sessions that were recorded between the originals, with one of the two ends replaced by ours.

use std::time::Duration;

use linkspan_gateway::tunnel::Timers;
use linkspan_tests::tunnel::replays;

use crate::site::{AgentConfig, AgentSite, Kind, Server, forwards};

/// Our server at the recorded agent.
pub(crate) fn our_server(kind: Kind) {
    replays::our_server(|target| {
        let server = Server::start(kind, forwards(&[target.to_owned()]));
        let (http, forward) = (server.http, server.forwards[0]);
        (server, http, forward)
    });
}

/// Our agent at the recorded server.
pub(crate) fn our_agent(kind: Kind) {
    replays::our_agent(|url| AgentSite::start_with(kind, AgentConfig::new(url.parse().unwrap())));
}

/// The recorded lists of streams at our server.
pub(crate) fn lists_of_streams(kind: Kind) {
    replays::lists_of_streams(|| {
        let mut config = forwards(&["tcp/127.0.0.1:1".to_owned()]);
        config.timers = Timers { sync_grace: Duration::ZERO, ..Timers::default() };
        let server = Server::start(kind, config);
        let (http, forward) = (server.http, server.forwards[0]);
        (server, http, forward)
    });
}
