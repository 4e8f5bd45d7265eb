//! Requests and answers of one connection.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use linkspan_runtime::{Mail, Permit, Runtime};
use smol_hyper::rt::FuturesIo;

use super::timer::RuntimeTimer;
use super::visitor::Visitor;
use super::{Answer, Reply, Site, Takeover, Visit};

/// The bounds of one connection's HTTP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How long a request's head may take, and how long a connection may idle between requests.
    pub(crate) head_timeout: Duration,
    /// How long the connection may speak HTTP altogether.
    pub(crate) lifetime: Duration,
}

const HEAD_MAX: usize = 16 * 1024;
const FIELDS_MAX: usize = 64;

/// What hyper calls for each request.
struct Front<R: Runtime, P> {
    site: Arc<P>,
    visit: Arc<Visit<R>>,
    /// Who has the connection after the answer that is on its way.
    takeover: Arc<Mutex<Option<Takeover<R>>>>,
}

impl<R: Runtime, P: Site<R>> hyper::service::Service<Request<Incoming>> for Front<R, P> {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (site, visit, takeover) =
            (Arc::clone(&self.site), Arc::clone(&self.visit), Arc::clone(&self.takeover));
        Box::pin(async move {
            Ok(match site.answer(request, &visit).await {
                Reply::Answer(answer) => answer,
                Reply::Upgrade(answer, next) => {
                    *takeover.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
                    answer
                }
            })
        })
    }
}

/// Answers requests until the connection ends, or is handed over.
pub(crate) async fn exchange<R: Runtime, P: Site<R>>(
    runtime: R,
    stream: R::Stream,
    permit: Permit,
    site: Arc<P>,
    bounds: Bounds,
) {
    let takeover = Arc::new(Mutex::new(None));
    let visit = Arc::new(Visit {
        runtime: runtime.clone(),
        host: Arc::clone(permit.host()),
        conn: permit.conn(),
        client: permit.peer(),
    });
    let front = Front { site, visit, takeover: Arc::clone(&takeover) };
    if let Some((stream, rest)) = speak(&runtime, stream, &permit, front, bounds).await {
        let takeover = takeover.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(takeover) = takeover {
            takeover(&runtime, stream, rest, permit);
        }
    }
}

/// Speaks HTTP to the end, or to an upgrade: then with the stream and what was read beyond the request.
async fn speak<R: Runtime, P: Site<R>>(
    runtime: &R,
    stream: R::Stream,
    permit: &Permit,
    front: Front<R, P>,
    bounds: Bounds,
) -> Option<(R::Stream, Bytes)> {
    let mut http = http1::Builder::new();
    http.timer(RuntimeTimer(runtime.clone()))
        .header_read_timeout(bounds.head_timeout)
        .max_headers(FIELDS_MAX)
        .max_header_size(HEAD_MAX)
        .max_buf_size(HEAD_MAX + 1024)
        .half_close(true);
    let takeover = Arc::clone(&front.takeover);
    let mut connection = http.serve_connection(FuturesIo::new(stream), front);
    let mut end = pin!(runtime.sleep_until(Instant::now() + bounds.lifetime));
    let visitor = Visitor::new();
    permit.host().move_in(permit.conn(), &(Arc::clone(&visitor) as Arc<dyn Mail>));
    let mut leaving = false;
    let outcome = poll_fn(|cx| {
        if !leaving && visitor.poll_leave(cx).is_ready() {
            leaving = true;
            Pin::new(&mut connection).graceful_shutdown();
            // hyper waits for the rest of a head that has begun: not when the process stops.
            R::reset(end.as_mut(), Instant::now() + LINGER);
        }
        if visitor.poll_gone(cx).is_ready() || end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        connection.poll_without_shutdown(cx).map(Some)
    })
    .await?;
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    match outcome {
        Ok(()) if takeover.lock().unwrap_or_else(PoisonError::into_inner).is_some() => {
            return Some((stream, parts.read_buf));
        }
        Ok(()) => {}
        Err(error) if error.is_timeout() => {
            tracing::debug!("HTTP head timed out");
            let _ = or_end(end.as_mut(), stream.write_all(LATE)).await;
        }
        Err(error) => tracing::debug!(%error, "HTTP connection failed"),
    }
    let grace = pin!(runtime.sleep_until(Instant::now() + LINGER));
    let _ = or_end(grace, linger(&mut stream)).await;
    None
}

const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: text/plain\r\n\
    content-length: 39\r\n\r\nThe head of the request took too long.\n";

/// How long a closed connection is still read.
const LINGER: Duration = Duration::from_secs(1);

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
