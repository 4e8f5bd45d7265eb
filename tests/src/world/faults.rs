//! What goes wrong, and how it is put right.

use linkspan_core::{CloseReason, drain};

use super::agenda::What;
use super::plan::{Fault, Harm, Kind, salted};
use super::sim::Sim;

impl Sim<'_> {
    /// A fault begins.
    pub(super) fn harm(&mut self, index: usize) {
        let fault = self.plan.faults[index];
        let Fault { harm, whom, span, extra, .. } = fault;
        self.trace
            .tell(self.now, || ["FAULT".into(), harm.to_string(), format!("{whom} for {span} µs, {extra}")]);
        if !harm.is_of_user() {
            if whom < self.gateways.len() {
                self.harm_gateway(index, fault);
            }
        } else if whom < self.users.len() {
            self.harm_user(index, fault);
        }
    }

    fn harm_user(&mut self, index: usize, fault: Fault) {
        let Fault { harm, whom, span, extra, .. } = fault;
        let until = self.now + span;
        let user = &mut self.users[whom];
        let harm = if harm == Harm::Forge && !user.plan.kind.is_ours() { Harm::Spoil } else { harm };
        if let Harm::Spoil | Harm::Forge = harm {
            user.spoils[usize::from(harm == Harm::Forge)] = extra as usize;
            user.is_trusted = false;
        }
        let Some(client) = user.end else { return };
        let Some((link, server)) = self.ends[client].as_ref().map(|end| (end.link, end.peer)) else { return };
        let line = &mut self.links[link];
        match harm {
            Harm::Cut => self.cut(link),
            Harm::Half => {
                for (side, bit) in [(0, 1), (1, 2)] {
                    if extra & bit != 0 {
                        line.ways[side].die();
                    }
                }
            }
            Harm::Stall => line.ways.iter_mut().for_each(|way| way.stalled_until = until),
            Harm::Slow => {
                line.ways.iter_mut().for_each(|way| way.slowness = extra);
                self.agenda.enter(until, What::Cure(index));
            }
            Harm::Spoil | Harm::Forge => line.spoil(self.users[whom].spoils),
            Harm::Deaf => self.hold(client, until, |end| &mut end.deaf_until),
            Harm::Lie if self.users[whom].plan.kind == Kind::Peer => {
                self.users[whom].is_trusted = false;
                line.is_trusted = false;
                self.lie(client, extra);
            }
            Harm::Nap => self.hold(server, until, |end| &mut end.naps_until),
            _ => {}
        }
    }

    /// Keeps an end from something until then.
    fn hold(&mut self, id: usize, until: u64, what: impl FnOnce(&mut super::end::End) -> &mut u64) {
        if let Some(end) = self.ends[id].as_mut() {
            *what(end) = until;
            self.agenda.enter(until, What::Turn(id));
        }
    }

    /// The line is reset: both sides are told, and what was on its way is lost.
    pub(super) fn cut(&mut self, link: usize) {
        let line = &mut self.links[link];
        line.reset = [true; 2];
        line.ways.iter_mut().for_each(super::link::Way::clear);
        for id in line.ends {
            self.wake_end(id);
        }
    }

    fn harm_gateway(&mut self, index: usize, fault: Fault) {
        let Fault { harm, whom, span, extra, .. } = fault;
        let until = self.now + span;
        let now = self.now;
        let gateway = &mut self.gateways[whom];
        if !gateway.is_up {
            return;
        }
        match harm {
            Harm::Freeze => {
                gateway.frozen_until = until;
                gateway.put_off_stop(until, 0);
            }
            Harm::Exhaust => gateway.exhausted_until = until,
            Harm::Skew => {
                gateway.put_off_stop(0, 0);
                // A clock that is turned back stands still for the machines: that is time in which they find out nothing.
                let back = span.min(10_000_000) as i64;
                if extra == 0 {
                    gateway.skew += span as i64;
                } else if !std::mem::replace(&mut gateway.was_turned_back, true) {
                    gateway.skew -= back;
                    gateway.put_off_stop(0, back as u64);
                }
                let ends: Vec<usize> = gateway.ends.iter().copied().collect();
                ends.into_iter().for_each(|id| self.wake_end(id));
            }
            Harm::NodeUp | Harm::NodeDown => {
                let marks = gateway.node(extra, harm == Harm::NodeUp, now);
                marks.into_iter().for_each(|mark| self.count(mark));
            }
            Harm::Roll => {
                let seed = salted(self.plan.seed, 7 + index as u64);
                gateway.begin_drain(seed, now);
                self.notice_roll(whom);
                self.tell_drain(whom, drain::Event::Order { reason: CloseReason::Stopping });
                self.agenda.enter(until, What::Cure(index));
            }
            Harm::Crash => {
                self.crash(whom, extra == 1);
                self.agenda.enter(until, What::Restart(whom));
            }
            Harm::Upstream => self.drop_upstream(whom, until, extra),
            Harm::Split => self.split(whom, until, extra),
            Harm::Partition => self.partition(whom, until, extra),
            _ => {}
        }
    }

    /// Nothing moves between a gateway and one half of its users. What was sent arrives in the end, as TCP sees to it.
    fn partition(&mut self, index: usize, until: u64, half: u64) {
        for id in self.gateways[index].ends.clone() {
            let Some((link, user)) = self.ends[id].as_ref().map(|end| (end.link, end.user)) else { continue };
            if user as u64 % 2 == half % 2 {
                self.links[link].ways.iter_mut().for_each(|way| way.stalled_until = until);
            }
        }
    }

    /// A process is gone, with everything in it.
    pub(super) fn crash(&mut self, index: usize, is_loud: bool) {
        self.gateways[index].is_up = false;
        let mut left = Vec::new();
        for id in std::mem::take(&mut self.gateways[index].ends) {
            self.notice_crash(id);
            let Some(end) = self.ends[id].take() else { continue };
            if end.side == 1 {
                left.push(end.user);
            }
            self.ledger.gateway_gone(id);
            self.ledger.streams.end_gone(id);
            let line = &mut self.links[end.link];
            if is_loud {
                line.reset = [true; 2];
                line.ways.iter_mut().for_each(super::link::Way::clear);
                self.wake_end(end.peer);
            } else {
                line.ways.iter_mut().for_each(super::link::Way::die);
            }
        }
        self.web_crashed(index);
        let visitors = self.gateways[index].house.visitors();
        self.lives += 1;
        let mut fresh = super::gateway::Gateway::new(index, self.lives, self.plan);
        fresh.is_up = false;
        self.gateways[index] = fresh;
        visitors.into_iter().for_each(|(_, user)| self.retry(user));
        for user in left {
            (self.users[user].end, self.users[user].is_ready) = (None, false);
            self.retry(user);
        }
    }

    /// A fault is over.
    pub(super) fn cure(&mut self, index: usize) {
        let Fault { harm, whom, .. } = self.plan.faults[index];
        match harm {
            Harm::Slow => {
                let link = self.users[whom].end.and_then(|id| self.ends[id].as_ref()).map(|end| end.link);
                if let Some(link) = link {
                    self.links[link].ways.iter_mut().for_each(|way| way.slowness = 0);
                }
            }
            // A gateway that is not yet through with its stop is given the time that it needs.
            Harm::Roll if self.gateways[whom].drain.is_some() => {
                assert!(self.now <= self.gateways[whom].stops_by, "G8: gateway {whom} is still not down");
                self.agenda.enter(self.now + 1_000_000, What::Cure(index));
            }
            Harm::Roll => self.restart(whom),
            _ => {}
        }
    }

    /// A hostile user's line is cut; whoever comes back is well-behaved.
    fn drop_hostile(&mut self, index: usize) {
        let user = &mut self.users[index];
        (user.spoils, user.is_trusted) = ([0; 2], true);
        if let Some(link) = user.end.and_then(|id| self.ends[id].as_ref()).map(|end| end.link) {
            self.cut(link);
        }
    }

    /// Puts everything right that can be put right. Lines that are dead stay dead: that has to be found out.
    pub(super) fn heal(&mut self) {
        let now = self.now;
        for index in 0..self.gateways.len() {
            self.heal_web(index);
            let gateway = &mut self.gateways[index];
            gateway.frozen_until = now;
            gateway.exhausted_until = now;
            if gateway.drain.is_none() {
                self.restart(index);
            }
        }
        for (index, link) in self.links.iter_mut().enumerate() {
            for (side, way) in link.ways.iter_mut().enumerate() {
                way.stalled_until = way.stalled_until.min(now);
                way.hasten(now);
                way.slowness = 0;
                way.spoils = 0;
                way.arrival = None;
                self.agenda.enter(now, What::Arrive(index, side));
            }
        }
        for id in 0..self.ends.len() {
            if let Some(end) = self.ends[id].as_mut() {
                end.naps_until = now;
                end.deaf_until = now;
                self.wake_end(id);
            }
        }
        for index in 0..self.users.len() {
            if !self.users[index].is_trusted {
                self.drop_hostile(index);
            }
            if self.users[index].end.is_none() && !self.users[index].is_connecting {
                self.users[index].is_connecting = true;
                let wait = 100_000 * (1 + index as u64);
                self.agenda.enter(now + wait, What::Connect(index));
            }
        }
    }
}
