//! The bounds and policies that a world's settings stand for.

use std::sync::Arc;
use std::time::Duration;

use linkspan_core::hub::{Admission, DevicePolicy};
use linkspan_core::im::{ChecksConfig, Places};
use linkspan_core::pomelo::{self, Dictionary};
use linkspan_core::{Limits, Overflow, chat};

use super::plan::Settings;

/// Every route that a world's services know.
pub(super) const ROUTES: [&str; 7] =
    ["Echo.Say", "Chat.Send", "Room.Join", "Room.Leave", "Room.Cast", "onChat", "onPush"];

/// How long services may take once faults are over, in microseconds.
const CALM_SERVICE: u64 = 100_000;

/// Bounds that a busy world meets all the time.
fn narrow(tight: &Limits) -> Limits {
    Limits {
        receive_max: 2 * 1024,
        send_max: 3 * 1024,
        inflate_max: 4 * 1024,
        send_queue_bytes: 1024,
        pending_requests: 2,
        pending_bytes: 1024,
        mailbox: 2,
        keys_per_connection: 1,
        groups_per_connection: 1,
        watches_per_connection: 2,
        sessions_per_platform: 1,
        sessions_per_key: 2,
        sessions_per_shard: 4,
        watchers_per_key: 1,
        group_members: 2,
        connections: 6,
        connections_per_address: 3,
        messages_per_second: 10,
        messages_burst: 40,
        wrong_tokens_burst: 1,
        connects_per_second: 1,
        connects_burst: 3,
        buffered_bytes: 6 * 1024,
        replacements: 1,
        heartbeat: Some(Duration::from_secs(2)),
        silence: Some(Duration::from_secs(5)),
        handshake_timeout: Duration::from_secs(3),
        tunnel_streams: 3,
        tunnel_dials: 1,
        tunnel_connects_per_second: 2,
        tunnel_connects_burst: 4,
        tunnel_flips: 8,
        tunnel_sessions_per_client: 2,
        tunnel_announced: 3,
        tunnel_seeks: 2,
        tunnel_stream_window: 16 * 1024,
        tunnel_stream_bytes: 20 * 1024,
        tunnel_session_bytes: 40 * 1024,
        ..tight.clone()
    }
}

impl Settings {
    /// The bounds in force.
    pub(super) fn limits(&self) -> Arc<Limits> {
        let base = Limits { receive_max: 40 * 1024, send_max: 100 * 1024, ..Limits::default() };
        let tight = Limits {
            send_queue_bytes: 8 * 1024,
            pending_requests: 4,
            pending_bytes: 16 * 1024,
            mailbox: 8,
            buffered_bytes: 12 * 1024,
            keys_per_connection: 2,
            groups_per_connection: 2,
            watches_per_connection: 3,
            request_timeout: Duration::from_secs(5),
            replacements: 3,
            tunnel_streams: 8,
            tunnel_dials: 3,
            tunnel_dials_per_target: 2,
            tunnel_stream_pause: 16 * 1024,
            tunnel_stream_window: 64 * 1024,
            tunnel_stream_bytes: 96 * 1024,
            tunnel_session_bytes: 256 * 1024,
            tunnel_dial_timeout: Duration::from_secs(5),
            tunnel_stall_timeout: Duration::from_secs(30),
            ..base.clone()
        };
        let limits = match self.bounds {
            0 => base,
            1 => tight,
            _ => narrow(&tight),
        };
        Arc::new(limits)
    }

    /// The bounds of the users: theirs are never the narrower ones.
    pub(super) fn client_limits(&self) -> Arc<Limits> {
        let limits = Limits { receive_max: 4 * 1024 * 1024, ..Limits::default() };
        Arc::new(Limits {
            tunnel_stream_pause: 64 * 1024,
            tunnel_dial_timeout: Duration::from_secs(5),
            tunnel_stall_timeout: Duration::from_secs(30),
            ..limits
        })
    }

    /// The bounds of a gateway's checks of tokens.
    pub(super) fn checks(&self) -> ChecksConfig {
        let usual = ChecksConfig::default();
        if self.bounds > 1 { ChecksConfig { waiting: 1, remembered: 1, ..usual } } else { usual }
    }

    /// How many IM connections a gateway may have.
    pub(super) fn places(&self) -> Places {
        Places::new(if self.bounds > 1 { 3 } else { 10_000 })
    }

    /// How long a service may take. Once faults are over services are quick, or a long line in front of a slow one would
    /// take longer than anybody waits, and nothing would be wrong.
    pub(super) fn service_most(&self, is_calm: bool) -> usize {
        let most = if is_calm { self.service.min(CALM_SERVICE) } else { self.service };
        most as usize
    }

    pub(super) fn admission(&self) -> Admission {
        admission(self.admission)
    }

    /// What happens to whoever is too slow.
    pub(super) fn overflow(&self) -> Overflow {
        overflow(self.slow)
    }

    pub(super) fn pomelo(&self) -> Arc<pomelo::ServerConfig> {
        let dictionary = match self.dictionary {
            0 => Dictionary::default(),
            _ => Dictionary::numbered(ROUTES).expect("short routes"),
        };
        let deflate_above = (self.deflate > 0).then_some(self.deflate as u32);
        Arc::new(pomelo::ServerConfig { dictionary, deflate_above, ..pomelo::ServerConfig::default() })
    }

    pub(super) fn chat(&self) -> Arc<chat::ServerConfig> {
        let on_bad_message =
            if self.lenient == 0 { chat::OnBadMessage::Close } else { chat::OnBadMessage::Ignore };
        Arc::new(chat::ServerConfig {
            on_bad_message,
            on_slow: self.overflow(),
            on_duplicate: admission(self.duplicate),
            relay: if self.stamped == 0 { chat::Relay::Verbatim } else { chat::Relay::Stamped },
            ..chat::ServerConfig::default()
        })
    }
}

fn admission(number: u64) -> Admission {
    match number {
        0 => Admission::Many,
        1 => Admission::NewestWins,
        2 => Admission::RejectNew,
        3 => Admission::AtMost(2),
        4 => Admission::Devices(DevicePolicy::OnePerPlatform),
        5 => Admission::Devices(DevicePolicy::OnePerClass),
        _ => Admission::Devices(DevicePolicy::PcAndOne),
    }
}

/// A policy by its number in scripts.
pub(super) fn overflow(number: u64) -> Overflow {
    match number {
        0 => Overflow::Close,
        1 => Overflow::DropNewest,
        2 => Overflow::DropOldest,
        _ => Overflow::Backpressure,
    }
}
