//! The limits of the core.

use std::time::Duration;

use clap::Args;

use crate::cli::units::{parse_duration, parse_size, parse_size32};

macro_rules! limits {
    ($($(#[doc = $doc:literal])* $field:ident: $type:ty, $parser:expr, $name:literal, $env:literal;)*) => {
        /// The limits of the core, one flag each; unset ones keep the core's defaults.
        #[derive(Debug, Default, Args)]
        #[command(next_help_heading = "Limits")]
        pub(in crate::cli) struct LimitArgs {
            $(
                $(#[doc = $doc])*
                #[arg(long, value_name = $name, value_parser = $parser, env = $env, hide_short_help = true)]
                pub(in crate::cli) $field: Option<$type>,
            )*
        }
    };
}

limits! {
    /// From the connection to a finished handshake [default: 10s]
    handshake_timeout: Duration, parse_duration, "TIME", "LINKSPAN_LIMITS__HANDSHAKE_TIMEOUT";
    /// How often a heartbeat is sent; 0 sends none [default: 30s]
    heartbeat: Duration, parse_duration, "TIME", "LINKSPAN_LIMITS__HEARTBEAT";
    /// After how much silence a client is gone; 0 is never [default: 2.5 times the heartbeat, never without one]
    silence: Duration, parse_duration, "TIME", "LINKSPAN_LIMITS__SILENCE";
    /// How long one package may stay unfinished [default: 30s]
    unfinished_timeout: Duration, parse_duration, "TIME", "LINKSPAN_LIMITS__UNFINISHED_TIMEOUT";
    /// How long a client may read nothing of what waits for it [default: 10s]
    write_timeout: Duration, parse_duration, "TIME", "LINKSPAN_LIMITS__WRITE_TIMEOUT";
    /// How long a closing connection waits for pending answers [default: 5s]
    close_grace: Duration, parse_duration, "TIME", "LINKSPAN_LIMITS__CLOSE_GRACE";
    /// After which time a request fails [default: 30s]
    request_timeout: Duration, parse_duration, "TIME", "LINKSPAN_LIMITS__REQUEST_TIMEOUT";
    /// Largest body taken [default: 64KiB]
    receive_max: u32, parse_size32, "SIZE", "LINKSPAN_LIMITS__RECEIVE_MAX";
    /// Largest body sent [default: 16777215]
    send_max: u32, parse_size32, "SIZE", "LINKSPAN_LIMITS__SEND_MAX";
    /// Largest body after inflating [default: 640KiB]
    inflate_max: u32, parse_size32, "SIZE", "LINKSPAN_LIMITS__INFLATE_MAX";
    /// How much may wait to be written to one client [default: 1MiB]
    send_queue_bytes: u32, parse_size32, "SIZE", "LINKSPAN_LIMITS__SEND_QUEUE_BYTES";
    /// How many requests of one client may wait before it is no longer read [default: 256]
    pending_requests: u32, parse_size32, "N", "LINKSPAN_LIMITS__PENDING_REQUESTS";
    /// How many bytes of them may wait [default: 1MiB]
    pending_bytes: u32, parse_size32, "SIZE", "LINKSPAN_LIMITS__PENDING_BYTES";
    /// How many events may wait for one connection's task [default: 1024]
    mailbox: u32, parse_size32, "N", "LINKSPAN_LIMITS__MAILBOX";
    /// Groups of one session [default: 128]
    groups_per_connection: u32, parse_size32, "N", "LINKSPAN_LIMITS__GROUPS_PER_CONNECTION";
    /// Members of one group [default: 100000]
    group_members: u32, parse_size32, "N", "LINKSPAN_LIMITS__GROUP_MEMBERS";
    /// Connections in all [default: 100000]
    connections: u32, parse_size32, "N", "LINKSPAN_LIMITS__CONNECTIONS";
    /// Connections of one address; loopback is free [default: 256]
    connections_per_address: u32, parse_size32, "N", "LINKSPAN_LIMITS__CONNECTIONS_PER_ADDRESS";
    /// New connections of one address per second; 0 is any number [default: 50]
    connects_per_second: u32, parse_size32, "N", "LINKSPAN_LIMITS__CONNECTS_PER_SECOND";
    /// How many of them may come at once [default: 200]
    connects_burst: u32, parse_size32, "N", "LINKSPAN_LIMITS__CONNECTS_BURST";
    /// Messages of one address per second; 0 is any number [default: 5000]
    messages_per_second: u32, parse_size32, "N", "LINKSPAN_LIMITS__MESSAGES_PER_SECOND";
    /// How many of them may come at once [default: 20000]
    messages_burst: u32, parse_size32, "N", "LINKSPAN_LIMITS__MESSAGES_BURST";
    /// Wrong tokens of one address per second before none of it is looked at; 0 is any number [default: 1]
    wrong_tokens_per_second: u32, parse_size32, "N", "LINKSPAN_LIMITS__WRONG_TOKENS_PER_SECOND";
    /// How many of them may come at once [default: 20]
    wrong_tokens_burst: u32, parse_size32, "N", "LINKSPAN_LIMITS__WRONG_TOKENS_BURST";
    /// Refused connections that are told so at the same time [default: 64]
    refusals: u32, parse_size32, "N", "LINKSPAN_LIMITS__REFUSALS";
    /// How much may wait to be written in all [default: 1GiB]
    buffered_bytes: u64, parse_size, "SIZE", "LINKSPAN_LIMITS__BUFFERED_BYTES";
}
