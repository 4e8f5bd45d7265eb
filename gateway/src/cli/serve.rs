//! `serve` and `demo`: a gateway from start to stop.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::thread;

use futures_lite::FutureExt;
use futures_lite::future::poll_once;
use linkspan_core::Limits;
use linkspan_core::drain;
use linkspan_core::hub::Admission;
use linkspan_runtime::{HostConfig, Placement, Runtime, Signal, Workers};

use super::args::{DemoArgs, PlacementArg, PomeloArgs, RunArgs, SameUidArg, ServeArgs, StopArgs};
use super::limits::{fit_files, limits};
use super::{Exit, Failure, chat, edge, im, logging, output, pomelo, proxy, tunnel};
use crate::demo;
use crate::im::backend;
use crate::proxy::ProxyConfig;
use crate::server::{Addresses, Config, Gateway, StartError};
use crate::services::Services;

pub(super) fn serve<R: Runtime>(args: &ServeArgs) -> Result<(), Failure> {
    let none = args.pomelo_tcp.is_none() && args.pomelo_ws.is_none() && args.http.is_none();
    if none && args.im.im.is_none() {
        let text = "nothing to listen on: give --pomelo-tcp, --pomelo-ws, --http or --im";
        return Err(Failure::new(Exit::Usage, text));
    }
    let mut limits = limits(&args.limits);
    im::limits(&args.im, &mut limits);
    args.tunnel_limits.apply(&mut limits);
    fit_files(&mut limits, args.limits.connections.is_some())?;
    let config = Config {
        pomelo_tcp: args.pomelo_tcp,
        pomelo_ws: args.pomelo_ws,
        http: args.http,
        edge: edge::config(&args.edge)?,
        host: HostConfig { trusted: args.edge.trust_proxy.clone(), ..host(limits, &args.stop, &args.pomelo) },
        chat: chat::config(&args.chat),
        im: im::config(&args.im)?,
        pomelo: pomelo::config(&args.pomelo)?,
        tunnel: tunnel::config(&args.tunnel, &args.timers)?,
        proxy: proxy::config(&args.proxy, args.tunnel.tunnel),
        ..Config::default()
    };
    let demo = args.demo_services;
    run::<R>(
        &args.run,
        config,
        |runtime| {
            let services = if demo { demo::services(runtime) } else { Services::new() };
            services.im(im::service(&args.im, runtime))
        },
        |_, _| {},
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
        let port = port(offset).ok_or_else(|| Failure::new(Exit::Usage, "--port must be at most 65531"))?;
        Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    };
    let config = Config {
        pomelo_tcp: Some(address(0)?),
        pomelo_ws: Some(address(1)?),
        http: Some(address(2)?),
        im: Some(crate::im::Config::new(address(3)?)),
        tunnel: Some(crate::tunnel::Config::default()),
        proxy: Some(ProxyConfig::default()),
        origin: Some(address(4)?),
        chat: Some(linkspan_core::chat::ServerConfig::default()),
        host: HostConfig { limits: Arc::new(limits), ..HostConfig::default() },
        ..Config::default()
    };
    let services = |runtime: &R| demo::services(runtime).im(backend::functions(backend::Memory::default()));
    run::<R>(&args.run, config, services, |runtime, addresses| {
        if let Some(http) = addresses.http {
            demo::agent::start(runtime, http);
        }
        say_what_next(addresses);
    })
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
    if let (Some(http), Some(origin)) = (addresses.http, addresses.origin) {
        let id = demo::agent::ID;
        let through = format!("http://{http}/client/{id}/http/{origin}");
        output::line(&format!("fetch      curl {through}/hello"));
        output::line(&format!("or         curl -o big {through}/big"));
    }
    if let Some(im) = addresses.im {
        output::line(&format!("or         ws://{im}/?sendID=u1&token=x&platformID=5 with OpenIM's client"));
    }
}

fn run<R: Runtime>(
    args: &RunArgs,
    config: Config,
    services: impl FnOnce(&R) -> Services,
    started: impl FnOnce(&R, Addresses),
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
        for address in gateway.forwards() {
            output::line(&format!("listening forward {address}"));
        }
        tracing::info!(
            runtime = R::NAME,
            ?placement,
            threads,
            version = env!("CARGO_PKG_VERSION"),
            "started"
        );
        started(workers.first(), gateway.addresses());
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
        StartError::Limits(_)
        | StartError::Services(_)
        | StartError::Functions(_)
        | StartError::Routes(_)
        | StartError::Proxy(_) => Exit::Usage,
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

fn host(limits: Limits, stop: &StopArgs, pomelo: &PomeloArgs) -> HostConfig {
    let admission = match pomelo.same_uid {
        SameUidArg::Newest => Admission::NewestWins,
        SameUidArg::Reject => Admission::RejectNew,
        SameUidArg::Many => Admission::Many,
    };
    let drain = drain(stop);
    HostConfig { limits: Arc::new(limits), admission, drain, ..HostConfig::default() }
}

/// How a process stops.
pub(super) fn drain(stop: &StopArgs) -> drain::Config {
    let default = drain::Config::default();
    let spread = default.spread.min(stop.drain_timeout / 2);
    drain::Config { delay: stop.drain_delay, timeout: stop.drain_timeout, spread, ..default }
}
