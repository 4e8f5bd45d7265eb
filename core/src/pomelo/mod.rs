//! The pomelo protocol, as nano, pitaya, pomelo and their clients speak it.
//!
//! Packages with a 4-byte header over TCP or WebSocket; inside Data packages, messages with a flag, a varint id and a
//! route. [`Server`] and [`Client`] are the two ends; both are a [`Dialect`](crate::Dialect) and run inside a
//! [`Connection`](crate::Connection).
//!
//! ```text
//! client                                server
//!   Handshake {sys, user}      ──▶        ServerNotice::Handshake
//!                              ◀──        ServerCommand::Accept → {code: 200, sys, user}
//!   HandshakeAck               ──▶        ServerNotice::Opened
//!   Data(Request id route …)   ──▶        ServerNotice::Request{ticket, …}
//!                              ◀──        ServerCommand::Answer{ticket, …} → Data(Response id …)
//!                              ◀──        when it is late, in its place: an error, and ServerNotice::Expired
//!   Heartbeat                  ◀─▶        every `Limits::heartbeat`, never an echo
//!                              ◀──        ServerCommand::Kick → Kick {"reason": …}, close
//! ```

mod client;
mod config;
mod deflate;
mod dictionary;
mod handshake;
mod message;
mod package;
mod server;
mod server_api;
mod text;

pub use self::client::{Client, ClientCommand, ClientNotice, RequestError};
pub use self::config::{ClientConfig, ErrorAnswers, ErrorBody, ServerConfig};
pub use self::deflate::{deflate, inflate};
pub use self::dictionary::{Dictionary, DictionaryError};
pub use self::handshake::RefuseCode;
pub use self::message::{
    EncodeError, Message, MessageId, MessageType, RouteOut, notify, push, request, response,
};
pub use self::package::{Package, PackageReader, PackageType, package, package_head};
pub use self::server::Server;
pub use self::server_api::{Receipt, ServerCommand, ServerNotice};
pub use self::text::decode_text;
pub use crate::pending::Ticket;
