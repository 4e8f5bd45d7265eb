//! What can go wrong with a proxied request, and what the client is told.

use std::error::Error;
use std::io;

use hyper::StatusCode;
use hyper::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use linkspan_core::http::pool::Failure;
use linkspan_core::http::upstream::{Upstream, UpstreamFault};

use super::dial::DialFault;
use super::pool::NoLease;
use crate::http::{Answer, text};
use crate::tunnel::{DialFailure, StreamError};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It names no place that is proxied.
    #[error("{0}")]
    Nowhere(#[from] UpstreamFault),
    /// It has been here too often.
    #[error("the request goes round in a loop")]
    Loop,
    /// There is no way to the upstream.
    #[error("{0}")]
    Dial(DialFault),
    /// There are too many requests or connections already.
    #[error("{0}")]
    Full(&'static str),
    /// The upstream failed, or what it says is no HTTP.
    #[error("{}", cause(.0))]
    Exchange(hyper::Error),
    /// The upstream hangs up.
    #[error("the connection to the upstream has ended")]
    Ended,
    /// The upstream switches to what nobody asked for.
    #[error("the upstream switches protocols without being asked")]
    Switched,
    /// The time for it is over.
    #[error("the upstream did not answer in time")]
    Late,
}

impl From<NoLease> for Fault {
    fn from(NoLease { failure, fault }: NoLease) -> Self {
        match (failure, fault) {
            (_, Some(fault)) => Self::Dial(fault),
            (Failure::TooManyWaiting, _) => Self::Full("too many requests wait for this upstream"),
            (Failure::TooManyUpstreams, _) => Self::Full("too many upstream connections"),
            _ => Self::Ended,
        }
    }
}

impl Fault {
    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Nowhere(_) => StatusCode::BAD_REQUEST,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::Full(_)
            | Self::Dial(DialFault::Tunnel(
                DialFailure::NoSession(_) | DialFailure::TooMany | DialFailure::TooManyWait,
            )) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Late | Self::Dial(DialFault::Late) => StatusCode::GATEWAY_TIMEOUT,
            Self::Exchange(error) if is_late(error) => StatusCode::GATEWAY_TIMEOUT,
            Self::Dial(_) | Self::Exchange(_) | Self::Ended | Self::Switched => StatusCode::BAD_GATEWAY,
        }
    }

    /// The answer: a status, and a text that names the upstream and the reason.
    pub(super) fn answer(&self, upstream: Option<&Upstream>) -> Answer {
        let status = self.status();
        tracing::debug!(%status, fault = %self, upstream = upstream.map(tracing::field::display), "not proxied");
        let mut answer = match upstream {
            Some(upstream) => text(status, format!("{upstream}: {self}\n")),
            None => text(status, format!("{self}\n")),
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::BAD_REQUEST {
            // What follows may be part of what is in doubt.
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// The reason behind an error of hyper: what the stream says, where it says something.
fn cause(error: &hyper::Error) -> String {
    match stream_error(error) {
        Some(inner) => inner.to_string(),
        None if error.is_incomplete_message() => "the upstream ended the connection within its reply".into(),
        None if error.is_parse() => format!("the upstream does not speak HTTP: {error}"),
        None => error.to_string(),
    }
}

fn is_late(error: &hyper::Error) -> bool {
    stream_error(error).is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// The error of the byte stream under an error of hyper.
fn stream_error(error: &hyper::Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(stream) = inner.downcast_ref::<io::Error>() {
            return Some(stream);
        }
        source = inner.source();
    }
    None
}

/// Whether the connection ended before the request was sent, and nothing is said of why.
pub(super) fn is_unexplained(error: &hyper::Error) -> bool {
    error.is_canceled() && stream_error(error).is_none()
}

/// Whether the far end of a tunnel says why there is no stream: then no other connection fares better.
pub(super) fn is_told(error: &hyper::Error) -> bool {
    let inner = stream_error(error).and_then(io::Error::get_ref);
    inner.is_some_and(|inner| matches!(inner.downcast_ref(), Some(StreamError::Peer(_))))
}
