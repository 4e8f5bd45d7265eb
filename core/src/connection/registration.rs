//! What the hub knows of a connection, and how it is undone.

use crate::{GroupId, Key, Route};

/// One name that the hub knows a connection under, or that it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Registration {
    Key(Key),
    Group(GroupId),
    Watch(Key),
    Wait(Key),
}

impl Registration {
    /// The request that takes it back.
    pub(super) fn undo(self) -> Route {
        match self {
            Self::Key(key) => Route::Unregister(key),
            Self::Group(group) => Route::Leave(group),
            Self::Watch(key) => Route::Unwatch(key),
            Self::Wait(key) => Route::Unwait(key),
        }
    }
}
