#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
//! What an operator and an author of services touch: typed services, the HTTP front, a client, the command line.
//!
//! - [`services`] is what an author of a server writes: handlers, hooks, middleware.
//! - [`session`] is the handle by which they reach a client.
//! - [`server`] listens, and glues both to the pomelo dialect of the core.
//! - [`proxy`] passes HTTP requests on, to what agents reach or to upstreams of the operator's.
//! - [`client`] is the other end, on the same core.
//! - [`tunnel`] reaches what agents reach in private networks, and has the agent.
//! - [`demo`] has services to try it with.
//! - [`main`] is the whole program; a binary names its runtime and is done.

mod chat;
mod cli;
pub mod client;
pub mod demo;
mod edge;
mod handoff;
mod http;
pub mod im;
pub mod proxy;
mod reservation;
mod resolve;
pub mod server;
pub mod services;
pub mod session;
pub mod tls;
pub mod tunnel;

pub use self::cli::main;
