//! The small chat protocol: JSON messages from user to user, over WebSocket.
//!
//! A user is a number, named by the path of the WebSocket (`/ws/7`, see [`parse_user`]), so there is no handshake on
//! the wire: [`Server`] knows its user when it opens, registers the connection under the number's decimal digits, and
//! takes messages once the hub has admitted it. Both ends are a [`Dialect`](crate::Dialect) and run inside a
//! [`Connection`](crate::Connection).
//!
//! ```text
//! user 1                              server                              user 2
//!   {"type":1,"receiver":2,…}   ──▶   Route::Publish{to: "2"}
//!                                     Delivery::Push                ──▶   {"type":1,"receiver":2,…}
//!   {"type":3}                  ──▶
//!                               ◀──   close 1000
//!                               ◀──   ping after 30 s without input
//! ```

mod client;
mod config;
mod message;
mod server;
mod user;

pub use self::client::{Client, ClientCommand, ClientConfig, ClientNotice};
pub use self::config::{OnBadMessage, Relay, ServerConfig};
pub use self::message::{Kind, Message, encode};
pub use self::server::{Server, ServerCommand, ServerNotice};
pub use self::user::{InvalidUser, parse_user, user_key};
