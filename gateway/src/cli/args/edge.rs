//! Who may come in.

use clap::Args;
use linkspan_core::edge::Network;

#[derive(Debug, Args)]
#[command(next_help_heading = "Edge")]
pub(in crate::cli) struct EdgeArgs {
    /// Pages that may open a WebSocket: https://game.example, or * for all [default: pages of the same host]
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        env = "LINKSPAN_EDGE__ORIGIN",
        hide_short_help = true
    )]
    pub(in crate::cli) origin: Vec<String>,
    /// Proxies whose X-Forwarded-For and PROXY headers are believed: 10.0.0.0/8, ::1
    #[arg(
        long,
        value_name = "CIDR",
        value_delimiter = ',',
        env = "LINKSPAN_EDGE__TRUST_PROXY",
        hide_short_help = true
    )]
    pub(in crate::cli) trust_proxy: Vec<Network>,
    /// Connections from trusted proxies begin with a PROXY header, version 1 or 2
    #[arg(long, requires = "trust_proxy", env = "LINKSPAN_EDGE__PROXY_PROTOCOL", hide_short_help = true)]
    pub(in crate::cli) proxy_protocol: bool,
}
