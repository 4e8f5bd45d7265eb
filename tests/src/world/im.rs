//! The IM dialect: doors, sessions and their backend on a gateway, and a user.

/// Doors and sessions of one gateway.
#[derive(Debug, Default)]
pub(super) struct House;

impl House {
    pub(super) fn check_floor(&self) {}
}
