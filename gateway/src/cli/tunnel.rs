//! Tunnels, from the command line.

use std::fs;
use std::path::Path;
use std::time::Duration;

use linkspan_core::hub::directory::Order;

use super::args::{OrderArg, TimerArgs, TunnelArgs};
use super::{Exit, Failure};
use crate::tls::Tls;
use crate::tunnel::{Config, Own, Peer, Secret, Timers, parse_name};

/// What is asked for; `None` if nothing is.
pub(super) fn config(args: &TunnelArgs, times: &TimerArgs) -> Result<Option<Config>, Failure> {
    let usage = |text: &str| Failure::new(Exit::Usage, text);
    if !args.tunnel {
        if !args.forward.is_empty() || !args.peers.is_empty() {
            return Err(usage("--forward and --peers need agents: give --tunnel and --http"));
        }
        return Ok(None);
    }
    let token = secret(args.token.as_deref(), args.token_file.as_deref(), "--token-file")?;
    let own = match (&args.id, token) {
        (Some(id), Some(token)) => Some(Own { id: name(id, "--id")?, token }),
        (None, None) if args.peers.is_empty() => None,
        (None, None) => {
            return Err(usage("--peers needs --id and --token: who this server is among its peers"));
        }
        (Some(_), None) => {
            return Err(usage("--id needs --token (or --token-file): what this server shows to peers"));
        }
        (None, Some(_)) => return Err(usage("--token needs --id: the name of this server among its peers")),
    };
    let tls = match (&args.peers_ca, args.peers_insecure) {
        (Some(file), _) => Some(Tls::new(Some(file)).map_err(|error| trust("--peers-ca", &error))?),
        (None, true) => Some(Tls::unverified().map_err(|error| trust("--peers-insecure", &error))?),
        (None, false) => None,
    };
    Ok(Some(Config {
        own,
        peers: peers(&args.peers)?,
        token: secret(args.agent_token.as_deref(), args.agent_token_file.as_deref(), "--agent-token-file")?,
        strict_peers: args.strict_peers,
        tls,
        order: match args.tunnel_order {
            OrderArg::Oldest => Order::OldestFirst,
            OrderArg::Newest => Order::NewestFirst,
            OrderArg::RoundRobin => Order::RoundRobin,
        },
        forwards: args.forward.clone(),
        wait: args.forward_wait,
        timers: timers(times)?,
    }))
}

/// The other servers. What is wrong is told by its place alone: any part of it may be a token.
fn peers(all: &[String]) -> Result<Vec<Peer>, Failure> {
    let peer = |(at, text): (usize, &String)| {
        text.parse::<Peer>().map_err(|_| {
            let text = format!(
                "--peers: number {} is not ID:TOKEN:URL, such as second:secret:ws://10.0.0.2:8123/connect",
                at + 1
            );
            Failure::new(Exit::Usage, text)
        })
    };
    all.iter().enumerate().map(peer).collect()
}

/// The times of sessions; what could end a session that is well is refused.
pub(super) fn timers(args: &TimerArgs) -> Result<Timers, Failure> {
    let timers = Timers {
        ping: args.tunnel_ping,
        silence: args.tunnel_silence,
        quiet: args.tunnel_quiet,
        sync: args.tunnel_sync,
        sync_grace: args.tunnel_sync_grace,
    };
    let twice = timers.ping.saturating_mul(2);
    let fault = if timers.ping < Duration::from_millis(1) || timers.sync < Duration::from_millis(1) {
        "--tunnel-ping and --tunnel-sync must be at least 1ms"
    } else if timers.silence < twice || timers.quiet < twice {
        "--tunnel-silence and --tunnel-quiet must be at least twice --tunnel-ping"
    } else {
        return Ok(timers);
    };
    Err(Failure::new(Exit::Usage, fault))
}

pub(super) fn trust(flag: &str, error: &crate::tls::TrustError) -> Failure {
    Failure::new(Exit::Usage, format_args!("{flag}: {error}"))
}

/// Reads the name of an agent or a server.
pub(super) fn name(text: &str, flag: &str) -> Result<linkspan_core::Key, Failure> {
    parse_name(text).map_err(|error| Failure::new(Exit::Usage, format_args!("{flag} {error}")))
}

/// A secret, as it was given or from a file; a line break at its end does not belong to it.
pub(super) fn secret(
    given: Option<&str>,
    file: Option<&Path>,
    flag: &str,
) -> Result<Option<Secret>, Failure> {
    let text = match (given, file) {
        (Some(text), _) => text.to_owned(),
        (None, Some(file)) => fs::read_to_string(file)
            .map_err(|error| Failure::new(Exit::Usage, format_args!("{flag} {}: {error}", file.display())))?,
        (None, None) => return Ok(None),
    };
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.contains(|c: char| !(' '..='~').contains(&c)) {
        let text = format!("{}: a token is one line of ASCII", flag.trim_end_matches("-file"));
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(Some(Secret::new(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_peer_is_told_without_its_token() {
        let told = |text: &str| {
            let all = ["second:bbb:ws://10.0.0.2:8123/connect".to_owned(), text.to_owned()];
            peers(&all).map_err(|failure| (failure.exit, failure.text))
        };
        for text in ["third:t0ken:http://b/connect", "third:a:t0ken:ws://b/connect", "t0ken:ws://b", "t0ken"]
        {
            let (exit, said) = told(text).expect_err("it is none");
            assert_eq!(exit, Exit::Usage, "{text}");
            assert!(said.contains("--peers: number 2 ") && !said.contains("t0ken"), "{said}");
        }
        assert!(told("third:t0ken:wss://b/connect").is_ok_and(|all| all.len() == 2));
    }
}
