//! The IM listener: OpenIM's JavaScript clients, and the functions that they call.
//!
//! - [`ImService`] is the table of functions; an author of a server adds their own.
//! - [`Config`] is what an operator decides: tokens, devices, limits.
//! - [`backend`] has the functions that a client needs at least, over a [`Store`](backend::Store) that keeps messages.
//!
//! ```text
//! GET /?sendID=…&token=…&platformID=…  ▶ door: im::Door, token check ▶ 101
//! {"reqFuncName":"SendMessage",…}      ▶ im::Server ▶ clerk ▶ im::User ▶ ImService
//! ```

pub mod backend;
mod call;
mod clerk;
mod door;
mod extract;
mod handler;
mod office;
mod service;
mod token;
mod users;

use std::net::SocketAddr;
use std::time::Duration;

use linkspan_core::hub::{Admission, DevicePolicy};
pub use linkspan_core::im::{Answer, ChecksConfig, Deliver, Fault, Function};
use linkspan_core::{Limits, LimitsError};

pub use self::call::{Call, Caller};
pub(crate) use self::door::ImDoor;
pub use self::extract::{FromCall, IntoAnswer};
pub use self::handler::Handler;
pub(crate) use self::office::Office;
pub use self::service::{ImService, ReservedName};
pub use self::token::{Hs256, TokenCheck, TokenList, TokenListError, TokenServer, TokenServerError};

/// A login whose token is valid.
#[derive(Clone, Debug)]
pub struct Login {
    /// Who logs in.
    pub caller: Caller,
    /// What the login is known by in logs.
    pub operation: Box<str>,
}

/// What an operator decides about the IM listener.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen, on every path.
    pub listen: SocketAddr,
    /// How tokens are checked. Default: not at all.
    pub token: TokenCheck,
    /// The bounds of token checks that a server does.
    pub checks: ChecksConfig,
    /// Whom a new connection of a user displaces. Default: nobody (policy 0).
    pub admission: Admission,
    /// Which connections of a user hear replies. Default: all.
    pub deliver: Deliver,
    /// How many connections the listener may have. Default 10,000.
    pub connections: u32,
    /// How often a ping is sent; `None` sends none. Default 27 s.
    pub ping: Option<Duration>,
    /// After how much silence a connection ends; `None` is never. Default 30 s.
    pub silence: Option<Duration>,
    /// Largest message taken, in bytes. Default 1 MiB.
    pub receive_max: u32,
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// [`LimitsError`] with the field that is wrong and what it must be.
    pub fn check(&self) -> Result<(), LimitsError> {
        let wrong = |field, fix| Err(LimitsError { field, fix });
        if self.connections == 0 {
            return wrong("im_connections", "must be at least 1");
        }
        if self.receive_max == 0 || self.receive_max > Limits::BODY_MAX {
            return wrong("im_receive_max", "must be from 1 to 16777215");
        }
        if self.checks.timeout < Duration::from_millis(1) || self.checks.waiting == 0 {
            return wrong("im_token_timeout and im_token_waiting", "must not be 0");
        }
        match (self.ping, self.silence) {
            (Some(ping), Some(silence)) if silence <= ping => {
                wrong("im_silence", "must be longer than im_ping")
            }
            (None, Some(_)) => wrong("im_silence", "must be 0 without im_ping: nothing would be heard"),
            _ => Ok(()),
        }
    }

    /// The defaults, at an address.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            token: TokenCheck::default(),
            checks: ChecksConfig::default(),
            admission: Admission::Devices(DevicePolicy::Any),
            deliver: Deliver::default(),
            connections: 10_000,
            ping: Some(Duration::from_secs(27)),
            silence: Some(Duration::from_secs(30)),
            receive_max: 1024 * 1024,
        }
    }
}
