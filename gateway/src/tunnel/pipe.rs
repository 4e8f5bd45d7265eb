//! Carries bytes between a tunnelled stream and something else.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use futures_io::{AsyncRead, AsyncWrite};
use linkspan_runtime::Runtime;

use super::stream::{StreamError, TunnelStream};

/// How much is read at once, in bytes.
const CHUNK: usize = 64 * 1024;
/// How many pieces one poll carries before other tasks get their turn.
const PIECES: u32 = 32;
/// How long a socket is still read after its last byte was written, so that nothing of it is lost by a reset.
const LINGER: Duration = Duration::from_secs(1);

thread_local! {
    // Buffers belong to threads: a connection on which nothing happens owns none.
    static INPUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

/// What the end of the socket's input means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtEof {
    /// It is done: what came from it is sent, and the stream ends.
    Close,
    /// It may wait for an answer, for so long after the last byte was written; what is there already does not hurry.
    Await(Duration),
}

/// One end of two that are tied together.
struct Tie<S> {
    stream: TunnelStream,
    socket: S,
    /// What came from the stream and waits for the socket.
    rest: Bytes,
    /// Nothing more goes into the stream: the socket's input has ended, or the stream has.
    is_input_over: bool,
    at_eof: AtEof,
    /// Whether something went to the socket since this was last asked.
    moved: bool,
}

/// How two ends that were tied together ended.
enum End {
    /// The stream's; all of it is written.
    Stream,
    /// The socket's; all of it is on its way.
    Socket,
    /// The stream's, by an error: what is left is of no use.
    Broken,
    /// The socket failed.
    Failed(io::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Tie<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let [mut budget, mut budget_in] = [PIECES; 2];
        loop {
            let out = self.poll_out(cx, &mut budget);
            if out.is_ready() {
                return out;
            }
            if self.is_input_over {
                break;
            }
            match self.poll_in(cx, &mut budget_in) {
                Poll::Ready(Some(end)) => return Poll::Ready(end),
                // The end of the input alone.
                Poll::Ready(None) => {}
                Poll::Pending => break,
            }
        }
        if budget == 0 || budget_in == 0 {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// From the stream to the socket, until one has nothing or the other takes nothing. In the second case something is
    /// left in `rest`.
    fn poll_out(&mut self, cx: &mut Context<'_>, budget: &mut u32) -> Poll<End> {
        while *budget > 0 {
            if self.rest.is_empty() {
                match ready!(self.stream.poll_bytes(cx)) {
                    Ok(Some(bytes)) => self.rest = bytes,
                    Ok(None) => return Poll::Ready(End::Stream),
                    Err(_) => return Poll::Ready(End::Broken),
                }
            }
            let Poll::Ready(written) = Pin::new(&mut self.socket).poll_write(cx, &self.rest) else {
                // A socket that takes nothing would hide for ever that the stream has failed.
                return self.stream.poll_failed(cx).map(|_| End::Broken);
            };
            match written {
                Ok(0) => return Poll::Ready(End::Failed(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    self.rest.advance(count);
                    self.moved = true;
                    *budget -= 1;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(End::Failed(error)),
            }
        }
        Poll::Pending
    }

    /// From the socket to the stream, until either has nothing, or the input ends.
    fn poll_in(&mut self, cx: &mut Context<'_>, budget: &mut u32) -> Poll<Option<End>> {
        while *budget > 0 {
            let room = match ready!(self.stream.poll_room(cx)) {
                Ok(room) => room.min(CHUNK),
                // The other direction says how it ended.
                Err(_) => {
                    self.is_input_over = true;
                    return Poll::Ready(None);
                }
            };
            let read = INPUT.with_borrow_mut(|input| {
                let read = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut input[..room]));
                Poll::Ready(read.map(|count| Bytes::copy_from_slice(&input[..count])))
            });
            match ready!(read) {
                Ok(bytes) if bytes.is_empty() => {
                    self.is_input_over = true;
                    return Poll::Ready((self.at_eof == AtEof::Close).then_some(End::Socket));
                }
                Ok(bytes) => {
                    self.stream.send_bytes(bytes);
                    *budget -= 1;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Some(End::Failed(error))),
            }
        }
        Poll::Pending
    }
}

/// Carries bytes both ways until either side is done; then what is on its way is delivered, unless the socket takes nothing
/// of it for `stall`, and both are closed.
pub(super) async fn pipe<R, S>(runtime: &R, stream: TunnelStream, socket: S, at_eof: AtEof, stall: Duration)
where
    R: Runtime,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut tie = Tie { stream, socket, rest: Bytes::new(), is_input_over: false, at_eof, moved: false };
    let end = poll_fn(|cx| {
        let end = tie.poll(cx);
        if end.is_pending() && tie.is_input_over {
            return Poll::Ready(None);
        }
        end.map(Some)
    })
    .await;
    let end = match (end, at_eof) {
        (Some(end), _) => end,
        (None, AtEof::Await(wait)) => finish_output(runtime, &mut tie, wait, stall).await,
        // It is the stream that is over: there is no answer to wait for, only what is left of it.
        (None, AtEof::Close) => finish_output(runtime, &mut tie, stall, stall).await,
    };
    let Tie { stream, mut socket, .. } = tie;
    match end {
        End::Socket => stream.finish(),
        End::Failed(error) => stream.abort(error.to_string()),
        End::Broken => {}
        End::Stream => {
            drop(stream);
            let late = runtime.sleep_until(Instant::now() + LINGER);
            unless_late(late, hang_up(&mut socket)).await;
        }
    }
}

/// Carries what is left, or still comes, for the socket once nothing more goes into the stream: until the stream ends,
/// nothing has come for `wait`, or the socket has taken nothing for `stall`.
async fn finish_output<R, S>(runtime: &R, tie: &mut Tie<S>, wait: Duration, stall: Duration) -> End
where
    R: Runtime,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut late = pin!(runtime.sleep_until(Instant::now() + wait));
    let mut was_left = false;
    poll_fn(|cx| {
        let mut budget = PIECES;
        let end = tie.poll_out(cx, &mut budget);
        if end.is_ready() {
            return end;
        }
        if budget == 0 {
            cx.waker().wake_by_ref();
        }
        // What is left waits for the socket, which may be slow, and not for an answer.
        let is_left = !tie.rest.is_empty();
        let has_moved = std::mem::take(&mut tie.moved);
        if has_moved || is_left != was_left {
            was_left = is_left;
            let span = if is_left { stall } else { wait };
            R::reset(late.as_mut(), Instant::now() + span);
        }
        late.as_mut().poll(cx).map(|()| End::Socket)
    })
    .await
}

/// Ends the outgoing side, then reads and drops what still comes.
async fn hang_up<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut S) {
    let _ = poll_fn(|cx| Pin::new(&mut *socket).poll_close(cx)).await;
    // Whoever never stops sending is dropped after a fair amount.
    for _ in 0..16 {
        let read = poll_fn(|cx| INPUT.with_borrow_mut(|input| Pin::new(&mut *socket).poll_read(cx, input)));
        if !matches!(read.await, Ok(1..)) {
            return;
        }
    }
}

async fn unless_late(late: impl Future<Output = ()>, work: impl Future<Output = ()>) {
    futures_lite::future::or(work, late).await;
}

/// Carries bytes both ways between two streams of tunnels.
pub(super) async fn join(mut one: TunnelStream, mut other: TunnelStream) {
    let outcome = poll_fn(|cx| {
        let there = forward(&mut one, &mut other, cx);
        if let Poll::Ready(end) = there {
            return Poll::Ready((true, end));
        }
        forward(&mut other, &mut one, cx).map(|end| (false, end))
    })
    .await;
    let (ended, left) = if outcome.0 { (one, other) } else { (other, one) };
    drop(ended);
    match outcome.1 {
        Ok(()) => left.finish(),
        Err(error) => left.abort(text_of(&error)),
    }
}

/// From one stream to another until it ends.
fn forward(from: &mut TunnelStream, to: &mut TunnelStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    for _ in 0..PIECES {
        let room = to.poll_room(cx);
        if !matches!(room, Poll::Ready(Ok(_))) {
            // What came waits for room; an error does not, nor could it be seen behind what waits.
            if let Poll::Ready(error) = from.poll_failed(cx) {
                return Poll::Ready(Err(error.into()));
            }
            // The end of the target shows in the other direction, unless that has nowhere to go either.
            let are_both_over = room.is_ready() && matches!(from.poll_room(cx), Poll::Ready(Err(_)));
            return if are_both_over { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        match ready!(from.poll_bytes(cx))? {
            Some(bytes) => to.send_bytes(bytes),
            None => return Poll::Ready(Ok(())),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// What the peer of another stream is told about an error: of a peer's own words, just these.
fn text_of(error: &io::Error) -> Bytes {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(StreamError::Peer(text)) => text.clone(),
        _ => error.to_string().into(),
    }
}
