//! A hub to play with, and words for what goes in and comes out.

use std::sync::Arc;
use std::time::Duration;

use linkspan_core::hub::{
    Action, Address, Admission, Badge, Config, Device, DevicePolicy, Event, Hub, Platform, Recipients,
    Refusal,
};
use linkspan_core::{CloseReason, ConnId, Delivery, Instant, Key, Limits, Mark, Overflow, Push, Route, To};
use linkspan_tests::harness::Checked;

pub(super) type Mailbox = u64;
pub(super) type Said = Vec<Action<Mailbox>>;

pub(super) fn address(conn: u64) -> Address<Mailbox> {
    Address { conn: ConnId(conn), mailbox: conn * 1000 }
}

pub(super) fn key(name: u8) -> Key {
    Key::new([b'u', name]).unwrap()
}

pub(super) fn push() -> Push {
    Push::new(&b"onTest"[..], &b"hello"[..], Overflow::Close)
}

pub(super) fn badge(platform: Platform, token: u64) -> Badge {
    Badge { device: Device::of(platform), token, admission: None }
}

pub(super) fn devices(policy: DevicePolicy) -> Admission {
    Admission::Devices(policy)
}

pub(super) fn deliver(to: &[u64], delivery: Delivery) -> Action<Mailbox> {
    Action::Deliver { to: recipients(to).unwrap(), delivery }
}

pub(super) fn close(to: &[u64], reason: CloseReason) -> Action<Mailbox> {
    Action::Close { to: recipients(to).unwrap(), reason }
}

pub(super) fn recipients(conns: &[u64]) -> Option<Recipients<Mailbox>> {
    match conns {
        [] => None,
        [only] => Some(Recipients::One(address(*only))),
        many => Some(Recipients::Many(many.iter().map(|conn| address(*conn)).collect())),
    }
}

pub(super) fn refused(conn: u64, key: Key, why: Refusal) -> Said {
    let mark = match why {
        Refusal::Taken => Mark::KeyRejected,
        Refusal::Full => Mark::KeyFull,
        Refusal::PlatformFull => Mark::PlatformFull,
        Refusal::HubFull => Mark::HubFull,
        Refusal::Storm { .. } => Mark::KickStorm,
        other => panic!("{other} is new"),
    };
    vec![Action::Mark(mark), deliver(&[conn], Delivery::Rejected { key, why })]
}

/// A hub with a clock.
pub(super) struct Desk {
    pub(super) hub: Checked<Hub<Mailbox>>,
    pub(super) now: Instant,
}

impl Desk {
    pub(super) fn new(admission: Admission, limits: Limits) -> Self {
        assert_eq!(limits.validate(), Ok(()));
        let hub = Hub::new(Config { seed: 7, admission, limits: Arc::new(limits) });
        Self { hub: Checked::idle(hub), now: Instant::ORIGIN }
    }

    pub(super) fn perform(&mut self, event: Event<Mailbox>) -> Said {
        self.hub.step(self.now, event)
    }

    pub(super) fn route(&mut self, from: u64, route: Route) -> Said {
        self.perform(Event::Routed { from: Some(address(from)), route })
    }

    pub(super) fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    /// Logs a session of user 0 in.
    pub(super) fn login(&mut self, conn: u64, badge: Badge) -> Said {
        self.route(conn, Route::Register { key: key(0), badge })
    }

    pub(super) fn reserve(&mut self, conn: u64, platform: Platform) -> Said {
        self.route(conn, Route::Reserve { key: key(0), badge: badge(platform, 0) })
    }

    pub(super) fn leave(&mut self, conn: u64) -> Said {
        self.route(conn, Route::Unregister(key(0)))
    }

    /// Who gets what is said to `to`.
    pub(super) fn hearers(&mut self, to: To) -> Vec<u64> {
        match self
            .perform(Event::Routed { from: None, route: Route::Publish { to, push: push() } })
            .as_slice()
        {
            [Action::Deliver { to, delivery }] => {
                assert_eq!(*delivery, Delivery::Push(push()));
                to.as_slice().iter().map(|address| address.conn.0).collect()
            }
            [Action::Mark(Mark::Undeliverable)] => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    /// The sessions of user 0.
    pub(super) fn sessions(&mut self) -> Vec<u64> {
        self.hearers(To::Key(key(0)))
    }
}
