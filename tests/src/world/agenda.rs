//! What will happen, and when: one queue for the whole world.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// Something that happens at a time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The task of a connection's end runs.
    Turn(usize),
    /// The deadline of an end may have come.
    Timer(usize),
    /// Something arrives at one side of a link.
    Arrive(usize, usize),
    /// An application has something to do that it put off.
    Wake(usize, u64),
    /// A service is ready with what it was asked for by a connection.
    Answer(usize, u64),
    /// A user does what the plan says.
    Op(usize),
    /// A fault of the plan begins.
    Harm(usize),
    /// A fault of the plan is over.
    Cure(usize),
    /// A user connects.
    Connect(usize),
    /// A gateway that was down is there again.
    Restart(usize),
    /// The deadline of a gateway that stops may have come.
    Draining(usize),
    /// The deadline of a door may have come.
    Door(usize, u64),
    /// The deadline of a gateway's directory may have come.
    Directory(usize),
    /// An upstream of a gateway does what it has put off.
    Web(usize, u64),
    /// A gateway's backend does what it has put off.
    Session(usize, u64),
}

/// One entry: when, the how many-th it is, and what.
#[derive(Debug)]
struct Entry {
    at: u64,
    number: u64,
    what: What,
}

impl Entry {
    fn rank(&self) -> (u64, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earlier one is the greater one, as the heap gives the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.rank().cmp(&self.rank())
    }
}

/// Everything to come, earliest first; of equal times what was entered first.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Entry>,
    /// What was entered for the time that it is now: most turns are, and need no heap.
    due: VecDeque<(u64, What)>,
    now: u64,
    entered: u64,
}

impl Agenda {
    /// Enters something for the time `at`, in microseconds.
    pub(super) fn enter(&mut self, at: u64, what: What) {
        self.entered += 1;
        if at == self.now {
            self.due.push_back((self.entered, what));
        } else {
            self.heap.push(Entry { at, number: self.entered, what });
        }
    }

    /// Takes out what comes first, if that is not after `until`.
    pub(super) fn next(&mut self, until: u64) -> Option<(u64, What)> {
        let planned = self.heap.peek().map(Entry::rank);
        if let Some((number, what)) = self.due.front().copied()
            && planned.is_none_or(|planned| (self.now, number) < planned)
        {
            // It was entered for a time that was not after `until`: that of what came last.
            self.due.pop_front();
            return Some((self.now, what));
        }
        if planned?.0 > until {
            return None;
        }
        let Entry { at, what, .. } = self.heap.pop()?;
        self.now = self.now.max(at);
        Some((at, what))
    }
}

#[test]
fn what_comes_first_is_entered_first() {
    let mut agenda = Agenda::default();
    for (at, end) in [(5, 0), (3, 1), (5, 2)] {
        agenda.enter(at, What::Turn(end));
    }
    assert_eq!(agenda.next(4), Some((3, What::Turn(1))));
    assert_eq!(agenda.next(4), None);
    assert_eq!(agenda.next(5), Some((5, What::Turn(0))));
    // For now, for the past, and for later.
    for (at, end) in [(5, 3), (4, 4), (6, 5)] {
        agenda.enter(at, What::Turn(end));
    }
    let rest: Vec<_> = std::iter::from_fn(|| agenda.next(9)).collect();
    let order = [(4, 4), (5, 2), (5, 3), (6, 5)];
    assert_eq!(rest, order.map(|(at, end)| (at, What::Turn(end))));
}
