//! `demo`.

use clap::Args;

use super::RunArgs;

#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  linkspan demo")]
pub(in crate::cli) struct DemoArgs {
    /// The first of five ports on loopback: TCP, WebSocket, HTTP, IM, HTTP for this machine alone; 0 takes free ones
    #[arg(long, value_name = "PORT", default_value_t = 3250, env = "LINKSPAN_DEMO__PORT")]
    pub(in crate::cli) port: u16,
    #[command(flatten)]
    pub(in crate::cli) run: RunArgs,
}
