//! The world itself: nodes, links and users in one agenda.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use linkspan_core::backoff::Backoff;
use linkspan_core::drain;
use linkspan_core::{CloseReason, Machine, Mark};

use super::agenda::{Agenda, What};
use super::branch::Branch;
use super::end::{Desk, End, Phase, Said};
use super::gateway::Gateway;
use super::ledger::Ledger;
use super::link::Link;
use super::plan::{Kind, Plan, Size, UserPlan, salted};
use super::trace::Trace;
use crate::harness::Random;

/// Which part of a run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The plan is under way: nothing bad may happen.
    Safety,
    /// Faults are over: everything has to come to rest.
    Heal,
    /// Everybody leaves: nothing may be left.
    Floor,
}

/// Somebody who connects, does things, and connects again.
#[derive(Debug)]
pub(super) struct User {
    pub(super) plan: UserPlan,
    /// Its own end, while it has one.
    pub(super) end: Option<usize>,
    /// Its gateway's end, also when it has none itself any more; 0 if there was none.
    pub(super) server: usize,
    pub(super) is_ready: bool,
    /// Since when it is ready.
    pub(super) since: u64,
    pub(super) is_connecting: bool,
    /// Whether what it sends on lines from now on arrives as it was sent.
    pub(super) is_trusted: bool,
    /// What its lines do to what it sends, and to what it hears.
    pub(super) spoils: [usize; 2],
    pub(super) backoff: Backoff,
    /// Which gateway it tries next.
    pub(super) next_home: usize,
    /// Why its last connection ended, or was not let in.
    pub(super) verdict: Option<CloseReason>,
    pub(super) address: IpAddr,
}

/// The world.
pub(super) struct Sim<'p> {
    pub(super) plan: &'p Plan,
    pub(super) now: u64,
    pub(super) agenda: Agenda,
    pub(super) ends: Vec<Option<Box<End>>>,
    pub(super) links: Vec<Link>,
    pub(super) gateways: Vec<Gateway>,
    pub(super) users: Vec<User>,
    pub(super) ledger: Ledger,
    pub(super) marks: BTreeMap<Mark, u64>,
    /// How often connections ended for which reason.
    pub(super) reasons: BTreeMap<String, u64>,
    /// How often each branch was taken.
    pub(super) branches: BTreeMap<Branch, u64>,
    pub(super) random: Random,
    pub(super) said: Vec<Said>,
    pub(super) trace: Trace,
    pub(super) stage: Stage,
    pub(super) lives: u64,
    pub(super) events: u64,
    /// How often an agent was looked for.
    pub(super) seeks: u64,
}

/// More than this is no longer a life but a spin.
const EVENTS_MAX: u64 = 3_000_000;
/// The same for thousands of users, or for a week.
const EVENTS_MAX_LARGE: u64 = 60_000_000;

impl<'p> Sim<'p> {
    pub(super) fn new(plan: &'p Plan, is_told: bool) -> Self {
        let mut sim = Self {
            plan,
            now: 0,
            agenda: Agenda::default(),
            // Ids count from 1, so that none is a default.
            ends: vec![None],
            links: Vec::new(),
            gateways: (0..plan.settings.gateways as usize).map(|at| Gateway::new(at, 0, plan)).collect(),
            users: Vec::new(),
            ledger: Ledger::default(),
            marks: BTreeMap::new(),
            reasons: BTreeMap::new(),
            branches: BTreeMap::new(),
            random: Random::new(salted(plan.seed, 4)),
            said: Vec::new(),
            trace: Trace::new(is_told),
            stage: Stage::Safety,
            lives: 0,
            events: 0,
            seeks: 0,
        };
        for (index, user) in plan.users.iter().enumerate() {
            let host = index as u64 % plan.settings.addresses.max(1);
            sim.users.push(User {
                plan: *user,
                end: None,
                server: 0,
                is_ready: false,
                since: 0,
                is_connecting: true,
                is_trusted: true,
                spoils: [0; 2],
                backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(15))
                    .with_jitter(salted(plan.seed, 5 + index as u64)),
                next_home: user.home,
                verdict: None,
                address: match user.kind {
                    // What counts per address does not count between gateways.
                    Kind::Peer => IpAddr::V4(Ipv4Addr::LOCALHOST),
                    _ => IpAddr::V4(Ipv4Addr::new(10, 1, 0, host as u8)),
                },
            });
            sim.agenda.enter(user.at, What::Connect(index));
        }
        for (index, op) in plan.ops.iter().enumerate() {
            sim.agenda.enter(op.at, What::Op(index));
        }
        for (index, fault) in plan.faults.iter().enumerate() {
            sim.agenda.enter(fault.at, What::Harm(index));
        }
        sim
    }

    /// Lets everything happen up to `until`.
    pub(super) fn run_until(&mut self, until: u64) {
        while let Some((at, what)) = self.agenda.next(until) {
            self.now = self.now.max(at);
            self.events += 1;
            let most = match self.plan.size {
                Size::Lite | Size::Cluster => EVENTS_MAX,
                Size::Crowd | Size::Long => EVENTS_MAX_LARGE,
            };
            assert!(self.events < most, "A3: the world does not come to rest");
            self.trace.mix(self.now);
            self.happen(what);
        }
        self.now = until;
    }

    fn happen(&mut self, what: What) {
        if let Some(thaw) = self.frozen(what) {
            return self.agenda.enter(thaw, what);
        }
        match what {
            What::Turn(end) => self.turn(end),
            What::Timer(end) => self.timer(end),
            What::Arrive(link, side) => self.arrive(link, side),
            What::Wake(end, token) => _ = self.wake(end, token),
            What::Answer(end, token) => {
                let is_heard = self.wake(end, token);
                self.pass_if(!is_heard, Branch::AnswerAfterEnd);
            }
            What::Op(index) => self.op(index),
            What::Harm(index) => self.harm(index),
            What::Cure(index) => self.cure(index),
            What::Connect(user) => self.connect(user),
            What::Restart(gateway) => self.restart(gateway),
            What::Draining(gateway) => self.draining(gateway),
            What::Door(home, id) => self.tell_door(home, id as usize, None),
            What::Web(gateway, token) => self.web(gateway, token),
            What::Directory(gateway) => self.directory_due(gateway),
            What::Session(home, token) => self.session(home, token),
        }
    }

    /// Until when that cannot happen, because the gateway stands still or the task gets no turn.
    fn frozen(&self, what: What) -> Option<u64> {
        let until = match what {
            What::Turn(end) | What::Timer(end) | What::Wake(end, _) | What::Answer(end, _) => {
                let end = self.ends[end].as_ref()?;
                let frozen = end.gateway.map_or(0, |gateway| self.gateways[gateway].frozen_until);
                frozen.max(end.naps_until)
            }
            What::Draining(gateway)
            | What::Door(gateway, _)
            | What::Directory(gateway)
            | What::Web(gateway, _)
            | What::Session(gateway, _) => self.gateways[gateway].frozen_until,
            _ => return None,
        };
        // What is put right lets everything go on at once.
        let until = until.min(self.plan.settings.heal);
        (until > self.now).then_some(until)
    }

    // Machines.

    /// Lets the part of an end do something, and does what it asks for.
    pub(super) fn with_part<F>(&mut self, id: usize, act: F)
    where
        F: FnOnce(
            &mut dyn super::end::Part,
            linkspan_core::Instant,
            &mut Desk<'_>,
        ) -> Vec<crate::memory::line::Effect>,
    {
        let Self { ends, gateways, links, plan, ledger, agenda, random, said, now, stage, .. } = self;
        let Some(end) = ends[id].as_mut() else { return };
        let clock = end.gateway.map_or_else(
            || linkspan_core::Instant::from_micros(*now),
            |gateway| gateways[gateway].clock(*now),
        );
        let mut desk = Desk {
            time: *now,
            end: id,
            peer: end.peer,
            is_trusted: links[end.link].is_trusted,
            is_forged: links[end.link].is_forged(),
            gateway: end.gateway.map(|gateway| &mut gateways[gateway]),
            plan,
            ledger,
            agenda,
            random,
            said,
            is_calm: *stage > Stage::Safety,
        };
        let effects = act(&mut *end.part, clock, &mut desk);
        // What follows from the effects may let others speak.
        let said = std::mem::take(&mut self.said);
        self.perform(id, effects);
        for said in said {
            self.hear(id, said);
        }
    }

    fn hear(&mut self, id: usize, said: Said) {
        let Some(end) = &self.ends[id] else { return };
        let user = end.user;
        match said {
            Said::Ready => {
                self.users[user].is_ready = true;
                self.users[user].since = self.now;
            }
            Said::Directory(event) => {
                if let Some(index) = end.gateway {
                    self.tell_directory(index, event);
                }
            }
            Said::Forwarded(client, stream, address) => self.forwarded(id, client, stream, address),
            Said::Counted(mark) => self.count(mark),
            Said::Passed(branch) => self.pass(branch),
            Said::Goodbye => self.links[end.link].has_goodbye = true,
            Said::Errand(to, errand) => self.run(to, errand),
            Said::Requested(ticket, request) => {
                if let Some(home) = end.gateway {
                    self.im_requested(home, id, ticket, request);
                }
            }
        }
    }

    /// Whether everything goes well from now on.
    pub(super) fn is_calm(&self) -> bool {
        self.stage > Stage::Safety
    }

    pub(super) fn count(&mut self, mark: Mark) {
        *self.marks.entry(mark).or_default() += 1;
        self.trace.mix(mark as u64);
    }

    // Turns and timers.

    /// Gives the task of an end a turn.
    pub(super) fn wake_end(&mut self, id: usize) {
        let busy = self.plan.settings.busy as usize;
        let Some(end) = self.ends[id].as_mut() else { return };
        if end.phase != Phase::Gone && !std::mem::replace(&mut end.has_turn, true) {
            let wait = if busy == 0 { 0 } else { self.random.below(busy) as u64 };
            self.agenda.enter(self.now + wait, What::Turn(id));
        }
    }

    fn timer(&mut self, id: usize) {
        let now = self.now;
        let Some(end) = self.ends[id].as_mut() else { return };
        if end.armed.is_some_and(|armed| armed <= now) {
            end.armed = None;
            self.wake_end(id);
        }
    }

    /// Gives whether the connection is still there.
    fn wake(&mut self, id: usize, token: u64) -> bool {
        let is_open = self.ends[id].as_ref().is_some_and(|end| end.phase == Phase::Open);
        if is_open {
            self.with_part(id, |part, now, desk| part.wake(now, token, desk));
            self.wake_end(id);
        }
        is_open
    }

    /// When the clock of the node where this end is will show the end's deadline.
    pub(super) fn deadline(&self, end: &End) -> Option<u64> {
        if let Phase::Flushing(until) = end.phase {
            return Some(until);
        }
        let due = end.part.next_timeout()?;
        Some(end.gateway.map_or(due.as_micros(), |gateway| self.gateways[gateway].when(due)))
    }

    /// Sees to it that an end is woken at its deadline: a bit late, and never early.
    pub(super) fn arm(&mut self, id: usize) {
        let Some(end) = &self.ends[id] else { return };
        let Some(due) = self.deadline(end).filter(|due| *due < u64::MAX / 4) else { return };
        let armed = end.armed;
        if armed.is_none_or(|armed| due < armed) {
            let late = self.plan.settings.late as usize;
            let late = if late == 0 { 0 } else { self.random.below(late) as u64 };
            let at = due.max(self.now) + late;
            if armed.is_none_or(|armed| at < armed) {
                self.agenda.enter(at, What::Timer(id));
                if let Some(end) = self.ends[id].as_mut() {
                    end.armed = Some(at);
                }
            }
        }
    }

    fn arrive(&mut self, link: usize, side: usize) {
        let link = &mut self.links[link];
        link.ways[side].arrival = None;
        let end = link.ends[side];
        self.wake_end(end);
    }

    /// Enters the next arrival at one side of a link.
    pub(super) fn expect(&mut self, link: usize, side: usize) {
        let now = self.now;
        let way = &mut self.links[link].ways[side];
        if let Some(at) = way.next().map(|at| at.max(now))
            && way.arrival.is_none_or(|entered| at < entered)
        {
            way.arrival = Some(at);
            self.agenda.enter(at, What::Arrive(link, side));
        }
    }

    // Gateways.

    pub(super) fn restart(&mut self, index: usize) {
        if self.gateways[index].is_up {
            return;
        }
        self.lives += 1;
        self.gateways[index] = Gateway::new(index, self.lives, self.plan);
        self.trace.tell(self.now, || [format!("g{index}"), "start".into(), String::new()]);
    }

    /// The machine that stops a gateway gets on.
    pub(super) fn draining(&mut self, index: usize) {
        let gateway = &mut self.gateways[index];
        let now = gateway.clock(self.now);
        let Some(drain) = &mut gateway.drain else { return };
        let actions = drain.timeout(now);
        self.obey_drain(index, actions);
    }

    pub(super) fn tell_drain(&mut self, index: usize, event: drain::Event) {
        let gateway = &mut self.gateways[index];
        let now = gateway.clock(self.now);
        let Some(drain) = &mut gateway.drain else { return };
        let actions = drain.step(now, event);
        self.obey_drain(index, actions);
    }

    fn obey_drain(&mut self, index: usize, actions: Vec<drain::Action>) {
        for action in actions {
            let ends: Vec<usize> = self.gateways[index].ends.iter().copied().collect();
            match action {
                drain::Action::StopAccepting => self.gateways[index].is_accepting = false,
                drain::Action::DrainSome(count) => {
                    let untold = ends.into_iter().filter(|id| {
                        self.ends[*id]
                            .as_ref()
                            .is_some_and(|end| end.drain.is_none() && end.phase == Phase::Open)
                    });
                    let some: Vec<usize> = untold.take(count as usize).collect();
                    for id in some {
                        self.order_drain(id, CloseReason::Stopping);
                    }
                }
                drain::Action::AbortAll => ends.into_iter().for_each(|id| self.order_abort(id)),
                // The process is over, and takes with it whoever is not through yet.
                drain::Action::Finished => {
                    self.check_stopped(index);
                    return self.crash(index, true);
                }
                other => panic!("drain: {other:?} is new"),
            }
        }
        let gateway = &self.gateways[index];
        let due = gateway.drain.as_ref().and_then(|drain| drain.next_timeout());
        if let Some(due) = due {
            // What fell due while nothing ran has its turn in the next moment; that nothing stays due is checked.
            self.agenda.enter(gateway.when(due).max(self.now + 1), What::Draining(index));
        }
    }

    pub(super) fn order_drain(&mut self, id: usize, reason: CloseReason) {
        self.notice_stop(id);
        if let Some(end) = self.ends[id].as_mut() {
            end.drain.get_or_insert(reason);
            end.told.get_or_insert(reason);
            if let Some(gateway) = end.gateway.filter(|_| end.side == 0) {
                self.delist(gateway, id);
            }
            self.wake_end(id);
        }
    }

    pub(super) fn order_abort(&mut self, id: usize) {
        if let Some(end) = self.ends[id].as_mut() {
            end.abort = Some(CloseReason::Overloaded);
            self.wake_end(id);
        }
    }
}
