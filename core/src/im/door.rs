//! What happens before the upgrade: the checks of a handshake, in the original's order.

use alloc::string::String;
use core::mem;

use super::{Arguments, DoorConfig, OperationIds, Token, parse_platform};
use crate::hub::{Badge, Device, Platform, Refusal};
use crate::{Actions, Instant, Key, Limits, Machine, Route};

/// Whether the HTTP request could become a WebSocket at all; looked at last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UpgradeCheck {
    /// It can.
    #[default]
    Valid,
    /// A header is missing or wrong.
    BadRequest,
    /// The method is not GET.
    WrongMethod,
}

/// An HTTP answer that refuses the handshake: plain text, the body followed by a line feed, and a
/// `Sec-Websocket-Version: 13`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// 400 "Unauthorized": an argument is missing.
    ArgumentMissing,
    /// 401 "Over quantity": the user has as many connections on this platform as it may have.
    OverQuantity,
    /// 401 "Unauthorized": the token does not prove the user.
    Unauthorized,
    /// 400 "Bad Request": no upgrade to WebSocket was asked for.
    BadRequest,
    /// 405 "Method Not Allowed".
    MethodNotAllowed,
    /// 429 "Too Many Requests": too many wrong tokens have come from the client's address.
    TooManyFailures,
    /// 503 "Service Unavailable": the server is full, or cannot check the token now.
    Unavailable,
}

impl Rejection {
    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::ArgumentMissing | Self::BadRequest => 400,
            Self::OverQuantity | Self::Unauthorized => 401,
            Self::MethodNotAllowed => 405,
            Self::TooManyFailures => 429,
            Self::Unavailable => 503,
        }
    }

    /// The body, without the line feed at its end.
    pub const fn body(self) -> &'static str {
        match self {
            Self::ArgumentMissing | Self::Unauthorized => "Unauthorized",
            Self::OverQuantity => "Over quantity",
            Self::BadRequest => "Bad Request",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::TooManyFailures => "Too Many Requests",
            Self::Unavailable => "Service Unavailable",
        }
    }
}

impl From<Refusal> for Rejection {
    fn from(why: Refusal) -> Self {
        match why {
            Refusal::Taken | Refusal::Full | Refusal::PlatformFull => Self::OverQuantity,
            Refusal::HubFull | Refusal::Storm { .. } => Self::Unavailable,
        }
    }
}

/// Who has come through the door: what its connection registers as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// The user.
    pub user: Key,
    /// What it runs on, and the hash of its token.
    pub badge: Badge,
}

/// What may happen at the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DoorEvent {
    /// The hub holds a place ([`Delivery::Reserved`](crate::Delivery::Reserved)).
    Reserved,
    /// The hub has none ([`Delivery::Rejected`](crate::Delivery::Rejected)).
    Rejected(Refusal),
    /// The token is valid, and this user's.
    TokenChecked {
        /// The user that the token names.
        user: String,
        /// The platform that it is for, if it says so: it opens no other then.
        platform: Option<Platform>,
    },
    /// The token is not valid.
    TokenRefused,
    /// It was not looked at: too many wrong ones have come from where the client is.
    TooManyFailures,
    /// Nobody can say now whether it is: whoever checks tokens does not answer, or has too much to do.
    TokenUnknown,
    /// The connection has opened, and registers by itself: the place is its own now.
    Opened,
    /// The transport is gone.
    Aborted,
}

/// What the door asks of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DoorAction {
    /// Hand this to the hub shard that owns it, in the name of the connection to be.
    Route(Route),
    /// Find out whose token this is; report it as an event.
    CheckToken {
        /// The token.
        token: Token,
        /// The user whom it should be of.
        user: Key,
        /// What the check is known by in logs.
        operation: String,
    },
    /// Answer 101 and open a connection of this user under the same id; then say [`DoorEvent::Opened`].
    Upgrade(Visitor),
    /// Answer so; nothing follows.
    Reject(Rejection),
    /// The upgrade took too long: drop the transport; nothing follows.
    Abort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reserving,
    Checking,
    Upgrading,
    Done,
}

/// The checks before one upgrade: arguments, place, token, upgrade. The place that the hub holds is given back exactly
/// once, unless the connection takes it over.
#[derive(Debug)]
pub struct Door {
    state: State,
    visitor: Option<Visitor>,
    token: Token,
    operation: String,
    upgrade: UpgradeCheck,
    deadline: Instant,
    now: Instant,
}

impl Door {
    /// The answers' header beside what every plain text has.
    pub const VERSION_HEADER: (&'static str, &'static str) = ("Sec-Websocket-Version", "13");

    /// A handshake that has arrived at `now`. `seed` is drawn at random for every one.
    pub fn new(
        config: &DoorConfig,
        limits: &Limits,
        arguments: Arguments,
        upgrade: UpgradeCheck,
        seed: u64,
        now: Instant,
        actions: &mut Actions<DoorAction>,
    ) -> Self {
        let mut door = Self {
            state: State::Done,
            visitor: None,
            token: Token::default(),
            operation: String::new(),
            upgrade,
            deadline: now + limits.handshake_timeout,
            now,
        };
        let Arguments { user: Some(user), token: Some(token), platform: Some(platform), operation } =
            arguments
        else {
            actions.push(DoorAction::Reject(Rejection::ArgumentMissing));
            return door;
        };
        // A user who cannot have a key cannot have a token either.
        let Ok(key) = Key::new(&user) else {
            actions.push(DoorAction::Reject(Rejection::Unauthorized));
            return door;
        };
        let device = Device::of(parse_platform(&platform));
        // 0 would say that there is no token.
        let hash = crate::hash::hash(config.seed, token.as_str().as_bytes()).max(1);
        let badge = Badge { device, token: hash, admission: config.admission };
        let unix = config.origin_unix + now.since_origin();
        door.operation = operation
            .filter(|operation| !operation.is_empty())
            .unwrap_or_else(|| OperationIds::new(seed).next_id(unix));
        door.token = token;
        door.visitor = Some(Visitor { user: key.clone(), badge });
        door.state = State::Reserving;
        actions.push(DoorAction::Route(Route::Reserve { key, badge }));
        door
    }

    /// Whether nothing more will happen.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes on the heap that the door owns.
    pub fn footprint(&self) -> usize {
        self.token.footprint() + self.operation.capacity()
    }

    /// Ends, with or without an answer; gives the place back if one is held, or may be on its way.
    fn end(&mut self, last: Option<DoorAction>, is_held: bool, actions: &mut Actions<DoorAction>) {
        if let Some(visitor) = self.visitor.take().filter(|_| is_held) {
            actions.push(DoorAction::Route(Route::Unregister(visitor.user)));
        }
        if let Some(last) = last {
            actions.push(last);
        }
        self.state = State::Done;
        self.token = Token::default();
        self.operation = String::new();
    }

    fn reject(&mut self, rejection: Rejection, actions: &mut Actions<DoorAction>) {
        self.end(Some(DoorAction::Reject(rejection)), true, actions);
    }

    fn check_token(&mut self, actions: &mut Actions<DoorAction>) {
        let Some(visitor) = &self.visitor else { return };
        self.state = State::Checking;
        let (token, operation) = (mem::take(&mut self.token), mem::take(&mut self.operation));
        actions.push(DoorAction::CheckToken { token, user: visitor.user.clone(), operation });
    }

    fn token_checked(&mut self, user: &str, platform: Option<Platform>, actions: &mut Actions<DoorAction>) {
        let is_meant = |visitor: &&Visitor| {
            let own = visitor.badge.device.platform;
            visitor.user.as_bytes() == user.as_bytes() && platform.is_none_or(|platform| platform == own)
        };
        let Some(visitor) = self.visitor.as_ref().filter(is_meant) else {
            return self.reject(Rejection::Unauthorized, actions);
        };
        match self.upgrade {
            UpgradeCheck::Valid => {
                self.state = State::Upgrading;
                actions.push(DoorAction::Upgrade(visitor.clone()));
            }
            UpgradeCheck::BadRequest => self.reject(Rejection::BadRequest, actions),
            UpgradeCheck::WrongMethod => self.reject(Rejection::MethodNotAllowed, actions),
        }
    }
}

impl Machine for Door {
    type Event = DoorEvent;
    type Action = DoorAction;

    fn handle_event(&mut self, now: Instant, event: DoorEvent, actions: &mut Actions<DoorAction>) {
        self.now = self.now.max(now);
        match (self.state, event) {
            (State::Done, _) => {}
            (_, DoorEvent::Aborted) => self.end(None, true, actions),
            (State::Reserving, DoorEvent::Reserved) => self.check_token(actions),
            (State::Reserving, DoorEvent::Rejected(why)) => {
                self.end(Some(DoorAction::Reject(why.into())), false, actions);
            }
            (State::Checking, DoorEvent::TokenChecked { user, platform }) => {
                self.token_checked(&user, platform, actions);
            }
            (State::Checking, DoorEvent::TokenRefused) => self.reject(Rejection::Unauthorized, actions),
            (State::Checking, DoorEvent::TooManyFailures) => {
                self.reject(Rejection::TooManyFailures, actions);
            }
            (State::Checking, DoorEvent::TokenUnknown) => self.reject(Rejection::Unavailable, actions),
            (State::Upgrading, DoorEvent::Opened) => self.end(None, false, actions),
            // Late, or out of turn.
            (State::Reserving | State::Checking | State::Upgrading, _) => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant, actions: &mut Actions<DoorAction>) {
        let now = self.now.max(now);
        if self.next_timeout().is_none_or(|due| due > now) {
            return;
        }
        self.now = now;
        match self.state {
            State::Reserving | State::Checking => self.reject(Rejection::Unavailable, actions),
            State::Upgrading => self.end(Some(DoorAction::Abort), true, actions),
            State::Done => {}
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        (!self.is_done()).then_some(self.deadline)
    }
}
