//! What must hold once faults are over, and once everybody has left.

use std::fmt::Write as _;

use super::end::Phase;
use super::ledger::FRESH;
use super::plan::{Kind, Op, Verb};
use super::sim::{Sim, Stage};

const SECOND: u64 = 1_000_000;

/// How long everything may take to come to rest: three silences, and a minute.
const BOUND: u64 = (3 * 75 + 60) * SECOND;

/// How long before that everybody has to show that it works.
const PROBE: u64 = 50 * SECOND;

impl Sim<'_> {
    /// The whole life of the world.
    pub(super) fn play(&mut self) {
        let heal = self.plan.settings.heal;
        self.run_until(heal);
        self.enter(Stage::Heal);
        self.heal();
        self.run_until(heal + BOUND - PROBE);
        self.probe();
        self.run_until(heal + BOUND);
        self.check_rest();
        self.enter(Stage::Floor);
        self.leave();
        self.run_until(heal + BOUND + 30 * SECOND);
        self.check_floor();
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.trace.tell(self.now, || ["STAGE".into(), format!("{stage:?}"), String::new()]);
    }

    /// Everybody who is there shows that it works.
    fn probe(&mut self) {
        for user in 0..self.users.len() {
            let (name, at) = (self.users[user].plan.name, self.now);
            let op = match self.users[user].plan.kind {
                Kind::PomeloTcp | Kind::PomeloWs | Kind::Im => {
                    Op { at, user, verb: Verb::Request, a: 10, b: 0 }
                }
                Kind::Chat => Op { at, user, verb: Verb::Send, a: name, b: 10 },
                Kind::Agent | Kind::Original => Op { at, user, verb: Verb::Dial, a: 1_000, b: 0 },
                Kind::Peer => Op { at, user, verb: Verb::Reach, a: self.users[0].plan.name, b: 0 },
                Kind::Watcher => Op { at, user, verb: Verb::Bind, a: name, b: 0 },
            };
            self.perform_op(op);
        }
    }

    /// Nothing waits, nothing is owed, and everybody is where it should be.
    fn check_rest(&mut self) {
        self.ledger.check_balance();
        let mut faults = self.ledger.open(self.now);
        for (id, end) in self.ends.iter().enumerate() {
            let Some(end) = end else { continue };
            let peer = self.ends[end.peer].as_ref().map(|peer| peer.phase);
            if end.since + FRESH * SECOND > self.now {
                continue;
            }
            let busy = self.plan.settings.busy;
            if self.links[end.link].ways[end.side].next().is_some_and(|at| at + busy >= self.now) {
                // It will hear of it with its next turn: somebody was not let in just now.
                continue;
            }
            let waits = [
                (end.phase != Phase::Open).then(|| format!("is {:?}", end.phase)),
                (peer != Some(Phase::Open))
                    .then(|| format!("lives on, and its peer {} is {peer:?}", end.peer)),
                (!end.outbox.is_empty() && !end.has_turn)
                    .then(|| format!("has {} B to write", end.outbox.bytes())),
                (!end.mailbox.is_empty()).then(|| format!("has {} in its mailbox", end.mailbox.len())),
                end.part.missing(),
            ];
            for what in waits.into_iter().flatten() {
                // Writing to a string does not fail.
                let _ = writeln!(faults, "end {id} {what}");
            }
        }
        for (index, user) in self.users.iter().enumerate() {
            if !(user.end.is_some() && user.is_ready || self.may_be_away(index)) {
                let _ = writeln!(
                    faults,
                    "user {index} ({}) is not connected: {:?}",
                    user.plan.kind, user.verdict
                );
            }
        }
        self.check_views();
        let fetches: usize = self.gateways.iter().map(|gateway| gateway.web.open_ones()).sum();
        if fetches > 0 {
            let _ = writeln!(faults, "{fetches} requests to upstreams have no end");
        }
        for gateway in &self.gateways {
            gateway.check_watchers();
            let strangers: Vec<usize> = gateway.registered().difference(&gateway.ends).copied().collect();
            if !strangers.is_empty() {
                let _ = writeln!(faults, "gateway {}: {strangers:?} are registered and gone", gateway.index);
            }
        }
        if !faults.is_empty() {
            panic!("L: the world has not come to rest:\n{faults}{}", self.wait_graph());
        }
    }

    /// Too much waits to be written: whoever holds more than its share was told to go, each when it was counted last.
    /// What the others hold are the shares, and what was there before there was too much; neither is more than the limit.
    pub(super) fn check_buffered(&self, index: usize) {
        let gateway = &self.gateways[index];
        let (mut all, mut staying) = (0, 0);
        for end in gateway.ends.iter().filter_map(|id| self.ends[*id].as_deref()) {
            all += end.buffered as u64;
            if end.phase == Phase::Open && end.abort.is_none() {
                staying += end.buffered as u64;
            }
        }
        assert_eq!(all, gateway.buffered, "G7: what gateway {index} buffers is not what it counts");
        let most = 2 * gateway.limits.buffered_bytes;
        assert!(staying <= most, "G7: gateway {index} buffers {staying} B of at most {most} B");
    }

    /// A gateway is down: in time, and nobody is cut off who was not told to go.
    pub(super) fn check_stopped(&self, index: usize) {
        let gateway = &self.gateways[index];
        let (now, until) = (self.now, gateway.stops_by);
        assert!(now <= until, "G8: gateway {index} is down {} µs too late", now - until);
        for id in &gateway.ends {
            let Some(end) = self.ends[*id].as_deref() else { continue };
            let may_be_cut = end.phase != Phase::Open || !gateway.stops_in_order && end.abort.is_some();
            assert!(end.told.is_some() || may_be_cut, "G8: end {id} is cut off without a word");
        }
    }

    /// Who waits for whom.
    pub(super) fn wait_graph(&self) -> String {
        let mut graph = String::from("who waits for whom:\n");
        for (id, end) in self.ends.iter().enumerate() {
            let Some(end) = end else { continue };
            let [inward, outward] = [end.side, 1 - end.side].map(|side| &self.links[end.link].ways[side]);
            let _ = writeln!(
                graph,
                "  end {id} of u{} ({:?}): reads {}, peer {}, to read {} B{}, unread by the peer {} B{}, queue {} B, \
                 mailbox {}, wakes at {:?}",
                end.user,
                end.phase,
                end.part.wants_read(),
                end.peer,
                inward.unread,
                if inward.is_dead { " (dead)" } else { "" },
                outward.unread,
                if outward.is_dead { " (dead)" } else { "" },
                end.outbox.bytes(),
                end.mailbox.len(),
                self.deadline(end).map(|due| due / SECOND),
            );
        }
        graph
    }

    /// Everybody leaves, in one of the ways in which people leave.
    fn leave(&mut self) {
        (0..self.gateways.len()).for_each(|home| self.abort_doors(home));
        for link in 0..self.links.len() {
            let is_used = self.links[link].ends.iter().any(|id| self.ends[*id].is_some());
            if is_used {
                self.cut(link);
            }
        }
    }

    /// Nothing is left of anybody.
    fn check_floor(&mut self) {
        let left: Vec<usize> = (0..self.ends.len()).filter(|id| self.ends[*id].is_some()).collect();
        assert!(left.is_empty(), "A9: ends {left:?} are left\n{}", self.wait_graph());
        let now = self.now;
        self.check_web_floor();
        let counts = self.ledger.counts;
        assert_eq!(counts.fetches, counts.fetched + counts.fetches_failed, "ledger: fetches do not add up");
        for gateway in &mut self.gateways {
            gateway.check_floor(now);
        }
        self.ledger.check_balance();
    }
}
