#![forbid(unsafe_code)]
//! A load generator for servers on this machine: it counts every wrong, lost and reordered answer, and what the
//! server's processes spent.
//!
//! One line of JSON goes to standard output; the exit code is 1 if anything was wrong.

mod broadcast;
mod cycle;
mod download;
mod echo;
mod flood;
mod get;
mod idle;
mod link;
mod mutate;
mod origin;
mod process;
mod relay;
mod report;
mod script;
mod socket;
mod web;
mod wire;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use crate::link::Target;
use crate::process::Watched;
use crate::web::Web;

/// Load for servers on this machine.
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
    /// An HTTP address with the chat endpoint
    #[arg(long, global = true, value_name = "ADDR")]
    chat: Option<SocketAddr>,
    /// An IM server
    #[arg(long, global = true, value_name = "ADDR")]
    im: Option<SocketAddr>,
    /// A web server, and what goes before every path there
    #[arg(long, global = true, value_name = "ADDR[/PATH]")]
    web: Option<Web>,
    /// A process of the server, to report its processor time and memory; may be given several times
    #[arg(long, global = true, value_name = "PID")]
    server_pid: Vec<u32>,
}

/// The one server that was named.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Pomelo(Target),
    Chat(SocketAddr),
    Im(SocketAddr),
    Web(Web),
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
    /// Messages from one user to another (chat, IM), or requests (IM)
    Relay(relay::Options),
    /// A static web server to download from: says where it listens and runs until it is ended
    Origin(origin::Options),
    /// Big downloads
    Download(download::Options),
    /// Small downloads, one after another on each connection
    Get(get::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let place = match place(&cli.server) {
        Ok(place) => place,
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
    let server = Watched::new(cli.server.server_pid);
    match runtime.block_on(run(cli.mode, place, server)) {
        Ok((report, is_clean)) => {
            println!("{report}");
            if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

async fn run(mode: Mode, place: Option<Place>, server: Watched) -> Result<(Value, bool), String> {
    let place = match (&mode, place) {
        (Mode::Origin(options), _) => return origin::run(options).await,
        (_, Some(place)) => place,
        (_, None) => return Err("name one server: --tcp, --ws, --floor, --chat, --im or --web".to_owned()),
    };
    Ok(match (mode, place) {
        (Mode::Echo(options), Place::Pomelo(target)) => echo::run(&options, target, server).await,
        (Mode::Broadcast(options), Place::Pomelo(target)) => broadcast::run(&options, target, server).await,
        (Mode::Cycle(options), Place::Pomelo(target)) => cycle::run(&options, target, server).await,
        (Mode::Flood(options), Place::Pomelo(target)) => flood::run(&options, target, server).await,
        (Mode::Idle(options), place) => idle::run(&options, &place, server).await,
        (Mode::Relay(options), Place::Chat(address)) => {
            relay::run(&options, address, relay::Protocol::Chat, server).await
        }
        (Mode::Relay(options), Place::Im(address)) => {
            relay::run(&options, address, relay::Protocol::Im, server).await
        }
        (Mode::Download(options), Place::Web(web)) => download::run(&options, &web, server).await,
        (Mode::Get(options), Place::Web(web)) => get::run(&options, &web, server).await,
        _ => return Err("this mode is not for that kind of server".to_owned()),
    })
}

/// The server that was named, if one was. Load goes to this machine only: everything else is somebody's network.
fn place(server: &Server) -> Result<Option<Place>, String> {
    let mut named: Vec<(SocketAddr, Place)> = Vec::new();
    named.extend(server.tcp.map(|address| (address, Place::Pomelo(Target::Tcp(address)))));
    named.extend(server.ws.map(|address| (address, Place::Pomelo(Target::Ws(address)))));
    named.extend(server.floor.map(|address| (address, Place::Pomelo(Target::Floor(address)))));
    named.extend(server.chat.map(|address| (address, Place::Chat(address))));
    named.extend(server.im.map(|address| (address, Place::Im(address))));
    named.extend(server.web.clone().map(|web| (web.address, Place::Web(web))));
    if named.len() > 1 {
        return Err("name one server only".to_owned());
    }
    match named.pop() {
        Some((address, _)) if !address.ip().is_loopback() => {
            Err(format!("{address} is not an address of this machine's loopback"))
        }
        named => Ok(named.map(|(_, place)| place)),
    }
}
