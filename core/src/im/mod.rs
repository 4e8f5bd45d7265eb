//! The WebSocket protocol of OpenIM's JavaScript clients: calls of named functions in JSON, and events.
//!
//! Four parts, each a machine or a dialect, so that what belongs to a handshake, to a connection and to a user is
//! decided in one place each:
//!
//! - [`Door`]: what happens before the upgrade. It has the hub hold a place, has the token checked, and lets the
//!   connection in or gives the place back.
//! - [`Server`]: one open connection. It reads requests, checks what one connection can know, and writes answers.
//! - [`User`]: the session of one user, over all connections: login states, who takes part, when it ends.
//! - [`Client`]: the other end, for tests and load.
//!
//! ```text
//! GET /?sendID=u1&token=…&platformID=5   ──▶  Door: Route::Reserve, CheckToken, Upgrade
//! {"reqFuncName":"Login",…}              ──▶  Server: Request  ──▶  User: Login  ──▶  backend
//!                                        ◀──  Server: Answer   ◀──  User: Answer ◀──
//! {"event":"Login","errCode":0,…}              (to every connection of the user)
//! {"reqFuncName":"SendMessage",…}        ──▶  Server: Request  ──▶  User: Call   ──▶  backend
//! {"event":"SendMessage","errCode":0,…}  ◀──  Server: Answer                     ◀──
//! {"event":"OnRecvNewMessage",…}         ◀──  Push::new("OnRecvNewMessage", …)
//! ```

mod builtin;
mod checks;
mod client;
mod config;
mod door;
mod envelope;
mod fault;
mod function;
mod operation;
mod places;
mod query;
mod server;
mod server_api;
mod token;
mod user;

pub use self::checks::{Checks, ChecksConfig, Proof, Start};
pub use self::client::{Client, ClientCommand, ClientNotice};
pub use self::config::{Deliver, DoorConfig, ServerConfig, limits};
pub use self::door::{Door, DoorAction, DoorEvent, Rejection, UpgradeCheck, Visitor};
pub use self::envelope::{Reply, Request as Envelope, STATUS_CHANGED};
pub use self::fault::{Answer, Fault};
pub use self::function::{Check, Function, Functions, Input, Kind, Style};
pub use self::operation::OperationIds;
pub use self::places::Places;
pub use self::query::{Arguments, parse_platform, platform_by_name};
pub use self::server::Server;
pub use self::server_api::{Audience, Call, Mode, Request, ServerCommand, ServerNotice};
pub use self::token::Token;
pub use self::user::{SessionId, User, UserAction, UserEvent};
pub use crate::pending::Ticket;
