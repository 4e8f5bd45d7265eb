//! What goes into the hub and what comes out.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::slice;

use crate::{CloseReason, ConnId, Delivery, Mark, Overflow, Route};

/// One connection, and the mailbox its driver gave for it.
///
/// The hub keeps `mailbox`, hands it back with each delivery and never looks into it, so a driver needs no table of
/// mailboxes and no second lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Address<M> {
    /// Which connection; never reused, so this is also the generation of what it registered.
    pub conn: ConnId,
    /// Where the driver posts what is for it.
    pub mailbox: M,
}

/// What may happen to a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Event<M> {
    /// A request for this shard.
    Routed {
        /// Whose request it is; `None` for services and operators. What registers, joins and leaves is always a
        /// connection, so these are ignored without one.
        from: Option<Address<M>>,
        /// The request.
        route: Route,
    },
    /// A mailbox was full when the driver wanted to post a delivery.
    Refused {
        /// Whose mailbox.
        to: Address<M>,
        /// The policy of the message that found no room.
        overflow: Overflow,
    },
}

/// What a hub asks of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action<M> {
    /// End these connections gracefully.
    Close {
        /// Whose connections.
        to: Recipients<M>,
        /// What they are told.
        reason: CloseReason,
    },
    /// Post this to each mailbox; report those that are full as [`Event::Refused`].
    Deliver {
        /// Whose mailboxes.
        to: Recipients<M>,
        /// What to post.
        delivery: Delivery,
    },
    /// Count this.
    Mark(Mark),
}

/// Whom an action is for. However many there are, it is one value: the driver walks a shared snapshot after it let go
/// of the shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients<M> {
    /// One connection.
    One(Address<M>),
    /// Several connections, in the order in which they came; each of them once.
    Many(Arc<[Address<M>]>),
}

impl<M> Recipients<M> {
    /// These, if there is any.
    pub(super) fn from_vec(mut addresses: Vec<Address<M>>) -> Option<Self> {
        match addresses.len() {
            0 => None,
            1 => addresses.pop().map(Self::One),
            _ => Some(Self::Many(addresses.into())),
        }
    }

    /// Every recipient, in the order in which they came.
    pub fn as_slice(&self) -> &[Address<M>] {
        match self {
            Self::One(address) => slice::from_ref(address),
            Self::Many(addresses) => addresses,
        }
    }
}
