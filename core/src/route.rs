//! What a connection or a service asks of the hub.

use crate::hub::{Badge, PlatformSet};
use crate::{CloseReason, GroupId, Key, Push};

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum To {
    /// Every session of a key.
    Key(Key),
    /// The sessions of a key that run on certain platforms.
    Devices {
        /// The key.
        key: Key,
        /// The platforms.
        platforms: PlatformSet,
    },
    /// Every member of a group.
    Group(GroupId),
}

/// One request to the hub shard that owns the name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Route {
    /// The connection will want to be found under a key, and is not yet known to be who it says. A place is held for it
    /// that counts for every limit; nobody is displaced, and nothing that is for the key reaches it. Where only the first
    /// may have the key ([`Admission::RejectNew`](crate::hub::Admission::RejectNew)) a place is as good as a session: it
    /// is held for one, and whoever has it is admitted.
    Reserve {
        /// The key.
        key: Key,
        /// What it will show.
        badge: Badge,
    },
    /// The connection wants to be found under a key; the admission policy decides. A place that is held for it is used
    /// up by this, whatever the outcome. If it has the key already it keeps it, as it is.
    Register {
        /// The key.
        key: Key,
        /// What it shows.
        badge: Badge,
    },
    /// The connection gives a key up, and a place that is held for it; nothing happens if it has neither (any more).
    Unregister(Key),
    /// The connection wants to know on what the user behind a key is online: now, and whenever it changes.
    Watch(Key),
    /// The connection no longer wants to know.
    Unwatch(Key),
    /// Too much waits for the connection, which has the key: who sends to the key with
    /// [`Overflow::Backpressure`](crate::Overflow::Backpressure) is told.
    Congested(Key),
    /// That is over; it is, too, when the connection loses the key.
    Relieved(Key),
    /// The connection waits until no session of the key is congested.
    Wait(Key),
    /// It no longer waits.
    Unwait(Key),
    /// The connection joins a group; joining twice is joining once.
    Join(GroupId),
    /// The connection leaves a group.
    Leave(GroupId),
    /// A message for whoever is registered at this moment.
    Publish {
        /// The receivers.
        to: To,
        /// The message.
        push: Push,
    },
    /// Ends every session of a key, or those on some platforms, or every member of a group.
    Close {
        /// Whose connections.
        to: To,
        /// What they are told.
        reason: CloseReason,
    },
}

impl Route {
    /// The name that decides which shard this belongs to.
    fn name(&self) -> &[u8] {
        match self {
            Self::Reserve { key, .. }
            | Self::Register { key, .. }
            | Self::Unregister(key)
            | Self::Watch(key)
            | Self::Unwatch(key)
            | Self::Congested(key)
            | Self::Relieved(key)
            | Self::Wait(key)
            | Self::Unwait(key) => key.as_bytes(),
            Self::Join(group) | Self::Leave(group) => group.as_bytes(),
            Self::Publish { to, .. } | Self::Close { to, .. } => match to {
                To::Key(key) | To::Devices { key, .. } => key.as_bytes(),
                To::Group(group) => group.as_bytes(),
            },
        }
    }

    /// Which of `shards` shards owns the name in this route: a pure function of name and seed.
    ///
    /// `seed` is chosen at random by the driver at start-up, so that nobody outside can aim at one shard.
    pub fn shard(&self, shards: usize, seed: u64) -> usize {
        let hash = crate::hash::hash(seed, self.name());
        (hash % shards.max(1) as u64) as usize
    }
}
