//! Why a connection ends, and what the peer is told about it.

use alloc::borrow::Cow;
use alloc::string::ToString;

/// What the peer did wrong. Each maps to a WebSocket close code (RFC 6455 §7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Violation {
    /// A package header names a type that does not exist.
    #[error("unknown package type")]
    PackageType,
    /// A package header announces a body above the limit.
    #[error("package too large")]
    PackageTooLarge,
    /// A package arrived in a state in which it is not allowed.
    #[error("package not allowed now")]
    PackageOutOfOrder,
    /// With strict boundaries: a WebSocket message is not exactly one package.
    #[error("message is not exactly one package")]
    PackageBoundary,
    /// The input ended in the middle of a package.
    #[error("truncated package")]
    Truncated,
    /// A package stayed unfinished for longer than allowed.
    #[error("unfinished package")]
    Unfinished,
    /// A message is shorter than its own fields, or of an unknown type.
    #[error("invalid message")]
    MessageInvalid,
    /// A message id has no last byte within ten bytes.
    #[error("invalid message id")]
    MessageId,
    /// A message names a dictionary code that was never announced.
    #[error("unknown route code")]
    RouteCode,
    /// A compressed payload is not valid zlib.
    #[error("invalid compressed data")]
    Deflate,
    /// A compressed payload inflates to more than allowed.
    #[error("inflated data too large")]
    InflatedTooLarge,
    /// A text is not UTF-8, or not the JSON that it should be.
    #[error("invalid message")]
    TextInvalid,
    /// The handshake body cannot be read.
    #[error("invalid handshake")]
    Handshake,
}

impl Violation {
    /// The WebSocket close code.
    pub const fn code(self) -> u16 {
        match self {
            Self::PackageTooLarge | Self::InflatedTooLarge => 1009,
            Self::Handshake | Self::Unfinished => 1008,
            Self::Deflate | Self::TextInvalid => 1007,
            _ => 1002,
        }
    }
}

/// Why a connection ended, whoever ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum CloseReason {
    /// The peer broke the protocol.
    #[error("{0}")]
    Violation(Violation),
    /// The peer closed the connection.
    #[error("closed by peer")]
    PeerClosed,
    /// The transport failed.
    #[error("connection lost")]
    ConnectionLost,
    /// The peer did not finish the handshake in time.
    #[error("handshake timeout")]
    HandshakeTimeout,
    /// Nothing complete was heard from the peer for too long.
    #[error("heartbeat timeout")]
    HeartbeatTimeout,
    /// The peer took nothing of what was sent to it for too long.
    #[error("write timeout")]
    WriteTimeout,
    /// More is waiting for the peer than the send queue may hold.
    #[error("slow consumer")]
    SlowConsumer,
    /// The application refused the handshake.
    #[error("handshake refused")]
    HandshakeRefused,
    /// The application removed the peer.
    #[error("kicked")]
    Kicked,
    /// A newer session took the key.
    #[error("replaced by a newer session")]
    Replaced,
    /// Another device of the same user took its place.
    #[error("replaced by another device")]
    DeviceReplaced,
    /// Sessions of the user have replaced each other too often of late.
    #[error("too many logins")]
    TooManyLogins,
    /// The user has a session already, and the policy is that it stays.
    #[error("user already connected")]
    AlreadyConnected,
    /// The application closed the connection.
    #[error("closed")]
    Finished,
    /// The gateway is stopping.
    #[error("server stopping")]
    Stopping,
    /// The gateway has no room for the connection.
    #[error("too many connections")]
    Overloaded,
    /// The address of the peer sends messages too fast.
    #[error("too many messages")]
    TooManyMessages,
    /// The *other* side, seen by a client, refused the handshake or kicked.
    #[error("refused by server")]
    RefusedByServer,
}

impl CloseReason {
    /// The WebSocket close code; private codes are in the range 4000–4099.
    pub const fn code(self) -> u16 {
        match self {
            Self::Violation(violation) => violation.code(),
            Self::PeerClosed | Self::Finished => 1000,
            Self::Stopping => 1001,
            Self::ConnectionLost => 1006,
            Self::HandshakeTimeout | Self::HeartbeatTimeout | Self::WriteTimeout | Self::SlowConsumer => 1008,
            Self::HandshakeRefused | Self::RefusedByServer | Self::TooManyMessages => 1008,
            Self::Overloaded => 1013,
            Self::Kicked => 4000,
            Self::Replaced => 4001,
            Self::AlreadyConnected => 4002,
            Self::DeviceReplaced => 4003,
            Self::TooManyLogins => 4004,
        }
    }

    /// What a WebSocket close frame says beside the code; a normal end needs no words.
    pub fn close_text(self) -> Cow<'static, str> {
        match self {
            Self::PeerClosed | Self::Finished => Cow::Borrowed(""),
            Self::Replaced => Cow::Borrowed("replaced"),
            _ => Cow::Owned(self.to_string()),
        }
    }

    /// Whether a client should connect again by itself.
    pub const fn may_reconnect(self) -> bool {
        !matches!(
            self,
            Self::Violation(_)
                | Self::HandshakeRefused
                | Self::RefusedByServer
                | Self::Kicked
                | Self::Replaced
                | Self::DeviceReplaced
                | Self::TooManyLogins
        )
    }
}

impl From<Violation> for CloseReason {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}
