//! Reading ahead of a library that reads in small steps.

use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncRead;

/// How much is read at once, in bytes.
const LEN: usize = 128 * 1024;
/// So many buffers a thread keeps for the next who needs one.
const KEPT: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// What was read of a stream ahead of who reads it, in large steps while much comes. On a quiet stream it owns no
/// buffer.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    buffer: Option<Box<[u8]>>,
    /// The part of the buffer that is not yet given out.
    unread: Range<usize>,
    /// The last read brought all that there was room for.
    is_busy: bool,
}

impl Ahead {
    /// As `poll_read` of the stream.
    pub(crate) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.unread.is_empty() {
            if !self.is_busy || into.len() >= LEN {
                let count = ready!(Pin::new(stream).poll_read(cx, into))?;
                self.is_busy = count == into.len();
                return Poll::Ready(Ok(count));
            }
            ready!(self.fill(stream, cx))?;
        }
        Poll::Ready(Ok(self.give(into)))
    }

    /// Reads as much as there is; empty at the end of the stream.
    fn fill<S: AsyncRead + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let buffer = self.buffer.get_or_insert_with(take);
        let outcome = Pin::new(stream).poll_read(cx, buffer);
        if let Poll::Ready(Ok(count)) = outcome {
            self.unread = 0..count;
            // Less than there was room for: the next step shows whether more comes as fast.
            self.is_busy = count == buffer.len();
        } else {
            self.is_busy = false;
        }
        if self.unread.is_empty() {
            self.release();
        }
        outcome.map_ok(|_| ())
    }

    fn give(&mut self, into: &mut [u8]) -> usize {
        let Some(buffer) = &self.buffer else { return 0 };
        let count = self.unread.len().min(into.len());
        let from = self.unread.start;
        into[..count].copy_from_slice(&buffer[from..from + count]);
        self.unread.start += count;
        if self.unread.is_empty() {
            self.release();
        }
        count
    }

    fn release(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < KEPT {
                    spare.push(buffer);
                }
            });
        }
    }
}

fn take() -> Box<[u8]> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; LEN].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that gives at most so many bytes at a time.
    struct Source<'a>(&'a [u8], usize);

    impl AsyncRead for Source<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let count = self.0.len().min(into.len()).min(self.1);
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Poll::Ready(Ok(count))
        }
    }

    #[test]
    fn everything_comes_once_and_in_order_and_a_quiet_stream_owns_nothing() {
        let data: Vec<u8> = (0..1_000_003_u32).map(|at| (at % 251) as u8).collect();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for most in [1000, 5000, 200_000, usize::MAX] {
            let (mut ahead, mut source) = (Ahead::default(), Source(&data, most));
            let (mut seen, mut steps, mut piece) = (Vec::new(), 0, [0; 4096]);
            loop {
                let room = 1 + steps * 977 % piece.len();
                let Poll::Ready(Ok(count)) = ahead.poll_read(&mut source, &mut cx, &mut piece[..room]) else {
                    panic!("the source never fails")
                };
                seen.extend_from_slice(&piece[..count]);
                steps += 1;
                if count == 0 {
                    break;
                }
            }
            assert!(seen == data, "at most {most}");
            assert!(ahead.buffer.is_none());
        }
    }
}
