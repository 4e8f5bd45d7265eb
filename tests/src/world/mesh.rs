//! Gateways as each other's peers: who reaches which agent, and what each is told of the others'.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use linkspan_core::hub::Address;
use linkspan_core::hub::directory::{Action, Change, Event, Scope};
use linkspan_core::tunnel::{ClientSession, StreamId, TunnelCommand};
use linkspan_core::{ConnId, Instant, Key, Machine};

use super::agenda::What;
use super::branch::Branch;
use super::gateway::Mesh;
use super::plan::{Kind, Op};
use super::pomelo::key;
use super::sim::Sim;

/// What a gateway wants of one of its tunnels.
#[derive(Clone, Debug)]
pub(super) enum Errand {
    /// A stream of so many bytes, to a target of that kind; through a peer's link with its client's name.
    Dial { client: Option<Key>, bytes: u64, mode: u64 },
    /// A stream to this target, to be tied to one of another tunnel.
    Relay { other: (usize, StreamId), address: Bytes },
    /// The stream's other half is there.
    Tie { stream: StreamId, other: (usize, StreamId) },
    /// There will be no other half.
    Refuse { stream: StreamId },
    /// What the other half has brought.
    Data { stream: StreamId, body: Bytes, cost: u32 },
    /// The same, as it is.
    Pass(TunnelCommand),
    /// Announcements, as soon as there is room for them.
    Say(Vec<Change>),
}

/// What somebody looks for an agent for.
#[derive(Debug)]
pub(super) enum Quest {
    /// A service wants a stream of so many bytes, to a target of that kind.
    Reach { bytes: u64, mode: u64 },
    /// A peer wants this stream of its link to be tied to one of the agent.
    Relay { other: (usize, StreamId), address: Bytes },
}

/// What a gateway's directory must know, according to a plain model, and who waits for its answers.
#[derive(Debug, Default)]
pub(super) struct Guests {
    agents: BTreeMap<Key, BTreeSet<usize>>,
    /// The ends that have heard nothing for a while.
    quiet: BTreeSet<usize>,
    quests: BTreeMap<u64, (Key, Scope, Quest)>,
}

impl Guests {
    fn forget(&mut self, end: usize) {
        self.quiet.remove(&end);
        self.agents.retain(|_, ends| {
            ends.remove(&end);
            !ends.is_empty()
        });
    }

    fn has(&self, client: &Key) -> bool {
        self.agents.contains_key(client)
    }

    fn has_lively(&self, client: &Key) -> bool {
        self.agents.get(client).is_some_and(|ends| !ends.is_subset(&self.quiet))
    }

    fn set_lively(&mut self, end: usize, is_lively: bool) {
        if is_lively {
            self.quiet.remove(&end);
        } else {
            self.quiet.insert(end);
        }
    }
}

/// A gateway's name among its peers.
pub(super) fn peer_name(index: usize) -> Key {
    Key::new(format!("g{index}")).expect("a short name")
}

fn address(id: usize) -> Address<usize> {
    Address { conn: ConnId(id as u64), mailbox: id }
}

impl Sim<'_> {
    /// A tunnel has opened: the directories at its ends hear of it.
    pub(super) fn enlist(&mut self, first: usize, user: usize, home: usize) {
        let plan = self.users[user].plan;
        match plan.kind {
            Kind::Agent | Kind::Original => {
                let (from, client) = (address(first), key(plan.name));
                self.gateways[home].guests.agents.entry(client.clone()).or_default().insert(first);
                self.tell_directory(home, Event::Add { from, client, session: first as i64 });
            }
            Kind::Peer => {
                let own = plan.name as usize;
                self.tell_directory(own, Event::Listen(address(first + 1)));
                self.tell_directory(home, Event::Link { from: address(first), peer: peer_name(own) });
            }
            _ => {}
        }
    }

    /// A session or link is told to end, or has ended: nobody is led to it any more.
    pub(super) fn delist(&mut self, index: usize, end: usize) {
        self.gateways[index].guests.forget(end);
        self.tell_directory(index, Event::Gone(ConnId(end as u64)));
    }

    /// Hands an event to a gateway's directory.
    pub(super) fn tell_directory(&mut self, index: usize, event: Event<usize>) {
        if let Event::Health { conn, is_lively } = &event {
            self.gateways[index].guests.set_lively(conn.0 as usize, *is_lively);
        }
        let before = self.gateways[index].directory.next_timeout();
        self.step_directory(index, |directory, now| directory.step(now, event));
        if self.gateways[index].directory.next_timeout() != before {
            self.arm_directory(index);
        }
    }

    /// The deadline of a gateway's directory may have come.
    pub(super) fn directory_due(&mut self, index: usize) {
        self.step_directory(index, Mesh::timeout);
        self.arm_directory(index);
    }

    fn arm_directory(&mut self, index: usize) {
        let gateway = &self.gateways[index];
        if let Some(due) = gateway.directory.next_timeout() {
            // What fell due while nothing ran has its turn in the next moment; that nothing stays due is checked.
            self.agenda.enter(gateway.when(due).max(self.now + 1), What::Directory(index));
        }
    }

    fn step_directory(&mut self, index: usize, step: impl FnOnce(&mut Mesh, Instant) -> Vec<Action<usize>>) {
        let gateway = &mut self.gateways[index];
        let now = gateway.clock(self.now);
        let actions = step(&mut gateway.directory, now);
        // Before any is performed: what one asks for may end a tunnel that another has found.
        for action in &actions {
            match action {
                Action::Found { ticket, via, is_peer } => {
                    self.check_found(index, *ticket, Some((via.mailbox, *is_peer)));
                }
                Action::NotFound { ticket, .. } => self.check_found(index, *ticket, None),
                _ => {}
            }
        }
        for action in actions {
            match action {
                Action::Found { ticket, via, is_peer } => {
                    self.found(index, ticket, Some((via.mailbox, is_peer)));
                }
                Action::NotFound { ticket, .. } => self.found(index, ticket, None),
                Action::Announce { to, changes } => self.run(to.mailbox, Errand::Say(changes)),
                Action::Close { to, reason } => {
                    self.gateways[index].guests.forget(to.mailbox);
                    self.order_drain(to.mailbox, reason);
                }
                Action::Mark(mark) => self.count(mark),
                other => panic!("directory: {other:?} is new"),
            }
        }
    }

    /// Has a tunnel do something, if it is still there.
    pub(super) fn run(&mut self, id: usize, errand: Errand) {
        if self.ends[id].as_ref().is_some_and(|end| end.phase == super::end::Phase::Open) {
            self.with_part(id, |part, now, desk| part.run(now, errand, desk));
            self.wake_end(id);
        } else {
            self.pass(Branch::ErrandAfterEnd);
        }
    }

    /// Looks for an agent by its name.
    fn seek(&mut self, index: usize, client: Key, scope: Scope, quest: Quest) {
        self.seeks += 1;
        let ticket = self.seeks;
        let patience = if scope == Scope::Anywhere { self.plan.settings.patience } else { 0 };
        let gateway = &mut self.gateways[index];
        let until = (patience > 0).then(|| gateway.clock(self.now + patience));
        gateway.guests.quests.insert(ticket, (client.clone(), scope, quest));
        self.tell_directory(index, Event::Seek { ticket, client, scope, until });
    }

    /// A search is over: what it has found must be what is there.
    fn check_found(&self, index: usize, ticket: u64, found: Option<(usize, bool)>) {
        let guests = &self.gateways[index].guests;
        let Some((client, scope, _)) = guests.quests.get(&ticket) else {
            panic!("E4: search {ticket} has two outcomes");
        };
        let is_here = guests.has(client);
        match found {
            None => assert!(!is_here, "E1: {client} is here and is not found"),
            Some((_, true)) => {
                assert!(*scope == Scope::Anywhere, "E5: {client} would take a second hop");
                assert!(!guests.has_lively(client), "E4: a peer comes before the {client} that is here");
            }
            Some((via, false)) => {
                let ends = guests.agents.get(client);
                let is_right = ends.is_some_and(|ends| ends.contains(&via));
                assert!(is_right, "E1: end {via} is not {client}, or is gone");
            }
        }
    }

    /// A search is over: what it has found is used.
    fn found(&mut self, index: usize, ticket: u64, found: Option<(usize, bool)>) {
        let quest = self.gateways[index].guests.quests.remove(&ticket);
        let Some((client, _, quest)) = quest else { panic!("E4: search {ticket} has two outcomes") };
        let Some((via, is_peer)) = found else {
            if let Quest::Relay { other: (end, stream), .. } = quest {
                self.run(end, Errand::Refuse { stream });
            }
            return;
        };
        self.run(
            via,
            match quest {
                Quest::Reach { bytes, mode } => {
                    Errand::Dial { client: is_peer.then_some(client), bytes, mode }
                }
                Quest::Relay { other, address } => Errand::Relay { other, address },
            },
        );
    }

    /// Somebody wants to reach an agent, wherever it is connected.
    pub(super) fn reach(&mut self, op: Op, home: usize) {
        self.seek(home, key(op.a), Scope::Anywhere, Quest::Reach { bytes: 1_000 << (op.b % 9), mode: op.b });
    }

    /// A dial came over a peer's link: only what is here may be reached by it.
    pub(super) fn forwarded(&mut self, id: usize, client: Key, stream: StreamId, address: Bytes) {
        let Some(index) = self.ends[id].as_ref().and_then(|end| end.gateway) else { return };
        self.seek(index, client, Scope::LocalOnly, Quest::Relay { other: (id, stream), address });
    }

    /// A link says what is not so: names that its gateway does not have, and those of servers.
    pub(super) fn lie(&mut self, link_end: usize, count: u64) {
        let names = (0..count).map(|at| match at % 4 {
            0 => peer_name(at as usize / 4 % self.gateways.len()),
            _ => key(1 + at % 7),
        });
        let lies = names.enumerate().map(|(at, name)| Change {
            session: ClientSession { client: Bytes::copy_from_slice(name.as_bytes()), session: -(at as i64) },
            is_added: at % 5 != 4,
        });
        let lies = lies.collect();
        self.run(link_end, Errand::Say(lies));
    }

    /// Nothing moves between a gateway and its peers; bit 1: towards them, bit 2: from them.
    pub(super) fn split(&mut self, index: usize, until: u64, bits: u64) {
        for id in self.gateways[index].ends.clone() {
            let Some(end) = self.ends[id].as_ref() else { continue };
            if self.users[end.user].plan.kind == Kind::Peer {
                let (link, side) = (end.link, end.side);
                for (way, bit) in [(1 - side, 1), (side, 2)] {
                    if bits & bit != 0 {
                        self.links[link].ways[way].stalled_until = until;
                    }
                }
            }
        }
    }

    /// Every gateway knows of each peer that it has a link from what that peer knows of itself.
    pub(super) fn check_views(&self) {
        for user in self.users.iter().filter(|user| user.plan.kind == Kind::Peer) {
            let Some(end) = user.end.and_then(|id| self.ends[id].as_ref()) else { continue };
            let (Some(own), Some(there)) = (end.gateway, self.ends[end.peer].as_ref()) else { continue };
            let Some(home) = there.gateway.filter(|home| *home != own) else { continue };
            let told = self.gateways[home].directory.announced_on(ConnId(end.peer as u64));
            let told: BTreeSet<(Key, i64)> =
                told.map(|(client, session)| (client.clone(), session)).collect();
            let clients = self.gateways[own].directory.clients();
            let truth: BTreeSet<(Key, i64)> =
                clients.map(|(client, session, _)| (client.clone(), session)).collect();
            // What was too much to be taken in is not told again.
            let is_right = if self.plan.settings.bounds > 1 { told.is_subset(&truth) } else { told == truth };
            assert!(is_right, "E2: gateway {home} takes {told:?} for what gateway {own} has: {truth:?}");
        }
        for gateway in &self.gateways {
            let known: BTreeSet<(Key, usize)> = gateway
                .directory
                .clients()
                .map(|(client, session, _)| (client.clone(), session as usize))
                .collect();
            let agents = gateway.guests.agents.iter();
            let expected: BTreeSet<(Key, usize)> =
                agents.flat_map(|(client, ends)| ends.iter().map(|end| (client.clone(), *end))).collect();
            assert_eq!(known, expected, "F1: gateway {}'s directory and its model differ", gateway.index);
            assert!(gateway.guests.quests.is_empty(), "L: searches are open at gateway {}", gateway.index);
        }
    }
}
