//! The IM dialect: doors, sessions and their backend on a gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use linkspan_core::im::{
    Answer, Arguments, Audience, Checks, Client, Deliver, Door, DoorAction, DoorConfig, DoorEvent, Fault,
    Places, Proof, Rejection, Server, ServerCommand, ServerConfig, SessionId, Start, Token, UpgradeCheck,
    User, UserAction, UserEvent, Visitor, limits,
};
use linkspan_core::{
    Actions, CloseReason, ConnId, Delivery, Instant, Key, Machine, Mark, Overflow, Push, Route, To, drain,
};

use super::agenda::What;
use super::branch::Branch;
use super::end::Actor;
use super::im_apps::{Desk as ServerApp, User as UserApp};
use super::plan::{Settings, salted};
use super::sim::Sim;
use crate::harness::Checked;

/// Something that the backend does later.
#[derive(Debug)]
enum Later {
    TokenChecked(usize, [u8; 32], Verdict),
    LoggedIn(Key, SessionId),
    Answer(ConnId, linkspan_core::im::Ticket, String, String),
    /// The deadline of a user's session.
    Deadline(Key),
}

/// What a check of a token ends with.
#[derive(Debug)]
enum Verdict {
    Proven(Proof),
    Refused,
    /// Nobody has answered in time.
    Unknown,
}

/// A handshake under way.
#[derive(Debug)]
struct Visit {
    door: Checked<Door>,
    user: usize,
}

/// Doors and sessions of one gateway.
#[derive(Debug)]
pub(super) struct House {
    checks: Checks,
    places: Places,
    /// Handshakes and connections that have one of them.
    placed: BTreeSet<usize>,
    /// By the id that the connection will have.
    doors: BTreeMap<usize, Visit>,
    users: BTreeMap<Key, Checked<User>>,
    conns: BTreeMap<usize, Key>,
    later: BTreeMap<u64, Later>,
    tokens: u64,
    sessions: BTreeSet<(ConnId, String)>,
}

impl House {
    pub(super) fn new(settings: &Settings, seed: u64) -> Self {
        Self {
            checks: Checks::new(settings.checks(), seed),
            places: settings.places(),
            placed: BTreeSet::new(),
            doors: BTreeMap::new(),
            users: BTreeMap::new(),
            conns: BTreeMap::new(),
            later: BTreeMap::new(),
            tokens: 0,
            sessions: BTreeSet::new(),
        }
    }

    /// A handshake or a connection that had a place has ended.
    fn give_place_back(&mut self, id: usize) {
        if self.placed.remove(&id) {
            self.places.give_back();
        }
    }

    pub(super) fn check_floor(&self) {
        assert!(self.doors.is_empty(), "A9: doors are open");
        let counts = [self.places.taken(), self.placed.len() as u32, self.checks.waiting()];
        assert_eq!(counts, [0; 3], "A9: places or checks are left");
        assert!(self.users.is_empty() && self.conns.is_empty(), "A9: users are left");
        assert!(self.sessions.is_empty(), "F5: the backend still has sessions");
    }

    /// The users who are at the door.
    pub(super) fn visitors(&self) -> Vec<(usize, usize)> {
        self.doors.iter().map(|(id, visit)| (*id, visit.user)).collect()
    }
}

fn session_name(session: SessionId) -> (ConnId, String) {
    (session.conn, format!("{:?}", session.ticket))
}

impl Sim<'_> {
    fn put_off(&mut self, home: usize, span: u64, later: Later) {
        let house = &mut self.gateways[home].house;
        house.tokens += 1;
        house.later.insert(house.tokens, later);
        let token = house.tokens;
        self.agenda.enter(self.now + span, What::Session(home, token));
    }

    /// Time for something that was put off.
    pub(super) fn session(&mut self, home: usize, token: u64) {
        match self.gateways[home].house.later.remove(&token) {
            Some(Later::TokenChecked(id, digest, verdict)) => {
                let gateway = &mut self.gateways[home];
                let proof = if let Verdict::Proven(proof) = &verdict { Some(proof) } else { None };
                let now = gateway.clock(self.now);
                gateway.house.checks.end(now, &digest, proof);
                let event = match verdict {
                    Verdict::Proven(Proof { user, platform, .. }) => {
                        DoorEvent::TokenChecked { user, platform }
                    }
                    Verdict::Refused => DoorEvent::TokenRefused,
                    Verdict::Unknown => DoorEvent::TokenUnknown,
                };
                if !gateway.house.doors.contains_key(&id) {
                    self.pass(Branch::TokenAfterDoor);
                }
                self.tell_door(home, id, Some(event));
            }
            Some(Later::LoggedIn(user, session)) => {
                let answer = Answer::success("");
                self.tell_user(home, &user, Some(UserEvent::LoggedIn { session, answer }));
            }
            Some(Later::Answer(conn, ticket, name, data)) => self.answer(home, conn, ticket, &name, data),
            Some(Later::Deadline(user)) => self.tell_user(home, &user, None),
            None => {}
        }
    }

    // Doors.

    /// An IM user is at the door.
    pub(super) fn knock(&mut self, index: usize, home: usize) {
        let id = self.reserve_pair();
        let plan = self.users[index].plan;
        let query = format!("sendID={}&token=tok-{}&platformID={}", plan.name, plan.name, 1 + index % 9);
        let mut actions = Actions::new();
        let gateway = &self.gateways[home];
        let now = gateway.clock(self.now);
        let door = Door::new(
            &DoorConfig::default(),
            &gateway.limits,
            Arguments::parse(&query),
            UpgradeCheck::Valid,
            salted(self.plan.seed, id as u64),
            now,
            &mut actions,
        );
        let mut door = Checked::new(door, actions, now, usize::MAX).without_digests();
        let actions = door.begin();
        self.trace.tell(self.now, || [format!("g{home}/c{id}"), "door".into(), format!("u{index} {query}")]);
        self.gateways[home].house.doors.insert(id, Visit { door, user: index });
        self.obey_door(home, id, actions);
        self.arm_door(home, id);
    }

    fn arm_door(&mut self, home: usize, id: usize) {
        let gateway = &self.gateways[home];
        if let Some(due) = gateway.house.doors.get(&id).and_then(|visit| visit.door.next_timeout()) {
            self.agenda.enter(gateway.when(due).max(self.now), What::Door(home, id as u64));
        }
    }

    /// Something happens at a door, or its deadline may have come.
    pub(super) fn tell_door(&mut self, home: usize, id: usize, event: Option<DoorEvent>) {
        let now = self.gateways[home].clock(self.now);
        let Some(visit) = self.gateways[home].house.doors.get_mut(&id) else { return };
        let is_late = event.is_none();
        let actions = match event {
            Some(event) => visit.door.step(now, event),
            None => visit.door.timeout(now),
        };
        self.obey_door(home, id, actions);
        if is_late {
            self.arm_door(home, id);
        }
    }

    fn obey_door(&mut self, home: usize, id: usize, actions: Vec<DoorAction>) {
        for action in actions {
            match action {
                DoorAction::Route(route) => self.route_of_door(home, id, &route),
                DoorAction::CheckToken { token, .. } => self.check_token(home, id, &token),
                DoorAction::Upgrade(visitor) => self.upgrade(home, id, visitor),
                DoorAction::Reject(rejection) => {
                    if rejection == Rejection::Unauthorized {
                        self.count_wrong_token(home, id);
                    }
                    self.turn_away(home, id);
                }
                DoorAction::Abort => self.turn_away(home, id),
            }
        }
    }

    /// What a door asks of the hub; before it asks for a place there, the listener itself must have one.
    fn route_of_door(&mut self, home: usize, id: usize, route: &Route) {
        let house = &mut self.gateways[home].house;
        if matches!(route, Route::Reserve { .. }) {
            if let Err((why, mark)) = house.places.take() {
                self.count(mark);
                return self.tell_door(home, id, Some(DoorEvent::Rejected(why)));
            }
            house.placed.insert(id);
        }
        self.route_at(home, Some(id), route);
    }

    /// Where whoever is at a door comes from.
    fn address_at_door(&self, home: usize, id: usize) -> Option<IpAddr> {
        self.gateways[home].house.doors.get(&id).map(|visit| self.users[visit.user].address)
    }

    fn count_wrong_token(&mut self, home: usize, id: usize) {
        let Some(address) = self.address_at_door(home, id) else { return };
        let gateway = &mut self.gateways[home];
        let now = gateway.clock(self.now);
        gateway.gate.count_wrong_token(now, address);
        self.count(Mark::TokenWrong);
    }

    fn check_token(&mut self, home: usize, id: usize, token: &Token) {
        let auth = if self.is_calm() { 0 } else { self.plan.settings.auth };
        let address = self.address_at_door(home, id);
        let gateway = &mut self.gateways[home];
        let now = gateway.clock(self.now);
        if address.is_some_and(|address| !gateway.gate.allows_token(now, address)) {
            self.count(Mark::TokenRate);
            return self.tell_door(home, id, Some(DoorEvent::TooManyFailures));
        }
        let mut digest = [0; 32];
        digest.iter_mut().zip(token.as_str().bytes()).for_each(|(to, from)| *to = from);
        let until = match gateway.house.checks.begin(now, &digest) {
            Start::Proven(Proof { user, platform, .. }) => {
                let event = DoorEvent::TokenChecked { user, platform };
                return self.tell_door(home, id, Some(event));
            }
            Start::Busy(mark) => {
                self.count(mark);
                return self.tell_door(home, id, Some(DoorEvent::TokenUnknown));
            }
            Start::Check { until } => gateway.when(until).saturating_sub(self.now),
        };
        let own = token.as_str().strip_prefix("tok-").unwrap_or_default().to_owned();
        let proven = |user| Verdict::Proven(Proof { user, platform: None, lifetime: None });
        let (span, verdict) = match auth {
            0 => (1_000, proven(own)),
            1 => (self.random.below(4_000_000) as u64, proven(own)),
            2 if self.random.once_in(3) => (1_000, Verdict::Refused),
            2 if self.random.once_in(3) => (1_000, proven("999999".into())),
            3 if self.random.once_in(2) => (until, Verdict::Unknown),
            _ => (1_000, proven(own)),
        };
        self.put_off(home, span.min(until), Later::TokenChecked(id, digest, verdict));
    }

    fn turn_away(&mut self, home: usize, id: usize) {
        let Some(visit) = self.gateways[home].house.doors.remove(&id) else { return };
        self.gateways[home].house.give_place_back(id);
        let user = visit.user;
        let address = self.users[user].address;
        self.gateways[home].gate.release(address);
        self.tell_drain(home, drain::Event::Closed);
        self.users[user].verdict = Some(CloseReason::Overloaded);
        self.retry(user);
    }

    fn upgrade(&mut self, home: usize, id: usize, visitor: Visitor) {
        let Some(user) = self.gateways[home].house.doors.get(&id).map(|visit| visit.user) else { return };
        let name = self.users[user].plan.name.to_string();
        let (key, platform) = (visitor.user.clone(), visitor.badge.device.platform);
        let limits = limits(&self.gateways[home].limits);
        let (here, there) = (self.gateways[home].clock(self.now), self.clock_of(user));
        let config = Arc::new(ServerConfig::default());
        let server = Server::new(config, visitor, salted(self.plan.seed, !(id as u64)));
        let parts = [
            Actor::open(server, ServerApp, Arc::new(limits), here),
            Actor::open(Client::new(&name), UserApp::new(&name), self.plan.settings.client_limits(), there),
        ];
        self.users[user].verdict = None;
        self.gateways[home].house.conns.insert(id, key.clone());
        self.join_at(id, user, home, false, parts);
        if !self.gateways[home].is_accepting {
            self.order_drain(id, CloseReason::Stopping);
        }
        self.tell_door(home, id, Some(DoorEvent::Opened));
        self.gateways[home].house.doors.remove(&id);
        // It may have ended in its first moment.
        if self.gateways[home].house.conns.contains_key(&id) {
            self.tell_user(home, &key, Some(UserEvent::Opened { conn: ConnId(id as u64), platform }));
        }
    }

    /// The hub has something for whoever has no connection (yet, or any more).
    pub(super) fn post_to_door(&mut self, home: usize, id: usize, delivery: &Delivery) {
        let event = match delivery {
            Delivery::Reserved(_) => DoorEvent::Reserved,
            Delivery::Rejected { why, .. } => DoorEvent::Rejected(*why),
            _ => return,
        };
        self.tell_door(home, id, Some(event));
    }

    /// The gateway is gone, or everybody leaves.
    pub(super) fn abort_doors(&mut self, home: usize) {
        for (id, _) in self.gateways[home].house.visitors() {
            self.tell_door(home, id, Some(DoorEvent::Aborted));
            self.turn_away(home, id);
        }
    }

    // Sessions.

    /// An IM connection has ended.
    pub(super) fn im_closed(&mut self, home: usize, id: usize) {
        self.gateways[home].house.give_place_back(id);
        if let Some(user) = self.gateways[home].house.conns.remove(&id) {
            self.tell_user(home, &user, Some(UserEvent::Closed(ConnId(id as u64))));
        }
    }

    /// A client asks for something.
    pub(super) fn im_requested(
        &mut self,
        home: usize,
        id: usize,
        ticket: linkspan_core::im::Ticket,
        request: linkspan_core::im::Request,
    ) {
        if let Some(user) = self.gateways[home].house.conns.get(&id).cloned() {
            let conn = ConnId(id as u64);
            self.tell_user(home, &user, Some(UserEvent::Requested { conn, ticket, request }));
        }
    }

    fn tell_user(&mut self, home: usize, user: &Key, event: Option<UserEvent>) {
        let gateway = &mut self.gateways[home];
        let now: Instant = gateway.clock(self.now);
        let limits = Arc::clone(&gateway.limits);
        let opens = matches!(event, Some(UserEvent::Opened { .. }));
        if opens {
            let new = || {
                let user = User::new(user.clone(), Deliver::AllPlatforms, &limits);
                Checked::idle(user).without_digests()
            };
            gateway.house.users.entry(user.clone()).or_insert_with(new);
        }
        let Some(machine) = gateway.house.users.get_mut(user) else { return };
        let actions = match event {
            Some(event) => machine.step(now, event),
            None => machine.timeout(now),
        };
        let (next, is_idle) = (machine.next_timeout(), machine.is_idle());
        if let Some(due) = next {
            // What fell due while nothing ran has its turn in the next moment; that nothing stays due is checked.
            let span = gateway.when(due).saturating_sub(self.now).max(1);
            self.put_off(home, span, Later::Deadline(user.clone()));
        }
        self.obey_user(home, user, actions);
        if is_idle {
            self.gateways[home].house.users.remove(user);
        }
    }

    fn obey_user(&mut self, home: usize, user: &Key, actions: Vec<UserAction>) {
        let settings = &self.plan.settings;
        let (service, silent) = (settings.service_most(self.is_calm()), settings.silent as usize);
        for action in actions {
            let span = self.random.below(service + 1) as u64;
            let is_silent = silent > 0 && !self.is_calm() && self.random.once_in(silent);
            match action {
                UserAction::Answer { conn, ticket, answer, audience } => {
                    self.order(conn, ServerCommand::Answer { ticket, answer, audience });
                }
                UserAction::Refuse { conn, ticket, fault } => {
                    self.order(conn, ServerCommand::Refuse { ticket, fault });
                }
                UserAction::SetMode { conn, mode } => self.order(conn, ServerCommand::SetMode(mode)),
                UserAction::Login { session, .. } => {
                    let is_new = self.gateways[home].house.sessions.insert(session_name(session));
                    assert!(is_new, "F5: a session begins twice");
                    if !is_silent {
                        self.put_off(home, span, Later::LoggedIn(user.clone(), session));
                    }
                }
                UserAction::Call { conn, ticket, name, data, .. } if !is_silent => {
                    let end = self.ends.get(conn.0 as usize).and_then(Option::as_ref);
                    if end.is_none_or(|end| !self.links[end.link].is_trusted) {
                        self.ledger.distrust(data.as_bytes());
                    }
                    self.put_off(home, span, Later::Answer(conn, ticket, name, data));
                }
                UserAction::Call { .. } => {}
                UserAction::Route(route) => self.route_at(home, None, &route),
                UserAction::Ended(session) => {
                    let was_there = self.gateways[home].house.sessions.remove(&session_name(session));
                    assert!(was_there, "F5: a session ends twice");
                }
            }
        }
    }

    fn order(&mut self, conn: ConnId, command: ServerCommand) {
        let id = conn.0 as usize;
        self.with_part(id, |part, now, desk| part.command_im(now, command, desk));
        self.wake_end(id);
    }

    /// The backend answers: with what it was given, and what was sent goes to whom it is for.
    fn answer(
        &mut self,
        home: usize,
        conn: ConnId,
        ticket: linkspan_core::im::Ticket,
        name: &str,
        data: String,
    ) {
        let sent: Option<serde_json::Value> =
            if name == "SendMessage" { serde_json::from_str(&data).ok() } else { None };
        let field = |field: &str| Some(sent.as_ref()?.get(field)?.as_str()?.to_owned());
        if let (Some(text), Some(to)) = (field("message"), field("recvID"))
            && let Ok(key) = Key::new(to)
        {
            let push = Push::new("OnRecvNewMessage", text.into_bytes(), Overflow::Close);
            self.ledger.is_unordered(push.body());
            self.route_at(home, None, &Route::Publish { to: To::Key(key), push });
        }
        let answer = match name {
            "SendMessage" => Answer::success("sent"),
            "DeleteFriend" => Fault::Parameter.into(),
            _ => Answer::success(data),
        };
        self.order(conn, ServerCommand::Answer { ticket, answer, audience: Audience::User });
    }
}
