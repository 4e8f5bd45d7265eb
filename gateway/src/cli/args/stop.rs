//! The way to the end.

use std::time::Duration;

use clap::Args;

use crate::cli::units::parse_duration;

#[derive(Debug, Args)]
#[command(next_help_heading = "Stop")]
pub(in crate::cli) struct StopArgs {
    /// Go on accepting for this long after the signal, while /readyz says 503
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration, env = "LINKSPAN_STOP__DELAY", hide_short_help = true)]
    pub(in crate::cli) drain_delay: Duration,
    /// Cut what is still connected after this long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration, env = "LINKSPAN_STOP__TIMEOUT", hide_short_help = true)]
    pub(in crate::cli) drain_timeout: Duration,
}
