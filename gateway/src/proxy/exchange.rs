//! One request to an upstream, and its reply.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::http::request;
use hyper::{Request, Response, Version};
use linkspan_core::http::forward::has_token;
use linkspan_core::http::pool::{Stage, is_replayable, is_reusable};
use linkspan_runtime::Runtime;

use super::fault::{Fault, is_told, is_unexplained};
use super::pool::{Destination, Lease, Pool};
use crate::http::{Body, full};

/// Whether a message says that its connection ends, and whether it may go on at all.
fn ends(headers: &hyper::HeaderMap, version: Version) -> (bool, bool) {
    let says = |token| {
        let all = headers.get_all(hyper::header::CONNECTION);
        all.iter().any(|value| has_token(value.to_str().unwrap_or_default(), token))
    };
    (says("close"), version == Version::HTTP_11 || says("keep-alive"))
}

/// Sends a request and waits for the head of its reply; on another connection if the pool's rules say so.
///
/// Returns the reply, the connection it is still being read from, and whether that may be used again afterwards.
pub(super) async fn exchange<R: Runtime>(
    pool: &Pool<R>,
    runtime: &R,
    upstream: &Destination,
    head: request::Parts,
    body: Body,
) -> Result<(Response<Incoming>, Lease<R>, bool), Fault> {
    let has_body = !body.is_end_stream();
    let idempotent =
        head.headers.contains_key("idempotency-key") || head.headers.contains_key("x-idempotency-key");
    let replayable = is_replayable(head.method.as_str(), idempotent);
    let method = head.method.clone();
    let mut lease = pool.acquire(runtime, Arc::clone(upstream)).await?;
    let spare = (!has_body).then(|| head.clone());
    let mut request = Request::from_parts(head, body);
    loop {
        let sender = lease.sender().ok_or(Fault::Ended)?;
        let mut error = match sender.try_send_request(request).await {
            Ok(reply) => {
                let (asked_to_close, keeps_alive) = ends(reply.headers(), reply.version());
                let status = reply.status().as_u16();
                let reusable = is_reusable(asked_to_close, keeps_alive, status, method.as_str(), true);
                return Ok((reply, lease, reusable));
            }
            Err(error) => error,
        };
        let unsent = error.take_message();
        let mut error = error.into_error();
        if unsent.is_some() && is_unexplained(&error) {
            error = lease.reason().await.unwrap_or(error);
        }
        let stage = match &unsent {
            Some(_) => Stage::NothingWritten,
            None if !lease.has_reply() && !error.is_parse() && !is_told(&error) => Stage::NoReply,
            None => Stage::Partial,
        };
        let again = match (unsent, &spare) {
            (Some(unsent), _) => Some(unsent),
            (None, Some(head)) => Some(Request::from_parts(head.clone(), full(Bytes::new()))),
            (None, None) => None,
        };
        let failed = lease.fail(stage, replayable, again.is_some()).await;
        let (Ok(next), Some(next_request)) = (failed, again) else { return Err(Fault::Exchange(error)) };
        (lease, request) = (next, next_request);
    }
}
