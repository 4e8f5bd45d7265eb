//! What the ends of connections of every dialect do alike.

use std::sync::Arc;

use linkspan_core::chat;
use linkspan_core::hub::{Badge, Refusal};
use linkspan_core::im;
use linkspan_core::pomelo;
use linkspan_core::tunnel::{Role, Tunnel, TunnelConfig};
use linkspan_core::{
    Action, Actions, CloseReason, Connection, Delivery, Dialect, Event, Instant, Key, Limits, Machine,
};

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

/// Why an end of this dialect that knows its peer is closed by this event, if it is.
fn closed_by<D: Dialect>(dialect: D, user: Option<&str>, event: Event<D::Command>) -> Option<CloseReason> {
    let mut actions = Actions::new();
    let mut end = Connection::new(dialect, Arc::new(Limits::default()), Instant::ORIGIN, &mut actions);
    if let Some(user) = user {
        end.handle_event(Instant::ORIGIN, Event::Delivered(Delivery::Admitted(key(user))), &mut actions);
    }
    drop(actions.drain());
    end.handle_event(Instant::ORIGIN, event, &mut actions);
    let reason = |action: &Action<D::Notice>| match action {
        Action::Close(reason) => Some(*reason),
        _ => None,
    };
    let reason = actions.as_slice().iter().find_map(reason);
    assert_eq!(end.is_closed(), reason.is_some());
    reason
}

fn check<D: Dialect>(make: impl Fn() -> D, user: Option<&str>) {
    let closed_by = |event| closed_by(make(), user, event);
    let peer_closed = CloseReason::PeerClosed;
    assert_eq!(closed_by(Event::Closed(peer_closed)), Some(peer_closed), "nothing was cut short");
    for reason in [CloseReason::Stopping, CloseReason::Finished] {
        assert_eq!(closed_by(Event::Drain(reason)), Some(reason), "there is nothing to wait for");
    }
    let why = Refusal::PlatformFull;
    assert_eq!(closed_by(Event::Delivered(Delivery::Rejected { key: key("other"), why })), None);
    if let Some(user) = user {
        let rejected = Delivery::Rejected { key: key(user), why };
        assert_eq!(closed_by(Event::Delivered(rejected)), Some(why.close_reason()));
    }
}

#[test]
fn an_idle_end_goes_when_it_is_told_and_not_for_what_concerns_another() {
    let visitor = || im::Visitor { user: key("u1"), badge: Badge::default() };
    assert_eq!(chat::Server::new(Arc::default(), 7).user(), 7);
    check(|| chat::Server::new(Arc::default(), 7), Some("7"));
    check(|| chat::Client::new(chat::ClientConfig::default()), None);
    check(|| im::Server::new(Arc::default(), visitor(), 1), Some("u1"));
    check(|| im::Client::new("u1"), None);
    check(|| pomelo::Server::new(Arc::default()), None);
    check(|| pomelo::Client::new(Arc::default()), None);
    check(|| Tunnel::new(Arc::new(TunnelConfig::new(Role::Client))), None);
}
