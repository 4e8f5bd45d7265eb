//! A private origin to reach through a tunnel: a greeting, a large file, an event stream, an echo.

use std::future::{Future, ready};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use linkspan_core::http::router::RegisterError;
use linkspan_runtime::Runtime;

use crate::http::{Answer, Asked, BoxError, Reply, Routes, text};

/// How large the large file is, in bytes.
const BIG: u64 = 64 * 1024 * 1024;
/// The largest that can be asked for, in bytes.
const BYTES_MAX: u64 = 1 << 40;
/// How many events a stream has, and how far apart they are.
const EVENTS: (u32, Duration) = (10, Duration::from_secs(1));

const WELCOME: &str = "\
A private server, reached through a tunnel.
  /hello        a greeting
  /big          64 MiB
  /bytes/{n}    as many bytes as you like
  /events       ten events, one a second
  /echo         what you send
";

/// What the origin answers.
pub(crate) fn routes<R: Runtime>() -> Result<Routes<R>, RegisterError> {
    let mut routes = Routes::new();
    routes.add("GET /{$}", |_| ready(text(StatusCode::OK, WELCOME).into()))?;
    routes.add("GET /hello", |_| ready(text(StatusCode::OK, "hello from behind the tunnel\n").into()))?;
    routes.add("GET /big", |_| ready(bytes(BIG)))?;
    routes.add("GET /bytes/{count}", |asked: Asked<R>| {
        let count = asked.params.text("count").and_then(|count| count.parse().ok());
        ready(match count.filter(|count| *count <= BYTES_MAX) {
            Some(count) => bytes(count),
            None => text(StatusCode::BAD_REQUEST, "That is no number of bytes.\n").into(),
        })
    })?;
    routes.add("GET /events", |asked: Asked<R>| {
        let sleep = Box::pin(asked.visit.runtime.sleep_until(Instant::now()));
        let mut answer = Response::new(Events::<R> { left: EVENTS.0, sleep }.boxed_unsync());
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        ready(answer.into())
    })?;
    routes.add("/echo", |asked: Asked<R>| {
        let kind = asked.request.headers().get(CONTENT_TYPE).cloned();
        let body = asked.request.into_body().map_err(BoxError::from).boxed_unsync();
        let mut answer = Answer::new(body);
        let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        ready(answer.into())
    })?;
    Ok(routes)
}

fn bytes<R: Runtime>(count: u64) -> Reply<R> {
    let mut answer = Response::new(Lines { left: count, block: block() }.boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    answer.into()
}

/// 64 KiB of lines.
fn block() -> Bytes {
    (0..1024).flat_map(|line: u32| format!("{line:04} {:.<58}\n", "linkspan ").into_bytes()).collect()
}

/// As many bytes of the same lines.
struct Lines {
    left: u64,
    block: Bytes,
}

impl Body for Lines {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.block.len());
        self.left -= count as u64;
        Poll::Ready(Some(Ok(Frame::data(self.block.slice(..count)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Events, one after the other.
struct Events<R: Runtime> {
    left: u32,
    sleep: Pin<Box<R::Sleep>>,
}

impl<R: Runtime> Body for Events<R> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        ready!(self.sleep.as_mut().poll(cx));
        R::reset(self.sleep.as_mut(), Instant::now() + EVENTS.1);
        let event = format!("data: {}\n\n", EVENTS.0 - self.left + 1);
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}
