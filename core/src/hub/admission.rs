//! Which session may have a key: one policy value, decided in one place.

use core::time::Duration;

use super::DevicePolicy;
use crate::CloseReason;

/// What happens when a session asks for a key that others have.
///
/// A session that asks again for a key it has keeps it under every policy. Sessions that
/// [state](super::Platform::UNSTATED) what they run on and sessions that do not are no rivals: one user may be there by
/// a dialect that knows devices and by one that does not, and neither displaces or keeps out the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Admission {
    /// All may have it.
    #[default]
    Many,
    /// The newest session takes it; those that had it are closed as
    /// [`Replaced`](crate::CloseReason::Replaced).
    NewestWins,
    /// The sessions that have it keep it; the new one is [rejected](crate::Delivery::Rejected).
    RejectNew,
    /// So many may have it; the newest beyond them replaces the oldest. With 0 nobody may have any key.
    AtMost(u32),
    /// What they run on decides; those whose place is taken are closed as
    /// [`DeviceReplaced`](crate::CloseReason::DeviceReplaced).
    Devices(DevicePolicy),
}

/// Why a session did not get a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Refusal {
    /// Another session has the key, and keeps it.
    #[error("already connected")]
    Taken,
    /// The key has as many sessions as a key may have.
    #[error("too many sessions")]
    Full,
    /// The key has as many sessions on this platform as it may have.
    #[error("too many sessions on this platform")]
    PlatformFull,
    /// The shard of the hub holds as many sessions as it may.
    #[error("too many sessions on this server")]
    HubFull,
    /// Sessions have taken this key from each other too often of late.
    #[error("too many logins, retry in {} s", retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0))]
    Storm {
        /// After which time the key may change hands again.
        retry_after: Duration,
    },
}

impl Refusal {
    /// Why a connection ends that is of no use without the key.
    pub const fn close_reason(self) -> CloseReason {
        match self {
            Self::Taken => CloseReason::AlreadyConnected,
            Self::Full | Self::PlatformFull | Self::HubFull => CloseReason::Overloaded,
            Self::Storm { .. } => CloseReason::TooManyLogins,
        }
    }
}

/// The outcome for one new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Admit, and end so many of the sessions that have the key, oldest first.
    Replace(usize),
    /// Admit, and end those whose place it takes.
    Displace(DevicePolicy),
    Refuse(Refusal),
}

impl Admission {
    /// Decides about a session that asks for a key which `present` other sessions have.
    pub(super) const fn decide(self, present: usize) -> Verdict {
        match self {
            Self::Many => Verdict::Replace(0),
            Self::NewestWins => Verdict::Replace(present),
            Self::RejectNew if present > 0 => Verdict::Refuse(Refusal::Taken),
            Self::RejectNew => Verdict::Replace(0),
            Self::AtMost(0) => Verdict::Refuse(Refusal::Full),
            Self::AtMost(room) => Verdict::Replace((present + 1).saturating_sub(room as usize)),
            Self::Devices(policy) => Verdict::Displace(policy),
        }
    }
}
