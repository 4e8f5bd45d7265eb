//! What will happen, and when: one queue for the whole world.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that happens at a time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// The task of a connection's end runs.
    Turn(usize),
    /// The deadline of an end may have come.
    Timer(usize),
    /// Something arrives at one side of a link.
    Arrive(usize, usize),
    /// An application has something to do that it put off.
    Wake(usize, u64),
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

/// Everything to come, earliest first; of equal times what was entered first.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(u64, u64, What)>>,
    entered: u64,
}

impl Agenda {
    /// Enters something for the time `at`, in microseconds.
    pub(super) fn enter(&mut self, at: u64, what: What) {
        self.entered += 1;
        self.heap.push(Reverse((at, self.entered, what)));
    }

    /// Takes out what comes first, if that is not after `until`.
    pub(super) fn next(&mut self, until: u64) -> Option<(u64, What)> {
        if self.heap.peek()?.0.0 > until {
            return None;
        }
        self.heap.pop().map(|Reverse((at, _, what))| (at, what))
    }
}
