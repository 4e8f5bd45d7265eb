//! One value from one task to another.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A place for one value, and the two ends of it.
pub(crate) fn handoff<T>() -> (Giver<T>, Taker<T>) {
    let place = Arc::new(Mutex::new(Place { value: None, is_over: false, waiting: None }));
    (Giver(Arc::clone(&place)), Taker(place))
}

struct Place<T> {
    value: Option<T>,
    /// Nothing more will come.
    is_over: bool,
    waiting: Option<Waker>,
}

fn lock<T>(place: &Mutex<Place<T>>) -> MutexGuard<'_, Place<T>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end that has the value. Dropped without giving, the taker gets nothing.
pub(crate) struct Giver<T>(Arc<Mutex<Place<T>>>);

impl<T> Giver<T> {
    /// Gives the value. If nobody takes it any more it is dropped with the place.
    pub(crate) fn give(self, value: T) {
        lock(&self.0).value = Some(value);
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        let waiting = {
            let mut place = lock(&self.0);
            place.is_over = true;
            place.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

/// The end that waits for the value; `None` if there will be none.
pub(crate) struct Taker<T>(Arc<Mutex<Place<T>>>);

impl<T> Future for Taker<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut place = lock(&self.0);
        if place.value.is_some() || place.is_over {
            return Poll::Ready(place.value.take());
        }
        match &mut place.waiting {
            Some(waiting) => waiting.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}
