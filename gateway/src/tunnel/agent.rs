//! The agent: keeps sessions to servers, and dials for them what it may.

use std::sync::Arc;

use linkspan_core::redial;
use linkspan_core::tunnel::policy::DialPolicy;
use linkspan_core::{CloseReason, Key};
use linkspan_runtime::{Host, Runtime};

use super::config::{Secret, Timers, session_limits};
use super::door::Door;
use super::keep::{Errand, header, keep};
use super::targets::{Targets, Yard};
use crate::tls::Tls;

/// What an agent is built from.
#[derive(Clone)]
pub struct Agent {
    /// The servers; a session to each is kept.
    pub servers: Vec<Door>,
    /// The name by which it is dialled.
    pub id: Key,
    /// What it shows to servers.
    pub token: Option<Secret>,
    /// How servers prove who they are; `None` trusts whom the system trusts.
    pub tls: Option<Tls>,
    /// What it may be asked to dial.
    pub policy: DialPolicy,
    /// How it comes back when a server is gone.
    pub redial: redial::Config,
    /// The times of its sessions.
    pub timers: Timers,
    /// Told whenever a session stands, and to which server.
    pub connected: Arc<dyn Fn(&Door) + Send + Sync>,
}

impl Agent {
    /// Keeps a session to each server, until the process of `host` stops, or for one time if that is all that is wanted.
    /// Gives back why each session ended last, `None` where there was none.
    pub async fn run<R: Runtime>(self, runtime: &R, host: &Arc<Host>) -> Vec<Option<CloseReason>> {
        let yard = Arc::new(Yard::new(self.policy, Arc::clone(host)));
        let limits = Arc::new(session_limits(host.limits()));
        let mut headers = Vec::new();
        headers.extend(header("x-tunnel-id", &String::from_utf8_lossy(self.id.as_bytes())));
        if let Some(token) = &self.token {
            headers.extend(header("authorization", &format!("Bearer {}", token.as_str())));
        }
        let mut kept = Vec::new();
        for door in self.servers {
            let (connected, server) = (Arc::clone(&self.connected), door.clone());
            let errand = Errand {
                door,
                headers: headers.clone(),
                tls: self.tls.clone(),
                duty: Arc::new(Targets::new(runtime.clone(), Arc::clone(&yard))),
                limits: Arc::clone(&limits),
                redial: self.redial.clone(),
                timers: self.timers,
                opened: Box::new(move |_| connected(&server)),
            };
            let (giver, taker) = crate::handoff::handoff();
            let (own, host) = (runtime.clone(), Arc::clone(host));
            runtime.spawn(async move { giver.give(keep(&own, &host, &errand).await) });
            kept.push(taker);
        }
        let mut ends = Vec::new();
        for taker in kept {
            ends.push(taker.await.flatten());
        }
        ends
    }
}
