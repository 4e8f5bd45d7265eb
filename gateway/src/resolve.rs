//! Names to addresses.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::handoff::handoff;

/// How many names may be looked up at once: each takes a thread, as the system's resolver blocks.
const LOOKUPS_MAX: usize = 64;

static LOOKUPS: AtomicUsize = AtomicUsize::new(0);

/// A place among the look-ups.
struct Turn;

impl Turn {
    fn take() -> Option<Self> {
        let taken = LOOKUPS
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < LOOKUPS_MAX).then_some(now + 1));
        taken.is_ok().then_some(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        LOOKUPS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The addresses of `host`, a name or an address without brackets; at least one.
///
/// # Errors
///
/// What the system reports; also when too many names are being looked up.
pub(crate) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let turn = Turn::take().ok_or_else(|| io::Error::other("too many names are being looked up"))?;
    let (giver, taker) = handoff();
    let host = host.to_owned();
    thread::Builder::new().name("resolver".into()).spawn(move || {
        giver.give((host.as_str(), port).to_socket_addrs().map(Vec::from_iter));
        drop(turn);
    })?;
    let addresses = taker.await.unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))?;
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}
