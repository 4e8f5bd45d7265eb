#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![forbid(unsafe_code)]
//! The core of the Linkspan gateway: every protocol decision, and no I/O.
//!
//! Everything here is a [`Machine`]: an event goes in, actions come out. No clock, no socket, no thread, no randomness;
//! time, seeds and ids come in through the door. That makes the same code run under Tokio, smol, blocking threads, a
//! readiness loop, WebAssembly, and a simulator that replays a year of a hostile network.
//!
//! - [`Connection`] is one socket's protocol, with a [`Dialect`] inside ([`pomelo`], [`chat`], [`im`] or [`tunnel`]).
//! - [`hub`] is one shard of registry and routing: sessions by key, groups, publish.
//! - [`services`] decides which node answers a route.
//! - [`gate`], [`rate`], [`backoff`], [`redial`], [`drain`] and [`wheel`] are the small machines around them.
//! - [`record`] writes down what happens to any machine, so that a test can make it happen again.
//!
//! # Driving a machine
//!
//! 1. One owner per machine. `now` never goes backwards.
//! 2. After each call perform all actions, in order.
//! 3. Then look at [`next_timeout`](Machine::next_timeout) and call
//!    [`handle_timeout`](Machine::handle_timeout) when it has come; early calls are harmless.
//! 4. Report frames that left the send queue with [`Event::Flushed`].
//! 5. Read only while [`Connection::wants_read`].
//! 6. After [`Action::Close`] write what is queued for at most [`Limits::close_grace`], then drop everything.

extern crate alloc;

pub mod backoff;
pub mod chat;
mod close;
mod connection;
mod deadlines;
mod dialect;
pub mod drain;
pub mod edge;
mod frame;
pub mod gate;
mod hash;
pub mod http;
pub mod hub;
mod id;
pub mod im;
pub mod json;
mod limits;
mod machine;
mod mark;
mod memory;
mod outbox;
mod pending;
pub mod pomelo;
mod push;
mod random;
pub mod rate;
pub mod record;
pub mod redial;
mod route;
pub mod services;
mod time;
pub mod tunnel;
pub mod wheel;

pub use bytes::Bytes;

pub use self::close::{CloseReason, Violation};
pub use self::connection::{Action, Connection, Event, Flushed};
pub use self::dialect::{Context, Dialect};
pub use self::frame::{Class, Frame, Opcode};
pub use self::id::{ConnId, GroupId, Key, NameError, ServiceName};
pub use self::limits::{Limits, LimitsError};
pub use self::machine::{Actions, Machine};
pub use self::mark::Mark;
pub use self::outbox::{Outbox, Sent};
pub use self::push::{Delivery, Overflow, Push};
pub use self::route::{Route, To};
pub use self::time::Instant;
