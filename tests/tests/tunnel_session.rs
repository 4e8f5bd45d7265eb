//! One end of a tunnel session: what it answers, what it refuses, that it is its model, and that bulk data flows whatever
//! the peer.

#[path = "tunnel_session/bounds.rs"]
mod bounds;
#[path = "tunnel_session/credit.rs"]
mod credit;
#[path = "tunnel_session/echo.rs"]
mod echo;
#[path = "tunnel_session/edges.rs"]
mod edges;
#[path = "tunnel_session/fairness.rs"]
mod fairness;
#[path = "tunnel_session/limits.rs"]
mod limits;
#[path = "tunnel_session/machine.rs"]
mod machine;
#[path = "tunnel_session/reference.rs"]
mod reference;
#[path = "tunnel_session/reference_flow.rs"]
mod reference_flow;
#[path = "tunnel_session/reference_stream.rs"]
mod reference_stream;
#[path = "tunnel_session/rules.rs"]
mod rules;

use std::time::Duration;

use bytes::Bytes;
use linkspan_core::tunnel::{Content, Message, Role, StreamEnd, TunnelCommand, TunnelConfig, TunnelNotice};
use linkspan_core::{CloseReason, Event, Instant, Limits, Mark, Opcode};
use linkspan_tests::tunnel::End;

fn connect() -> Content {
    End::connect()
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// How its streams have ended, as the application was told.
fn ended(end: &End) -> Vec<&StreamEnd> {
    let ended = end.notices.iter().filter_map(|notice| match notice {
        TunnelNotice::Ended { end, .. } => Some(end),
        _ => None,
    });
    ended.collect()
}
