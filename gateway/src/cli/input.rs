//! Standard input, line by line, without blocking an executor.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

/// How many lines are read ahead.
const AHEAD: usize = 64;

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    room: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<String>,
    ended: bool,
    waker: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) {
        for line in io::stdin().lines().map_while(Result::ok) {
            let state = self.lock();
            let mut state = self
                .room
                .wait_while(state, |state| state.lines.len() >= AHEAD)
                .unwrap_or_else(PoisonError::into_inner);
            state.lines.push_back(line);
            wake(state);
        }
        let mut state = self.lock();
        state.ended = true;
        wake(state);
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The lines of standard input.
pub(super) struct Lines(Arc<Shared>);

impl Lines {
    /// Reads standard input on a thread of its own.
    pub(super) fn of_stdin() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let reader = Arc::clone(&shared);
        thread::Builder::new().name("linkspan-input".into()).spawn(move || reader.read())?;
        Ok(Self(shared))
    }

    /// The next line; `None` at the end.
    pub(super) async fn next(&self) -> Option<String> {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            if let Some(line) = state.lines.pop_front() {
                self.0.room.notify_one();
                return Poll::Ready(Some(line));
            }
            if state.ended {
                return Poll::Ready(None);
            }
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}
