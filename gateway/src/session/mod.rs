//! Sessions: the handle by which an application reaches one client.

mod bind;
mod data;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use linkspan_core::pomelo::ServerCommand;
use linkspan_core::{ConnId, Delivery, GroupId, Key, Overflow, Push, To};
pub use linkspan_runtime::PushError;
use linkspan_runtime::{Mailbox, Post};
use serde::Serialize;

pub use self::bind::BindError;
use self::bind::Binding;
use self::data::Data;

/// One client, as long as its connection lives. Cheap to clone, usable from any task.
///
/// Everything that is asked of the client goes through its connection in the order in which it was asked. So a handler
/// that joins a group and then sends to it is heard by itself, and what a handler pushes arrives before its answer.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    conn: ConnId,
    peer: SocketAddr,
    mailbox: Mailbox<ServerCommand>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    binding: Binding,
    data: Data,
    /// Bytes pushed since [`Session::push_paced`] last waited.
    unpaced: u32,
}

/// How much may be pushed before [`Session::push_paced`] lets the connection write.
const PACE: u32 = 32 * 1024;

impl Session {
    pub(crate) fn new(conn: ConnId, peer: SocketAddr, mailbox: Mailbox<ServerCommand>) -> Self {
        Self(Arc::new(Inner { conn, peer, mailbox, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn command(&self, command: ServerCommand) -> Result<(), PushError> {
        self.0.mailbox.command(command)
    }

    pub(crate) fn conn(&self) -> ConnId {
        self.0.conn
    }

    /// The number of the session: unique in this process, never used again.
    pub fn id(&self) -> u64 {
        self.0.conn.0
    }

    /// The client's address.
    pub fn remote_address(&self) -> SocketAddr {
        self.0.peer
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.0.mailbox.is_closed()
    }

    /// Sends a message that nobody asked for. If the client is too slow for it, its connection is closed.
    ///
    /// # Errors
    ///
    /// [`PushError::Closed`] after the end of the connection, [`PushError::Full`] if too much is waiting for it already.
    pub fn push(&self, route: impl Into<Bytes>, body: impl Into<Bytes>) -> Result<(), PushError> {
        self.push_with(route, body, Overflow::Close)
    }

    /// As [`push`](Self::push), and says what happens if the client is too slow.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_with(
        &self,
        route: impl Into<Bytes>,
        body: impl Into<Bytes>,
        overflow: Overflow,
    ) -> Result<(), PushError> {
        self.command(ServerCommand::Push { route: route.into(), body: body.into(), overflow })
    }

    /// As [`push`](Self::push), with a value as JSON. What has no form in JSON is sent as `null`.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_json(&self, route: impl Into<Bytes>, body: &impl Serialize) -> Result<(), PushError> {
        self.push(route, json(body))
    }

    /// Sends a message that other sessions get too: it is encoded once for all of them.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_shared(&self, push: &Push) -> Result<(), PushError> {
        self.0.mailbox.post(Post::Deliver(Delivery::Push(push.clone())))
    }

    /// As [`push`](Self::push), but takes its time, so that any number of messages arrives: for handlers, which are not
    /// run on while too much waits to be written.
    ///
    /// # Errors
    ///
    /// [`PushError::Closed`] after the end of the connection.
    pub async fn push_paced(&self, route: impl Into<Bytes>, body: impl Into<Bytes>) -> Result<(), PushError> {
        let (route, body) = (route.into(), body.into());
        let size = u32::try_from(route.len() + body.len()).unwrap_or(u32::MAX).max(256);
        let due = {
            let mut state = self.state();
            state.unpaced = state.unpaced.saturating_add(size);
            state.unpaced > PACE && std::mem::replace(&mut state.unpaced, size) > 0
        };
        if due {
            futures_lite::future::yield_now().await;
        }
        loop {
            match self.push(route.clone(), body.clone()) {
                Err(PushError::Full) => futures_lite::future::yield_now().await,
                other => return other,
            }
        }
    }

    /// Removes the client: pending answers, what is queued, `reason`, close. Does nothing after the end.
    pub fn kick(&self, reason: impl Into<Bytes>) {
        let command = ServerCommand::Kick { reason: reason.into() };
        self.end(command, linkspan_core::CloseReason::Kicked);
    }

    /// Closes the connection once pending answers and what is queued are written. Does nothing after the end.
    pub fn close(&self) {
        self.end(ServerCommand::Close, linkspan_core::CloseReason::Finished);
    }

    /// An end must work with a full mailbox too; only the text of a kick is lost then.
    fn end(&self, command: ServerCommand, reason: linkspan_core::CloseReason) {
        if self.command(command) == Err(PushError::Full) {
            self.0.mailbox.close(reason);
        }
    }

    /// Joins a group; joining twice is joining once. The connection leaves all groups when it ends.
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

    /// Sends a message to every member of a group. Members that are too slow are closed.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn broadcast(
        &self,
        group: &GroupId,
        route: impl Into<Bytes>,
        body: impl Into<Bytes>,
    ) -> Result<(), PushError> {
        self.publish(To::Group(group.clone()), Push::new(route, body, Overflow::Close))
    }

    /// Sends a message to every session bound to `uid`.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_to(
        &self,
        uid: &Key,
        route: impl Into<Bytes>,
        body: impl Into<Bytes>,
    ) -> Result<(), PushError> {
        self.publish(To::Key(uid.clone()), Push::new(route, body, Overflow::Close))
    }

    /// Sends a message to a key or a group, in order with everything else that goes through this session.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn publish(&self, to: To, push: Push) -> Result<(), PushError> {
        self.command(ServerCommand::Publish { to, push })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id()).field("peer", &self.0.peer).finish_non_exhaustive()
    }
}

/// A value as JSON; `null` if it has no form in it.
pub(crate) fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).map_or_else(
        |error| {
            tracing::error!(%error, "a value cannot be written as JSON");
            Bytes::from_static(b"null")
        },
        Bytes::from,
    )
}
