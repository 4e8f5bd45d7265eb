//! What the server's end tells the application, and is asked by it.

use alloc::string::String;

use super::{Answer, Check, Fault, Token};
use crate::pending::Ticket;
use crate::{GroupId, Key, Push, To};

/// What a client asks for, looked at as far as one connection can; the [`User`](super::User) decides the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What the request is known by, in logs and in its answer; made here if the client gave none.
    pub operation: String,
    /// What is asked for.
    pub call: Call,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// To log its user in.
    Login {
        /// The token, if the arguments are right and name the connection's user.
        token: Result<Token, Fault>,
        /// Whether new messages shall come as lists.
        batch: bool,
    },
    /// To call a function.
    Function {
        /// Its name.
        name: String,
        /// Its arguments.
        data: String,
        /// What is known about the two.
        check: Check,
    },
}

/// Who hears an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Audience {
    /// The connection that has asked.
    Asker,
    /// Every connection of the user, as [`Deliver`](super::Deliver) says.
    User,
}

/// How far a connection takes part in its user's session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Mode {
    /// It has logged out: it hears only what it asks for.
    Detached,
    /// The user is not logged in: it hears replies.
    #[default]
    Waiting,
    /// The user is logged in: it hears everything.
    Online {
        /// Whether new messages come as lists.
        batch: bool,
    },
}

/// What the server's end tells the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerNotice {
    /// The user's place is taken, and requests may follow.
    Opened,
    /// The client asks for something. Exactly one answer is due; without one it [expires](Self::Expired).
    Request {
        /// Names the request.
        ticket: Ticket,
        /// What is asked for.
        request: Request,
    },
    /// A request waited for [`Limits::request_timeout`](crate::Limits::request_timeout) and is answered with
    /// [`Fault::NotLoaded`] in the application's place: whatever is done or queued for it can be given up. An answer that
    /// crosses with this is dropped and [counted](crate::Mark::AnswerLate).
    Expired(Ticket),
}

/// What the application may ask of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum ServerCommand {
    /// Answers a request.
    Answer {
        /// Which one.
        ticket: Ticket,
        /// What is said.
        answer: Answer,
        /// To whom.
        audience: Audience,
    },
    /// Answers a request to the asker alone, because it is wrong.
    Refuse {
        /// Which one.
        ticket: Ticket,
        /// What is wrong.
        fault: Fault,
    },
    /// The user's session has changed.
    SetMode(Mode),
    /// Sends a message to this client alone.
    Push(Push),
    /// Removes the client: what is queued goes first, then close code 4000.
    Kick,
    /// Ends the connection: pending answers and what is queued go first.
    Close,
    /// Joins a group.
    Join(GroupId),
    /// Leaves a group.
    Leave(GroupId),
    /// Tells the client on what a user is online, now and whenever that changes, with the event
    /// [`OnUserStatusChanged`](super::STATUS_CHANGED).
    Watch(Key),
    /// No longer does.
    Unwatch(Key),
    /// Sends a message to a key or a group, in order with the answers of this connection.
    Publish {
        /// The receivers.
        to: To,
        /// The message.
        push: Push,
    },
}
