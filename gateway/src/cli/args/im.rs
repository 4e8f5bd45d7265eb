//! The IM listener.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use crate::cli::im::{Backend, Deliver, Policy, TokenSource};
use crate::cli::units::{parse_duration, parse_size32};

#[derive(Debug, Args)]
#[command(next_help_heading = "IM")]
pub(in crate::cli) struct ImArgs {
    /// Listen for OpenIM's JavaScript clients, on every path; needs --im-token
    #[arg(
        long,
        value_name = "ADDR",
        env = "LINKSPAN_LISTEN__IM",
        requires = "im_token",
        help_heading = "Listen"
    )]
    pub(in crate::cli) im: Option<SocketAddr>,
    /// How tokens are checked: static:FILE (lines of user and token), hs256:FILE (JSON Web Tokens signed with the secret in
    /// the file), http:URL (asks a server), none (everybody is whoever they say)
    #[arg(long, value_name = "HOW", env = "LINKSPAN_IM__TOKEN", hide_short_help = true)]
    pub(in crate::cli) im_token: Option<TokenSource>,
    /// How much clocks may differ where tokens have an end
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration, env = "LINKSPAN_IM__TOKEN_LEEWAY", hide_short_help = true)]
    pub(in crate::cli) im_token_leeway: Duration,
    /// How long the token server may take
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration, env = "LINKSPAN_IM__TOKEN_TIMEOUT", hide_short_help = true)]
    pub(in crate::cli) im_token_timeout: Duration,
    /// How many tokens may wait for it
    #[arg(long, value_name = "N", default_value = "256", value_parser = parse_size32, env = "LINKSPAN_IM__TOKEN_WAITING", hide_short_help = true)]
    pub(in crate::cli) im_token_waiting: u32,
    /// For how long a token that it found valid is not asked about again; 0 is never
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration, env = "LINKSPAN_IM__TOKEN_REMEMBER", hide_short_help = true)]
    pub(in crate::cli) im_token_remember: Duration,
    /// What clients can call: memory (users, conversations and messages, gone with the process), echo or echo:TIME (every
    /// function repeats its arguments, after a login of that time), none
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "memory",
        env = "LINKSPAN_IM__BACKEND",
        hide_short_help = true
    )]
    pub(in crate::cli) im_backend: Backend,
    /// Which devices of a user may be there together, by OpenIM's numbers: 0 all, 1 one of each platform, 4 one of each
    /// class, 5 any number of PCs and one other
    #[arg(
        long,
        value_name = "0|1|4|5",
        default_value = "0",
        env = "LINKSPAN_IM__POLICY",
        hide_short_help = true
    )]
    pub(in crate::cli) im_policy: Policy,
    /// Who hears replies: all connections of the user, or those of one platform by its number
    #[arg(
        long,
        value_name = "all|PLATFORM",
        default_value = "all",
        env = "LINKSPAN_IM__DELIVER",
        hide_short_help = true
    )]
    pub(in crate::cli) im_deliver: Deliver,
    /// IM connections in all
    #[arg(long, value_name = "N", default_value = "10000", value_parser = parse_size32, env = "LINKSPAN_IM__CONNECTIONS", hide_short_help = true)]
    pub(in crate::cli) im_connections: u32,
    /// Connections of one user on one platform
    #[arg(long, value_name = "N", default_value = "10", value_parser = parse_size32, env = "LINKSPAN_IM__PER_PLATFORM", hide_short_help = true)]
    pub(in crate::cli) im_per_platform: u32,
    /// Connections of one user, whatever they speak [default: 100000]
    #[arg(long, value_name = "N", value_parser = parse_size32, env = "LINKSPAN_IM__PER_USER", hide_short_help = true)]
    pub(in crate::cli) im_per_user: Option<u32>,
    /// How often a client is sent a ping; 0 is never
    #[arg(long, value_name = "TIME", default_value = "27s", value_parser = parse_duration, env = "LINKSPAN_IM__PING", hide_short_help = true)]
    pub(in crate::cli) im_ping: Duration,
    /// After how much silence a client is gone; 0 is never
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration, env = "LINKSPAN_IM__SILENCE", hide_short_help = true)]
    pub(in crate::cli) im_silence: Duration,
    /// Largest message taken
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = parse_size32, env = "LINKSPAN_IM__RECEIVE_MAX", hide_short_help = true)]
    pub(in crate::cli) im_receive_max: u32,
}
