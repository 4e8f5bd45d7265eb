//! `agent`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use linkspan_core::tunnel::policy::Rule;

use super::{RunArgs, StopArgs, TimerArgs, TunnelLimitArgs};
use crate::cli::units::parse_duration;
use crate::tunnel::Door;

#[derive(Debug, Args)]
#[command(after_long_help = AGENT_EXAMPLES)]
pub(in crate::cli) struct AgentArgs {
    /// Where servers listen for agents: ws://HOST:PORT/connect or wss://…; a session to each is kept
    #[arg(long, value_name = "URL", required = true, value_delimiter = ',', env = "LINKSPAN_AGENT__CONNECT")]
    pub(in crate::cli) connect: Vec<Door>,
    /// The name by which servers know this agent
    #[arg(long, value_name = "NAME", env = "LINKSPAN_AGENT__ID")]
    pub(in crate::cli) id: String,
    /// What is shown to servers that want a token
    #[arg(
        long,
        value_name = "TOKEN",
        env = "LINKSPAN_AGENT__TOKEN",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(in crate::cli) token: Option<String>,
    /// A file with that token, which `ps` does not show
    #[arg(long, value_name = "FILE", env = "LINKSPAN_AGENT__TOKEN_FILE", conflicts_with = "token")]
    pub(in crate::cli) token_file: Option<PathBuf>,
    /// What servers may dial here [default: TCP to this machine]
    #[arg(long, value_name = "RULE", value_delimiter = ',', env = "LINKSPAN_AGENT__ALLOW")]
    pub(in crate::cli) allow: Vec<Rule>,
    /// Let servers dial everything, as the original agent
    #[arg(long, env = "LINKSPAN_AGENT__ALLOW_ANY", conflicts_with = "allow")]
    pub(in crate::cli) allow_any: bool,
    /// Whom servers with wss:// URLs must be vouched for by, a PEM file [default: the system's list]
    #[arg(long, value_name = "FILE", env = "LINKSPAN_AGENT__CA", hide_short_help = true)]
    pub(in crate::cli) ca: Option<PathBuf>,
    /// Do not verify the certificates of servers
    #[arg(long, env = "LINKSPAN_AGENT__INSECURE", conflicts_with = "ca", hide_short_help = true)]
    pub(in crate::cli) insecure: bool,
    /// End with the first session, as the original agent
    #[arg(long, env = "LINKSPAN_AGENT__ONCE")]
    pub(in crate::cli) once: bool,
    /// How long to wait before the first new try; it doubles from then on
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = parse_duration, env = "LINKSPAN_AGENT__REDIAL_FIRST", hide_short_help = true)]
    pub(in crate::cli) redial_first: Duration,
    /// The longest such wait
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration, env = "LINKSPAN_AGENT__REDIAL_LONGEST", hide_short_help = true)]
    pub(in crate::cli) redial_longest: Duration,
    #[command(flatten)]
    pub(in crate::cli) run: RunArgs,
    #[command(flatten)]
    pub(in crate::cli) stop: StopArgs,
    #[command(flatten)]
    pub(in crate::cli) limits: TunnelLimitArgs,
    #[command(flatten)]
    pub(in crate::cli) timers: TimerArgs,
}

const AGENT_EXAMPLES: &str = "\
A rule is PROTO/HOST:PORTS or unix/PATH. HOST is an address, a network, a name, *.DOMAIN or *; PORTS is *, or ports and
spans. Addresses that no service has, such as those where clouds keep secrets, must be named.

Examples:
  linkspan agent --connect ws://gateway:8123/connect --id foo
  linkspan agent --connect wss://one/connect,wss://two/connect --id foo --token-file /etc/linkspan/token
  linkspan agent --connect ws://gateway:8123/connect --id foo --allow 'tcp/10.0.0.0/8:5432' --allow 'unix//run/x.sock'
  linkspan agent -connect ws://localhost:8123/connect -id foo --allow-any --once    # as the original";
