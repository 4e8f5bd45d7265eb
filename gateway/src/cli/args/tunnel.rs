//! Tunnels of a gateway.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::units::parse_duration;
use crate::tunnel::Forward;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum OrderArg {
    /// The session that came first, as the originals do
    Oldest,
    /// The session that came last
    Newest,
    /// One after the other
    RoundRobin,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Tunnels")]
pub(in crate::cli) struct TunnelArgs {
    /// Let agents connect at /connect of the HTTP address
    #[arg(long, env = "LINKSPAN_TUNNEL__ENABLED", requires = "http", hide_short_help = true)]
    pub(in crate::cli) tunnel: bool,
    /// The name of this server among its peers
    #[arg(long, value_name = "NAME", env = "LINKSPAN_TUNNEL__ID", hide_short_help = true)]
    pub(in crate::cli) id: Option<String>,
    /// What this server shows to its peers
    #[arg(
        long,
        value_name = "TOKEN",
        env = "LINKSPAN_TUNNEL__TOKEN",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(in crate::cli) token: Option<String>,
    /// A file with that token, which `ps` does not show
    #[arg(
        long,
        value_name = "FILE",
        env = "LINKSPAN_TUNNEL__TOKEN_FILE",
        conflicts_with = "token",
        hide_short_help = true
    )]
    pub(in crate::cli) token_file: Option<PathBuf>,
    /// Other servers, each with the token it must show: ID:TOKEN:URL
    #[arg(
        long,
        visible_alias = "peer",
        value_name = "PEERS",
        value_delimiter = ',',
        env = "LINKSPAN_TUNNEL__PEERS",
        hide_env_values = true,
        hide_short_help = true
    )]
    // Read after clap, which would repeat what it cannot read, with the token.
    pub(in crate::cli) peers: Vec<String>,
    /// Whom peers with wss:// URLs must be vouched for by, a PEM file [default: the system's list]
    #[arg(long, value_name = "FILE", env = "LINKSPAN_TUNNEL__PEERS_CA", hide_short_help = true)]
    pub(in crate::cli) peers_ca: Option<PathBuf>,
    /// Do not verify the certificates of peers, as the originals
    #[arg(
        long,
        env = "LINKSPAN_TUNNEL__PEERS_INSECURE",
        conflicts_with = "peers_ca",
        hide_short_help = true
    )]
    pub(in crate::cli) peers_insecure: bool,
    /// Refuse whoever shows the name of a peer with a wrong token, even as an agent
    #[arg(long, env = "LINKSPAN_TUNNEL__STRICT_PEERS", hide_short_help = true)]
    pub(in crate::cli) strict_peers: bool,
    /// What agents must show as `Authorization: Bearer TOKEN` [default: nothing]
    #[arg(
        long,
        value_name = "TOKEN",
        env = "LINKSPAN_TUNNEL__AGENT_TOKEN",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(in crate::cli) agent_token: Option<String>,
    /// A file with that token
    #[arg(
        long,
        value_name = "FILE",
        env = "LINKSPAN_TUNNEL__AGENT_TOKEN_FILE",
        conflicts_with = "agent_token",
        hide_short_help = true
    )]
    pub(in crate::cli) agent_token_file: Option<PathBuf>,
    /// Which of several sessions of an agent is used
    #[arg(
        long,
        value_enum,
        default_value = "oldest",
        env = "LINKSPAN_TUNNEL__ORDER",
        hide_short_help = true
    )]
    pub(in crate::cli) tunnel_order: OrderArg,
    /// A local port that leads to what an agent reaches: LISTEN=AGENT/PROTO/TARGET
    #[arg(
        long,
        value_name = "FORWARD",
        value_delimiter = ',',
        env = "LINKSPAN_TUNNEL__FORWARD",
        hide_short_help = true
    )]
    pub(in crate::cli) forward: Vec<Forward>,
    /// How long a forwarded connection waits for an agent that is not there
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration, env = "LINKSPAN_TUNNEL__FORWARD_WAIT", hide_short_help = true)]
    pub(in crate::cli) forward_wait: Duration,
}
