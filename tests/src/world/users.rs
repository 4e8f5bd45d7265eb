//! Users: how they connect, what they do, how they come back.

use std::sync::Arc;
use std::time::Duration;

use linkspan_core::edge::Origins;
use linkspan_core::hub::Admission;
use linkspan_core::tunnel::{Role, Tunnel};
use linkspan_core::{CloseReason, Mark, Opcode, Route, To, Violation, chat, drain, pomelo};

use super::agenda::What;
use super::branch::{Branch, Wires};
use super::chat::{Room, Watch, Watcher};
use super::end::{Actor, End, Outbox, Part, Phase};
use super::link::{Cuts, Link, Nature};
use super::original::Original;
use super::plan::{Kind, Op, Verb, salted};
use super::pomelo::{Services, User as PomeloUser, group, key, service_push};
use super::sim::{Sim, Stage};
use super::tunnel::Streams;

/// Who does something: the plan names the user, but some things are its gateway's or a service's to do.
enum Doer {
    User,
    Gateway,
    Service,
}

fn doer(kind: Kind, verb: Verb) -> Doer {
    match (kind, verb) {
        (_, Verb::Push | Verb::Clear | Verb::Reach | Verb::Fetch) => Doer::Service,
        (_, Verb::Kick | Verb::Dial) => Doer::Gateway,
        (Kind::Chat | Kind::Im, Verb::Join | Verb::Leave) => Doer::Gateway,
        (Kind::Watcher, Verb::Join | Verb::Leave | Verb::Bind | Verb::Unbind) => Doer::Gateway,
        _ => Doer::User,
    }
}

/// Where the pages of users come from.
const HOME_PAGE: &str = "https://game.example";
/// And where those come from that have no business here.
const FOREIGN: [&str; 5] = [
    "http://game.example",
    "https://game.example:444",
    "https://game.example.evil.example",
    "https://gateway.example@evil.example",
    "null",
];

impl super::sim::User {
    /// The gateway that the user's own end is on: that of a peer's link.
    pub(super) fn own_gateway(&self) -> Option<usize> {
        (self.plan.kind == Kind::Peer).then_some(self.plan.name as usize)
    }
}

impl Sim<'_> {
    /// A user tries to connect.
    pub(super) fn connect(&mut self, index: usize) {
        let now = self.now;
        let user = &mut self.users[index];
        user.is_connecting = false;
        if user.end.is_some() || self.stage == Stage::Floor {
            return;
        }
        let home = user.next_home % self.gateways.len();
        user.next_home = home;
        let address = user.address;
        // A peer's links are its gateway's: they come and go with it.
        let own = (user.plan.kind == Kind::Peer).then_some(user.plan.name as usize);
        if own.is_some_and(|own| !self.gateways[own].is_up || !self.gateways[own].is_accepting) {
            self.users[index].next_home = self.users[index].plan.home;
            return self.retry(index);
        }
        let user = &mut self.users[index];
        let gateway = &mut self.gateways[home];
        if gateway.frozen_until > now {
            // The connection waits in the backlog.
            user.is_connecting = true;
            let thaw = gateway.frozen_until.min(self.plan.settings.heal.max(now + 1));
            return self.agenda.enter(thaw, What::Connect(index));
        }
        if !gateway.is_up || !gateway.is_accepting {
            user.next_home += usize::from(own.is_none());
            return self.retry(index);
        }
        if gateway.exhausted_until > now {
            let wait = gateway.backoff.next_delay().as_micros() as u64;
            user.is_connecting = true;
            self.count(Mark::AcceptFailed);
            return self.agenda.enter(now + wait, What::Connect(index));
        }
        gateway.backoff.reset();
        let clock = gateway.clock(now);
        if let Err((reason, mark)) = gateway.gate.admit(clock, address) {
            self.users[index].verdict = Some(reason);
            self.trace.tell(now, || [format!("u{index}"), "refused".into(), mark.name().into()]);
            self.count(mark);
            return self.retry(index);
        }
        if !self.has_known_origin(index) {
            self.gateways[home].gate.release(address);
            self.users[index].verdict = Some(CloseReason::Overloaded);
            self.count(Mark::OriginRefused);
            return self.retry(index);
        }
        self.tell_drain(home, drain::Event::Opened);
        self.users[index].verdict = None;
        match self.users[index].plan.kind {
            Kind::Im => self.knock(index, home),
            _ => self.open_pair(index, home),
        }
    }

    /// Whether the page that a user sits at may connect; others are no pages.
    fn has_known_origin(&mut self, index: usize) -> bool {
        let foreign = if self.is_calm() { 0 } else { self.plan.settings.foreign as usize };
        let is_page =
            matches!(self.users[index].plan.kind, Kind::PomeloWs | Kind::Chat | Kind::Im | Kind::Watcher);
        if foreign == 0 || !is_page {
            return true;
        }
        let is_foreign = self.random.once_in(foreign);
        let page = if is_foreign { FOREIGN[self.random.below(FOREIGN.len())] } else { HOME_PAGE };
        let is_known =
            Origins::listed([HOME_PAGE]).is_ok_and(|known| known.allows(Some(page), "gateway.example"));
        assert_eq!(is_known, !is_foreign, "F4: a page of {page}");
        is_known
    }

    /// The user comes back after a while.
    pub(super) fn retry(&mut self, index: usize) {
        let user = &mut self.users[index];
        if self.stage != Stage::Floor && !std::mem::replace(&mut user.is_connecting, true) {
            let wait = user.backoff.next_delay().max(Duration::from_millis(1));
            self.trace.tell(self.now, || [format!("u{index}"), "retry".into(), format!("in {wait:?}")]);
            self.agenda.enter(self.now + wait.as_micros() as u64, What::Connect(index));
        }
    }

    /// A link between a user and a gateway, and the connections at its ends.
    fn open_pair(&mut self, index: usize, home: usize) {
        let settings = &self.plan.settings;
        let plan = self.users[index].plan;
        let limits = Arc::clone(&self.gateways[home].limits);
        let (here, there) = (self.gateways[home].clock(self.now), self.clock_of(index));
        let [server, client]: [Box<dyn Part>; 2] = match plan.kind {
            Kind::PomeloTcp | Kind::PomeloWs => {
                let hello =
                    format!(r##"{{"sys":{{"type":"js-websocket"}},"user":{{"name":"#{}#"}}}}"##, plan.name);
                let config = pomelo::ClientConfig {
                    handshake: hello.into(),
                    passive_heartbeat: settings.passive > 0,
                    ..pomelo::ClientConfig::default()
                };
                let client = pomelo::Client::new(Arc::new(config));
                [
                    Actor::open(pomelo::Server::new(settings.pomelo()), Services::default(), limits, here),
                    Actor::open(client, PomeloUser::new(plan.name), settings.client_limits(), there),
                ]
            }
            Kind::Watcher => [
                Actor::open(Watcher::new(true), Watch, limits, here),
                Actor::open(Watcher::new(false), Watch, settings.client_limits(), there),
            ],
            Kind::Agent | Kind::Peer => {
                let own = self.users[index].own_gateway().map(|own| &self.gateways[own].limits);
                let client_limits = own.map_or_else(|| settings.client_limits(), Arc::clone);
                let sides = [(Role::Server, limits, here), (Role::Client, client_limits, there)];
                sides.map(|(role, limits, now)| {
                    let tunnel = Tunnel::new(settings.tunnel(role, plan.kind));
                    let streams = Streams::new(role, plan.kind, &limits);
                    Actor::open(tunnel, streams, limits, now)
                })
            }
            Kind::Original => {
                let server = Tunnel::new(settings.tunnel(Role::Server, plan.kind));
                let streams = Streams::new(Role::Server, plan.kind, &limits);
                [Actor::open(server, streams, limits, here), Box::new(Original::new(there))]
            }
            Kind::Chat | Kind::Im => {
                let client = chat::Client::new(chat::ClientConfig { user: plan.name });
                [
                    Actor::open(chat::Server::new(settings.chat(), plan.name), Room, limits, here),
                    Actor::open(client, super::chat::User, settings.client_limits(), there),
                ]
            }
        };
        self.join(index, home, plan.kind == Kind::PomeloTcp, [server, client]);
    }

    /// What the clock says where the user's own end is.
    pub(super) fn clock_of(&self, index: usize) -> linkspan_core::Instant {
        match self.users[index].own_gateway() {
            Some(own) => self.gateways[own].clock(self.now),
            None => linkspan_core::Instant::from_micros(self.now),
        }
    }

    /// The ids of a gateway's and a user's end, of which there is no connection yet; gives the first.
    pub(super) fn reserve_pair(&mut self) -> usize {
        self.ends.extend([None, None]);
        self.ends.len() - 2
    }

    fn join(&mut self, index: usize, home: usize, is_stream: bool, parts: [Box<dyn Part>; 2]) {
        let first = self.reserve_pair();
        self.join_at(first, index, home, is_stream, parts);
    }

    /// Puts a gateway's and a user's connection at the two ends of a new link.
    pub(super) fn join_at(
        &mut self,
        first: usize,
        index: usize,
        home: usize,
        is_stream: bool,
        parts: [Box<dyn Part>; 2],
    ) {
        let settings = &self.plan.settings;
        let nature = Nature {
            latency: settings.latency,
            jitter: settings.jitter,
            window: settings.window.max(1) as usize,
            cuts: [Cuts::Whole, Cuts::Random, Cuts::Bytes][settings.cuts.min(2) as usize],
        };
        let link = self.links.len();
        let own = self.users[index].own_gateway();
        let is_tunnel = matches!(self.users[index].plan.kind, Kind::Agent | Kind::Original | Kind::Peer);
        let gate = &mut self.gateways[home].gate;
        let mut pace = if is_tunnel { None } else { gate.pace(self.users[index].address) };
        let ids = [first, first + 1];
        let mut line = Link::new(nature, is_stream, salted(self.plan.seed, 1000 + link as u64), ids);
        line.is_trusted = self.users[index].is_trusted;
        line.spoil(self.users[index].spoils);
        line.wires = is_tunnel.then(Wires::default);
        self.links.push(line);
        for (side, part) in parts.into_iter().enumerate() {
            self.ends[ids[side]] = Some(Box::new(End {
                part,
                gateway: if side == 0 { Some(home) } else { own },
                user: index,
                link,
                side,
                since: self.now,
                peer: ids[1 - side],
                outbox: Outbox::default(),
                mailbox: std::collections::VecDeque::new(),
                drain: None,
                told: None,
                abort: None,
                phase: Phase::Open,
                reason: None,
                input_ended: None,
                has_turn: false,
                armed: None,
                naps_until: 0,
                deaf_until: 0,
                address: self.users[index].address,
                pace: if side == 0 { pace.take() } else { None },
                buffered: 0,
            }));
        }
        self.gateways[home].ends.insert(first);
        if let Some(own) = own {
            self.gateways[own].ends.insert(first + 1);
            self.tell_drain(own, drain::Event::Opened);
        }
        self.users[index].end = Some(first + 1);
        self.notice_return(index, first);
        let kind = self.users[index].plan.kind;
        self.tell(first, "open", || format!("{kind} of u{index}"));
        for id in ids {
            self.with_part(id, |part, now, desk| part.begin(now, desk));
            self.wake_end(id);
        }
        self.enlist(first, index, home);
        self.agenda.enter(self.now, What::Wake(first + 1, 0));
    }

    /// The user's end is gone.
    pub(super) fn user_left(
        &mut self,
        index: usize,
        id: usize,
        reason: Option<CloseReason>,
        is_forged: bool,
    ) {
        let user = &mut self.users[index];
        if user.end != Some(id) {
            return;
        }
        user.end = None;
        // Whoever is thrown out again at once must not come back at once.
        if std::mem::take(&mut user.is_ready) && self.now - user.since > 5_000_000 {
            user.backoff.reset();
        }
        let is_peer = user.plan.kind == Kind::Peer;
        user.next_home += usize::from(!is_peer && reason == Some(CloseReason::ConnectionLost));
        let why = user.verdict.or(reason);
        // What only slowness or a cut can do to a connection says nothing about the gateway.
        let is_slowness =
            matches!(reason, Some(CloseReason::Violation(Violation::Unfinished | Violation::Truncated)));
        if let Some(CloseReason::Violation(violation)) = reason.filter(|_| !is_slowness) {
            assert!(is_forged, "B: user {index} was sent what it cannot read: {violation}");
            self.pass(Branch::ForgeryFound);
        }
        // A gateway that cannot reach a peer tries again and again, and who was misled does not know better.
        if is_peer || is_slowness || is_forged || why.is_none_or(CloseReason::may_reconnect) {
            self.retry(index);
        }
    }

    // Deeds.

    pub(super) fn op(&mut self, index: usize) {
        let op = self.plan.ops[index];
        if op.user < self.users.len() {
            self.perform_op(op);
        }
    }

    pub(super) fn perform_op(&mut self, op: Op) {
        let op = match op.verb {
            Verb::Move if self.users[op.user].plan.kind != Kind::Peer => {
                self.users[op.user].next_home += 1;
                Op { verb: Verb::HangUp, a: 0, ..op }
            }
            _ => op,
        };
        let user = &self.users[op.user];
        // What else goes over a peer's link is the gateways' own affair.
        let is_link = user.plan.kind == Kind::Peer;
        if is_link && !matches!(op.verb, Verb::HangUp | Verb::Kick | Verb::Reach | Verb::Fetch) {
            return;
        }
        let client = user.end;
        let server = client.and_then(|id| self.ends[id].as_ref()).map(|end| end.peer);
        let doer = doer(user.plan.kind, op.verb);
        let (is_ready, home, name) = (user.is_ready, user.next_home % self.gateways.len(), user.plan.name);
        let id = match doer {
            Doer::User => client.filter(|_| is_ready),
            Doer::Gateway => server,
            Doer::Service => return self.serve(op, home, name),
        };
        let Some(id) = id.filter(|id| self.ends[*id].as_ref().is_some_and(|end| end.phase == Phase::Open))
        else {
            return;
        };
        if op.verb == Verb::Kick {
            self.notice_kick(id);
        }
        self.tell(id, "do", || format!("{} {} {}", op.verb, op.a, op.b));
        self.with_part(id, |part, now, desk| part.perform(now, &op, desk));
        self.wake_end(id);
    }

    fn serve(&mut self, op: Op, home: usize, name: u64) {
        if !self.gateways[home].is_up {
            return;
        }
        let route = match op.verb {
            Verb::Push => {
                let (_, text) = self.ledger.write(op.a);
                Route::Publish { to: To::Key(key(name)), push: service_push(text, op.b) }
            }
            Verb::Reach => return self.reach(op, home),
            Verb::Fetch => return self.fetch(op, home),
            _ => Route::Close { to: To::Group(group(op.a)), reason: CloseReason::Kicked },
        };
        self.route_at(home, None, &route);
    }

    // The story.

    pub(super) fn tell(&mut self, id: usize, what: &str, detail: impl FnOnce() -> String) {
        if !self.trace.is_told() {
            return;
        }
        let place = self.ends[id].as_ref().map(|end| place(end, id));
        self.trace.tell(self.now, || [place.unwrap_or_default(), what.to_owned(), detail()]);
    }

    pub(super) fn tell_end(&mut self, end: &End, id: usize, what: &str) {
        self.trace.tell(self.now, || [place(end, id), what.to_owned(), String::new()]);
    }

    pub(super) fn tell_bytes(&mut self, id: usize, what: &str, opcode: Opcode, data: &[u8]) {
        if !self.trace.is_told() {
            return;
        }
        let Some(kind) = self.ends[id].as_ref().map(|end| self.users[end.user].plan.kind) else { return };
        let routes = &self.plan.settings.pomelo().dictionary;
        let words = self.trace.along.words((id, what == "send"), kind, routes, (opcode, data));
        self.tell(id, what, || words);
    }

    /// Whether a user may be without a connection: somebody has decided so.
    pub(super) fn may_be_away(&self, index: usize) -> bool {
        let settings = &self.plan.settings;
        let user = &self.users[index];
        let is_single = settings.admission() != Admission::Many;
        match user.verdict {
            // Told to go, or not let in because of a limit or a policy.
            Some(reason) if !reason.may_reconnect() => true,
            Some(CloseReason::Overloaded | CloseReason::AlreadyConnected | CloseReason::SlowConsumer) => true,
            Some(CloseReason::HandshakeRefused) => settings.refuse > 0,
            Some(_) => is_single && user.is_connecting || user.own_gateway() == Some(user.plan.home),
            None => false,
        }
    }
}

/// Where something happens.
fn place(end: &End, id: usize) -> String {
    match end.gateway {
        Some(gateway) => format!("g{gateway}/c{id}"),
        None => format!("u{}/c{id}", end.user),
    }
}
