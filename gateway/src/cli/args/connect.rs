//! `connect`.

use std::time::Duration;

use clap::Args;

use crate::cli::units::parse_duration;

#[derive(Debug, Args)]
#[command(after_long_help = CONNECT_EXAMPLES)]
pub(in crate::cli) struct ConnectArgs {
    /// tcp://HOST:PORT or ws://HOST:PORT[/PATH]
    pub(in crate::cli) url: String,
    /// The application's part of the handshake, JSON
    #[arg(long, value_name = "JSON", env = "LINKSPAN_CONNECT__USER", hide_env_values = true)]
    pub(in crate::cli) user: Option<String>,
    /// How long to wait for the connection and for each answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, env = "LINKSPAN_CONNECT__TIMEOUT")]
    pub(in crate::cli) timeout: Duration,
    /// After the end of the input, watch pushes for this long
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration, env = "LINKSPAN_CONNECT__LINGER")]
    pub(in crate::cli) linger: Duration,
    /// Print objects: {"kind", "route", "body"}
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

const CONNECT_EXAMPLES: &str = "\
Lines of the input:
  request ROUTE [BODY]   ask, and print `answer ROUTE BODY` or `error ROUTE BODY`
  notify ROUTE [BODY]    tell
  wait TIME              watch pushes: `push ROUTE BODY`
  quit                   as the end of the input

Examples:
  linkspan connect tcp://127.0.0.1:3250
  echo 'request Echo.JSON {\"a\":1}' | linkspan connect ws://127.0.0.1:3251
  printf 'notify Echo.PushMe hello\\nwait 100ms\\n' | linkspan connect tcp://127.0.0.1:3250

Answers and pushes go to standard output, everything else to standard error.";
