//! What an operator decides about the IM dialect.

use core::time::Duration;

use super::Functions;
use crate::hub::{Admission, Platform};
use crate::{Key, Limits, To};

/// Which of a user's connections hear what its functions say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Deliver {
    /// All of them.
    #[default]
    AllPlatforms,
    /// Those of one platform, as in the original, where it is the server's own. Connections of other platforms can
    /// call, hear only what goes wrong, and do not keep the user logged in.
    ServerPlatform(Platform),
}

impl Deliver {
    /// Whom a reply for a user goes to.
    pub fn to(self, user: Key) -> To {
        match self {
            Self::AllPlatforms => To::Key(user),
            Self::ServerPlatform(platform) => To::Devices { key: user, platforms: platform.into() },
        }
    }

    /// Whether a connection of `platform` hears replies, and keeps the user logged in.
    pub fn includes(self, platform: Platform) -> bool {
        match self {
            Self::AllPlatforms => true,
            Self::ServerPlatform(only) => only == platform,
        }
    }
}

/// What one listener's server side of the dialect does. Times and sizes are in [`Limits`].
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    /// Which connections of a user hear replies. Default: all.
    pub deliver: Deliver,
    /// What clients may call. Default: the functions of the v2 clients.
    pub functions: Functions,
    /// The wall time at [`Instant::ORIGIN`](crate::Instant::ORIGIN), for the operation ids that are made here.
    pub origin_unix: Duration,
}

/// What the door of one listener asks, and checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DoorConfig {
    /// Keys the hash of tokens: take it from the system's randomness at start-up.
    pub seed: u64,
    /// Whom a new connection of a user displaces; `None` is what the hub does.
    pub admission: Option<Admission>,
    /// The wall time at [`Instant::ORIGIN`](crate::Instant::ORIGIN), for the operation ids that are made here.
    pub origin_unix: Duration,
}

/// `base` with what is usual for this dialect: a ping every 27 s, an end after 30 s without any sign, and messages of up
/// to 1 MiB.
///
/// The two spans are nearer to each other than [`Limits::validate`] allows, because these clients answer pings at once:
/// validate `base`.
pub fn limits(base: &Limits) -> Limits {
    Limits {
        heartbeat: Some(Duration::from_secs(27)),
        silence: Some(Duration::from_secs(30)),
        receive_max: 1024 * 1024,
        ..base.clone()
    }
}
