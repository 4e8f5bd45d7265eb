//! The limits, from the command line and from the system.

use std::time::Duration;

use linkspan_core::Limits;

use super::args::LimitArgs;
use super::{Exit, Failure};

/// Files that the process needs besides its connections.
const OTHER_FILES: u64 = 64;

/// What was not asked for keeps its default.
pub(super) fn limits(args: &LimitArgs) -> Limits {
    let default = Limits::default();
    let unless_zero = |span: Duration| (!span.is_zero()).then_some(span);
    let heartbeat = args.heartbeat.map_or(default.heartbeat, unless_zero);
    // Without heartbeats a client that has nothing to say is silent and well.
    let allowed = heartbeat.map(|heartbeat| heartbeat.saturating_mul(5) / 2);
    Limits {
        handshake_timeout: args.handshake_timeout.unwrap_or(default.handshake_timeout),
        heartbeat,
        silence: args.silence.map_or(allowed, unless_zero),
        unfinished_timeout: args.unfinished_timeout.unwrap_or(default.unfinished_timeout),
        write_timeout: args.write_timeout.unwrap_or(default.write_timeout),
        close_grace: args.close_grace.unwrap_or(default.close_grace),
        request_timeout: args.request_timeout.unwrap_or(default.request_timeout),
        receive_max: args.receive_max.unwrap_or(default.receive_max),
        send_max: args.send_max.unwrap_or(default.send_max),
        inflate_max: args.inflate_max.unwrap_or(default.inflate_max),
        send_queue_bytes: args.send_queue_bytes.unwrap_or(default.send_queue_bytes),
        pending_requests: args.pending_requests.unwrap_or(default.pending_requests),
        pending_bytes: args.pending_bytes.unwrap_or(default.pending_bytes),
        mailbox: args.mailbox.unwrap_or(default.mailbox),
        groups_per_connection: args.groups_per_connection.unwrap_or(default.groups_per_connection),
        group_members: args.group_members.unwrap_or(default.group_members),
        connections: args.connections.unwrap_or(default.connections),
        connections_per_address: args.connections_per_address.unwrap_or(default.connections_per_address),
        connects_per_second: args.connects_per_second.unwrap_or(default.connects_per_second),
        connects_burst: args.connects_burst.unwrap_or(default.connects_burst),
        messages_per_second: args.messages_per_second.unwrap_or(default.messages_per_second),
        messages_burst: args.messages_burst.unwrap_or(default.messages_burst),
        wrong_tokens_per_second: args.wrong_tokens_per_second.unwrap_or(default.wrong_tokens_per_second),
        wrong_tokens_burst: args.wrong_tokens_burst.unwrap_or(default.wrong_tokens_burst),
        refusals: args.refusals.unwrap_or(default.refusals),
        buffered_bytes: args.buffered_bytes.unwrap_or(default.buffered_bytes),
        ..default
    }
}

/// Raises the number of files the process may open, and makes the connections fit into it.
pub(super) fn fit_files(limits: &mut Limits, asked: bool) -> Result<(), Failure> {
    let files = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => files,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            return Ok(());
        }
    };
    let fit = u32::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(u32::MAX).max(1);
    if limits.connections <= fit {
        tracing::info!(files, connections = limits.connections, "limit of open files");
        return Ok(());
    }
    if asked {
        let text = format!(
            "--connections {} does not fit into {files} open files: raise `ulimit -n` or ask for at most {fit}",
            limits.connections
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    tracing::warn!(files, connections = fit, "fewer connections than usual: the limit of open files is low");
    limits.connections = fit;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_goes_with_the_heartbeat() {
        let seconds = |count| Some(Duration::from_secs(count));
        for (heartbeat, silence, expected) in [
            (None, None, Limits::default().silence),
            (seconds(10), None, seconds(25)),
            (seconds(0), None, None),
            (seconds(0), seconds(9), seconds(9)),
            (None, seconds(0), None),
        ] {
            let args = LimitArgs { heartbeat, silence, ..LimitArgs::default() };
            assert_eq!(limits(&args).silence, expected, "{heartbeat:?} {silence:?}");
        }
    }
}
