//! What all connections of the IM listener share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linkspan_core::im::{DoorConfig, Places, ServerConfig, limits};
use linkspan_core::{Frame, Limits};
use linkspan_runtime::{Host, HostConfig};

use super::Config;
use super::service::{ImService, Table};
use super::token::Tokens;
use super::users::Users;

/// What all connections of the IM listener share: the functions, the users, the checks of tokens, the free places.
pub(crate) struct Office {
    pub(super) host: Arc<Host>,
    /// The bounds of its connections.
    pub(super) limits: Arc<Limits>,
    pub(super) table: Table,
    pub(super) users: Users,
    pub(super) tokens: Tokens,
    pub(super) door: DoorConfig,
    pub(super) server: Arc<ServerConfig>,
    places: Mutex<Places>,
}

impl Office {
    pub(crate) fn new(host: &Arc<Host>, config: Config, service: ImService) -> Arc<Self> {
        let bounds = limits(host.limits());
        let bounds = Arc::new(Limits {
            heartbeat: config.ping,
            silence: config.silence,
            receive_max: config.receive_max,
            // As many as the send queue has room for: many may write to one user before its task has its turn.
            mailbox: bounds.mailbox.max(bounds.send_queue_bytes / Frame::COST_MIN),
            ..bounds
        });
        let table = service.into_table();
        let origin_unix = host.clock().origin_unix();
        let server = ServerConfig { deliver: config.deliver, functions: table.functions(), origin_unix };
        let door =
            DoorConfig { seed: HostConfig::random_seed(), admission: Some(config.admission), origin_unix };
        let tokens = Tokens::new(config.token, config.checks, HostConfig::random_seed());
        Arc::new(Self {
            host: Arc::clone(host),
            users: Users::new(Arc::clone(host), config.deliver, Arc::clone(&bounds)),
            limits: bounds,
            table,
            tokens,
            door,
            server: Arc::new(server),
            places: Mutex::new(Places::new(config.connections)),
        })
    }

    pub(super) fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
