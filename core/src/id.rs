//! Names and numbers: connections, keys, groups.

use alloc::sync::Arc;
use core::borrow::Borrow;
use core::fmt;

/// One transport connection.
///
/// Drivers mint ids and never reuse one, so an id is also the *generation* of everything that was registered under it:
/// the end of an old connection can never remove what a newer one owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct ConnId(pub u64);

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no bytes.
    #[error("a name must not be empty")]
    Empty,
    /// The name is longer than [`Key::MAX`] bytes.
    #[error("a name must not be longer than {} bytes", Key::MAX)]
    TooLong,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Owns its bytes (a slice of a read buffer would pin the buffer for as long as the registry keeps the name);
        /// cloning shares them.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<[u8]>);

        impl $name {
            /// The longest name, in bytes.
            pub const MAX: usize = 255;

            /// Copies `name`.
            ///
            /// # Errors
            ///
            /// [`NameError`] if `name` is empty or longer than [`MAX`](Self::MAX) bytes.
            pub fn new(name: impl AsRef<[u8]>) -> Result<Self, NameError> {
                match name.as_ref() {
                    [] => Err(NameError::Empty),
                    long if long.len() > Self::MAX => Err(NameError::TooLong),
                    name => Ok(Self(name.into())),
                }
            }

            /// The bytes of the name.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        #[cfg(feature = "record")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(&self.0[..], serializer)
            }
        }

        #[cfg(feature = "record")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = alloc::vec::Vec::<u8>::deserialize(deserializer)?;
                Self::new(name).map_err(serde::de::Error::custom)
            }
        }

        impl Borrow<[u8]> for $name {
            fn borrow(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.escape_ascii())
            }
        }
    };
}

name! {
    /// What a session is found by: a user id, a tunnel client's key.
    Key
}

name! {
    /// A group of connections that hear the same messages.
    GroupId
}

name! {
    /// A service: the part of a route before its last dot.
    ServiceName
}
