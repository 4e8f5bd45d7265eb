//! What goes into the pool and what comes out.

use core::time::Duration;

/// One request, by a number its driver picks; the driver may use it again once the request has had its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One upstream connection, by a number its driver picks; never used again while the connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamId(pub u64);

/// One attempt to connect, by a number the pool picks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub u64);

/// The bounds of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Idle connections in all; beyond it the one that became idle first is closed. Default 100, as Go's shared client.
    pub idle_max: Option<u32>,
    /// Idle connections of one key; one more is closed. Default 32: the 2 of Go's client make a proxy with 10 parallel
    /// requests close and dial 8 connections each time.
    pub idle_per_key: u32,
    /// Connections of one key: dialing, busy and idle; 0 counts as 1. Default: no bound.
    pub per_key: Option<u32>,
    /// Connections of all keys: dialing, busy and idle. Beyond it the one that became idle first makes room, and where
    /// none is idle the request fails at once. Default 1,024.
    pub total: Option<u32>,
    /// Requests of one key that wait for a connection; one more fails at once. Default 1,024.
    pub waiting_per_key: u32,
    /// How long a connection may be idle. Default 90 s, as Go's shared client.
    pub idle_timeout: Option<Duration>,
    /// Whether connections are used again at all. Default yes.
    pub keep_alive: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            idle_max: Some(100),
            idle_per_key: 32,
            per_key: None,
            total: Some(1_024),
            waiting_per_key: 1_024,
            idle_timeout: Some(Duration::from_secs(90)),
            keep_alive: true,
        }
    }
}

/// What may happen to a pool. What names something the pool does not know, or knows in another state, is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<K> {
    /// A request needs a connection.
    Acquire {
        /// Which request.
        request: RequestId,
        /// What it is to be connected to: proxy, scheme, host and port, whatever makes connections interchangeable.
        key: K,
    },
    /// A request is given up: waiting or under way. It gets no outcome any more.
    Cancel {
        /// Which request.
        request: RequestId,
    },
    /// A dial has connected.
    Dialed {
        /// Which dial.
        dial: DialId,
        /// The new connection.
        upstream: UpstreamId,
    },
    /// A dial has failed.
    DialFailed {
        /// Which dial.
        dial: DialId,
    },
    /// An exchange is over: the reply was read to its end. Reported before the caller sees the end.
    Release {
        /// Its connection.
        upstream: UpstreamId,
        /// Whether another exchange may follow: see [`is_reusable`](super::is_reusable).
        reusable: bool,
    },
    /// The connection was seen to end, or spoke unasked; idle or busy.
    Broken {
        /// Which connection.
        upstream: UpstreamId,
    },
    /// An exchange has failed.
    ExchangeFailed {
        /// Its request.
        request: RequestId,
        /// Its connection.
        upstream: UpstreamId,
        /// How far it had come.
        stage: Stage,
        /// Whether the request may arrive twice: see [`is_replayable`](super::is_replayable).
        replayable: bool,
        /// Whether its body can be sent again: there is none, or it is kept.
        rewindable: bool,
    },
    /// Close what is idle, and what would become idle until the next request.
    CloseIdle,
}

/// How far a failed exchange had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// No byte of the request was written.
    NothingWritten,
    /// The connection ended before the first byte of the reply.
    NoReply,
    /// Later, or in another way: a reply cut short, a timeout.
    Partial,
}

/// What a pool asks of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action<K> {
    /// Connect; report it as [`Event::Dialed`] or [`Event::DialFailed`].
    Dial {
        /// The new dial.
        dial: DialId,
        /// Where to.
        key: K,
    },
    /// Nobody needs this dial: give it up. If it has connected meanwhile, that connection will be closed.
    AbortDial {
        /// Which dial.
        dial: DialId,
    },
    /// A request has its connection.
    Deliver {
        /// The request.
        request: RequestId,
        /// The connection.
        upstream: UpstreamId,
        /// Whether an exchange has run on it before.
        reused: bool,
        /// Whether it was waiting in the pool.
        was_idle: bool,
    },
    /// A request has failed; this is its outcome.
    Fail {
        /// The request.
        request: RequestId,
        /// Why.
        failure: Failure,
    },
    /// Close a connection; the pool has forgotten it.
    Close {
        /// Which connection.
        upstream: UpstreamId,
        /// Why.
        why: CloseWhy,
    },
    /// A failed request is tried again: rewind its body. It waits as if it had just come.
    Retry {
        /// Which request.
        request: RequestId,
    },
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Its dial failed.
    Dial,
    /// Its exchange failed, and may not be tried again.
    Exchange,
    /// Too many requests of its key wait already.
    TooManyWaiting,
    /// There are as many connections as there may be, and none of them is idle.
    TooManyUpstreams,
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseWhy {
    /// It was seen to end.
    Broken,
    /// Its request was given up.
    Cancelled,
    /// Its exchange failed.
    Failed,
    /// What was idle was to be closed.
    IdleClosed,
    /// Enough others are idle.
    IdleFull,
    /// It was idle for too long.
    IdleTimeout,
    /// Its last exchange leaves it unusable, or none is used again.
    NotReusable,
    /// Its dial had been given up.
    Unwanted,
}
