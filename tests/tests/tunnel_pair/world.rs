//! Two ends, the link between them, the applications above them, and the time.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::Instant;
use linkspan_core::tunnel::{Content, Message};
use linkspan_tests::harness::Random;

use super::ends::Peer;
use super::plan::{Ending, Plan, byte};

/// What is on its way in one direction takes no more than so many bytes, unless a test says otherwise.
const LINK: usize = 64 << 10;

/// One stream as its two applications see it.
struct Line {
    wire: i64,
    plan: Plan,
    is_answered: bool,
    written: [usize; 2],
    read: [usize; 2],
    /// What each application has done or seen.
    is_closed: [bool; 2],
    is_at_end: [bool; 2],
    is_aborted: bool,
}

pub(crate) struct World {
    ends: [Box<dyn Peer>; 2],
    links: [VecDeque<Message>; 2],
    on_link: [usize; 2],
    lines: Vec<Line>,
    now: Instant,
    random: Random,
    is_calm: bool,
    link_max: usize,
}

fn size(message: &Message) -> usize {
    match &message.content {
        Content::Data(body) => 16 + body.len(),
        _ => 16,
    }
}

impl World {
    pub(crate) fn new(ends: [Box<dyn Peer>; 2], seed: u64) -> Self {
        Self {
            ends,
            links: Default::default(),
            on_link: [0, 0],
            lines: Vec::new(),
            now: Instant::ORIGIN,
            random: Random::new(seed),
            is_calm: false,
            link_max: LINK,
        }
    }

    /// A link that holds so many bytes in each direction.
    pub(crate) fn over_link_of(mut self, bytes: usize) -> Self {
        self.link_max = bytes;
        self
    }

    pub(crate) fn open(&mut self, streams: usize) {
        for _ in 0..streams {
            let plan = Plan::random(&mut self.random);
            self.open_as(plan);
        }
    }

    pub(crate) fn open_as(&mut self, plan: Plan) {
        let wire = self.ends[0].dial();
        let (written, read, no) = ([0, 0], [0, 0], [false, false]);
        let line = Line {
            wire,
            plan,
            is_answered: false,
            written,
            read,
            is_closed: no,
            is_at_end: no,
            is_aborted: false,
        };
        self.lines.push(line);
    }

    pub(crate) fn run_for(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
    }

    /// From now on everybody reads, and everything comes to its end.
    pub(crate) fn run_to_the_end(&mut self) {
        self.is_calm = true;
        let mut steps = 0;
        while !self.is_over() {
            let moved = self.step();
            if !moved {
                // Nothing happens before the next timer.
                let next = self.ends.iter().filter_map(|end| end.next_timeout()).min();
                self.now = next.map_or(self.now, |next| next.max(self.now));
            }
            steps += 1;
            let late = self.now > Instant::ORIGIN + Duration::from_secs(50) || steps > 60_000;
            assert!(!late, "stalls at {:?}: {}", self.now, self.report());
        }
        // What is still on its way arrives, and nobody answers for ever.
        for _ in 0..10_000 {
            for side in 0..2 {
                self.load(side);
                self.arrive(1 - side);
            }
        }
        assert!(self.links.iter().all(VecDeque::is_empty), "the ends talk for ever");
        self.ends.iter().for_each(|end| end.check_over());
    }

    pub(crate) fn lose_session(&mut self) {
        self.ends.iter_mut().for_each(|end| end.lose());
    }

    fn is_over(&self) -> bool {
        self.lines.iter().all(|line| line.is_at_end == [true, true])
    }

    fn report(&self) -> String {
        let lines = self.lines.iter().map(|line| {
            format!(
                "{}: {:?} written {:?} read {:?} closed {:?} at end {:?}",
                line.wire, line.plan, line.written, line.read, line.is_closed, line.is_at_end
            )
        });
        lines.collect::<Vec<_>>().join("; ")
    }

    /// One thing happens; says whether it moved anything.
    fn step(&mut self) -> bool {
        self.now = self.now + Duration::from_micros(self.random.below(400) as u64);
        let mut moved = false;
        for side in 0..2 {
            if self.is_calm || self.random.below(3) > 0 {
                moved |= self.load(side);
            }
            if self.is_calm || self.random.below(3) > 0 {
                moved |= self.arrive(side);
            }
            self.answer(side);
        }
        let lucky = self.random.below(self.lines.len());
        for at in 0..self.lines.len() {
            if !self.is_calm && at != lucky {
                continue;
            }
            for side in 0..2 {
                moved |= self.write(at, side);
                moved |= self.read(at, side);
                self.end(at, side);
            }
        }
        self.ends.iter().for_each(|end| end.check());
        moved
    }

    /// Puts what an end sends onto the link.
    fn load(&mut self, side: usize) -> bool {
        let mut moved = false;
        while self.on_link[side] < self.link_max {
            let Some(message) = self.ends[side].send(self.now) else {
                self.ends[side].flushed();
                break;
            };
            moved = true;
            self.on_link[side] += size(&message);
            self.links[side].push_back(message);
        }
        moved
    }

    /// Something arrives at an end.
    fn arrive(&mut self, side: usize) -> bool {
        let Some(message) = self.links[1 - side].pop_front() else { return false };
        self.on_link[1 - side] -= size(&message);
        self.ends[side].receive(self.now, message);
        true
    }

    fn answer(&mut self, side: usize) {
        if !self.is_calm && self.random.below(20) > 0 {
            return;
        }
        while let Some(wire) = self.ends[side].next_dialled() {
            let line = self.lines.iter_mut().find(|line| line.wire == wire).expect("somebody dialled it");
            assert!(!std::mem::replace(&mut line.is_answered, true), "one dial is asked for twice");
            let is_refused = line.plan.ending == Ending::Refused;
            line.is_aborted |= is_refused;
            self.ends[side].answer(wire, is_refused);
        }
    }

    fn write(&mut self, at: usize, side: usize) -> bool {
        let line = &mut self.lines[at];
        let is_ready = side == 0 || line.is_answered && line.plan.ending != Ending::Refused;
        let left = line.plan.totals[side] - line.written[side];
        if left == 0 || line.is_closed[side] || line.is_at_end[side] || !is_ready {
            return false;
        }
        let from = line.written[side];
        let len = (1 + self.random.below(line.plan.piece[side])).min(left);
        let body: Bytes = (from..from + len).map(|offset| byte(at, side, offset)).collect();
        let is_written = self.ends[side].write(line.wire, body);
        line.written[side] += if is_written { len } else { 0 };
        is_written
    }

    fn read(&mut self, at: usize, side: usize) -> bool {
        let line = &mut self.lines[at];
        let is_asked_for = side == 0 || line.is_answered;
        let is_patient = !self.is_calm && !self.random.once_in(line.plan.patience[side]);
        if is_patient || !is_asked_for || line.is_at_end[side] {
            return false;
        }
        match self.ends[side].read(line.wire, line.plan.piece[side]) {
            Some(body) if line.is_closed[side] => !body.is_empty(),
            Some(body) => {
                for (offset, byte_read) in body.iter().enumerate() {
                    let place = line.read[side] + offset;
                    assert_eq!(*byte_read, byte(at, 1 - side, place), "stream {at} at {place}");
                }
                line.read[side] += body.len();
                assert!(line.read[side] <= line.written[1 - side]);
                !body.is_empty()
            }
            None => {
                line.is_at_end[side] = true;
                // Who hears of a normal end has read all that the other has written.
                let ended_by_other = line.is_closed[1 - side] && !line.is_closed[side] && !line.is_aborted;
                if ended_by_other {
                    assert_eq!(
                        line.read[side],
                        line.written[1 - side],
                        "stream {at} is cut: {:?}",
                        line.plan
                    );
                }
                if !line.is_closed[side] && (side == 0 || line.plan.ending != Ending::Refused) {
                    line.is_closed[side] = true;
                    self.ends[side].close(line.wire);
                }
                true
            }
        }
    }

    /// The application ends the stream, if that is its plan and its time.
    fn end(&mut self, at: usize, side: usize) {
        let line = &mut self.lines[at];
        let is_mine = side == line.plan.closer && !line.is_closed[side] && !line.is_at_end[side];
        if !is_mine || side == 1 && !line.is_answered {
            return;
        }
        let has_written = line.written[side] == line.plan.totals[side];
        match line.plan.ending {
            Ending::Complete if has_written && line.read[side] == line.plan.totals[1 - side] => {}
            Ending::Written if has_written => {}
            Ending::Abort(after) if line.written[side] >= after => {
                (line.is_aborted, line.is_closed[side]) = (true, true);
                return self.ends[side].abort(line.wire);
            }
            _ => return,
        }
        line.is_closed[side] = true;
        self.ends[side].close(line.wire);
    }
}
