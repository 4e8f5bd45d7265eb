//! What the front asks of whoever answers requests.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use linkspan_core::ConnId;
use linkspan_runtime::{Host, Permit, Runtime};

use super::Answer;
use crate::edge::EdgeConfig;

/// What becomes of a request.
pub(crate) enum Reply<R: Runtime> {
    /// An answer; the connection goes on.
    Answer(Answer),
    /// An answer with status 101, and who has the connection once it is written.
    Upgrade(Answer, Takeover<R>),
}

impl<R: Runtime> From<Answer> for Reply<R> {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// Runs once the 101 is written: with the bare stream, what was read beyond the request, and the connection's place in
/// the process. The task that spoke HTTP ends when it returns, so what takes time is spawned.
pub(crate) type Takeover<R> = Box<dyn FnOnce(&R, <R as Runtime>::Stream, Bytes, Permit) + Send>;

/// One connection, as whoever answers its requests sees it.
#[derive(Clone)]
pub(crate) struct Visit<R> {
    /// The executor the connection runs on.
    pub(crate) runtime: R,
    /// What all connections share.
    pub(crate) host: Arc<Host>,
    /// Who may come in.
    pub(crate) edge: Arc<EdgeConfig>,
    /// The number of the connection.
    pub(crate) conn: ConnId,
    /// Where the client is, as far as it can be trusted.
    pub(crate) client: SocketAddr,
}

impl<R> Visit<R> {
    /// Whether the client is on the machine itself. A listener for both families writes addresses of IPv4 as IPv6.
    pub(crate) fn is_local(&self) -> bool {
        self.client.ip().to_canonical().is_loopback()
    }
}

/// What answers the requests of one listener.
pub(crate) trait Site<R: Runtime>: Send + Sync + 'static {
    /// Answers one request. The future is dropped when the client is gone.
    fn answer(&self, request: Request<Incoming>, visit: &Visit<R>) -> impl Future<Output = Reply<R>> + Send;
}
