//! How many connections one listener may have.

use crate::Mark;
use crate::hub::Refusal;

/// The places of one listener: taken when a handshake begins, given back when its connection, or the handshake, ends.
#[derive(Clone, Debug)]
pub struct Places {
    max: u32,
    taken: u32,
}

impl Places {
    /// So many places, all free.
    pub const fn new(max: u32) -> Self {
        Self { max, taken: 0 }
    }

    /// Takes one.
    ///
    /// # Errors
    ///
    /// What the door is told, and the mark to count, if none is free.
    pub const fn take(&mut self) -> Result<(), (Refusal, Mark)> {
        if self.taken >= self.max {
            return Err((Refusal::HubFull, Mark::ListenerFull));
        }
        self.taken += 1;
        Ok(())
    }

    /// Gives one back that was taken.
    pub const fn give_back(&mut self) {
        self.taken = self.taken.saturating_sub(1);
    }

    /// How many are taken.
    pub const fn taken(&self) -> u32 {
        self.taken
    }
}
