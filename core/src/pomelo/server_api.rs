//! What the application and the server's end of a pomelo connection say to each other.

use bytes::Bytes;

use super::{ErrorBody, RefuseCode, Ticket};
use crate::{GroupId, Key, Overflow, Push, To};

/// What the application holds while it works on a message that wants no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Receipt(u32);

impl Receipt {
    pub(super) const fn new(size: u32) -> Self {
        Self(size)
    }

    /// What the message counts for, in bytes.
    pub const fn size(self) -> u32 {
        self.0
    }
}

/// What the server's end tells the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerNotice {
    /// The client introduces itself with this JSON body (it may be empty); to be answered with
    /// [`Accept`](ServerCommand::Accept) or [`Refuse`](ServerCommand::Refuse) before the handshake deadline.
    Handshake(Bytes),
    /// The client has acknowledged: requests may follow, messages may be sent.
    Opened,
    /// A request; exactly one [`Answer`](ServerCommand::Answer) or [`Fail`](ServerCommand::Fail) is expected, else it
    /// [expires](Self::Expired).
    Request {
        /// Names the request.
        ticket: Ticket,
        /// Unchecked bytes, normally `Service.Method`.
        route: Bytes,
        /// The payload, inflated.
        body: Bytes,
    },
    /// A request waited for [`Limits::request_timeout`](crate::Limits::request_timeout) and is failed in the application's
    /// place, with an answer where [errors are answered](super::ServerConfig::errors): whatever is done or queued for it
    /// can be given up. An answer that crosses with this is dropped and [counted](crate::Mark::AnswerLate).
    Expired(Ticket),
    /// A message that wants no answer; to be followed by [`Done`](ServerCommand::Done) when the application is through
    /// with it, so that what waits there is bounded like requests are.
    Notify {
        /// To be given back.
        receipt: Receipt,
        /// Unchecked bytes, normally `Service.Method`.
        route: Bytes,
        /// The payload, inflated.
        body: Bytes,
    },
    /// The connection is registered under the key.
    Bound(Key),
    /// The key was refused: it belongs to another session, or the connection has too many.
    BindRefused(Key),
}

/// What the application may ask of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum ServerCommand {
    /// Answers the handshake with code 200.
    Accept {
        /// A JSON value for the answer's `user`; left out if it is not valid JSON.
        user: Option<Bytes>,
    },
    /// Answers the handshake with another code, and closes.
    Refuse {
        /// Why.
        code: RefuseCode,
        /// A JSON value for the answer's `user`.
        user: Option<Bytes>,
    },
    /// Answers a request.
    Answer {
        /// Which request.
        ticket: Ticket,
        /// The payload.
        body: Bytes,
    },
    /// Answers a request with an error.
    Fail {
        /// Which request.
        ticket: Ticket,
        /// What went wrong.
        error: ErrorBody,
    },
    /// The application is through with a message that wanted no answer.
    Done(Receipt),
    /// Sends a message that nobody asked for.
    Push {
        /// The event name, at most 255 bytes.
        route: Bytes,
        /// The payload.
        body: Bytes,
        /// What to do if the client is too slow.
        overflow: Overflow,
    },
    /// Removes the client: pending answers and what is queued go first, then a Kick with this text, then the end.
    Kick {
        /// Told to the client, `{"reason": …}`.
        reason: Bytes,
    },
    /// Ends the connection: pending answers and what is queued go first.
    Close,
    /// Registers the connection under a key.
    Bind(Key),
    /// Gives a key up.
    Unbind(Key),
    /// Joins a group.
    Join(GroupId),
    /// Leaves a group.
    Leave(GroupId),
    /// Sends a message to a key or a group, in order with the registrations of this connection.
    Publish {
        /// The receivers.
        to: To,
        /// The message.
        push: Push,
    },
}
