//! What a connection or a service asks of the hub.

use crate::{CloseReason, GroupId, Key, Push};

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum To {
    /// Every session of a key.
    Key(Key),
    /// Every member of a group.
    Group(GroupId),
}

/// One request to the hub shard that owns the name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Route {
    /// The connection wants to be found under a key; the admission policy decides.
    Register(Key),
    /// The connection gives a key up; nothing happens if it does not own it (any more).
    Unregister(Key),
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
    /// Ends every session of a key or every member of a group.
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
            Self::Register(key) | Self::Unregister(key) => key.as_bytes(),
            Self::Join(group) | Self::Leave(group) => group.as_bytes(),
            Self::Publish { to, .. } | Self::Close { to, .. } => match to {
                To::Key(key) => key.as_bytes(),
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
