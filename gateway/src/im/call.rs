//! One call of a client, and the handle by which a function reaches whoever has called.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use linkspan_core::hub::Platform;
use linkspan_core::im::{ServerCommand, Visitor};
use linkspan_core::{ConnId, GroupId, Key, Overflow, Push, To};
use linkspan_runtime::{Host, Mailbox};

use crate::server::Switchboard;
use crate::session::PushError;

/// One call of a client, on its way to a function.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who calls.
    pub caller: Caller,
    /// The function.
    pub function: Box<str>,
    /// What the call is known by in logs and in its answer; never empty.
    pub operation: Box<str>,
    /// The arguments, as they came: mostly JSON.
    pub data: String,
}

/// One connection of a user, as long as it lives. Cheap to clone, usable from any task.
///
/// What is asked of the client goes through its connection in the order in which it was asked, and before the answer of
/// the function that asks it.
#[derive(Clone)]
pub struct Caller(Arc<Inner>);

struct Inner {
    user: Box<str>,
    key: Key,
    platform: Platform,
    conn: ConnId,
    mailbox: Mailbox<ServerCommand>,
    switchboard: Switchboard,
}

impl Caller {
    pub(super) fn new(
        visitor: &Visitor,
        conn: ConnId,
        mailbox: Mailbox<ServerCommand>,
        host: &Arc<Host>,
    ) -> Self {
        let key = visitor.user.clone();
        let user = String::from_utf8_lossy(key.as_bytes()).into();
        let platform = visitor.badge.device.platform;
        let switchboard = Switchboard::new(Arc::clone(host));
        Self(Arc::new(Inner { user, key, platform, conn, mailbox, switchboard }))
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.0.user
    }

    /// The name under which the user is found, whatever dialect its connections speak.
    pub fn key(&self) -> &Key {
        &self.0.key
    }

    /// What the user's program runs on.
    pub fn platform(&self) -> Platform {
        self.0.platform
    }

    /// The number of the connection: unique in this process, never used again.
    pub fn id(&self) -> u64 {
        self.0.conn.0
    }

    /// The way to users and groups at once, past this connection's queue.
    pub fn switchboard(&self) -> &Switchboard {
        &self.0.switchboard
    }

    /// Sends an event to this connection alone. If it is too slow for it, it is closed.
    ///
    /// # Errors
    ///
    /// [`PushError::Closed`] after the end of the connection, [`PushError::Full`] if too much is waiting for it already.
    pub fn push(&self, event: impl Into<Bytes>, data: impl Into<Bytes>) -> Result<(), PushError> {
        self.command(ServerCommand::Push(Push::new(event, data, Overflow::Close)))
    }

    /// Sends a message to a key or a group.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn publish(&self, to: To, push: Push) -> Result<(), PushError> {
        self.command(ServerCommand::Publish { to, push })
    }

    /// Joins a group; the connection leaves it when it ends.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn join(&self, group: &GroupId) -> Result<(), PushError> {
        self.command(ServerCommand::Join(group.clone()))
    }

    /// Leaves a group.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn leave(&self, group: &GroupId) -> Result<(), PushError> {
        self.command(ServerCommand::Leave(group.clone()))
    }

    /// Tells the client on what a user is online: now, and whenever that changes. It hears the event
    /// [`OnUserStatusChanged`](linkspan_core::im::STATUS_CHANGED).
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn watch(&self, user: &Key) -> Result<(), PushError> {
        self.command(ServerCommand::Watch(user.clone()))
    }

    /// No longer does.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn unwatch(&self, user: &Key) -> Result<(), PushError> {
        self.command(ServerCommand::Unwatch(user.clone()))
    }

    /// Removes this client: what is queued goes first, then the event `OnKickedOffline`, then close code 4000.
    pub fn kick(&self) {
        self.0.mailbox.close(linkspan_core::CloseReason::Kicked);
    }

    pub(super) fn command(&self, command: ServerCommand) -> Result<(), PushError> {
        self.0.mailbox.command(command)
    }

    pub(super) fn mailbox(&self) -> &Mailbox<ServerCommand> {
        &self.0.mailbox
    }

    pub(super) fn conn(&self) -> ConnId {
        self.0.conn
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("user", &self.user()).field("id", &self.id()).finish_non_exhaustive()
    }
}
