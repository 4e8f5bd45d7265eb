//! Several servers as one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use linkspan_gateway::tunnel::{Config, Own, Secret, parse_name};

use crate::original::handshake;
use crate::site::{
    AgentSite, Kind, PATIENCE, Server, dial, echo, eventually, forwards, is_over, loopback, tcp,
};

const NAMES: [&str; 3] = ["first", "second", "third"];

/// Addresses that are free, and stay so for a moment.
fn addresses() -> [SocketAddr; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind(loopback()).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// Server number `own` of a full mesh.
fn config(own: usize, http: &[SocketAddr; 3], targets: &[String], agent: &str) -> Config {
    let mut config = forwards(&[]);
    let forward = |target: &String| format!("127.0.0.1:0={agent}/{target}").parse().unwrap();
    config.forwards = targets.iter().map(forward).collect();
    config.own =
        Some(Own { id: parse_name(NAMES[own]).unwrap(), token: Secret::new(format!("token-{own}")) });
    let others = (0..3).filter(|other| *other != own);
    let peer = |other: usize| {
        format!("{}:token-{other}:ws://{}/connect", NAMES[other], http[other]).parse().unwrap()
    };
    config.peers = others.map(peer).collect();
    config
}

fn mesh(kind: Kind, targets: &[String], agent: &str) -> [Server; 3] {
    let http = addresses();
    [0, 1, 2].map(|own| Server::start_at(kind, config(own, &http, targets, agent), http[own], |_| {}))
}

fn ask(to: SocketAddr) -> bool {
    let mut stream = dial(to);
    let mut answer = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut answer).is_ok() && &answer == b"ping"
}

pub(crate) fn an_agent_moves_through_the_mesh(kind: Kind) {
    let servers = mesh(kind, &[tcp(echo())], "foo");
    for server in &servers {
        let agent = AgentSite::start(kind, server);
        for other in &servers {
            // Through one that has not heard of it yet the request waits.
            assert!(ask(other.forwards[0]));
        }
        agent.stop();
        server.until_clients(0);
    }
    // Much data takes the way over a peer as well.
    let _agent = AgentSite::start(kind, &servers[0]);
    let mut stream = dial(servers[2].forwards[0]);
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || crate::site::pour(&mut writer, 4 << 20));
    crate::site::drink(&mut stream, 4 << 20, |_| {});
    writing.join().unwrap();
}

/// Nobody has it, and a server's own name is no client: both are said at once.
pub(crate) fn no_request_goes_in_circles(kind: Kind) {
    for name in ["nobody", "second"] {
        let http = addresses();
        let servers = [0, 1, 2].map(|own| {
            let mut config = config(own, &http, &[tcp(loopback())], name);
            config.wait = Duration::ZERO;
            Server::start_at(kind, config, http[own], |_| {})
        });
        // The links stand: six sessions of peers, each of which is a connection at both ends.
        eventually("links", || servers.iter().all(|server| server.host.stats().open() >= 4));
        for server in &servers {
            let started = Instant::now();
            assert!(is_over(&mut server.dial()));
            assert!(started.elapsed() < PATIENCE / 4);
        }
    }
}

pub(crate) fn a_wrong_token_is_no_peer(kind: Kind) {
    let http = addresses();
    for is_strict in [false, true] {
        let mut config = config(0, &http, &[], "foo");
        config.strict_peers = is_strict;
        let server = Server::start(kind, config);
        let status = |headers: &[(&'static str, &str)]| match handshake(server.http, headers) {
            Ok(_) => 101,
            Err(error) => match *error {
                tungstenite::Error::Http(answer) => answer.status().as_u16(),
                other => panic!("{other}"),
            },
        };
        assert_eq!(status(&[("x-api-tunnel-id", "second"), ("x-api-tunnel-token", "token-1")]), 101);
        // Another's token, and no token.
        assert_eq!(status(&[("x-api-tunnel-id", "second"), ("x-api-tunnel-token", "token-2")]), 401);
        assert_eq!(status(&[("x-api-tunnel-id", "second")]), 401);
        let both = [("x-api-tunnel-id", "second"), ("x-api-tunnel-token", "?"), ("x-tunnel-id", "foo")];
        assert_eq!(status(&both), if is_strict { 401 } else { 101 });
    }
}
