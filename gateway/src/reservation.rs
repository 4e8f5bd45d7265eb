//! Places that the hub holds for connections that still speak HTTP.

use std::sync::{Arc, Mutex, PoisonError};

use linkspan_core::hub::{Badge, Refusal};
use linkspan_core::{CloseReason, ConnId, Delivery, Key, Route};
use linkspan_runtime::{Host, Mail, MailAddress, PushError};

/// A place under a key, given back when dropped.
pub(crate) struct Reservation {
    host: Arc<Host>,
    conn: ConnId,
    key: Option<Key>,
}

impl Reservation {
    /// Has the hub hold a place until the connection registers.
    ///
    /// # Errors
    ///
    /// Why there is none; it is counted already.
    pub(crate) fn take(host: &Arc<Host>, conn: ConnId, key: Key, badge: Badge) -> Result<Self, Refusal> {
        match ask(host, conn, Route::Reserve { key: key.clone(), badge }) {
            Some(Err(why)) => Err(why),
            Some(Ok(())) | None => Ok(Self { host: Arc::clone(host), conn, key: Some(key) }),
        }
    }

    /// The connection has registered by itself: the place was used up by that.
    pub(crate) fn use_up(mut self) {
        self.key = None;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            ask(&self.host, self.conn, Route::Unregister(key));
        }
    }
}

/// Asks the hub in the name of a connection that is not open yet. The hub answers at once: a place is held, there is
/// none, or nothing is to be said.
pub(crate) fn ask(host: &Host, conn: ConnId, route: Route) -> Option<Result<(), Refusal>> {
    let reception = Arc::new(Reception::default());
    let mailbox = Arc::clone(&reception) as Arc<dyn Mail>;
    host.route(Some(MailAddress { conn, mailbox }), route);
    reception.0.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// What the hub says to a connection that is not open yet.
#[derive(Default)]
struct Reception(Mutex<Option<Result<(), Refusal>>>);

impl Mail for Reception {
    fn deliver(&self, delivery: Delivery) -> Result<(), PushError> {
        let answer = match delivery {
            Delivery::Reserved(_) => Ok(()),
            Delivery::Rejected { why, .. } => Err(why),
            _ => return Err(PushError::Closed),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        Ok(())
    }

    fn close(&self, _reason: CloseReason) {}

    fn abort(&self, _reason: CloseReason) {}
}
