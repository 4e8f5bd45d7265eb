//! What the application and a tunnel session say to each other.

use core::time::Duration;

use bytes::Bytes;

use super::{CONNECT_MAX, ClientSession, EncodeError};
use crate::Limits;

/// Names one stream of one session; never used again, whatever the numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct StreamId(pub(super) u64);

/// Which end of the WebSocket this is. Either may dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that accepted the WebSocket.
    Server,
    /// The end that opened it: it pings, and lists the streams it knows every minute.
    Client,
}

/// How one tunnel session behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelConfig {
    /// Which end this is.
    pub role: Role,
    /// Whether the handshake showed that the peer is one of ours ([`HEADER`](super::HEADER)): then both keep the two
    /// directions of the flow control apart, and nobody has to be probed.
    pub is_peer_ours: bool,
    /// The credit with which we begin each stream, in bytes, if the peer [said](super::Hello) one in its header and so
    /// did we; `None` (default) counts nothing, and pauses.
    pub peer_window: Option<u32>,
    /// Whether the peer may ask for dials at all. If not, each is refused; the session lives on.
    pub may_peer_dial: bool,
    /// Whether the peer announces clients. If not, what it announces is ignored.
    pub may_peer_announce: bool,
    /// `client/session` as error texts name it to the peer.
    pub name: ClientSession,
    /// The longest `proto/address` the peer reads. Default [`CONNECT_MAX`].
    pub connect_max: usize,
    /// How often the client's end pings. Default 5 s.
    pub ping: Duration,
    /// After how long without a ping or pong the session ends. Default 60 s.
    pub silence: Duration,
    /// After how long without anything from the peer the application is told that it is
    /// [`Quiet`](TunnelNotice::Quiet). Default 15 s.
    pub quiet: Duration,
    /// How often the client's end lists its streams. Default 60 s.
    pub sync: Duration,
    /// How long a stream may be missing from the peer's list before it counts as stale. Default 10 s.
    pub sync_grace: Duration,
}

impl TunnelConfig {
    /// The defaults of one end: an original as peer that may not dial a server, and dials through a client.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            is_peer_ours: false,
            peer_window: None,
            may_peer_dial: role == Role::Client,
            may_peer_announce: false,
            name: ClientSession { client: Bytes::from_static(b"client"), session: 0 },
            connect_max: CONNECT_MAX,
            ping: Duration::from_secs(5),
            silence: Duration::from_secs(60),
            quiet: Duration::from_secs(15),
            sync: Duration::from_secs(60),
            sync_grace: Duration::from_secs(10),
        }
    }
}

impl TunnelConfig {
    /// In what steps the application may report what it has [read](TunnelCommand::Read) of a new stream, in cost.
    pub fn report_step(&self, limits: &Limits) -> u32 {
        let step = match self.peer_window {
            Some(_) => limits.tunnel_first_window() / 4,
            None => limits.tunnel_stream_pause / 16,
        };
        step.max(1)
    }
}

/// What the application may ask of a tunnel session. What names a stream that has ended does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum TunnelCommand {
    /// Opens a stream; exactly one [`Opened`](TunnelNotice::Opened) or [`DialRefused`](TunnelNotice::DialRefused)
    /// follows.
    Dial {
        /// The caller's own number, handed back with the outcome.
        request: u64,
        /// `tcp`, `unix` …; through a peer with `client::` before it.
        proto: Bytes,
        /// `host:port` or a path.
        address: Bytes,
    },
    /// What the peer asked for is dialled.
    Dialed(StreamId),
    /// What the peer asked for is not allowed or failed; the peer is told the text.
    DialFailed {
        /// Which.
        stream: StreamId,
        /// Why; cut to 100 bytes.
        error: Bytes,
    },
    /// Writes to a stream. What waits is reported by [`Sent`](TunnelNotice::Sent); who lets more than
    /// [`Limits::tunnel_stream_bytes`](crate::Limits::tunnel_stream_bytes) wait loses the stream.
    Data {
        /// Which.
        stream: StreamId,
        /// What; nothing is sent for an empty body.
        body: Bytes,
    },
    /// The application is done with data that it was given: the sum of [`data_cost`]. It may be told in steps of up to
    /// [`TunnelConfig::report_step`], or of a quarter of the [`Window`](TunnelNotice::Window) that was told since.
    Read {
        /// Which; also of a stream that has ended.
        stream: StreamId,
        /// How much.
        cost: u32,
    },
    /// Ends a stream once all that was written to it is sent; what still comes in is thrown away.
    Close(StreamId),
    /// Ends a stream at once.
    Abort {
        /// Which.
        stream: StreamId,
        /// What the peer is told; cut to 100 bytes.
        error: Bytes,
    },
    /// Announces a session of a client to a peer.
    AddClient(ClientSession),
    /// Takes an announcement back.
    RemoveClient(ClientSession),
    /// Ends the session once what may be sent is sent. What waits for credit, or for the end of a pause, is not waited
    /// for: close the streams first, and finish when they have ended.
    Finish,
}

/// What a tunnel session tells the application.
///
/// Each stream that was opened or requested ends with exactly one [`Ended`](Self::Ended), or with the session, whose end
/// ends them all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TunnelNotice {
    /// A stream is open. The protocol has no answer to a dial: what fails at the other end comes as an early end.
    Opened {
        /// The caller's number.
        request: u64,
        /// The stream.
        stream: StreamId,
    },
    /// A stream was not opened.
    DialRefused {
        /// The caller's number.
        request: u64,
        /// Why.
        error: DialError,
    },
    /// The peer asks for a dial. Whether it is allowed is the application's to decide; it answers with
    /// [`Dialed`](TunnelCommand::Dialed) or [`DialFailed`](TunnelCommand::DialFailed). Data may come before that; it
    /// is to be written once the dial succeeds, also if the stream has ended with [`Eof`](StreamEnd::Eof) meanwhile.
    DialRequested {
        /// The stream.
        stream: StreamId,
        /// As the peer wrote it.
        proto: Bytes,
        /// As the peer wrote it.
        address: Bytes,
    },
    /// Bytes of a stream; never empty. Each is to be acknowledged by [`Read`](TunnelCommand::Read).
    Data {
        /// Which.
        stream: StreamId,
        /// What.
        body: Bytes,
    },
    /// So many bytes that were written have left the stream's queue.
    Sent {
        /// Which.
        stream: StreamId,
        /// How many.
        bytes: u32,
    },
    /// So much of a stream may be unread from now on, more than before: what was read may be reported in steps of up to
    /// a quarter of it.
    Window {
        /// Which.
        stream: StreamId,
        /// How much, in cost.
        cost: u32,
    },
    /// The stream is over; its data came before, and [`Read`](TunnelCommand::Read) is still owed for it. No
    /// [`Sent`](Self::Sent) comes for what was not sent.
    Ended {
        /// Which.
        stream: StreamId,
        /// How.
        end: StreamEnd,
    },
    /// The peer announces a session of a client.
    ClientAdded(ClientSession),
    /// The peer takes an announcement back.
    ClientRemoved(ClientSession),
    /// Nothing was heard of the peer for [`quiet`](TunnelConfig::quiet): better not dial through it if there is another.
    Quiet,
    /// It was heard again.
    Lively,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEnd {
    /// The peer ended it normally.
    Eof,
    /// The peer ended it with this text, which is not to be trusted.
    Error(Bytes),
    /// This side's application ended it.
    Finished,
    /// The peer no longer knows it, or does not know it yet after all this time. It was told that this end does not either.
    Stale,
    /// The dial took longer than [`Limits::tunnel_dial_timeout`](crate::Limits::tunnel_dial_timeout).
    DialTimeout,
    /// The peer took no data for [`Limits::tunnel_stall_timeout`](crate::Limits::tunnel_stall_timeout).
    Stalled,
    /// More waits in it than it, or the session, may hold.
    Overflow,
    /// The peer paused and resumed it for nothing more than [`Limits::tunnel_flips`](crate::Limits::tunnel_flips)
    /// times, or granted more credit than there can be.
    Flapping,
}

/// Why a stream was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// As many streams as [`Limits::tunnel_streams`](crate::Limits::tunnel_streams) are open.
    #[error("too many streams")]
    TooMany,
    /// The peer would dial something else.
    #[error(transparent)]
    Unsayable(#[from] EncodeError),
    /// The session is ending.
    #[error("the session is ending")]
    Ending,
}

/// What one body counts for in a buffer: its length, and never less than 256 bytes.
pub fn data_cost(body: &Bytes) -> u32 {
    u32::try_from(body.len()).unwrap_or(u32::MAX).max(crate::Frame::COST_MIN)
}
