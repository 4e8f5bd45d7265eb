//! The account of every stream: who has opened it, what was written on it, and whether it has ended.

use std::collections::{BTreeMap, BTreeSet};

/// The account of all streams.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    last: u64,
    /// Who has opened what has not ended.
    live: BTreeMap<u64, usize>,
    /// What was written by an end that has closed its stream: by number and whether it had opened it.
    closed: BTreeMap<(u64, bool), u64>,
    tainted: BTreeSet<u64>,
}

impl Accounts {
    pub(super) fn open(&mut self, end: usize) -> u64 {
        let id = self.next_id();
        self.live.insert(id, end);
        id
    }

    /// A number that no stream has.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Somebody untrustworthy has had it in hands.
    pub(super) fn taint(&mut self, id: u64) {
        self.tainted.insert(id);
    }

    pub(super) fn is_tainted(&self, id: u64) -> bool {
        self.tainted.contains(&id)
    }

    pub(super) fn closed(&mut self, id: u64, is_opener: bool, written: u64) {
        self.closed.insert((id, is_opener), written);
    }

    pub(super) fn written(&self, id: u64, is_opener: bool) -> Option<u64> {
        self.closed.get(&(id, is_opener)).copied()
    }

    pub(super) fn ended(&mut self, id: u64, end: usize) {
        assert_eq!(self.live.remove(&id), Some(end), "D2: stream {id} has two ends");
    }

    pub(super) fn end_gone(&mut self, end: usize) {
        self.live.retain(|_, opener| *opener != end);
    }

    /// Streams without an end.
    pub(super) fn open_ones(&self) -> Vec<(u64, usize)> {
        self.live.iter().map(|(id, end)| (*id, *end)).collect()
    }
}
