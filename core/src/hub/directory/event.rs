//! What goes into the directory and what comes out.

use alloc::vec::Vec;

use crate::hub::Address;
use crate::tunnel::ClientSession;
use crate::{CloseReason, ConnId, Instant, Key, Mark};

/// Which of a client's sessions is used. In every order those of which nothing was heard of late are used only where
/// there is no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Order {
    /// The one that came first, as the originals do.
    #[default]
    OldestFirst,
    /// The one that came last.
    NewestFirst,
    /// One after the other.
    RoundRobin,
}

/// Where a client is sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Here, and where peers say it is.
    Anywhere,
    /// Here only: for a dial that came over a peer's link. So no dial takes more than one hop, whatever peers announce.
    LocalOnly,
}

/// What may happen to a directory. What names a connection that it does not know does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<M> {
    /// A client has connected.
    Add {
        /// Its connection.
        from: Address<M>,
        /// Its name.
        client: Key,
        /// The number under which peers hear of the session; different from that of every other session.
        session: i64,
    },
    /// A peer has connected: it announces its clients here, and is dialled through.
    Link {
        /// Its connection.
        from: Address<M>,
        /// Its name.
        peer: Key,
    },
    /// A link to a peer was opened: it wants to be told of the clients here, now and whenever they change.
    Listen(Address<M>),
    /// A listener has passed on what it was told last, and is ready for more.
    Ready(ConnId),
    /// A session, link or listener is gone, and everything that is known through it.
    Gone(ConnId),
    /// A session or a link was silent for long, or was heard again.
    Health {
        /// Which.
        conn: ConnId,
        /// Whether it was heard of late.
        is_lively: bool,
    },
    /// A peer announces a session of a client.
    Announced {
        /// The link on which it does.
        link: ConnId,
        /// The session.
        session: ClientSession,
    },
    /// A peer takes an announcement back.
    Withdrawn {
        /// The link on which it does.
        link: ConnId,
        /// The session.
        session: ClientSession,
    },
    /// Somebody wants to dial through a client. One [`Found`](Action::Found) or [`NotFound`](Action::NotFound) with the
    /// ticket follows.
    Seek {
        /// The seeker's own number, never used before.
        ticket: u64,
        /// The client.
        client: Key,
        /// Where to look.
        scope: Scope,
        /// Until when to wait for the client if it is not there; `None` does not wait.
        until: Option<Instant>,
    },
    /// The seeker no longer waits, and gets no answer.
    Forgo(u64),
}

/// What a directory asks of its driver. The actions of different events may be performed in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action<M> {
    /// The client can be dialled.
    Found {
        /// Who asked.
        ticket: u64,
        /// Its session, or the link of a peer that has it.
        via: Address<M>,
        /// Whether it is a peer's link, on which the client is [named](crate::tunnel::forward_proto) in each dial.
        is_peer: bool,
    },
    /// The client cannot be dialled.
    NotFound {
        /// Who asked.
        ticket: u64,
        /// Why.
        why: SeekError,
    },
    /// A listener hears of sessions that came or went, in this order. It hears no more until it is
    /// [ready](Event::Ready), so a slow one is told of what is, and not of all that was.
    Announce {
        /// The listener.
        to: Address<M>,
        /// The changes; never none.
        changes: Vec<Change>,
    },
    /// End a connection gracefully; it is forgotten already.
    Close {
        /// Which.
        to: Address<M>,
        /// What it is told.
        reason: CloseReason,
    },
    /// Count this.
    Mark(Mark),
}

/// A session that came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub session: ClientSession,
    /// Whether it came.
    pub is_added: bool,
}

/// Why a client cannot be dialled. The first text is the originals'.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SeekError {
    /// It is not there, or did not come in time.
    #[error("failed to find Session for client {0}")]
    Unknown(Key),
    /// As many as may wait for clients do.
    #[error("too many requests wait for clients")]
    TooMany,
}
