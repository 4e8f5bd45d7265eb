//! The chat dialect.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::units::parse_duration;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum BadMessageArg {
    /// The connection ends with 1007
    Close,
    /// It is ignored, and counted
    Ignore,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum SlowArg {
    /// The receiver's connection ends with 1008
    Close,
    /// The newest message is dropped, and counted
    DropNewest,
    /// The oldest message is dropped, and counted
    DropOldest,
    /// Whoever sends to that receiver is no longer read
    Backpressure,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum DuplicateArg {
    /// The newer connection stays, the older one ends with 4001
    Replace,
    /// The newer connection is refused with 409
    Reject,
    /// All stay, and get every message
    Multi,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum RelayArg {
    /// The sender's bytes
    Verbatim,
    /// A message of type 2 with the real sender
    Stamped,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Chat")]
pub(in crate::cli) struct ChatArgs {
    /// Serve chat at /ws/{id} of the HTTP address
    #[arg(long, env = "LINKSPAN_CHAT__ENABLED", requires = "http", help_heading = "Listen")]
    pub(in crate::cli) chat: bool,
    /// What becomes of a client whose message cannot be read
    #[arg(
        long,
        value_enum,
        default_value = "close",
        env = "LINKSPAN_CHAT__ON_BAD_MESSAGE",
        hide_short_help = true
    )]
    pub(in crate::cli) chat_on_bad_message: BadMessageArg,
    /// What becomes of a receiver that is too slow
    #[arg(long, value_enum, default_value = "close", env = "LINKSPAN_CHAT__ON_SLOW", hide_short_help = true)]
    pub(in crate::cli) chat_on_slow: SlowArg,
    /// What becomes of a user that connects again
    #[arg(
        long,
        value_enum,
        default_value = "replace",
        env = "LINKSPAN_CHAT__ON_DUPLICATE",
        hide_short_help = true
    )]
    pub(in crate::cli) chat_on_duplicate: DuplicateArg,
    /// What a receiver gets
    #[arg(
        long,
        value_enum,
        default_value = "verbatim",
        env = "LINKSPAN_CHAT__RELAY",
        hide_short_help = true
    )]
    pub(in crate::cli) chat_relay: RelayArg,
    /// After how much silence a client is sent a ping; 0 is never
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration, env = "LINKSPAN_CHAT__PING", hide_short_help = true)]
    pub(in crate::cli) chat_ping: Duration,
    /// After how much silence a client is gone; 0 is never
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration, env = "LINKSPAN_CHAT__DEAD", hide_short_help = true)]
    pub(in crate::cli) chat_dead: Duration,
}
