//! The pomelo dialect.

use clap::{Args, ValueEnum};

use crate::cli::units::parse_size32;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum ErrorsArg {
    /// Flag 0x20 and {"code", "msg", "metadata"}
    Pitaya,
    /// No answer at all, as nano
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum SameUidArg {
    /// The newest session stays, older ones are removed
    Newest,
    /// The oldest session stays, newer ones are refused
    Reject,
    /// All stay
    Many,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Protocol")]
pub(in crate::cli) struct PomeloArgs {
    /// Routes that get two-byte codes: from 1 on, in this order, or as ROUTE=CODE says
    #[arg(
        long,
        value_name = "ROUTES",
        value_delimiter = ',',
        env = "LINKSPAN_POMELO__DICTIONARY",
        hide_short_help = true
    )]
    pub(in crate::cli) dictionary: Vec<String>,
    /// Demand exactly one package per WebSocket message, as pitaya
    #[arg(long, env = "LINKSPAN_POMELO__STRICT_BOUNDARIES", hide_short_help = true)]
    pub(in crate::cli) strict_boundaries: bool,
    /// Let clients acknowledge without a handshake, as nano; validators are bypassed then
    #[arg(long, env = "LINKSPAN_POMELO__ACK_WITHOUT_HANDSHAKE", hide_short_help = true)]
    pub(in crate::cli) ack_without_handshake: bool,
    /// How failed requests are answered
    #[arg(
        long,
        value_enum,
        default_value = "pitaya",
        env = "LINKSPAN_POMELO__ERRORS",
        hide_short_help = true
    )]
    pub(in crate::cli) errors: ErrorsArg,
    /// Deflate bodies from this size on, for clients that can read it [default: never]
    #[arg(long, value_name = "SIZE", value_parser = parse_size32, env = "LINKSPAN_POMELO__DEFLATE_ABOVE", hide_short_help = true)]
    pub(in crate::cli) deflate_above: Option<u32>,
    /// Who stays when two sessions bind the same uid
    #[arg(
        long,
        value_enum,
        default_value = "newest",
        env = "LINKSPAN_POMELO__SAME_UID",
        hide_short_help = true
    )]
    pub(in crate::cli) same_uid: SameUidArg,
}
