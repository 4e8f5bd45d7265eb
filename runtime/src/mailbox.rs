//! How other tasks reach a connection: a bounded queue, and two slots that always have room.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use linkspan_core::{CloseReason, Delivery};

use crate::lock;

/// One entry of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Post<C> {
    /// The application asks something of the peer.
    Command(C),
    /// The hub has something for the peer.
    Deliver(Delivery),
}

/// Why a mailbox did not take an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The connection has ended.
    #[error("the connection has ended")]
    Closed,
    /// As much is waiting as may wait.
    #[error("the mailbox is full")]
    Full,
}

/// A mailbox as the hub knows it, whatever its connection's dialect is.
pub trait Mail: Send + Sync {
    /// Hands a delivery to the connection.
    ///
    /// # Errors
    ///
    /// [`PushError`]; the delivery is not queued then.
    fn deliver(&self, delivery: Delivery) -> Result<(), PushError>;

    /// Ends the connection gracefully: pending answers, goodbye, close. The first reason counts.
    fn close(&self, reason: CloseReason);

    /// Ends the connection at once, without a goodbye.
    fn abort(&self, reason: CloseReason);

    /// Whether so much waits for the connection's task that others should let it run before they send more. That is
    /// about the task alone, which takes everything whenever it runs, and not about its peer.
    fn is_crowded(&self) -> bool {
        false
    }

    /// Ready when the mailbox is not crowded, or the connection takes nothing more.
    fn poll_roomy(&self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }
}

/// What the task of a connection is doing, as far as whoever posts must know.
mod signal {
    /// The task runs, or is about to; the mailbox is empty.
    pub(super) const RUNNING: u8 = 0;
    /// Something is in the mailbox, and the task knows or will look.
    pub(super) const PENDING: u8 = 1;
    /// The task waits for its waker.
    pub(super) const PARKED: u8 = 2;
}

struct Shared<C> {
    signal: AtomicU8,
    crowded: AtomicBool,
    capacity: u32,
    state: Mutex<State<C>>,
}

struct State<C> {
    queue: VecDeque<Post<C>>,
    waker: Option<Waker>,
    /// Who waits until the queue is not crowded.
    waiting: Vec<Waker>,
    drain: Option<CloseReason>,
    abort: Option<CloseReason>,
    closed: bool,
}

impl<C> Shared<C> {
    fn put(&self, enter: impl FnOnce(&mut State<C>) -> Result<(), PushError>) -> Result<(), PushError> {
        self.enter(|state| if state.closed { Err(PushError::Closed) } else { enter(state) })
    }

    /// Changes the state, closed or not, and wakes the task if it waits.
    fn enter(&self, enter: impl FnOnce(&mut State<C>) -> Result<(), PushError>) -> Result<(), PushError> {
        let waker = {
            let mut state = lock(&self.state);
            enter(&mut state)?;
            // Only a parked task is woken: a running one looks here before it parks.
            match self.signal.swap(signal::PENDING, Ordering::AcqRel) {
                signal::PARKED => state.waker.take(),
                _ => None,
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    fn post(&self, post: Post<C>) -> Result<(), PushError> {
        self.put(|state| {
            if state.queue.len() >= self.capacity as usize {
                return Err(PushError::Full);
            }
            state.queue.push_back(post);
            if state.queue.len() > self.capacity as usize / 2 {
                self.crowded.store(true, Ordering::Relaxed);
            }
            Ok(())
        })
    }
}

impl<C: Send> Mail for Shared<C> {
    fn deliver(&self, delivery: Delivery) -> Result<(), PushError> {
        self.post(Post::Deliver(delivery))
    }

    fn close(&self, reason: CloseReason) {
        // A connection that has ended needs no closing.
        let _ = self.put(|state| {
            state.drain.get_or_insert(reason);
            Ok(())
        });
    }

    fn abort(&self, reason: CloseReason) {
        // Also for a connection that has closed and is still writing its last words.
        let _ = self.enter(|state| {
            state.abort.get_or_insert(reason);
            Ok(())
        });
    }

    fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    fn poll_roomy(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if state.closed || !self.is_crowded() {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// A new mailbox for at most `capacity` entries, and the end its connection reads.
pub fn mailbox<C>(capacity: u32) -> (Mailbox<C>, Inbox<C>) {
    let state = State {
        queue: VecDeque::new(),
        waker: None,
        waiting: Vec::new(),
        drain: None,
        abort: None,
        closed: false,
    };
    let shared = Arc::new(Shared {
        signal: AtomicU8::new(signal::RUNNING),
        crowded: AtomicBool::new(false),
        capacity,
        state: Mutex::new(state),
    });
    (Mailbox(Arc::clone(&shared)), Inbox(shared))
}

/// The end of a mailbox that others post to; clones post to the same one.
pub struct Mailbox<C>(Arc<Shared<C>>);

impl<C> Clone for Mailbox<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for Mailbox<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("capacity", &self.0.capacity).finish_non_exhaustive()
    }
}

impl<C: Send + 'static> Mailbox<C> {
    /// Hands one entry to the connection.
    ///
    /// # Errors
    ///
    /// [`PushError`]; the entry is dropped then.
    pub fn post(&self, post: Post<C>) -> Result<(), PushError> {
        self.0.post(post)
    }

    /// Hands a command to the connection.
    ///
    /// # Errors
    ///
    /// [`PushError`]; the command is dropped then.
    pub fn command(&self, command: C) -> Result<(), PushError> {
        self.post(Post::Command(command))
    }

    /// Ends the connection gracefully; see [`Mail::close`].
    pub fn close(&self, reason: CloseReason) {
        self.0.close(reason);
    }

    /// Ends the connection at once; see [`Mail::abort`].
    pub fn abort(&self, reason: CloseReason) {
        self.0.abort(reason);
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        lock(&self.0.state).closed
    }

    /// The mailbox as the hub knows it.
    pub fn mail(&self) -> Arc<dyn Mail> {
        Arc::clone(&self.0) as Arc<dyn Mail>
    }
}

/// What was in a mailbox.
#[derive(Debug)]
pub struct Taken<C> {
    /// The entries, oldest first.
    pub posts: VecDeque<Post<C>>,
    /// The connection shall end gracefully.
    pub drain: Option<CloseReason>,
    /// The connection shall end at once.
    pub abort: Option<CloseReason>,
}

/// The end of a mailbox that belongs to the connection's task. Dropping it closes the mailbox.
pub struct Inbox<C>(Arc<Shared<C>>);

impl<C> fmt::Debug for Inbox<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("pending", &self.is_pending()).finish_non_exhaustive()
    }
}

impl<C> Inbox<C> {
    /// Whether there is something to take.
    pub fn is_pending(&self) -> bool {
        self.0.signal.load(Ordering::Acquire) == signal::PENDING
    }

    /// Takes everything; the mailbox keeps no memory.
    pub fn take(&self) -> Taken<C> {
        let mut state = lock(&self.0.state);
        self.0.signal.store(signal::RUNNING, Ordering::Release);
        self.0.crowded.store(false, Ordering::Relaxed);
        let waiting = mem::take(&mut state.waiting);
        let taken = Taken {
            posts: mem::take(&mut state.queue),
            drain: state.drain.take(),
            abort: state.abort.take(),
        };
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        taken
    }

    /// Says that the task runs: posts need not wake it.
    pub fn unpark(&self) {
        let _ = self.0.signal.compare_exchange(
            signal::PARKED,
            signal::RUNNING,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    /// Says that the task is about to wait for `waker`; false if there is something to take first.
    pub fn park(&self, waker: &Waker) -> bool {
        let mut state = lock(&self.0.state);
        if self.0.signal.load(Ordering::Acquire) == signal::PENDING {
            return false;
        }
        if !state.waker.as_ref().is_some_and(|own| own.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        self.0.signal.store(signal::PARKED, Ordering::Release);
        true
    }

    /// Takes nothing more but an abort: whoever posts from now on is told.
    pub fn close(&self) {
        let mut state = lock(&self.0.state);
        state.closed = true;
        // An abort that came before is still to be taken.
        let next = if state.abort.is_some() { signal::PENDING } else { signal::RUNNING };
        self.0.signal.store(next, Ordering::Release);
        self.0.crowded.store(false, Ordering::Relaxed);
        let waiting = mem::take(&mut state.waiting);
        let waste = (mem::take(&mut state.queue), state.waker.take());
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        drop(waste);
    }
}

impl<C: Send + 'static> Inbox<C> {
    /// The mailbox as the hub knows it.
    pub fn mail(&self) -> Arc<dyn Mail> {
        Arc::clone(&self.0) as Arc<dyn Mail>
    }
}

impl<C> Drop for Inbox<C> {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abort_before_the_end_is_not_lost() {
        let (mailbox, inbox) = mailbox::<u8>(1);
        mailbox.abort(CloseReason::Overloaded);
        inbox.close();
        assert!(inbox.is_pending());
        assert_eq!(inbox.take().abort, Some(CloseReason::Overloaded));
        inbox.close();
        assert!(!inbox.is_pending());
    }
}
