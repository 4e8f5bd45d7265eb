//! The command line: the commands here, what one feature needs in a file of its own.

mod agent;
mod chat;
mod connect;
mod demo;
mod edge;
mod im;
mod limits;
mod pomelo;
mod proxy;
mod run;
mod stop;
mod tunnel;
mod tunnel_limits;

use std::net::SocketAddr;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub(super) use self::agent::AgentArgs;
pub(super) use self::chat::{BadMessageArg, ChatArgs, DuplicateArg, RelayArg, SlowArg};
pub(super) use self::connect::ConnectArgs;
pub(super) use self::demo::DemoArgs;
pub(super) use self::edge::EdgeArgs;
pub(super) use self::im::ImArgs;
pub(super) use self::limits::LimitArgs;
pub(super) use self::pomelo::{ErrorsArg, PomeloArgs, SameUidArg};
pub(super) use self::proxy::{CompatArg, ProxyArgs};
pub(super) use self::run::{PlacementArg, RunArgs};
pub(super) use self::stop::StopArgs;
pub(super) use self::tunnel::{OrderArg, TunnelArgs};
pub(super) use self::tunnel_limits::{TimerArgs, TunnelLimitArgs};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default());

/// A real-time gateway: unmodified pomelo clients connect over TCP or WebSocket.
#[derive(Debug, Parser)]
#[command(styles = STYLES, disable_help_subcommand = true, after_long_help = EXAMPLES)]
pub(in crate::cli) struct Cli {
    #[command(subcommand)]
    pub(in crate::cli) command: Command,

    #[command(flatten)]
    pub(in crate::cli) log: LogArgs,
}

const EXAMPLES: &str = "\
Examples:
  linkspan demo
  linkspan serve --pomelo-tcp 0.0.0.0:3250 --pomelo-ws 0.0.0.0:3251 --http 127.0.0.1:3252 --demo-services
  echo 'request Echo.JSON {\"a\":1}' | linkspan connect tcp://127.0.0.1:3250

Exit codes: 0 done (also after a stop by signal), 1 failed, 2 wrong usage or settings, 3 an address cannot be used.";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Run a gateway
    Serve(Box<ServeArgs>),
    /// Reach private services for gateways, from inside a private network
    Agent(Box<AgentArgs>),
    /// Run a gateway on loopback with demo services and a demo page
    Demo(DemoArgs),
    /// Talk to a pomelo server: request, notify, watch pushes
    Connect(ConnectArgs),
}

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct LogArgs {
    /// How log lines look; RUST_LOG says what is logged (default: info)
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "LINKSPAN_LOG__FORMAT",
        hide_short_help = true
    )]
    pub(in crate::cli) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(in crate::cli) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One object per line
    Json,
}

#[derive(Debug, Args)]
#[command(after_long_help = SERVE_EXAMPLES)]
pub(in crate::cli) struct ServeArgs {
    /// Listen for pomelo over TCP
    #[arg(long, value_name = "ADDR", env = "LINKSPAN_LISTEN__POMELO_TCP", help_heading = "Listen")]
    pub(in crate::cli) pomelo_tcp: Option<SocketAddr>,
    /// Listen for pomelo over WebSocket, on every path
    #[arg(long, value_name = "ADDR", env = "LINKSPAN_LISTEN__POMELO_WS", help_heading = "Listen")]
    pub(in crate::cli) pomelo_ws: Option<SocketAddr>,
    /// Listen for HTTP: health, the demo page, --chat
    #[arg(long, value_name = "ADDR", env = "LINKSPAN_LISTEN__HTTP", help_heading = "Listen")]
    pub(in crate::cli) http: Option<SocketAddr>,
    /// Serve Echo.* and room.*
    #[arg(long, env = "LINKSPAN_DEMO_SERVICES", help_heading = "Listen")]
    pub(in crate::cli) demo_services: bool,

    #[command(flatten)]
    pub(in crate::cli) run: RunArgs,
    #[command(flatten)]
    pub(in crate::cli) pomelo: PomeloArgs,
    #[command(flatten)]
    pub(in crate::cli) chat: ChatArgs,
    #[command(flatten)]
    pub(in crate::cli) im: ImArgs,
    #[command(flatten)]
    pub(in crate::cli) tunnel: TunnelArgs,
    #[command(flatten)]
    pub(in crate::cli) edge: EdgeArgs,
    #[command(flatten)]
    pub(in crate::cli) proxy: ProxyArgs,
    #[command(flatten)]
    pub(in crate::cli) stop: StopArgs,
    #[command(flatten)]
    pub(in crate::cli) limits: LimitArgs,
    #[command(flatten)]
    pub(in crate::cli) tunnel_limits: TunnelLimitArgs,
    #[command(flatten)]
    pub(in crate::cli) timers: TimerArgs,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  linkspan serve --pomelo-tcp 127.0.0.1:0 --demo-services
  linkspan serve --pomelo-tcp 0.0.0.0:3250 --pomelo-ws 0.0.0.0:3251 --heartbeat 15s --connections 200000
  linkspan serve --http 0.0.0.0:8123 --tunnel --forward 127.0.0.1:5432=foo/tcp/10.0.0.7:5432
  linkspan serve -listen :8123 -id first -token aaa -peers second:bbb:ws://127.0.0.1:8124/connect
  linkspan serve --http 0.0.0.0:3252 --chat --origin https://game.example --trust-proxy 10.0.0.0/8
  RUST_LOG=debug linkspan serve --pomelo-ws [::1]:3251 --http [::1]:3252 --demo-services --log-format json

Port 0 is any free port. Each address is printed on a line of its own: `listening pomelo-tcp 127.0.0.1:26001`.";
