//! How the process runs.

use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum PlacementArg {
    /// One executor whose threads take each other's work
    WorkStealing,
    /// One executor per thread; connections stay where they were accepted
    PerCore,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RunArgs {
    /// How connections are placed on threads [default: per-core for servers on smol, otherwise work-stealing]
    #[arg(
        long,
        value_enum,
        env = "LINKSPAN_RUNTIME__PLACEMENT",
        help_heading = "Runtime",
        hide_short_help = true
    )]
    pub(in crate::cli) placement: Option<PlacementArg>,
    /// Threads that serve connections [default: one per core]
    #[arg(long, value_name = "N", env = "LINKSPAN_RUNTIME__THREADS", help_heading = "Runtime")]
    pub(in crate::cli) threads: Option<NonZeroUsize>,
}
