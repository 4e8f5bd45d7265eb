//! `agent`: reaches private services for servers.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use futures_lite::FutureExt;
use linkspan_core::tunnel::policy::DialPolicy;
use linkspan_core::{CloseReason, Limits, redial};
use linkspan_runtime::{Host, HostConfig, Placement, Runtime, stop};

use super::args::{AgentArgs, PlacementArg};
use super::tunnel::{name, secret, timers, trust};
use super::{Exit, Failure, limits, logging, output, serve};
use crate::tls::Tls;
use crate::tunnel::Agent;

pub(super) fn agent<R: Runtime>(args: &AgentArgs) -> Result<(), Failure> {
    let agent = read(args)?;
    let mut bounds = Limits::default();
    args.limits.apply(&mut bounds);
    bounds.validate().map_err(|error| Failure::new(Exit::Usage, error))?;
    limits::fit_files(&mut bounds, false)?;
    let placement = match args.run.placement {
        Some(PlacementArg::PerCore) => Placement::PerCore,
        Some(PlacementArg::WorkStealing) | None => Placement::WorkStealing,
    };
    let default = || thread::available_parallelism().ok();
    let threads = args.run.threads.or_else(default).unwrap_or(NonZeroUsize::MIN);
    let host = Host::new(HostConfig {
        limits: Arc::new(bounds),
        drain: serve::drain(&args.stop),
        ..HostConfig::default()
    });
    let done = R::run(placement, threads, |workers| async move {
        let runtime = workers.first();
        let stopped = async {
            let signal = runtime.stop_signal().await;
            tracing::info!(?signal, "stopping");
            let at_once = async {
                let signal = runtime.stop_signal().await;
                logging::exit(signal.exit_code())
            };
            stop(runtime, &host, CloseReason::Stopping).or(at_once).await;
            Ok(())
        };
        let ended = async {
            let ends = agent.run(runtime, &host).await;
            // Without `--once` this is because of a signal, and a stop takes its time.
            if host.closed_door().is_raised() {
                host.finished().raised().await;
            }
            match ends.iter().flatten().next() {
                Some(_) => Ok(()),
                None if host.closed_door().is_raised() => Ok(()),
                None => Err(Failure::new(Exit::Failed, "no server took the agent")),
            }
        };
        stopped.or(ended).await
    });
    done.map_err(|error| Failure::new(Exit::Failed, error))?
}

fn read(args: &AgentArgs) -> Result<Agent, Failure> {
    let tls = match (&args.ca, args.insecure) {
        (Some(file), _) => Some(Tls::new(Some(file)).map_err(|error| trust("--ca", &error))?),
        (None, true) => Some(Tls::unverified().map_err(|error| trust("--insecure", &error))?),
        (None, false) => None,
    };
    let policy = match (args.allow_any, args.allow.is_empty()) {
        (true, _) => {
            tracing::warn!("servers may dial everything that this agent reaches");
            DialPolicy::any()
        }
        (false, true) => DialPolicy::default(),
        (false, false) => DialPolicy::new(args.allow.iter().cloned()),
    };
    Ok(Agent {
        servers: args.connect.clone(),
        id: name(&args.id, "--id")?,
        token: secret(args.token.as_deref(), args.token_file.as_deref(), "--token-file")?,
        tls,
        policy,
        redial: redial::Config {
            first: args.redial_first,
            longest: args.redial_longest.max(args.redial_first),
            once: args.once,
            ..redial::Config::default()
        },
        timers: timers(&args.timers)?,
        connected: Arc::new(|door| output::line(&format!("connected {door}"))),
    })
}
