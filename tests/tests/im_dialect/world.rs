//! A server in memory: doors, connections, sessions, a real hub, and a small backend.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use linkspan_core::hub::{self, Address, Config, Hub};
use linkspan_core::im::{
    Answer, Arguments, Audience, Door, DoorAction, DoorConfig, DoorEvent, Fault, Rejection, Server,
    ServerCommand, ServerConfig, ServerNotice, SessionId, UpgradeCheck, User, UserAction, UserEvent, limits,
};
use linkspan_core::{
    Actions, CloseReason, ConnId, Delivery, Event, Instant, Key, Limits, Opcode, Push, Route, To,
};
use linkspan_tests::harness::{Checked, Station};
use serde_json::{Value, json};

struct Peer {
    station: Station<Server>,
    user: Key,
    got: Vec<Value>,
}

impl Peer {
    /// Reads all there is, and answers pings as every WebSocket client does.
    fn read(&mut self, now: Instant) {
        for frame in self.station.flush(now, usize::MAX) {
            match frame.opcode {
                Opcode::Ping => {
                    let pong = frame.into_bytes();
                    self.station.event(now, Event::Received(Opcode::Pong, pong));
                }
                _ => self.got.push(serde_json::from_slice(&frame.into_bytes()).unwrap()),
            }
        }
    }

    fn run_until(&mut self, until: Instant) {
        while let Some(next) = self.station.next_timeout().filter(|next| *next <= until) {
            self.station.timeout(next);
            self.read(next);
        }
    }
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) hub: Checked<Hub<u64>>,
    pub(super) config: Arc<ServerConfig>,
    pub(super) limits: Arc<Limits>,
    pub(super) door: DoorConfig,
    /// Tokens of `u1` beside "tok-u1".
    pub(super) tokens: Vec<String>,
    pub(super) login_delay: Duration,
    /// What every login is answered with.
    pub(super) login_answer: Answer,
    /// Calls that the backend has got, with the session they ran in.
    pub(super) calls: Vec<(SessionId, String)>,
    /// Sessions that have ended.
    pub(super) ended: Vec<SessionId>,
    peers: BTreeMap<u64, Peer>,
    users: BTreeMap<Key, Checked<User>>,
    logins: Vec<(Instant, Key, SessionId)>,
    next: u64,
}

pub(super) fn key(user: &str) -> Key {
    Key::new(user).unwrap()
}

impl World {
    pub(super) fn new(config: ServerConfig) -> Self {
        Self::with_limits(config, limits(&Limits::default()))
    }

    pub(super) fn with_limits(config: ServerConfig, limits: Limits) -> Self {
        let limits = Arc::new(limits);
        Self {
            now: Instant::from_micros(1_000_000),
            hub: Checked::idle(Hub::new(Config {
                seed: 1,
                limits: Arc::clone(&limits),
                ..Config::default()
            })),
            config: Arc::new(config),
            limits,
            door: DoorConfig::default(),
            tokens: Vec::new(),
            login_delay: Duration::ZERO,
            login_answer: Answer::success(""),
            calls: Vec::new(),
            ended: Vec::new(),
            peers: BTreeMap::new(),
            users: BTreeMap::new(),
            logins: Vec::new(),
            next: 0,
        }
    }

    /// Goes through the door.
    pub(super) fn connect(&mut self, query: &str) -> Result<u64, Rejection> {
        self.knock(query, UpgradeCheck::Valid)
    }

    pub(super) fn knock(&mut self, query: &str, upgrade: UpgradeCheck) -> Result<u64, Rejection> {
        self.next += 1;
        let conn = self.next;
        let mut actions = Actions::new();
        let arguments = Arguments::parse(query);
        let door = Door::new(&self.door, &self.limits, arguments, upgrade, 5, self.now, &mut actions);
        let mut door = Checked::new(door, actions, self.now, usize::MAX);
        let mut todo = door.begin();
        let mut entered = None;
        while !todo.is_empty() {
            let event = match todo.remove(0) {
                DoorAction::Route(route) => match self.ask_hub(conn, route).pop() {
                    Some(Delivery::Reserved(_)) => DoorEvent::Reserved,
                    Some(Delivery::Rejected { why, .. }) => DoorEvent::Rejected(why),
                    _ => continue,
                },
                DoorAction::CheckToken { token, operation, .. } => {
                    assert!(!operation.is_empty());
                    let is_extra = self.tokens.iter().any(|extra| extra == token.as_str());
                    match is_extra.then_some("u1").or_else(|| token.as_str().strip_prefix("tok-")) {
                        Some(user) => DoorEvent::TokenChecked { user: user.into(), platform: None },
                        None => DoorEvent::TokenRefused,
                    }
                }
                DoorAction::Upgrade(visitor) => {
                    entered = Some(visitor);
                    DoorEvent::Opened
                }
                DoorAction::Reject(rejection) => {
                    assert!(door.is_done());
                    return Err(rejection);
                }
                DoorAction::Abort => panic!("nothing is late"),
            };
            todo.extend(door.pass(self.now, event));
        }
        let visitor = entered.unwrap();
        let (user, platform) = (visitor.user.clone(), visitor.badge.device.platform);
        let server = Server::new(Arc::clone(&self.config), visitor, conn);
        let station = Station::new(server, Arc::clone(&self.limits), self.now);
        self.peers.insert(conn, Peer { station, user: user.clone(), got: Vec::new() });
        self.tell(&user, UserEvent::Opened { conn: ConnId(conn), platform });
        self.settle();
        Ok(conn)
    }

    fn ask_hub(&mut self, conn: u64, route: Route) -> Vec<Delivery> {
        let from = Some(Address { conn: ConnId(conn), mailbox: conn });
        let mut own = Vec::new();
        for action in self.hub.step(self.now, hub::Event::Routed { from, route }) {
            match action {
                hub::Action::Deliver { to, delivery } => {
                    for address in to.as_slice() {
                        match self.peers.get_mut(&address.mailbox) {
                            Some(peer) => peer.station.event(self.now, Event::Delivered(delivery.clone())),
                            None => own.push(delivery.clone()),
                        }
                    }
                }
                hub::Action::Close { to, reason } => {
                    for address in to.as_slice() {
                        if let Some(peer) = self.peers.get_mut(&address.mailbox) {
                            peer.station.event(self.now, Event::Drain(reason));
                        }
                    }
                }
                _ => {}
            }
        }
        own
    }

    /// One client sends one text.
    pub(super) fn send(&mut self, conn: u64, text: impl Into<Vec<u8>>) {
        let event = Event::Received(Opcode::Text, text.into().into());
        let now = self.now;
        self.station(conn).event(now, event);
        self.settle();
    }

    pub(super) fn call(&mut self, conn: u64, function: &str, operation: &str, data: &str) {
        let user = String::from_utf8(self.peers[&conn].user.as_bytes().to_vec()).unwrap();
        let request =
            json!({"reqFuncName": function, "operationID": operation, "userID": user, "data": data});
        self.send(conn, request.to_string());
    }

    /// Logs in, and forgets what was heard about it.
    pub(super) fn login(&mut self, conn: u64) {
        let user = String::from_utf8(self.peers[&conn].user.as_bytes().to_vec()).unwrap();
        let data = json!({"userID": user, "token": format!("tok-{user}")}).to_string();
        self.call(conn, "Login", "login", &data);
    }

    /// The application asks something of the hub.
    pub(super) fn ask(&mut self, route: Route) {
        self.ask_hub(u64::MAX, route);
        self.settle();
    }

    /// The application asks something of one connection.
    pub(super) fn command(&mut self, conn: u64, command: ServerCommand) {
        self.order(ConnId(conn), command);
        self.settle();
    }

    /// A service sends a message.
    pub(super) fn publish(&mut self, to: To, push: Push) {
        self.ask(Route::Publish { to, push });
    }

    pub(super) fn close(&mut self, conn: u64) {
        self.end(conn, CloseReason::PeerClosed);
    }

    pub(super) fn end(&mut self, conn: u64, reason: CloseReason) {
        let now = self.now;
        self.station(conn).event(now, Event::Closed(reason));
        self.settle();
    }

    pub(super) fn station(&mut self, conn: u64) -> &mut Station<Server> {
        &mut self.peers.get_mut(&conn).unwrap().station
    }

    pub(super) fn user(&self, user: &str) -> Option<&User> {
        self.users.get(&key(user)).map(|user| &**user)
    }

    /// Time passes.
    pub(super) fn wait(&mut self, span: Duration) {
        let until = self.now + span;
        self.logins.sort_by_key(|(due, ..)| *due);
        while let Some(at) = self.logins.iter().position(|(due, ..)| *due <= until) {
            let (due, user, session) = self.logins.remove(at);
            self.now = self.now.max(due);
            let answer = self.login_answer.clone();
            self.tell(&user, UserEvent::LoggedIn { session, answer });
            self.settle();
        }
        self.now = until;
        let users: Vec<Key> = self.users.keys().cloned().collect();
        for user in users {
            let actions = self.users.get_mut(&user).unwrap().timeout(self.now);
            self.perform(&user, actions);
        }
        for peer in self.peers.values_mut() {
            peer.run_until(self.now);
        }
        self.settle();
    }

    /// Everything that one client has got, in order.
    pub(super) fn hear(&mut self, conn: u64) -> Vec<Value> {
        self.collect();
        std::mem::take(&mut self.peers.get_mut(&conn).unwrap().got)
    }

    fn collect(&mut self) {
        for peer in self.peers.values_mut() {
            peer.read(self.now);
        }
    }

    /// Runs until nothing moves.
    fn settle(&mut self) {
        loop {
            let conns: Vec<u64> = self.peers.keys().copied().collect();
            let mut moved = false;
            for conn in conns {
                let peer = self.peers.get_mut(&conn).unwrap();
                let (routes, notices, user) =
                    (peer.station.routes(), peer.station.notices(), peer.user.clone());
                let is_closed = peer.station.closed().is_some();
                moved |= !routes.is_empty() || !notices.is_empty();
                for route in routes {
                    self.ask_hub(conn, route);
                }
                for notice in notices {
                    if let ServerNotice::Request { ticket, request } = notice {
                        let conn = ConnId(conn);
                        self.tell(&user, UserEvent::Requested { conn, ticket, request });
                    }
                }
                if is_closed && self.users.contains_key(&user) {
                    self.tell(&user, UserEvent::Closed(ConnId(conn)));
                    if self.users[&user].is_idle() {
                        self.users.remove(&user);
                    }
                }
            }
            if !moved {
                return self.collect();
            }
        }
    }

    fn tell(&mut self, user: &Key, event: UserEvent) {
        let (deliver, limits) = (self.config.deliver, &self.limits);
        let entry = self
            .users
            .entry(user.clone())
            .or_insert_with(|| Checked::idle(User::new(user.clone(), deliver, limits)));
        let actions = entry.step(self.now, event);
        self.perform(user, actions);
    }

    pub(super) fn expel(&mut self, user: &str) {
        self.tell(&key(user), UserEvent::Expelled);
        self.settle();
    }

    fn perform(&mut self, user: &Key, actions: Vec<UserAction>) {
        for action in actions {
            match action {
                UserAction::Answer { conn, ticket, answer, audience } => {
                    self.order(conn, ServerCommand::Answer { ticket, answer, audience });
                }
                UserAction::Refuse { conn, ticket, fault } => {
                    self.order(conn, ServerCommand::Refuse { ticket, fault });
                }
                UserAction::SetMode { conn, mode } => self.order(conn, ServerCommand::SetMode(mode)),
                UserAction::Login { session, operation, .. } => {
                    assert!(!operation.is_empty());
                    if self.login_delay.is_zero() {
                        let answer = self.login_answer.clone();
                        self.tell(user, UserEvent::LoggedIn { session, answer });
                    } else {
                        self.logins.push((self.now + self.login_delay, user.clone(), session));
                    }
                }
                UserAction::Call { session, conn, ticket, operation, name, data } => {
                    let answer = backend(user, &name, &data, &operation);
                    self.calls.push((session, name));
                    let audience = Audience::User;
                    self.order(conn, ServerCommand::Answer { ticket, answer, audience });
                }
                UserAction::Route(route) => _ = self.ask_hub(u64::MAX, route),
                UserAction::Ended(session) => self.ended.push(session),
            }
        }
    }

    fn order(&mut self, conn: ConnId, command: ServerCommand) {
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&conn.0) {
            peer.station.command(now, command);
        }
    }
}

/// What the recorded program's stand-in answers.
fn backend(user: &Key, name: &str, data: &str, operation: &str) -> Answer {
    match name {
        "GetSelfUserInfo" => Answer::success(json!({"userID": user.to_string(), "nickname": ""}).to_string()),
        "DeleteFriend" => Fault::Parameter.into(),
        _ => Answer::success(json!({"args": [data, operation], "fn": name}).to_string()),
    }
}

/// A reply as a test writes it down.
pub(super) fn reply(event: &str, code: i32, message: &str, data: &str, operation: &str) -> Value {
    json!({"event": event, "errCode": code, "errMsg": message, "data": data, "operationID": operation})
}
