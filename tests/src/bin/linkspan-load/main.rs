#![forbid(unsafe_code)]
//! A load generator for pomelo servers on this machine: it counts every wrong, lost and reordered answer, and what the
//! server process spent.
//!
//! One line of JSON goes to standard output; the exit code is 1 if anything was wrong.

mod broadcast;
mod cycle;
mod echo;
mod flood;
mod idle;
mod link;
mod mutate;
mod process;
mod report;
mod wire;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use crate::link::Target;
use crate::process::Watched;

/// Load for pomelo servers on this machine.
#[derive(Debug, Parser)]
#[command(name = "linkspan-load", version)]
struct Cli {
    #[command(subcommand)]
    mode: Mode,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
struct Server {
    /// A pomelo server over TCP
    #[arg(long, global = true, value_name = "ADDR")]
    tcp: Option<SocketAddr>,
    /// A pomelo server over WebSocket
    #[arg(long, global = true, value_name = "ADDR")]
    ws: Option<SocketAddr>,
    /// A plain TCP echo (mode echo only)
    #[arg(long, global = true, value_name = "ADDR")]
    floor: Option<SocketAddr>,
    /// The server's process, to report its processor time and memory
    #[arg(long, global = true, value_name = "PID")]
    server_pid: Option<u32>,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Requests that are answered with the same bytes
    Echo(echo::Options),
    /// Connections that do nothing but stay
    Idle(idle::Options),
    /// One room, every message to every member
    Broadcast(broadcast::Options),
    /// Connect, shake hands, ask once, close
    Cycle(cycle::Options),
    /// Hostile input, while an honest connection must notice nothing
    Flood(flood::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let target = match target(&cli.server) {
        Ok(target) => target,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    // Thousands of connections need as many file descriptors; the limit that cannot be raised shows up as errors.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let server = Watched(cli.server.server_pid);
    let (report, is_clean) = runtime.block_on(run(cli.mode, target, server));
    println!("{report}");
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(mode: Mode, target: Target, server: Watched) -> (Value, bool) {
    match mode {
        Mode::Echo(options) => echo::run(&options, target, server).await,
        Mode::Idle(options) => idle::run(&options, target, server).await,
        Mode::Broadcast(options) => broadcast::run(&options, target, server).await,
        Mode::Cycle(options) => cycle::run(&options, target, server).await,
        Mode::Flood(options) => flood::run(&options, target, server).await,
    }
}

/// The one server that was named. Load goes to this machine only: everything else is somebody's network.
fn target(server: &Server) -> Result<Target, String> {
    let target = match (server.tcp, server.ws, server.floor) {
        (Some(address), None, None) => Target::Tcp(address),
        (None, Some(address), None) => Target::Ws(address),
        (None, None, Some(address)) => Target::Floor(address),
        _ => return Err("name one server: --tcp ADDR, --ws ADDR or --floor ADDR".to_owned()),
    };
    if target.address().ip().is_loopback() {
        return Ok(target);
    }
    Err(format!("{} is not an address of this machine's loopback", target.address()))
}
