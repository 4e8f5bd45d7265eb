//! Connections that were upgraded through the proxy: bytes both ways, whatever they mean.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future::or;
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, io::split};
use hyper::upgrade::Upgraded;
use linkspan_runtime::{Mail, Permit, Runtime};

use super::dial::Link;
use crate::http::{HyperIo, Visitor};

/// One direction.
type Way<'a> = dyn Future<Output = io::Result<()>> + Send + 'a;

/// How much is carried at once, in bytes.
const CHUNK: usize = 16 * 1024;

/// The stream under an upgraded connection, and what was read from it beyond the reply.
pub(super) fn bare(upgraded: Upgraded) -> Option<(Link, Bytes)> {
    let parts = upgraded.downcast::<HyperIo<Link>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}

/// Carries bytes between a client and an upstream until both directions have ended, or the process stops.
pub(super) async fn join<R: Runtime>(
    client: R::Stream,
    rest: Bytes,
    upstream: Link,
    early: Bytes,
    permit: Permit,
) {
    let visitor = Visitor::new();
    permit.host().move_in(permit.conn(), &(Arc::clone(&visitor) as Arc<dyn Mail>));
    let leaving =
        poll_fn(|cx| if visitor.poll_gone(cx).is_ready() { Poll::Ready(()) } else { visitor.poll_leave(cx) });
    let (client_in, client_out) = split(client);
    let (upstream_in, upstream_out) = split(upstream);
    let both = both(carry(client_in, upstream_out, &rest), carry(upstream_in, client_out, &early));
    or(both, leaving).await;
}

/// Runs both directions to their ends. An error in one is the end of the other: nothing may look complete that is not.
async fn both(
    one: impl Future<Output = io::Result<()>> + Send,
    other: impl Future<Output = io::Result<()>> + Send,
) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut one_goes, mut other_goes) = (true, true);
    poll_fn(|cx| {
        for (way, goes) in
            [(one.as_mut() as Pin<&mut Way<'_>>, &mut one_goes), (other.as_mut(), &mut other_goes)]
        {
            if *goes && let Poll::Ready(end) = way.poll(cx) {
                if end.is_err() {
                    return Poll::Ready(());
                }
                *goes = false;
            }
        }
        if one_goes || other_goes { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}

/// Carries bytes one way to their end.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    first: &[u8],
) -> io::Result<()> {
    if !first.is_empty() {
        to.write_all(first).await?;
        to.flush().await?;
    }
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = from.read(&mut chunk).await?;
        if count == 0 {
            return to.close().await;
        }
        to.write_all(&chunk[..count]).await?;
        to.flush().await?;
    }
}
