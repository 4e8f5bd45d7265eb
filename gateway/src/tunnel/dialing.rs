//! A dial that waits for its session's task, and its outcome.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;
use linkspan_core::tunnel::TunnelCommand;

use super::DialFailure;
use super::stream::TunnelStream;

type Outcome = Result<TunnelStream, DialFailure>;

#[derive(Default)]
struct Slot {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

/// A dial on its way to the session's task.
pub(super) struct Dialing {
    proto: Bytes,
    address: Bytes,
    answer: Answer,
}

/// Where the outcome of a dial goes. Who asked may have left: a stream that nobody takes is aborted.
pub(super) struct Answer(Arc<Mutex<Slot>>);

/// Who asked.
pub(super) struct Asker(Arc<Mutex<Slot>>);

impl Dialing {
    pub(super) fn new(proto: Bytes, address: Bytes) -> (Self, Asker) {
        let slot = Arc::default();
        (Self { proto, address, answer: Answer(Arc::clone(&slot)) }, Asker(slot))
    }

    pub(super) fn start(self, request: u64) -> (TunnelCommand, Answer) {
        let Self { proto, address, answer } = self;
        (TunnelCommand::Dial { request, proto, address }, answer)
    }

    pub(super) fn fail(self, failure: DialFailure) {
        self.answer.give(Err(failure));
    }
}

impl Answer {
    pub(super) fn give(self, outcome: Outcome) {
        let waker = {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            slot.outcome = Some(outcome);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Asker {
    pub(super) async fn outcome(self) -> Outcome {
        poll_fn(|cx| {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match slot.outcome.take() {
                Some(outcome) => Poll::Ready(outcome),
                None => {
                    slot.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}
