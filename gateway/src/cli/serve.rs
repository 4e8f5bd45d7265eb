//! `serve` and `demo`: a gateway from start to stop.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_lite::FutureExt;
use futures_lite::future::poll_once;
use linkspan_core::Limits;
use linkspan_core::drain;
use linkspan_core::hub::Admission;
use linkspan_core::pomelo::{Dictionary, ErrorAnswers, ServerConfig};
use linkspan_runtime::{HostConfig, Placement, Runtime, Signal, Workers};

use super::args::{
    DemoArgs, ErrorsArg, LimitArgs, PlacementArg, PomeloArgs, RunArgs, SameUidArg, ServeArgs, StopArgs,
};
use super::{Exit, Failure, logging, output};
use crate::demo;
use crate::server::{Addresses, Config, Gateway, StartError};
use crate::services::Services;

/// Files that the process needs besides its connections.
const OTHER_FILES: u64 = 64;

pub(super) fn serve<R: Runtime>(args: &ServeArgs) -> Result<(), Failure> {
    if args.pomelo_tcp.is_none() && args.pomelo_ws.is_none() && args.http.is_none() {
        let text = "nothing to listen on: give --pomelo-tcp, --pomelo-ws or --http";
        return Err(Failure::new(Exit::Usage, text));
    }
    let mut limits = limits(&args.limits);
    fit_files(&mut limits, args.limits.connections.is_some())?;
    let config = Config {
        pomelo_tcp: args.pomelo_tcp,
        pomelo_ws: args.pomelo_ws,
        http: args.http,
        host: host(limits, &args.stop, &args.pomelo),
        pomelo: pomelo(&args.pomelo)?,
        ..Config::default()
    };
    let demo = args.demo_services;
    run::<R>(
        &args.run,
        config,
        move |runtime| if demo { demo::services(runtime) } else { Services::new() },
        |_| {},
    )
}

pub(super) fn demo<R: Runtime>(args: &DemoArgs) -> Result<(), Failure> {
    let mut limits = Limits::default();
    fit_files(&mut limits, false)?;
    let port = |offset: u16| match args.port {
        0 => Some(0),
        first => first.checked_add(offset),
    };
    let address = |offset| {
        let port = port(offset).ok_or_else(|| Failure::new(Exit::Usage, "--port must be at most 65533"))?;
        Ok(Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)))
    };
    let config = Config {
        pomelo_tcp: address(0)?,
        pomelo_ws: address(1)?,
        http: address(2)?,
        host: HostConfig { limits: Arc::new(limits), ..HostConfig::default() },
        ..Config::default()
    };
    run::<R>(&args.run, config, demo::services, say_what_next)
}

/// The lines to paste next.
fn say_what_next(addresses: Addresses) {
    let own = std::env::args().next().unwrap_or_else(|| "linkspan".into());
    if let Some(tcp) = addresses.pomelo_tcp {
        output::line(&format!(
            "try        echo 'request Echo.JSON {{\"hello\":\"world\"}}' | {own} connect tcp://{tcp}"
        ));
    }
    if let Some(ws) = addresses.pomelo_ws {
        output::line(&format!("or         {own} connect ws://{ws}"));
    }
    if let Some(http) = addresses.http {
        output::line(&format!("open       http://{http}/ in two tabs, and chat"));
    }
}

fn run<R: Runtime>(
    args: &RunArgs,
    config: Config,
    services: impl FnOnce(&R) -> Services,
    started: impl FnOnce(Addresses),
) -> Result<(), Failure> {
    let placement = match args.placement {
        Some(PlacementArg::WorkStealing) => Placement::WorkStealing,
        Some(PlacementArg::PerCore) => Placement::PerCore,
        None => R::PLACEMENT,
    };
    let threads = args.threads.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let done = R::run(placement, threads, |workers| async move {
        let services = services(workers.first());
        let gateway = Gateway::start(&workers, config, services).map_err(start_failure)?;
        // Whoever reads that it listens may tell it to stop in the next moment.
        let mut signal = pin!(workers.first().stop_signal());
        let early = poll_once(&mut signal).await;
        for (name, address) in gateway.addresses().iter() {
            output::line(&format!("listening {name} {address}"));
        }
        tracing::info!(
            runtime = R::NAME,
            ?placement,
            threads,
            version = env!("CARGO_PKG_VERSION"),
            "started"
        );
        started(gateway.addresses());
        let signal = match early {
            Some(signal) => signal,
            None => signal.await,
        };
        stop(&workers, &gateway, signal).await;
        Ok(())
    });
    done.map_err(|error| Failure::new(Exit::Failed, error))?
}

fn start_failure(error: StartError) -> Failure {
    let exit = match error {
        StartError::Listen { .. } => Exit::Bind,
        StartError::Limits(_) | StartError::Services(_) => Exit::Usage,
    };
    Failure::new(exit, error)
}

/// Stops gracefully because of a signal; a second one ends the process at once.
async fn stop<R: Runtime>(workers: &Workers<R>, gateway: &Gateway<R>, signal: Signal) {
    tracing::info!(?signal, connections = gateway.host().stats().open(), "stopping");
    let at_once = async {
        let signal: Signal = workers.first().stop_signal().await;
        tracing::warn!(?signal, "stopped at once");
        logging::exit(signal.exit_code())
    };
    let drained = gateway.stop().or(at_once).await;
    tracing::info!(connections = drained.before, left = drained.left, "stopped");
}

fn limits(args: &LimitArgs) -> Limits {
    let default = Limits::default();
    let unless_zero = |span: Duration| (!span.is_zero()).then_some(span);
    let heartbeat = args.heartbeat.map_or(default.heartbeat, unless_zero);
    let allowed = heartbeat.map(|heartbeat| heartbeat.saturating_mul(5) / 2);
    Limits {
        handshake_timeout: args.handshake_timeout.unwrap_or(default.handshake_timeout),
        heartbeat,
        silence: args.silence.map_or(allowed.or(default.silence), unless_zero),
        unfinished_timeout: args.unfinished_timeout.unwrap_or(default.unfinished_timeout),
        write_timeout: args.write_timeout.unwrap_or(default.write_timeout),
        close_grace: args.close_grace.unwrap_or(default.close_grace),
        request_timeout: args.request_timeout.unwrap_or(default.request_timeout),
        receive_max: args.receive_max.unwrap_or(default.receive_max),
        send_max: args.send_max.unwrap_or(default.send_max),
        inflate_max: args.inflate_max.unwrap_or(default.inflate_max),
        send_queue_bytes: args.send_queue_bytes.unwrap_or(default.send_queue_bytes),
        pending_requests: args.pending_requests.unwrap_or(default.pending_requests),
        pending_bytes: args.pending_bytes.unwrap_or(default.pending_bytes),
        mailbox: args.mailbox.unwrap_or(default.mailbox),
        groups_per_connection: args.groups_per_connection.unwrap_or(default.groups_per_connection),
        group_members: args.group_members.unwrap_or(default.group_members),
        connections: args.connections.unwrap_or(default.connections),
        connections_per_address: args.connections_per_address.unwrap_or(default.connections_per_address),
        connects_per_second: args.connects_per_second.unwrap_or(default.connects_per_second),
        connects_burst: args.connects_burst.unwrap_or(default.connects_burst),
        buffered_bytes: args.buffered_bytes.unwrap_or(default.buffered_bytes),
        ..default
    }
}

fn host(limits: Limits, stop: &StopArgs, pomelo: &PomeloArgs) -> HostConfig {
    let admission = match pomelo.same_uid {
        SameUidArg::Newest => Admission::NewestWins,
        SameUidArg::Reject => Admission::RejectNew,
        SameUidArg::Many => Admission::Many,
    };
    let default = drain::Config::default();
    let spread = default.spread.min(stop.drain_timeout / 2);
    let drain = drain::Config { delay: stop.drain_delay, timeout: stop.drain_timeout, spread, ..default };
    HostConfig { limits: Arc::new(limits), admission, drain, ..HostConfig::default() }
}

fn pomelo(args: &PomeloArgs) -> Result<ServerConfig, Failure> {
    let dictionary = dictionary(&args.dictionary)?;
    Ok(ServerConfig {
        dictionary,
        strict_boundaries: args.strict_boundaries,
        ack_without_handshake: args.ack_without_handshake,
        errors: match args.errors {
            ErrorsArg::Pitaya => ErrorAnswers::Pitaya,
            ErrorsArg::None => ErrorAnswers::None,
        },
        deflate_above: args.deflate_above,
        ..ServerConfig::default()
    })
}

/// `ROUTE=CODE` has the code it says, every other route that of its place.
fn dictionary(entries: &[String]) -> Result<Dictionary, Failure> {
    let mut routes = Vec::with_capacity(entries.len());
    for (entry, place) in entries.iter().zip(1..=u16::MAX) {
        routes.push(match entry.split_once('=') {
            None => (entry.as_str(), place),
            Some((route, code)) => match code.parse() {
                Ok(code) => (route, code),
                Err(_) => {
                    let text = format!("--dictionary {entry}: the code must be a number from 1 to 65535");
                    return Err(Failure::new(Exit::Usage, text));
                }
            },
        });
    }
    if routes.len() < entries.len() {
        return Err(Failure::new(Exit::Usage, "--dictionary: at most 65535 routes"));
    }
    Dictionary::new(routes).map_err(|error| Failure::new(Exit::Usage, error))
}

/// Raises the number of files the process may open, and makes the connections fit into it.
fn fit_files(limits: &mut Limits, asked: bool) -> Result<(), Failure> {
    let files = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => files,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            return Ok(());
        }
    };
    let fit = u32::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(u32::MAX).max(1);
    if limits.connections <= fit {
        tracing::info!(files, connections = limits.connections, "limit of open files");
        return Ok(());
    }
    if asked {
        let text = format!(
            "--connections {} does not fit into {files} open files: raise `ulimit -n` or ask for at most {fit}",
            limits.connections
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    tracing::warn!(files, connections = fit, "fewer connections than usual: the limit of open files is low");
    limits.connections = fit;
    Ok(())
}
