//! One poll of a connection's task.

/// What one poll has left to do and to spend.
pub(super) struct Turn {
    pub(super) reads: u32,
    pub(super) commands: u32,
    /// The transport wakes us when there is more.
    pub(super) read_parked: bool,
    /// The application may have something that it will not wake us for.
    pub(super) app_dirty: bool,
    /// The application may have more commands than one poll takes.
    pub(super) app_behind: bool,
}
