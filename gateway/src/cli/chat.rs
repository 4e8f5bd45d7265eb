//! The chat dialect, from the command line.

use std::time::Duration;

use linkspan_core::Overflow;
use linkspan_core::chat::{OnBadMessage, Relay, ServerConfig};
use linkspan_core::hub::Admission;

use super::args::{BadMessageArg, ChatArgs, DuplicateArg, RelayArg, SlowArg};

/// `None` if chat was not asked for.
pub(super) fn config(args: &ChatArgs) -> Option<ServerConfig> {
    let unless_zero = |span: Duration| (!span.is_zero()).then_some(span);
    args.chat.then(|| ServerConfig {
        on_bad_message: match args.chat_on_bad_message {
            BadMessageArg::Close => OnBadMessage::Close,
            BadMessageArg::Ignore => OnBadMessage::Ignore,
        },
        on_slow: match args.chat_on_slow {
            SlowArg::Close => Overflow::Close,
            SlowArg::DropNewest => Overflow::DropNewest,
            SlowArg::DropOldest => Overflow::DropOldest,
            SlowArg::Backpressure => Overflow::Backpressure,
        },
        on_duplicate: match args.chat_on_duplicate {
            DuplicateArg::Replace => Admission::NewestWins,
            DuplicateArg::Reject => Admission::RejectNew,
            DuplicateArg::Multi => Admission::Many,
        },
        relay: match args.chat_relay {
            RelayArg::Verbatim => Relay::Verbatim,
            RelayArg::Stamped => Relay::Stamped,
        },
        ping: unless_zero(args.chat_ping),
        dead: unless_zero(args.chat_dead),
        ..ServerConfig::default()
    })
}
