//! How a connection is refused that would have spoken HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt};
use hyper::StatusCode;
use hyper::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use linkspan_core::{CloseReason, Mark};
use linkspan_runtime::{Host, Runtime};

use crate::http::{Answer, text};

/// How long a refusal may take.
const TIME: Duration = Duration::from_secs(2);

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 5\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 49\r\n\r\n\
    There is no room for this connection; try later.\n";

/// Tells connections why they are refused: so many at a time, the rest is closed.
#[derive(Clone, Default)]
pub(crate) struct Refusals(Arc<AtomicU32>);

impl Refusals {
    /// Refuses one connection, in a task of its own.
    pub(crate) fn refuse<R: Runtime>(&self, runtime: &R, host: &Host, mut stream: R::Stream) {
        let own = Refusal(Arc::clone(&self.0));
        if self.0.fetch_add(1, Ordering::Relaxed) >= host.limits().refusals {
            // Closing is all that a flood is worth.
            host.stats().mark(Mark::RefusalSilent);
            return;
        }
        let end = runtime.sleep_until(Instant::now() + TIME);
        runtime.spawn(async move {
            let tell = async {
                stream.write_all(BUSY).await?;
                stream.close().await?;
                // A socket that is closed on unread data is reset, and the reset can overtake the answer.
                let mut scratch = [0; 1024];
                for _ in 0..32 {
                    if stream.read(&mut scratch).await? == 0 {
                        break;
                    }
                }
                Ok::<_, std::io::Error>(())
            };
            let late = async {
                end.await;
                Ok(())
            };
            // A peer that is gone needs no answer.
            let _ = tell.or(late).await;
            drop(own);
        });
    }
}

struct Refusal(Arc<AtomicU32>);

impl Drop for Refusal {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The answer to a request whose client may not have another connection.
pub(crate) fn too_many(reason: CloseReason) -> Answer {
    let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"));
    let headers = answer.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// The answer to whoever comes from where too many wrong tokens have come from.
pub(crate) fn too_many_failures() -> Answer {
    let mut answer = text(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens from this address\n");
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(BUSY).expect("it is text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{text}");
    }
}
