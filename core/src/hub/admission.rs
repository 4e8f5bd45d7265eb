//! Which session may have a key: one policy value, decided in one place.

/// What happens when a session asks for a key that others have.
///
/// A session that asks again for a key it has keeps it under every policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Admission {
    /// All may have it.
    #[default]
    Many,
    /// The newest session takes it; the one that had it is closed as
    /// [`Replaced`](crate::CloseReason::Replaced).
    NewestWins,
    /// The session that has it keeps it; the new one is [rejected](crate::Delivery::Rejected).
    RejectNew,
    /// So many may have it; the newest beyond them replaces the oldest. With 0 nobody may have any key.
    AtMost(u32),
}

/// The outcome for one new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admit,
    /// Admit, and end the oldest session that has the key.
    ReplaceOldest,
    Reject,
}

impl Admission {
    /// Decides about a session that asks for a key which `present` other sessions have.
    pub(super) const fn decide(self, present: usize) -> Verdict {
        let (room, beyond) = match self {
            Self::Many => return Verdict::Admit,
            Self::NewestWins => (1, Verdict::ReplaceOldest),
            Self::RejectNew => (1, Verdict::Reject),
            Self::AtMost(0) => (0, Verdict::Reject),
            Self::AtMost(room) => (room as usize, Verdict::ReplaceOldest),
        };
        if present < room { Verdict::Admit } else { beyond }
    }
}
