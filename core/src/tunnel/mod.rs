//! Reverse tunnels over WebSocket, as rancher/remotedialer speaks them: many byte streams in one session.
//!
//! [`Tunnel`] is one end of a session, inside a [`Connection`](crate::Connection). It dials nothing itself: what the
//! peer asks for comes as [`DialRequested`](TunnelNotice::DialRequested), and the application decides.
//!
//! Flow control is end to end: what the application was given and has not reported as
//! [`Read`](TunnelCommand::Read) counts as buffered. A peer of ours sends only what it has credit for; an original is
//! paused above [`Limits::tunnel_stream_pause`](crate::Limits::tunnel_stream_pause). What was written and not yet
//! [`Sent`](TunnelNotice::Sent) waits here. Streams share the connection in turn, and control messages go before data.

mod api;
mod brake;
mod credit;
mod flow;
mod hello;
mod message;
pub mod policy;
mod session;
mod stream;
mod table;
mod varint;

pub use self::api::{
    DialError, Role, StreamEnd, StreamId, TunnelCommand, TunnelConfig, TunnelNotice, data_cost,
};
pub use self::hello::{HEADER, Hello};
pub use self::message::{
    CLIENT_KEY_MAX, CONNECT_MAX, CONNECT_MAX_OLD, ClientSession, Content, DecodeError, EOF, EncodeError,
    Message, TEXT_MAX, Target, client_key, forward_proto, split_forwarded, sync_ids,
};
pub use self::session::Tunnel;
