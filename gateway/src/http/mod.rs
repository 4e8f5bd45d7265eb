//! The HTTP front: one hyper service for both runtimes.
//!
//! [`exchange`] answers the requests of one connection with a [`Site`]: the HTTP address has [`Routes`], a listener for
//! WebSockets alone a site that upgrades every path. An upgraded connection comes out of it bare, and nothing of HTTP
//! stays in memory.

mod body;
mod exchange;
mod heads;
mod hyper_io;
mod metrics;
mod pages;
mod routes;
mod site;
mod state;
mod timer;
mod upgrade;
mod visitor;
mod wire;

pub(crate) use self::body::{Answer, Body, BoxError, empty, full, json, not_allowed, text, typed};
pub(crate) use self::exchange::{Rules, exchange};
pub(crate) use self::hyper_io::HyperIo;
pub(crate) use self::pages::{Pages, Reachable};
pub(crate) use self::routes::{Asked, Routes};
pub(crate) use self::site::{Reply, Site, Takeover, Visit};
pub(crate) use self::upgrade::{WebSockets, open_socket, upgrade};
pub(crate) use self::visitor::Visitor;
