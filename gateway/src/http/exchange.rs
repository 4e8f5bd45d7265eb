//! Requests and answers of one connection.

use std::convert::Infallible;
use std::future::{Future, poll_fn, ready};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::{Request, Response};
use linkspan_core::Mark;
use linkspan_core::edge::client_of;
use linkspan_runtime::{Mail, Permit, Runtime};

use super::hyper_io::HyperIo;
use super::state::{Owed, State};
use super::timer::RuntimeTimer;
use super::visitor::Visitor;
use super::wire::Wire;
use super::{Reply, Site, Visit};
use crate::edge::{EdgeConfig, too_many};

/// What holds for every connection of a listener.
#[derive(Clone)]
pub(crate) struct Rules {
    /// How long a request's head may take, and how long a connection may idle between requests.
    pub(crate) head_timeout: Duration,
    /// How long the connection may speak HTTP altogether; `None` is as long as it has something to say.
    pub(crate) lifetime: Option<Duration>,
    /// Who may come in.
    pub(crate) edge: Arc<EdgeConfig>,
}

const HEAD_MAX: usize = 16 * 1024;
const FIELDS_MAX: usize = 64;

/// What hyper calls for each request.
struct Front<R: Runtime, P> {
    site: Arc<P>,
    visit: Arc<Visit<R>>,
    state: Arc<State<R>>,
}

impl<R: Runtime, P: Site<R>> hyper::service::Service<Request<Incoming>> for Front<R, P> {
    type Response = Response<Owed<R>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (site, state) = (Arc::clone(&self.site), Arc::clone(&self.state));
        let visit = visit_of(&self.visit, request.headers());
        let owed = state.owe();
        if state.takes_doubtful() {
            visit.host.stats().mark(Mark::FramingDoubtful);
            return Box::pin(ready(Ok(owed.around(super::heads::doubtful()))));
        }
        Box::pin(async move {
            let answer = match site.answer(request, &visit).await {
                Reply::Answer(answer) => answer,
                Reply::Upgrade(answer, takeover) => match state.hand_over(visit.client, takeover) {
                    Ok(()) => answer,
                    Err(reason) => too_many(reason),
                },
            };
            Ok(owed.around(answer))
        })
    }
}

/// The connection as one request sees it: a proxy speaks for many clients.
fn visit_of<R: Runtime>(visit: &Arc<Visit<R>>, headers: &HeaderMap) -> Arc<Visit<R>> {
    let trusted = visit.host.trusted();
    if trusted.is_empty() || !headers.contains_key(FORWARDED_FOR) {
        return Arc::clone(visit);
    }
    // What is no text is nothing that a proxy of ours has written.
    let fields: Vec<_> =
        headers.get_all(FORWARDED_FOR).iter().map(|field| field.to_str().unwrap_or_default()).collect();
    let client = client_of(visit.client, fields, trusted);
    Arc::new(Visit { client, ..Visit::clone(visit) })
}

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Answers requests until the connection ends, or is handed over.
pub(crate) async fn exchange<R: Runtime, P: Site<R>>(
    runtime: R,
    stream: R::Stream,
    permit: Permit,
    site: Arc<P>,
    rules: Rules,
) {
    let host = Arc::clone(permit.host());
    let visit = Arc::new(Visit {
        runtime: runtime.clone(),
        host: Arc::clone(&host),
        edge: Arc::clone(&rules.edge),
        conn: permit.conn(),
        client: permit.peer(),
    });
    let state = State::new(Arc::clone(&host), permit);
    let front = Front { site, visit, state: Arc::clone(&state) };
    let upgraded = speak(&runtime, stream, front, &rules).await;
    if let Some((stream, rest)) = upgraded
        && let Some((takeover, permit)) = state.take_over()
    {
        takeover(&runtime, stream, rest, permit);
    }
}

/// Speaks HTTP to the end, or to an upgrade: then with the stream and what was read beyond the request.
async fn speak<R: Runtime, P: Site<R>>(
    runtime: &R,
    stream: R::Stream,
    front: Front<R, P>,
    rules: &Rules,
) -> Option<(R::Stream, Bytes)> {
    let mut http = http1::Builder::new();
    http.timer(RuntimeTimer(runtime.clone()))
        .header_read_timeout(rules.head_timeout)
        .max_headers(FIELDS_MAX)
        .max_header_size(HEAD_MAX)
        .max_buf_size(HEAD_MAX + 1024)
        // Bodies are written from where they are.
        .writev(true);
    let state = Arc::clone(&front.state);
    let host = Arc::clone(&front.visit.host);
    let visitor = Visitor::new();
    host.move_in(front.visit.conn, &(Arc::clone(&visitor) as Arc<dyn Mail>));
    let wire = Wire::new(stream, Arc::clone(&state));
    let mut connection = http.serve_connection(HyperIo::new(wire), front);
    let mut end = rules.lifetime.map(|lifetime| Instant::now() + lifetime);
    let mut sleep = pin!(runtime.sleep_until(end.unwrap_or_else(Instant::now)));
    let mut leaving = false;
    let outcome = poll_fn(|cx| {
        if !leaving && visitor.poll_leave(cx).is_ready() {
            leaving = true;
            Pin::new(&mut connection).graceful_shutdown();
            // hyper waits for the rest of a head that has begun: not when the process stops. An answer that is on its
            // way may take as long as the stop does.
            end = (!state.is_owing()).then(|| Instant::now() + LINGER);
        }
        if visitor.poll_gone(cx).is_ready() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(outcome) = connection.poll_without_shutdown(cx) {
            return Poll::Ready(Some(outcome));
        }
        loop {
            let now = host.clock().now();
            if state.is_over(now) || end.is_some_and(|end| end <= host.clock().to_std(now)) {
                return Poll::Ready(None);
            }
            let patience = state.next_timeout().map(|at| host.clock().to_std(at));
            let Some(due) = [patience, end].into_iter().flatten().min() else { return Poll::Pending };
            R::reset(sleep.as_mut(), due);
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await?;
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner().into_inner();
    match outcome {
        Ok(()) if state.is_handed_over() => return Some((stream, parts.read_buf)),
        Ok(()) => {}
        Err(error) if error.is_timeout() => {
            tracing::debug!("HTTP head timed out");
            let end = runtime.sleep_until(Instant::now() + LINGER);
            let _ = or_end(end, stream.write_all(LATE)).await;
        }
        Err(error) => tracing::debug!(%error, "HTTP connection failed"),
    }
    let grace = runtime.sleep_until(Instant::now() + LINGER);
    let _ = or_end(grace, linger(&mut stream)).await;
    None
}

const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: text/plain\r\n\
    content-length: 39\r\n\r\nThe head of the request took too long.\n";

/// How long a closed connection is still read, and a client that has ended its side still answered.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// Closes for writing, then throws away a little of what the peer still sends: a socket closed on unread data is reset,
/// and the reset can overtake the answer.
async fn linger(
    stream: &mut (impl futures_io::AsyncRead + futures_io::AsyncWrite + Unpin),
) -> io::Result<()> {
    stream.close().await?;
    let mut scratch = [0; 1024];
    for _ in 0..64 {
        if stream.read(&mut scratch).await? == 0 {
            break;
        }
    }
    Ok(())
}

async fn or_end(end: impl Future<Output = ()>, work: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    work.or(async {
        end.await;
        Err(io::ErrorKind::TimedOut.into())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_late_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(LATE).expect("it is text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{text}");
    }
}
