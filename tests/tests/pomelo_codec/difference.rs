//! Comparing with the recorded programs: equal, or a known difference with its reason.

use std::collections::BTreeSet;

/// One case in which ours differs from some original on purpose: its name, what ours does, and why.
pub(crate) type Known = (&'static str, &'static str, &'static str);

/// What a peer that does not take an input, or does not write an output, is noted as.
pub(crate) const REFUSED: &str = "refused";

/// Collects what differs, so that one run shows all of it.
pub(crate) struct Differences {
    known: &'static [Known],
    met: BTreeSet<String>,
    wrong: Vec<String>,
    compared: usize,
}

impl Differences {
    pub(crate) fn new(known: &'static [Known]) -> Self {
        Self { known, met: BTreeSet::new(), wrong: Vec::new(), compared: 0 }
    }

    /// Compares one result with the one recorded from `peer`; both are written out as text.
    pub(crate) fn compare(&mut self, peer: &str, name: &str, ours: &str, theirs: &str) {
        self.compared += 1;
        if ours == theirs {
            return;
        }
        match self.known.iter().find(|(known, ..)| *known == name) {
            Some((_, expected, _)) if *expected == ours => {
                self.met.insert(name.to_owned());
            }
            _ => self.wrong.push(format!("{name} ({peer})\n  ours   {ours}\n  theirs {theirs}")),
        }
    }

    /// Everything was compared: fails on what was not known, and on what no longer differs.
    pub(crate) fn finish(self, at_least: usize) {
        assert!(self.wrong.is_empty(), "{} results differ:\n{}", self.wrong.len(), self.wrong.join("\n"));
        let stale: Vec<_> = self.known.iter().filter(|(name, ..)| !self.met.contains(*name)).collect();
        assert!(stale.is_empty(), "no longer different: {stale:?}");
        assert!(self.compared >= at_least, "only {} results compared", self.compared);
    }
}
