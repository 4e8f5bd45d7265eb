//! The reverse proxy.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use linkspan_core::http::upstream::{Route, UpstreamFault};

use crate::cli::units::{parse_duration, parse_size32};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum CompatArg {
    /// As the demo server of rancher/remotedialer: GET only, redirects followed, errors are 500
    Remotedialer,
}

fn parse_route(text: &str) -> Result<Route, UpstreamFault> {
    Route::parse(text)
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Proxy")]
pub(in crate::cli) struct ProxyArgs {
    /// Pass requests on: PATTERN=http://HOST:PORT, or PATTERN=tunnel://AGENT/http/HOST:PORT
    #[arg(
        long,
        value_name = "ROUTE",
        value_parser = parse_route,
        value_delimiter = ',',
        env = "LINKSPAN_PROXY__ROUTES",
        requires = "http"
    )]
    pub(in crate::cli) route: Vec<Route>,
    /// Answer /client/… as another program does
    #[arg(long, value_enum, env = "LINKSPAN_PROXY__COMPAT", hide_short_help = true)]
    pub(in crate::cli) compat: Option<CompatArg>,
    /// How long an upstream may take to answer [default: 15s for /client/…, 60s for routes]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "LINKSPAN_PROXY__TIMEOUT", hide_short_help = true)]
    pub(in crate::cli) proxy_timeout: Option<Duration>,
    /// How long connecting to an upstream may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration, env = "LINKSPAN_PROXY__DIAL_TIMEOUT", hide_short_help = true)]
    pub(in crate::cli) proxy_dial_timeout: Duration,
    /// How long a request waits for an agent that is not connected
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration, env = "LINKSPAN_PROXY__AWAIT", hide_short_help = true)]
    pub(in crate::cli) proxy_await: Duration,
    /// Connections to all upstreams together
    #[arg(long, value_name = "N", default_value = "1024", value_parser = parse_size32, env = "LINKSPAN_PROXY__CONNECTIONS", hide_short_help = true)]
    pub(in crate::cli) proxy_connections: u32,
    /// Connections to one upstream; more requests wait
    #[arg(long, value_name = "N", default_value = "256", value_parser = parse_size32, env = "LINKSPAN_PROXY__CONNECTIONS_PER_UPSTREAM", hide_short_help = true)]
    pub(in crate::cli) proxy_connections_per_upstream: u32,
    /// Requests that may wait for one upstream
    #[arg(long, value_name = "N", default_value = "1024", value_parser = parse_size32, env = "LINKSPAN_PROXY__WAITING", hide_short_help = true)]
    pub(in crate::cli) proxy_waiting: u32,
    /// Connections that one upstream's pool keeps
    #[arg(long, value_name = "N", default_value = "256", value_parser = parse_size32, env = "LINKSPAN_PROXY__IDLE_PER_UPSTREAM", hide_short_help = true)]
    pub(in crate::cli) proxy_idle_per_upstream: u32,
    /// How long an upstream connection may be idle
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = parse_duration, env = "LINKSPAN_PROXY__IDLE_TIMEOUT", hide_short_help = true)]
    pub(in crate::cli) proxy_idle_timeout: Duration,
    /// The certificate authorities of https upstreams, PEM [default: this system's]
    #[arg(long, value_name = "FILE", env = "LINKSPAN_PROXY__CA", hide_short_help = true)]
    pub(in crate::cli) proxy_ca: Option<PathBuf>,
    /// Do not verify the certificates of https upstreams
    #[arg(long, env = "LINKSPAN_PROXY__INSECURE", conflicts_with = "proxy_ca", hide_short_help = true)]
    pub(in crate::cli) proxy_insecure: bool,
    /// Let /client/{id}/healthz say 503 while the agent is not connected
    #[arg(long, env = "LINKSPAN_PROXY__STRICT_HEALTH", hide_short_help = true)]
    pub(in crate::cli) strict_health: bool,
}
