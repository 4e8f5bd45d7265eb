//! Every bound of the core in one place, with its unit, its default and the sum it contributes to.

use core::time::Duration;

use crate::Frame;

/// The bounds that every machine keeps.
///
/// All fields are public so that an operator's settings map to them one by one; [`validate`](Self::validate) says which
/// field is wrong and why. What one connection can cost at most is written out in
/// [`connection_bytes_max`](Self::connection_bytes_max).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of transport to a finished handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// How often a sign of life is sent; `None` sends none. Default 30 s.
    pub heartbeat: Option<Duration>,
    /// After how much silence of the peer the connection ends; `None` never. Only complete, valid packages end a
    /// silence. Default 75 s: an idle JavaScript client gives a sign every second interval, so two intervals would end
    /// it in the very moment of its heartbeat. A pomelo client is told the heartbeat in whole seconds, rounded up; where
    /// that is longer than the heartbeat, a silence lasts at least 2.5 of it.
    pub silence: Option<Duration>,
    /// How long one package or message may stay unfinished. Default 30 s.
    pub unfinished_timeout: Duration,
    /// How long queued data may make no progress towards the peer. Default 10 s.
    pub write_timeout: Duration,
    /// How long a connection that is closing waits for its pending answers, and a driver for its last bytes.
    /// Default 5 s.
    pub close_grace: Duration,
    /// Largest body taken from the peer, in bytes. Default 65,536 (as nano); at most 16,777,215.
    pub receive_max: u32,
    /// Largest body sent to the peer, in bytes. Default 16,777,215.
    pub send_max: u32,
    /// Largest payload that a compressed body may inflate to, in bytes. Default 655,360 (ten times `receive_max`).
    pub inflate_max: u32,
    /// How much may wait in the send queue, in bytes; every frame counts for at least 256. Default 1 MiB.
    pub send_queue_bytes: u32,
    /// How many requests of one peer may wait for an answer before it is no longer read, counted from the oldest on: what
    /// was answered behind it counts until it is. Default 256.
    pub pending_requests: u32,
    /// How many bytes those requests may hold before the peer is no longer read. Default 1 MiB.
    pub pending_bytes: u32,
    /// After which time a request is answered with an error. Default 30 s.
    pub request_timeout: Duration,
    /// How many keys one connection may be registered under. Default 4.
    pub keys_per_connection: u32,
    /// How many groups one connection may be in. Default 128.
    pub groups_per_connection: u32,
    /// How many keys one connection may watch. Default 256.
    pub watches_per_connection: u32,
    /// How many sessions one key may have on one platform, places that are held included. Default 10 (as OpenIM).
    /// Sessions that do not state a platform are exempt.
    pub sessions_per_platform: u32,
    /// How many sessions one key may have, places that are held included. Default 100,000.
    pub sessions_per_key: u32,
    /// How many sessions one shard of the hub may have, places that are held included. Default 100,000.
    pub sessions_per_shard: u32,
    /// How many connections may watch one key. Default 10,000.
    pub watchers_per_key: u32,
    /// How often sessions may take one key from others within [`replacement_window`](Self::replacement_window) before
    /// the newest is refused. Default 5; 0 is no limit.
    pub replacements: u32,
    /// For how long a key that was taken counts. Default 10 s.
    pub replacement_window: Duration,
    /// How many such events one shard of the hub remembers. Default 8,192.
    pub replacements_remembered: u32,
    /// How many members one group may have. Default 100,000.
    pub group_members: u32,
    /// How many events may wait in a connection's mailbox. Default 1,024.
    pub mailbox: u32,
    /// Connections in the whole process. Default 100,000.
    pub connections: u32,
    /// Connections from one address (one /64 for IPv6). Default 256.
    pub connections_per_address: u32,
    /// New connections per second from one address, sustained. Default 50; 0 is no limit.
    pub connects_per_second: u32,
    /// How many connections an address may open at once before the rate counts. Default 200.
    pub connects_burst: u32,
    /// Messages that all connections of one address may send per second; 0 is any number. Default 5,000.
    pub messages_per_second: u32,
    /// How many of them may come at once. Default 20,000.
    pub messages_burst: u32,
    /// Wrong tokens per second from one address, sustained, before no token of it is looked at. Default 1; 0 is any
    /// number.
    pub wrong_tokens_per_second: u32,
    /// How many of them may come at once. Default 20.
    pub wrong_tokens_burst: u32,
    /// Refused connections that are told so at the same time; the rest is closed without a word. Default 64.
    pub refusals: u32,
    /// Bytes buffered in the whole process above which it closes the largest queues. Default 1 GiB. From 80 % on new
    /// connections are refused.
    pub buffered_bytes: u64,
    /// Streams of one tunnel session, in both directions. Default 1,024.
    pub tunnel_streams: u32,
    /// Dials of one tunnel session that the application has not finished. Default 128.
    pub tunnel_dials: u32,
    /// Dials to one address that an agent has not finished, for all servers together. Default 64.
    pub tunnel_dials_per_target: u32,
    /// Largest message taken from the peer of a tunnel, in bytes. Default 16,777,215: the originals have no bound.
    pub tunnel_receive_max: u32,
    /// How much one stream may have unread before its sender is paused, in bytes; every piece counts for at least 256.
    /// Default 2 MiB.
    pub tunnel_stream_pause: u32,
    /// How much one stream may have unread whose sender counts credit (both ends are Linkspan), in bytes; every piece
    /// counts for at least 256. It is also the most of a stream that is on its way at once: 1 MiB carries 10 MB/s at
    /// 100 ms. Default 1 MiB; a stream begins with [`tunnel_first_window`](Self::tunnel_first_window).
    pub tunnel_stream_window: u32,
    /// How much one stream may have unread, and as much unsent, before it is ended, in bytes. A sender that is paused
    /// has up to two sockets' buffers on the way, so this must hold what a kernel gives them. Default 64 MiB.
    pub tunnel_stream_bytes: u32,
    /// How much all streams of a session may have unread, and as much unsent, in bytes. Default 128 MiB.
    pub tunnel_session_bytes: u64,
    /// How much of one stream may be written and not sent before its writer waits, in bytes; half of it may be in the
    /// session's core. Default 256 KiB.
    pub tunnel_write_window: u32,
    /// How much stream data may be in the send queue, in bytes: what a control message may have to wait for.
    /// Default 160 KiB, and never more than half of [`send_queue_bytes`](Self::send_queue_bytes); one message goes in any
    /// case, of up to 32 KiB to an original and 64 KiB to one of ours, so the send queue should have room for two.
    pub tunnel_window: u32,
    /// Dials per second that the peer of one tunnel session may ask for, sustained. Default 1,000; 0 is no limit.
    pub tunnel_connects_per_second: u32,
    /// How many dials it may ask for at once before the rate counts. Default 1,000.
    pub tunnel_connects_burst: u32,
    /// How many pauses and resumes of one stream the peer may send for which there was no cause, before the stream is
    /// ended. Default 1,000.
    pub tunnel_flips: u32,
    /// How many announcements of one tunnel session may be malformed before it ends. Default 100.
    pub tunnel_malformed: u32,
    /// Tunnel sessions of one client. Default 64.
    pub tunnel_sessions_per_client: u32,
    /// How many sessions of clients one peer may announce. Default 100,000.
    pub tunnel_announced: u32,
    /// How many requests may wait for tunnel clients that are not there. Default 1,024.
    pub tunnel_seeks: u32,
    /// How long the application may take to dial for a tunnel's peer. Default 60 s.
    pub tunnel_dial_timeout: Duration,
    /// How long the reader of a tunnelled stream may hold back what is sent to it. Default 10 min.
    pub tunnel_stall_timeout: Duration,
    /// How long whoever has ended its side of a forwarded connection still waits for bytes of an answer; the protocol
    /// has no end of one direction. Default 1 s.
    pub tunnel_half_closed: Duration,
    /// After how long without a datagram in either direction a stream of datagrams ends. Default 60 s.
    pub tunnel_datagram_idle: Duration,
    /// Senders that one forwarded UDP port serves at a time. Default 1,024.
    pub tunnel_datagram_senders: u32,
    /// Datagrams of one sender that wait for its stream; more are lost. Default 64.
    pub tunnel_datagrams_waiting: u32,
}

impl Limits {
    /// The largest body a pomelo package can announce: three length bytes.
    pub const BODY_MAX: u32 = 0xff_ffff;

    /// Checks every field.
    ///
    /// # Errors
    ///
    /// [`LimitsError`] with the field that is wrong and what it must be.
    pub fn validate(&self) -> Result<(), LimitsError> {
        for (field, span) in self.spans() {
            if span.is_some_and(|span| span < Self::SPAN_MIN) {
                return Err(LimitsError { field, fix: "must be at least 1ms" });
            }
            if span.is_some_and(|span| span > Self::SPAN_MAX) {
                return Err(LimitsError { field, fix: "must be at most 365 days" });
            }
        }
        for (field, count) in self.counts() {
            if count == 0 {
                return Err(LimitsError { field, fix: "must be at least 1" });
            }
        }
        let bodies = [
            ("receive_max", self.receive_max),
            ("send_max", self.send_max),
            ("tunnel_receive_max", self.tunnel_receive_max),
        ];
        for (field, bytes) in bodies {
            if bytes > Self::BODY_MAX {
                return Err(LimitsError {
                    field,
                    fix: "must be at most 16777215: the length field has three bytes",
                });
            }
        }
        if self.send_queue_bytes < 2 * Frame::COST_MIN {
            return Err(LimitsError {
                field: "send_queue_bytes",
                fix: "must be at least 512: room for two frames",
            });
        }
        if self.tunnel_stream_bytes < self.tunnel_stream_pause {
            return Err(LimitsError {
                field: "tunnel_stream_bytes",
                fix: "must be at least tunnel_stream_pause",
            });
        }
        if let (Some(heartbeat), Some(silence)) = (self.heartbeat, self.silence)
            && silence < heartbeat.saturating_mul(2)
        {
            return Err(LimitsError { field: "silence", fix: "must be at least twice the heartbeat" });
        }
        Ok(())
    }

    /// The spans that must be long enough for a driver.
    fn spans(&self) -> [(&'static str, Option<Duration>); 12] {
        [
            ("handshake_timeout", Some(self.handshake_timeout)),
            ("heartbeat", self.heartbeat),
            ("silence", self.silence),
            ("unfinished_timeout", Some(self.unfinished_timeout)),
            ("write_timeout", Some(self.write_timeout)),
            ("close_grace", Some(self.close_grace)),
            ("request_timeout", Some(self.request_timeout)),
            ("replacement_window", Some(self.replacement_window)),
            ("tunnel_dial_timeout", Some(self.tunnel_dial_timeout)),
            ("tunnel_stall_timeout", Some(self.tunnel_stall_timeout)),
            ("tunnel_half_closed", Some(self.tunnel_half_closed)),
            ("tunnel_datagram_idle", Some(self.tunnel_datagram_idle)),
        ]
    }

    /// The counts that must not be 0.
    fn counts(&self) -> [(&'static str, u64); 36] {
        [
            ("receive_max", u64::from(self.receive_max)),
            ("send_max", u64::from(self.send_max)),
            ("inflate_max", u64::from(self.inflate_max)),
            ("pending_requests", u64::from(self.pending_requests)),
            ("pending_bytes", u64::from(self.pending_bytes)),
            ("sessions_per_platform", u64::from(self.sessions_per_platform)),
            ("sessions_per_key", u64::from(self.sessions_per_key)),
            ("sessions_per_shard", u64::from(self.sessions_per_shard)),
            ("watchers_per_key", u64::from(self.watchers_per_key)),
            ("replacements_remembered", u64::from(self.replacements_remembered)),
            ("group_members", u64::from(self.group_members)),
            ("mailbox", u64::from(self.mailbox)),
            ("connections", u64::from(self.connections)),
            ("connections_per_address", u64::from(self.connections_per_address)),
            ("connects_burst", u64::from(self.connects_burst)),
            ("messages_burst", u64::from(self.messages_burst)),
            ("wrong_tokens_burst", u64::from(self.wrong_tokens_burst)),
            ("buffered_bytes", self.buffered_bytes),
            ("tunnel_streams", u64::from(self.tunnel_streams)),
            ("tunnel_dials", u64::from(self.tunnel_dials)),
            ("tunnel_dials_per_target", u64::from(self.tunnel_dials_per_target)),
            ("tunnel_receive_max", u64::from(self.tunnel_receive_max)),
            ("tunnel_stream_pause", u64::from(self.tunnel_stream_pause)),
            ("tunnel_stream_window", u64::from(self.tunnel_stream_window)),
            ("tunnel_stream_bytes", u64::from(self.tunnel_stream_bytes)),
            ("tunnel_session_bytes", self.tunnel_session_bytes),
            ("tunnel_write_window", u64::from(self.tunnel_write_window)),
            ("tunnel_window", u64::from(self.tunnel_window)),
            ("tunnel_connects_burst", u64::from(self.tunnel_connects_burst)),
            ("tunnel_flips", u64::from(self.tunnel_flips)),
            ("tunnel_malformed", u64::from(self.tunnel_malformed)),
            ("tunnel_sessions_per_client", u64::from(self.tunnel_sessions_per_client)),
            ("tunnel_announced", u64::from(self.tunnel_announced)),
            ("tunnel_seeks", u64::from(self.tunnel_seeks)),
            ("tunnel_datagram_senders", u64::from(self.tunnel_datagram_senders)),
            ("tunnel_datagrams_waiting", u64::from(self.tunnel_datagrams_waiting)),
        ]
    }

    /// How much can wait in the send queue at most, in bytes: one frame may start while it is just below the mark.
    pub fn send_queue_max(&self) -> u64 {
        let frame = (u64::from(self.send_max) + Frame::HEAD_MAX as u64 + 2).max(u64::from(Frame::COST_MIN));
        u64::from(self.send_queue_bytes) + frame
    }

    /// The shortest span that makes sense to a driver.
    pub(crate) const SPAN_MIN: Duration = Duration::from_millis(1);
    /// The longest one; far from where sums of spans could overflow.
    const SPAN_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

    /// The most memory that one connection can make the gateway hold, in bytes.
    ///
    /// The sum, where `chunk` is the largest piece of input a driver hands over at once:
    ///
    /// ```text
    ///   receive_max + 4          an unfinished package
    /// + chunk                    the piece that is being read
    /// + inflate_max × 1.5        one payload being inflated, in a buffer that grows …
    /// + 11 KiB                   … and the state of the inflater
    /// + send_queue_bytes         the send queue …
    /// + send_max + 31            … and one frame that may start while it is just below the mark
    /// + pending_bytes + chunk    requests that wait for an answer, and what was read behind the last of them …
    /// + pending_requests × 48    … and their table, which grows by doubling
    /// + pending_bytes + chunk    messages without an answer, in the application's own queue …
    /// + pending_requests × 96    … and its entries, of either kind
    /// + registrations × 320      keys, as many that are waited for, groups and watches
    /// + mailbox × 96             events on their way; their payloads are shared with whoever sent them
    /// ```
    pub fn connection_bytes_max(&self, chunk: u32) -> u64 {
        let registrations = u64::from(self.keys_per_connection.max(1)) * 2
            + u64::from(self.groups_per_connection)
            + u64::from(self.watches_per_connection);
        u64::from(self.receive_max)
            + 4
            + u64::from(chunk)
            + u64::from(self.inflate_max) * 3 / 2
            + 11 * 1024
            + self.send_queue_max()
            + u64::from(self.pending_bytes)
            + u64::from(chunk)
            + u64::from(self.pending_requests) * (48 + 96)
            + u64::from(self.pending_bytes)
            + u64::from(chunk)
            + registrations * 320
            + u64::from(self.mailbox) * 96
    }

    /// The credit with which the peer of a tunnel session begins each stream, in bytes: half of
    /// [`tunnel_session_bytes`](Self::tunnel_session_bytes), shared by all [`tunnel_streams`](Self::tunnel_streams),
    /// but 1 KiB at least and [`tunnel_stream_window`](Self::tunnel_stream_window) at most. Streams that are read grow
    /// into the other half.
    pub fn tunnel_first_window(&self) -> u32 {
        let share = self.tunnel_session_bytes / 2 / u64::from(self.tunnel_streams.max(1));
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        share.min(self.tunnel_stream_window).max(1024)
    }

    /// The most memory that one tunnel session can make the gateway hold, in bytes:
    /// [`connection_bytes_max`](Self::connection_bytes_max), twice
    /// [`tunnel_session_bytes`](Self::tunnel_session_bytes) for what is unread and unsent, and 1 KiB for each of
    /// [`tunnel_streams`](Self::tunnel_streams).
    pub fn tunnel_bytes_max(&self, chunk: u32) -> u64 {
        self.connection_bytes_max(chunk)
            + self.tunnel_session_bytes.saturating_mul(2)
            + u64::from(self.tunnel_streams) * 1024
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            heartbeat: Some(Duration::from_secs(30)),
            silence: Some(Duration::from_secs(75)),
            unfinished_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            close_grace: Duration::from_secs(5),
            receive_max: 64 * 1024,
            send_max: Self::BODY_MAX,
            inflate_max: 640 * 1024,
            send_queue_bytes: 1024 * 1024,
            pending_requests: 256,
            pending_bytes: 1024 * 1024,
            request_timeout: Duration::from_secs(30),
            keys_per_connection: 4,
            groups_per_connection: 128,
            watches_per_connection: 256,
            sessions_per_platform: 10,
            sessions_per_key: 100_000,
            sessions_per_shard: 100_000,
            watchers_per_key: 10_000,
            replacements: 5,
            replacement_window: Duration::from_secs(10),
            replacements_remembered: 8192,
            group_members: 100_000,
            mailbox: 1024,
            connections: 100_000,
            connections_per_address: 256,
            connects_per_second: 50,
            connects_burst: 200,
            messages_per_second: 5000,
            messages_burst: 20_000,
            wrong_tokens_per_second: 1,
            wrong_tokens_burst: 20,
            refusals: 64,
            buffered_bytes: 1 << 30,
            tunnel_streams: 1024,
            tunnel_dials: 128,
            tunnel_dials_per_target: 64,
            tunnel_receive_max: Self::BODY_MAX,
            tunnel_stream_pause: 2 * 1024 * 1024,
            tunnel_stream_window: 1024 * 1024,
            tunnel_stream_bytes: 64 * 1024 * 1024,
            tunnel_session_bytes: 128 * 1024 * 1024,
            tunnel_write_window: 256 * 1024,
            tunnel_window: 160 * 1024,
            tunnel_connects_per_second: 1000,
            tunnel_connects_burst: 1000,
            tunnel_flips: 1000,
            tunnel_malformed: 100,
            tunnel_sessions_per_client: 64,
            tunnel_announced: 100_000,
            tunnel_seeks: 1024,
            tunnel_dial_timeout: Duration::from_secs(60),
            tunnel_stall_timeout: Duration::from_secs(600),
            tunnel_half_closed: Duration::from_secs(1),
            tunnel_datagram_idle: Duration::from_secs(60),
            tunnel_datagram_senders: 1024,
            tunnel_datagrams_waiting: 64,
        }
    }
}

/// Which limit is wrong, and what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limit `{field}` {fix}")]
pub struct LimitsError {
    /// The field of [`Limits`].
    pub field: &'static str,
    /// What the field must be.
    pub fix: &'static str,
}
