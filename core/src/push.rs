//! A message on its way to connections, in a form every dialect can translate.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use bytes::Bytes;
use once_cell::race::OnceBox;

use crate::hub::{PlatformSet, Refusal};
use crate::{Frame, Key};

/// What happens to a message for a peer whose send queue is full. Every drop is counted by a [`Mark`](crate::Mark).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Overflow {
    /// The peer is too slow: its connection is closed with a reason.
    #[default]
    Close,
    /// The new message is dropped.
    DropNewest,
    /// The oldest waiting message that may be dropped makes room; if there is none, the new one is dropped.
    DropOldest,
    /// The message is queued all the same, and who sends to the peer's key is no longer read until half of the queue is
    /// empty. Beyond the computed bound of the queue the connection is closed.
    Backpressure,
}

/// One message for any number of connections.
///
/// Cloning shares it. Each wire form is encoded by the first connection that needs it and shared by all others, so a
/// broadcast is encoded once per dialect.
#[derive(Clone)]
pub struct Push(Arc<Parcel>);

struct Parcel {
    route: Bytes,
    body: Bytes,
    overflow: Overflow,
    origin: Origin,
    forms: [OnceBox<Frame>; Form::COUNT],
}

/// What the body of a [`Push`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
enum Origin {
    /// A payload that every dialect puts into a message of its own.
    Service,
    /// A message of the chat dialect, JSON text; the payload for all others.
    Chat,
    /// A reply of the IM dialect, as it goes over the wire; for no other, and not for the connection that is known by
    /// this number, which has it already. 0 is none.
    Im(u64),
}

/// A wire form that a [`Push`] keeps once it was encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Pomelo, route as text.
    PomeloPlain,
    /// Pomelo, route as dictionary code.
    PomeloCoded,
    /// Pomelo, route as text, body deflated.
    PomeloDeflated,
    /// Chat, a message that no user has sent.
    ChatEvent,
    /// IM, a message as it is.
    ImEvent,
    /// IM, a new message in a list of one.
    ImBatch,
}

impl Form {
    const COUNT: usize = 6;
}

impl Push {
    /// A message under `route` (an event name) with an opaque `body`.
    pub fn new(route: impl Into<Bytes>, body: impl Into<Bytes>, overflow: Overflow) -> Self {
        Self::with_origin(route.into(), body.into(), overflow, Origin::Service)
    }

    /// A message whose body is a message of the chat dialect: valid text, and sent to chat clients as it is.
    pub(crate) fn chat(route: Bytes, body: Bytes, overflow: Overflow) -> Self {
        Self::with_origin(route, body, overflow, Origin::Chat)
    }

    /// A message whose body is a reply of the IM dialect: valid text, sent to IM clients as it is and to no other; not
    /// to the connection that is known as `asker`.
    pub(crate) fn im(event: Bytes, body: Bytes, asker: u64) -> Self {
        Self::with_origin(event, body, Overflow::Close, Origin::Im(asker))
    }

    fn with_origin(route: Bytes, body: Bytes, overflow: Overflow, origin: Origin) -> Self {
        let forms = core::array::from_fn(|_| OnceBox::new());
        Self(Arc::new(Parcel { route, body, overflow, origin, forms }))
    }

    /// Whether the body is a message of the chat dialect.
    pub(crate) fn is_chat(&self) -> bool {
        self.0.origin == Origin::Chat
    }

    /// Whether the body is a reply of the IM dialect.
    pub(crate) fn is_im(&self) -> bool {
        matches!(self.0.origin, Origin::Im(_))
    }

    /// Whether the body is a reply of the IM dialect to the connection that is known as `asker`.
    pub(crate) fn is_im_of(&self, asker: u64) -> bool {
        self.0.origin == Origin::Im(asker)
    }

    /// Whether the body is a reply of the IM dialect that whoever publishes it has sent to its own peer already: a hub
    /// that finds nobody else under the key has nothing left to deliver.
    pub fn is_answered(&self) -> bool {
        matches!(self.0.origin, Origin::Im(asker) if asker != 0)
    }

    /// The event name.
    pub fn route(&self) -> &Bytes {
        &self.0.route
    }

    /// The payload.
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// What to do with it where the peer is too slow.
    pub fn overflow(&self) -> Overflow {
        self.0.overflow
    }

    /// The frame in `form`; `encode` runs for the first caller only.
    pub(crate) fn form<E>(
        &self,
        form: Form,
        encode: impl FnOnce(&Self) -> Result<Frame, E>,
    ) -> Result<Frame, E> {
        self.0.forms[form as usize].get_or_try_init(|| encode(self).map(Box::new)).cloned()
    }
}

/// A push as a flight recorder writes it down: what it is made of, without the forms that were encoded.
#[cfg(feature = "record")]
#[derive(serde::Serialize, serde::Deserialize)]
struct Written {
    route: Bytes,
    body: Bytes,
    overflow: Overflow,
    origin: Origin,
}

#[cfg(feature = "record")]
impl serde::Serialize for Push {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Parcel { route, body, overflow, origin, .. } = &*self.0;
        let (route, body) = (route.clone(), body.clone());
        Written { route, body, overflow: *overflow, origin: *origin }.serialize(serializer)
    }
}

#[cfg(feature = "record")]
impl<'de> serde::Deserialize<'de> for Push {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { route, body, overflow, origin } = Written::deserialize(deserializer)?;
        Ok(Self::with_origin(route, body, overflow, origin))
    }
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push")
            .field("route", self.route())
            .field("body", self.body())
            .field("overflow", &self.overflow())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Push {
    fn eq(&self, other: &Self) -> bool {
        let [own, other] = [&*self.0, &*other.0];
        (&own.route, &own.body, own.overflow, own.origin)
            == (&other.route, &other.body, other.overflow, other.origin)
    }
}

impl Eq for Push {}

/// What the hub hands to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Delivery {
    /// A message for the peer.
    Push(Push),
    /// The hub took the connection in under the key it asked for.
    Admitted(Key),
    /// The hub holds a place for the connection under the key it asked for.
    Reserved(Key),
    /// The hub refused the key; a place that was held is free again.
    Rejected {
        /// The key.
        key: Key,
        /// Why.
        why: Refusal,
    },
    /// On what a user that the connection watches is online now.
    Presence {
        /// The user's key.
        key: Key,
        /// The platforms; offline if there is none.
        platforms: PlatformSet,
    },
    /// The user cannot be watched: too many do.
    WatchRefused(Key),
    /// A session of the key that the connection has sent to is too slow: it may be time to [wait](crate::Route::Wait).
    Congested(Key),
    /// The connection need not wait for the key.
    Relieved(Key),
}
