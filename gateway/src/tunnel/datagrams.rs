//! Carries datagrams through a stream: one message each.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use linkspan_core::Mark;
use linkspan_runtime::{Datagrams, Host, Runtime};

use super::stream::TunnelStream;

/// How many datagrams one poll carries before other tasks get their turn.
const PIECES: u32 = 32;
/// The largest datagram, in bytes.
const DATAGRAM_MAX: usize = 64 * 1024;
/// The largest that stays one message of a stream, in bytes.
const PIECE_MAX: usize = 32 * 1024;

thread_local! {
    static INPUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; DATAGRAM_MAX].into());
}

/// The next datagram of a socket, and its sender.
pub(super) fn poll_datagram(
    socket: &impl Datagrams,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(Bytes, std::net::SocketAddr)>> {
    INPUT.with_borrow_mut(|input| {
        let (count, from) = ready!(socket.poll_receive(cx, input))?;
        Poll::Ready(Ok((Bytes::copy_from_slice(&input[..count]), from)))
    })
}

/// What datagrams come from and go to.
pub(super) trait End {
    /// The next datagram.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>>;

    /// Sends one; false if it is lost, as what cannot be sent at once may be.
    fn send(&mut self, cx: &mut Context<'_>, datagram: &[u8]) -> io::Result<bool>;
}

/// A connected socket.
pub(super) struct Connected<D>(pub(super) D);

impl<D: Datagrams> End for Connected<D> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        poll_datagram(&self.0, cx).map_ok(|(datagram, _)| datagram)
    }

    fn send(&mut self, cx: &mut Context<'_>, datagram: &[u8]) -> io::Result<bool> {
        match self.0.poll_send(cx, datagram, None) {
            // Nobody listens there.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Err(error),
            outcome => Ok(matches!(outcome, Poll::Ready(Ok(_)))),
        }
    }
}

/// Carries datagrams both ways until the stream ends, the other end fails, or nothing has come for a while.
pub(super) async fn carry<R: Runtime>(runtime: &R, host: &Host, mut stream: TunnelStream, mut end: impl End) {
    let idle = host.limits().tunnel_datagram_idle;
    let mut late = pin!(runtime.sleep_until(Instant::now() + idle));
    let error = poll_fn(|cx| {
        let mut moved = false;
        for _ in 0..PIECES {
            match (out(host, &mut stream, &mut end, cx), input(host, &mut stream, &mut end, cx)) {
                (Poll::Ready(Err(over)), _) | (_, Poll::Ready(Err(over))) => return Poll::Ready(over),
                (Poll::Pending, Poll::Pending) => {
                    if moved {
                        R::reset(late.as_mut(), Instant::now() + idle);
                    }
                    return late.as_mut().poll(cx).map(|()| None);
                }
                _ => moved = true,
            }
        }
        R::reset(late.as_mut(), Instant::now() + idle);
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    match error {
        Some(error) => stream.abort(error.to_string()),
        None => stream.finish(),
    }
}

/// Why nothing more is carried; `None` if all is well.
type Over = Option<io::Error>;

/// One datagram out of the stream.
fn out(
    host: &Host,
    stream: &mut TunnelStream,
    end: &mut impl End,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Over>> {
    Poll::Ready(match ready!(stream.poll_bytes(cx)) {
        Ok(Some(datagram)) => match end.send(cx, &datagram) {
            Ok(true) => Ok(()),
            Ok(false) => {
                host.stats().mark(Mark::DatagramDropped);
                Ok(())
            }
            Err(error) => Err(Some(error)),
        },
        Ok(None) => Err(None),
        Err(error) => Err(Some(error)),
    })
}

/// One datagram into the stream; while it has no room, datagrams stay where they are bounded already. What would not
/// come out as one datagram is lost: one that the stream would cut, and an empty one, which the protocol cannot say.
fn input(
    host: &Host,
    stream: &mut TunnelStream,
    end: &mut impl End,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Over>> {
    ready!(stream.poll_room(cx)).map_err(Some)?;
    let datagram = ready!(end.poll_next(cx)).map_err(Some)?;
    if datagram.is_empty() || datagram.len() > PIECE_MAX {
        host.stats().mark(Mark::DatagramDropped);
    } else {
        stream.send_bytes(datagram);
    }
    Poll::Ready(Ok(()))
}
