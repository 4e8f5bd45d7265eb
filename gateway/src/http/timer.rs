//! hyper's timers on a [`Runtime`].

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use linkspan_runtime::Runtime;

/// Timers of `R` for hyper.
pub(super) struct RuntimeTimer<R>(pub(super) R);

/// hyper wants sleeps that can be shared; nobody does, so the lock is never waited for.
struct Nap<S>(Mutex<Pin<Box<S>>>);

impl<S: Future<Output = ()>> Future for Nap<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll(cx)
    }
}

impl<S: Future<Output = ()> + Send> Sleep for Nap<S> {}

impl<R: Runtime> Timer for RuntimeTimer<R> {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Nap(Mutex::new(Box::pin(self.0.sleep_until(deadline)))))
    }
}
