//! The limits of tunnels, of servers and agents alike.

use std::time::Duration;

use clap::Args;
use linkspan_core::Limits;

use crate::cli::units::{parse_duration, parse_size, parse_size32};

macro_rules! limits {
    ($($(#[doc = $doc:literal])* $field:ident: $type:ty, $parser:expr, $name:literal, $env:literal;)*) => {
        /// The limits of tunnels, one flag each; unset ones keep the core's defaults.
        #[derive(Debug, Default, Args)]
        #[command(next_help_heading = "Limits of tunnels")]
        pub(in crate::cli) struct TunnelLimitArgs {
            $(
                $(#[doc = $doc])*
                #[arg(long, value_name = $name, value_parser = $parser, env = $env, hide_short_help = true)]
                $field: Option<$type>,
            )*
        }

        impl TunnelLimitArgs {
            /// Sets what was asked for.
            pub(in crate::cli) fn apply(&self, limits: &mut Limits) {
                $(if let Some(value) = self.$field {
                    limits.$field = value;
                })*
            }
        }
    };
}

/// The times of sessions, one flag each.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of tunnels")]
pub(in crate::cli) struct TimerArgs {
    /// How often an agent, or the opener of a link to a peer, pings
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration, env = "LINKSPAN_TUNNEL__PING", hide_short_help = true)]
    pub(in crate::cli) tunnel_ping: Duration,
    /// After how long without a ping or pong a session ends
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration, env = "LINKSPAN_TUNNEL__SILENCE", hide_short_help = true)]
    pub(in crate::cli) tunnel_silence: Duration,
    /// After how long without anything a session is used only where there is no other
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_duration, env = "LINKSPAN_TUNNEL__QUIET", hide_short_help = true)]
    pub(in crate::cli) tunnel_quiet: Duration,
    /// How often an agent lists its streams
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration, env = "LINKSPAN_TUNNEL__SYNC", hide_short_help = true)]
    pub(in crate::cli) tunnel_sync: Duration,
    /// How long a stream may be missing from that list before it counts as gone
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, env = "LINKSPAN_TUNNEL__SYNC_GRACE", hide_short_help = true)]
    pub(in crate::cli) tunnel_sync_grace: Duration,
}

limits! {
    /// Streams of one session [default: 1024]
    tunnel_streams: u32, parse_size32, "N", "LINKSPAN_TUNNEL__STREAMS";
    /// Dials of one session that are not finished [default: 128]
    tunnel_dials: u32, parse_size32, "N", "LINKSPAN_TUNNEL__DIALS";
    /// Dials of an agent to one address that are not finished [default: 64]
    tunnel_dials_per_target: u32, parse_size32, "N", "LINKSPAN_TUNNEL__DIALS_PER_TARGET";
    /// How long one dial may take [default: 1m]
    tunnel_dial_timeout: Duration, parse_duration, "TIME", "LINKSPAN_TUNNEL__DIAL_TIMEOUT";
    /// Dials per second that the other end may ask for; 0 is any number [default: 1000]
    tunnel_connects_per_second: u32, parse_size32, "N", "LINKSPAN_TUNNEL__CONNECTS_PER_SECOND";
    /// How many of them may come at once [default: 1000]
    tunnel_connects_burst: u32, parse_size32, "N", "LINKSPAN_TUNNEL__CONNECTS_BURST";
    /// Largest message taken [default: 16777215]
    tunnel_receive_max: u32, parse_size32, "SIZE", "LINKSPAN_TUNNEL__RECEIVE_MAX";
    /// How much of one stream may be unread before its sender is paused [default: 2MiB]
    tunnel_stream_pause: u32, parse_size32, "SIZE", "LINKSPAN_TUNNEL__STREAM_PAUSE";
    /// How much of one stream may be on its way and unread where both ends are Linkspan [default: 1MiB]
    tunnel_stream_window: u32, parse_size32, "SIZE", "LINKSPAN_TUNNEL__STREAM_WINDOW";
    /// How much of one stream may be unread before it is ended [default: 64MiB]
    tunnel_stream_bytes: u32, parse_size32, "SIZE", "LINKSPAN_TUNNEL__STREAM_BYTES";
    /// How much of all streams of a session may be unread, and as much unsent [default: 128MiB]
    tunnel_session_bytes: u64, parse_size, "SIZE", "LINKSPAN_TUNNEL__SESSION_BYTES";
    /// How much of one stream may wait to be sent [default: 256KiB]
    tunnel_write_window: u32, parse_size32, "SIZE", "LINKSPAN_TUNNEL__WRITE_WINDOW";
    /// How much data a control message may have to wait for [default: 160KiB]
    tunnel_window: u32, parse_size32, "SIZE", "LINKSPAN_TUNNEL__WINDOW";
    /// How long the reader of a stream may hold its sender back [default: 10m]
    tunnel_stall_timeout: Duration, parse_duration, "TIME", "LINKSPAN_TUNNEL__STALL_TIMEOUT";
    /// Pauses and resumes of one stream without a cause [default: 1000]
    tunnel_flips: u32, parse_size32, "N", "LINKSPAN_TUNNEL__FLIPS";
    /// Malformed announcements of one session [default: 100]
    tunnel_malformed: u32, parse_size32, "N", "LINKSPAN_TUNNEL__MALFORMED";
    /// Sessions of one agent [default: 64]
    tunnel_sessions_per_client: u32, parse_size32, "N", "LINKSPAN_TUNNEL__SESSIONS_PER_CLIENT";
    /// Sessions of agents that one peer may announce [default: 100000]
    tunnel_announced: u32, parse_size32, "N", "LINKSPAN_TUNNEL__ANNOUNCED";
    /// Requests that may wait for agents that are not there [default: 1024]
    tunnel_seeks: u32, parse_size32, "N", "LINKSPAN_TUNNEL__SEEKS";
    /// How long who has ended its side of a forward waits for an answer [default: 1s]
    tunnel_half_closed: Duration, parse_duration, "TIME", "LINKSPAN_TUNNEL__HALF_CLOSED";
    /// How long a stream of datagrams may be idle [default: 1m]
    tunnel_datagram_idle: Duration, parse_duration, "TIME", "LINKSPAN_TUNNEL__DATAGRAM_IDLE";
    /// Senders that one UDP port serves at a time [default: 1024]
    tunnel_datagram_senders: u32, parse_size32, "N", "LINKSPAN_TUNNEL__DATAGRAM_SENDERS";
    /// Datagrams of one sender that wait for its stream [default: 64]
    tunnel_datagrams_waiting: u32, parse_size32, "N", "LINKSPAN_TUNNEL__DATAGRAMS_WAITING";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the help says is what holds.
    #[test]
    fn defaults_are_those_of_the_core() {
        let source = include_str!("tunnel_limits.rs");
        let default = Limits::default();
        let shown = format!("{default:?}");
        let helps = source
            .lines()
            .filter(|line| line.trim_start().starts_with("/// ") && line.contains("[default: "));
        let fields = source.lines().filter(|line| line.contains(", \"LINKSPAN_TUNNEL__"));
        let mut count = 0;
        for (help, field) in helps.zip(fields) {
            let said =
                help.split("[default: ").nth(1).and_then(|rest| rest.split(']').next()).expect("a default");
            let name = field.trim().split(':').next().expect("a name");
            let is = shown.split(&format!(" {name}: ")).nth(1).expect(name);
            let is = is.split([',', ' ']).next().expect("a value");
            let expected = match parse_size(said) {
                Ok(number) if field.contains("parse_size") => number.to_string(),
                _ => format!("{:?}", parse_duration(said).expect("a time")),
            };
            assert_eq!(is, expected, "{name}");
            count += 1;
        }
        let timers = crate::tunnel::Timers::default();
        for (name, span) in [("ping", timers.ping), ("silence", timers.silence), ("quiet", timers.quiet)] {
            assert!(source.contains(&format!("default_value = \"{span:?}\"")), "{name}");
        }
        let all = shown.matches(" tunnel_").count();
        assert_eq!(count, all, "each limit of tunnels has its flag");
    }
}
