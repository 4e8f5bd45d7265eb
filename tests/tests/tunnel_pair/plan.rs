//! What the applications at both ends of a stream want.

use linkspan_tests::harness::Random;

/// Who ends a stream, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Once it has written everything and read everything.
    Complete,
    /// Once it has written everything, whatever comes.
    Written,
    /// At once, when it has written so many bytes.
    Abort(usize),
    /// The dial fails.
    Refused,
}

/// One stream: index 0 is who dialled.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How much each writes.
    pub totals: [usize; 2],
    /// Who ends it.
    pub closer: usize,
    /// How.
    pub ending: Ending,
    /// Each reads once in so many turns.
    pub patience: [usize; 2],
    /// The largest piece each reads and writes.
    pub piece: [usize; 2],
}

impl Plan {
    /// Everything by chance.
    pub(crate) fn random(random: &mut Random) -> Self {
        let mut total =
            || [0, 1 + random.below(2000), random.below(300 << 10), random.below(1 << 20)][random.below(4)];
        let totals = [total(), total()];
        let closer = random.below(2);
        let ending = match random.below(8) {
            0..=3 => Ending::Complete,
            4 | 5 => Ending::Written,
            6 => Ending::Abort(random.below(totals[closer] + 1)),
            _ => Ending::Refused,
        };
        let mut patience = || [1, 2, 10, 100][random.below(4)];
        let patience = [patience(), patience()];
        // A world has an end: whatever is large does not go byte by byte.
        let least = totals[0].max(totals[1]) / 2000;
        let piece = [1 + random.below(48 << 10), 1 + random.below(48 << 10)].map(|piece| piece.max(least));
        Self { totals, closer, ending, patience, piece }
    }

    /// So much each way, as fast as it goes.
    pub(crate) fn duplex(total: usize) -> Self {
        let (patience, piece) = ([1, 1], [32 << 10, 32 << 10]);
        Self { totals: [total, total], closer: 0, ending: Ending::Complete, patience, piece }
    }
}

impl Plan {
    /// So much to a `reader` that reads nothing at first.
    pub(crate) fn slow_reader(reader: usize, total: usize) -> Self {
        let mut plan = Self { closer: 1 - reader, ..Self::duplex(total) };
        (plan.totals[reader], plan.patience[reader]) = (1, usize::MAX);
        plan
    }
}

/// The byte at `at` of what `side` writes to stream number `stream`.
pub(crate) fn byte(stream: usize, side: usize, at: usize) -> u8 {
    (at * 7 + (at >> 8) * 13 + (at >> 16) * 31 + stream * 101 + side * 57) as u8
}
