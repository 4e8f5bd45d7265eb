#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
//! The driver that every Linkspan runtime adapter shares.
//!
//! An adapter implements [`Runtime`] (spawn, sleep, listen, accept, connect, stop signals) and is done. Everything
//! else is here once: the connection loop ([`drive()`]), mailboxes, the shards of the hub, the two transports, the accept
//! loop, the graceful stop.
//!
//! - [`Host`] is what all connections of a process share.
//! - [`accept`] lets connections in and hands each to a function with its [`Permit`].
//! - [`drive()`] runs one connection: a [`Transport`], a dialect, an [`App`] and an [`Inbox`].
//! - [`stop`] ends all of them gracefully.

mod accept;
mod ahead;
mod app;
mod clock;
mod drive;
mod ending;
mod host;
mod launch;
mod mailbox;
mod metered;
mod runtime;
mod scratch;
mod shards;
mod socket;
mod stats;
mod stop;
mod stream;
mod transport;

use std::sync::{Mutex, MutexGuard, PoisonError};

// A transport writes from it.
pub use linkspan_core::Outbox;

pub use self::accept::{SocketOptions, accept, accept_or, bind};
pub use self::app::App;
pub use self::clock::Clock;
pub use self::ending::{Drained, stop};
pub use self::host::{Host, HostConfig, Permit};
pub use self::launch::{drive, spawn};
pub use self::mailbox::{Inbox, Mail, Mailbox, Post, PushError, Taken, mailbox};
pub use self::metered::Metered;
pub use self::runtime::{Datagrams, Placement, Runtime, Signal, Workers};
pub use self::shards::{MailAddress, Shards};
pub use self::socket::SocketTransport;
pub use self::stats::{Stats, Traffic};
pub use self::stop::Stop;
pub use self::stream::StreamTransport;
pub use self::transport::{Received, Transport};

/// Locks; what a panicking thread left behind is still whole, because nothing here panics half-way through a change.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
