//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::units::{parse_duration, parse_size, parse_size32};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default());

/// A real-time gateway: unmodified pomelo clients connect over TCP or WebSocket.
#[derive(Debug, Parser)]
#[command(styles = STYLES, disable_help_subcommand = true, after_long_help = EXAMPLES)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,

    #[command(flatten)]
    pub(super) log: LogArgs,
}

const EXAMPLES: &str = "\
Examples:
  linkspan demo
  linkspan serve --pomelo-tcp 0.0.0.0:3250 --pomelo-ws 0.0.0.0:3251 --http 127.0.0.1:3252 --demo-services
  echo 'request Echo.JSON {\"a\":1}' | linkspan connect tcp://127.0.0.1:3250

Exit codes: 0 done (also after a stop by signal), 1 failed, 2 wrong usage or settings, 3 an address cannot be used.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a gateway
    Serve(Box<ServeArgs>),
    /// Run a gateway on loopback with demo services and a demo page
    Demo(DemoArgs),
    /// Talk to a pomelo server: request, notify, watch pushes
    Connect(ConnectArgs),
}

#[derive(Clone, Debug, Args)]
pub(super) struct LogArgs {
    /// How log lines look; RUST_LOG says what is logged (default: info)
    #[arg(long, global = true, value_enum, default_value_t, env = "LINKSPAN_LOG__FORMAT", hide_env = true)]
    pub(super) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One object per line
    Json,
}

#[derive(Debug, Args)]
#[command(after_long_help = SERVE_EXAMPLES)]
pub(super) struct ServeArgs {
    /// Listen for pomelo over TCP
    #[arg(long, value_name = "ADDR", env = "LINKSPAN_LISTEN__POMELO_TCP", help_heading = "Listen")]
    pub(super) pomelo_tcp: Option<SocketAddr>,
    /// Listen for pomelo over WebSocket, on every path
    #[arg(long, value_name = "ADDR", env = "LINKSPAN_LISTEN__POMELO_WS", help_heading = "Listen")]
    pub(super) pomelo_ws: Option<SocketAddr>,
    /// Listen for HTTP: /healthz, /readyz, the demo page
    #[arg(long, value_name = "ADDR", env = "LINKSPAN_LISTEN__HTTP", help_heading = "Listen")]
    pub(super) http: Option<SocketAddr>,
    /// Serve Echo.* and room.*
    #[arg(long, env = "LINKSPAN_DEMO_SERVICES", help_heading = "Listen")]
    pub(super) demo_services: bool,

    #[command(flatten)]
    pub(super) run: RunArgs,
    #[command(flatten)]
    pub(super) pomelo: PomeloArgs,
    #[command(flatten)]
    pub(super) stop: StopArgs,
    #[command(flatten)]
    pub(super) limits: LimitArgs,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  linkspan serve --pomelo-tcp 127.0.0.1:0 --demo-services
  linkspan serve --pomelo-tcp 0.0.0.0:3250 --pomelo-ws 0.0.0.0:3251 --heartbeat 15s --connections 200000
  RUST_LOG=debug linkspan serve --pomelo-ws [::1]:3251 --http [::1]:3252 --demo-services --log-format json

Port 0 is any free port. Each address is printed on a line of its own: `listening pomelo-tcp 127.0.0.1:26001`.";

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum PlacementArg {
    /// One executor whose threads take each other's work
    WorkStealing,
    /// One executor per thread; connections stay where they were accepted
    PerCore,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// How connections are placed on threads [default: work-stealing]
    #[arg(
        long,
        value_enum,
        env = "LINKSPAN_RUNTIME__PLACEMENT",
        help_heading = "Runtime",
        hide_short_help = true
    )]
    pub(super) placement: Option<PlacementArg>,
    /// Threads that serve connections [default: one per core]
    #[arg(long, value_name = "N", env = "LINKSPAN_RUNTIME__THREADS", help_heading = "Runtime")]
    pub(super) threads: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ErrorsArg {
    /// Flag 0x20 and {"code", "msg", "metadata"}
    Pitaya,
    /// No answer at all, as nano
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum SameUidArg {
    /// The newest session stays, older ones are removed
    Newest,
    /// The oldest session stays, newer ones are refused
    Reject,
    /// All stay
    Many,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Protocol")]
pub(super) struct PomeloArgs {
    /// Routes that get two-byte codes: from 1 on, in this order, or as ROUTE=CODE says
    #[arg(
        long,
        value_name = "ROUTES",
        value_delimiter = ',',
        env = "LINKSPAN_POMELO__DICTIONARY",
        hide_short_help = true
    )]
    pub(super) dictionary: Vec<String>,
    /// Demand exactly one package per WebSocket message, as pitaya
    #[arg(long, env = "LINKSPAN_POMELO__STRICT_BOUNDARIES", hide_short_help = true)]
    pub(super) strict_boundaries: bool,
    /// Let clients acknowledge without a handshake, as nano; validators are bypassed then
    #[arg(long, env = "LINKSPAN_POMELO__ACK_WITHOUT_HANDSHAKE", hide_short_help = true)]
    pub(super) ack_without_handshake: bool,
    /// How failed requests are answered
    #[arg(
        long,
        value_enum,
        default_value = "pitaya",
        env = "LINKSPAN_POMELO__ERRORS",
        hide_short_help = true
    )]
    pub(super) errors: ErrorsArg,
    /// Deflate bodies from this size on, for clients that can read it [default: never]
    #[arg(long, value_name = "SIZE", value_parser = parse_size32, env = "LINKSPAN_POMELO__DEFLATE_ABOVE", hide_short_help = true)]
    pub(super) deflate_above: Option<u32>,
    /// Who stays when two sessions bind the same uid
    #[arg(
        long,
        value_enum,
        default_value = "newest",
        env = "LINKSPAN_POMELO__SAME_UID",
        hide_short_help = true
    )]
    pub(super) same_uid: SameUidArg,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Stop")]
pub(super) struct StopArgs {
    /// Go on accepting for this long after the signal, while /readyz says 503
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration, env = "LINKSPAN_STOP__DELAY", hide_short_help = true)]
    pub(super) drain_delay: Duration,
    /// Cut what is still connected after this long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration, env = "LINKSPAN_STOP__TIMEOUT", hide_short_help = true)]
    pub(super) drain_timeout: Duration,
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])* $field:ident: $type:ty, $parser:expr, $name:literal, $env:literal;)*) => {
        /// The limits of the core, one flag each; unset ones keep the core's defaults.
        #[derive(Debug, Default, Args)]
        #[command(next_help_heading = "Limits")]
        pub(super) struct LimitArgs {
            $(
                $(#[doc = $doc])*
                #[arg(long, value_name = $name, value_parser = $parser, env = $env, hide_short_help = true)]
                pub(super) $field: Option<$type>,
            )*
        }
    };
}

limits! {
    /// From the connection to a finished handshake [default: 10s]
    handshake_timeout: Duration, parse_duration, "TIME", "LINKSPAN_LIMITS__HANDSHAKE_TIMEOUT";
    /// How often a heartbeat is sent; 0 sends none [default: 30s]
    heartbeat: Duration, parse_duration, "TIME", "LINKSPAN_LIMITS__HEARTBEAT";
    /// After how much silence a client is gone; 0 is never [default: 2.5 times the heartbeat]
    silence: Duration, parse_duration, "TIME", "LINKSPAN_LIMITS__SILENCE";
    /// How long one package may stay unfinished [default: 30s]
    unfinished_timeout: Duration, parse_duration, "TIME", "LINKSPAN_LIMITS__UNFINISHED_TIMEOUT";
    /// How long a client may read nothing of what waits for it [default: 10s]
    write_timeout: Duration, parse_duration, "TIME", "LINKSPAN_LIMITS__WRITE_TIMEOUT";
    /// How long a closing connection waits for pending answers [default: 5s]
    close_grace: Duration, parse_duration, "TIME", "LINKSPAN_LIMITS__CLOSE_GRACE";
    /// After which time a request fails [default: 30s]
    request_timeout: Duration, parse_duration, "TIME", "LINKSPAN_LIMITS__REQUEST_TIMEOUT";
    /// Largest body taken [default: 64KiB]
    receive_max: u32, parse_size32, "SIZE", "LINKSPAN_LIMITS__RECEIVE_MAX";
    /// Largest body sent [default: 16777215]
    send_max: u32, parse_size32, "SIZE", "LINKSPAN_LIMITS__SEND_MAX";
    /// Largest body after inflating [default: 640KiB]
    inflate_max: u32, parse_size32, "SIZE", "LINKSPAN_LIMITS__INFLATE_MAX";
    /// How much may wait to be written to one client [default: 1MiB]
    send_queue_bytes: u32, parse_size32, "SIZE", "LINKSPAN_LIMITS__SEND_QUEUE_BYTES";
    /// How many requests of one client may wait before it is no longer read [default: 256]
    pending_requests: u32, parse_size32, "N", "LINKSPAN_LIMITS__PENDING_REQUESTS";
    /// How many bytes of them may wait [default: 1MiB]
    pending_bytes: u32, parse_size32, "SIZE", "LINKSPAN_LIMITS__PENDING_BYTES";
    /// How many events may wait for one connection's task [default: 1024]
    mailbox: u32, parse_size32, "N", "LINKSPAN_LIMITS__MAILBOX";
    /// Groups of one session [default: 128]
    groups_per_connection: u32, parse_size32, "N", "LINKSPAN_LIMITS__GROUPS_PER_CONNECTION";
    /// Members of one group [default: 100000]
    group_members: u32, parse_size32, "N", "LINKSPAN_LIMITS__GROUP_MEMBERS";
    /// Connections in all [default: 100000]
    connections: u32, parse_size32, "N", "LINKSPAN_LIMITS__CONNECTIONS";
    /// Connections of one address; loopback is free [default: 256]
    connections_per_address: u32, parse_size32, "N", "LINKSPAN_LIMITS__CONNECTIONS_PER_ADDRESS";
    /// New connections of one address per second; 0 is any number [default: 50]
    connects_per_second: u32, parse_size32, "N", "LINKSPAN_LIMITS__CONNECTS_PER_SECOND";
    /// How many of them may come at once [default: 200]
    connects_burst: u32, parse_size32, "N", "LINKSPAN_LIMITS__CONNECTS_BURST";
    /// How much may wait to be written in all [default: 1GiB]
    buffered_bytes: u64, parse_size, "SIZE", "LINKSPAN_LIMITS__BUFFERED_BYTES";
}

#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  linkspan demo")]
pub(super) struct DemoArgs {
    /// The first of three ports on loopback: TCP, WebSocket, HTTP; 0 takes free ones
    #[arg(long, value_name = "PORT", default_value_t = 3250, env = "LINKSPAN_DEMO__PORT")]
    pub(super) port: u16,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

#[derive(Debug, Args)]
#[command(after_long_help = CONNECT_EXAMPLES)]
pub(super) struct ConnectArgs {
    /// tcp://HOST:PORT or ws://HOST:PORT[/PATH]
    pub(super) url: String,
    /// The application's part of the handshake, JSON
    #[arg(long, value_name = "JSON", env = "LINKSPAN_CONNECT__USER")]
    pub(super) user: Option<String>,
    /// How long to wait for the connection and for each answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, env = "LINKSPAN_CONNECT__TIMEOUT")]
    pub(super) timeout: Duration,
    /// After the end of the input, watch pushes for this long
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration, env = "LINKSPAN_CONNECT__LINGER")]
    pub(super) linger: Duration,
    /// Print objects: {"kind", "route", "body"}
    #[arg(long)]
    pub(super) json: bool,
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
