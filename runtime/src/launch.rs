//! How a connection is started.

use std::future::Future;

use linkspan_core::{CloseReason, Dialect};

use crate::drive::run;
use crate::{App, Inbox, Permit, Runtime, Transport};

/// Runs one connection to its end.
///
/// The future is polled by one task of `runtime`. It keeps the driving contract of the core: all actions in order,
/// then the deadline; reads only while the machine wants to; writing is one of the things a poll does, so a peer that
/// does not read stops neither its own deadlines nor anybody else.
///
/// What is in `inbox` goes before the application's next command, so that a push made before an answer arrives before
/// it. The permit is given back when the future ends or is dropped.
pub fn drive<R, D, A, T>(
    runtime: &R,
    permit: Permit,
    transport: T,
    dialect: D,
    inbox: Inbox<D::Command>,
    app: A,
) -> impl Future<Output = CloseReason> + Send + use<R, D, A, T>
where
    R: Runtime,
    D: Dialect + Send + 'static,
    D::Command: Send + 'static,
    D::Notice: Send + 'static,
    A: App<D>,
    T: Transport,
{
    run(runtime, permit, transport, dialect, inbox, app, |reason| reason)
}

/// Runs one connection to its end in a task of its own; see [`drive()`].
///
/// A task that awaited [`drive()`] would hold the connection twice: where it was handed in, and where it is polled.
pub fn spawn<R, D, A, T>(
    runtime: &R,
    permit: Permit,
    transport: T,
    dialect: D,
    inbox: Inbox<D::Command>,
    app: A,
) where
    R: Runtime,
    D: Dialect + Send + 'static,
    D::Command: Send + 'static,
    D::Notice: Send + 'static,
    A: App<D> + 'static,
    T: Transport + 'static,
{
    runtime.spawn(run(runtime, permit, transport, dialect, inbox, app, |_| ()));
}
