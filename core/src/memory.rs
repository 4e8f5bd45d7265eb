//! What containers hold on the heap beside what they say themselves.

/// The two counters in front of what an `Arc` shares.
pub(crate) const ARC_HEAD: usize = 2 * size_of::<usize>();

/// What a shared name holds.
pub(crate) const fn name(bytes: &[u8]) -> usize {
    ARC_HEAD + bytes.len()
}

/// At least what a `BTreeMap` with so many entries holds (a `BTreeSet` is one without values): one that was emptied keeps
/// a node.
pub(crate) const fn tree<K, V>(entries: usize) -> usize {
    // A node has room for eleven entries, and every node but the first holds at least five. Beside them it has a head of
    // two words, and there are pointers to it and its like: less than four words for each.
    const ROOM: usize = 11;
    const LEAST: usize = 5;
    (entries / LEAST + 1) * (ROOM * (size_of::<K>() + size_of::<V>()) + 6 * size_of::<usize>())
}
