//! Names for what policy does quietly, so that it is counted and tests can prove it was reached.

macro_rules! marks {
    ($($(#[$doc:meta])* $mark:ident => $name:literal,)*) => {
        /// Something a limit or a policy did that does not end the connection.
        ///
        /// Machines emit marks as actions: a driver adds them up for its metrics, and a test that never sees a mark has
        /// not reached that limit. (What ends a connection is named by its [`CloseReason`](crate::CloseReason).)
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Mark { $($(#[$doc])* $mark,)* }

        impl Mark {
            /// Every mark, in order.
            pub const ALL: &'static [Self] = &[$(Self::$mark),*];

            /// The name under which the mark is counted.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$mark => $name,)* }
            }
        }
    };
}

marks! {
    /// A lossy message was dropped because the peer's send queue was full.
    PushDropped => "push_dropped",
    /// The oldest lossy message was taken out of a full send queue.
    OldestDropped => "oldest_dropped",
    /// The peer stopped being read because too much was waiting for it or pending on it.
    ReadPaused => "read_paused",
    /// A request was answered by its deadline instead of by the application.
    RequestExpired => "request_expired",
    /// An answer came for a request that is no longer waiting.
    AnswerLate => "answer_late",
    /// An answer could not be encoded; the caller got an error instead.
    AnswerRefused => "answer_refused",
    /// A message cannot be said on this wire, or is too large for it, and was dropped.
    PushRefused => "push_refused",
    /// A message came for a connection that is not ready for messages.
    NotReady => "not_ready",
    /// A message that only a server may send came from a client, and was ignored.
    MessageIgnored => "message_ignored",
    /// A message that cannot be read was ignored, as the policy of the listener says.
    BadMessageIgnored => "bad_message_ignored",
    /// The heartbeat check came so late that what had arrived is read before the peer is judged.
    CheckPostponed => "check_postponed",
    /// A connection asked for more keys, groups or watches than one connection may have.
    RegistrationRefused => "registration_refused",
    /// A message was published to a key or group that nobody is registered under.
    Undeliverable => "undeliverable",
    /// A connection is not read for a while: it has sent to a key with a session that is too slow.
    SenderHeld => "sender_held",
    /// A mailbox was full and the hub told its connection's policy.
    MailboxFull => "mailbox_full",
    /// A key was refused because another session has it.
    KeyRejected => "key_rejected",
    /// A key was refused because it has as many sessions as a key may have.
    KeyFull => "key_full",
    /// A key was refused because it has as many sessions on one platform as it may have.
    PlatformFull => "platform_full",
    /// A key was refused because the shard holds as many sessions as it may.
    HubFull => "hub_full",
    /// A key was refused because sessions have taken it from each other too often.
    KickStorm => "kick_storm",
    /// A key went from older sessions to a newer one.
    KeyReplaced => "key_replaced",
    /// A key has as many watchers as it may have.
    WatchersFull => "watchers_full",
    /// A group refused a member because it is full.
    GroupFull => "group_full",
    /// A connection was refused at the door: the process holds as many as it may.
    ConnectionsFull => "connections_full",
    /// A connection was refused at the door: its address holds as many as it may.
    AddressFull => "address_full",
    /// A connection was refused at the door: its address opens them too fast.
    AddressRate => "address_rate",
    /// A connection was refused at the door: too much is buffered in the process.
    MemoryFull => "memory_full",
    /// A connection was refused because its listener has as many as it may.
    ListenerFull => "listener_full",
    /// A token was not checked because as many checks wait as may wait.
    ChecksFull => "checks_full",
    /// A token was not right, or not its user's.
    TokenWrong => "token_wrong",
    /// A token was not looked at: too many wrong ones have come from its address.
    TokenRate => "token_rate",
    /// A connection is ended: its address sends messages too fast.
    MessageRate => "message_rate",
    /// A connection was refused without a word: too many are being told already.
    RefusalSilent => "refusal_silent",
    /// A connection's proxy did not say whom it speaks for, in time and in a form that can be read.
    ProxyHeaderInvalid => "proxy_header_invalid",
    /// A page of a foreign origin was not let in.
    OriginRefused => "origin_refused",
    /// Accepting failed and waits before the next try.
    AcceptFailed => "accept_failed",
    /// A sticky binding was dropped because its node has left.
    BindingLost => "binding_lost",
    /// A node, or some of the services it offers, were refused: more are known than may be.
    NodeRefused => "node_refused",
    /// A peer's wish for a stream was refused: its number is taken, or there are too many.
    StreamRefused => "stream_refused",
    /// A peer's wish for a stream was refused: it wishes too often.
    StreamRate => "stream_rate",
    /// A stream was ended because more waited in it than may.
    StreamOverflow => "stream_overflow",
    /// A stream was ended because the peer paused and resumed it for nothing too often, or granted it too much.
    StreamFlapping => "stream_flapping",
    /// A dial was refused: as many as may go to that address at a time.
    TargetFull => "target_full",
    /// A datagram was lost: too many wait, or it cannot be passed on.
    DatagramDropped => "datagram_dropped",
    /// A datagram of a new sender was lost: its port serves as many senders as it may.
    SendersFull => "senders_full",
    /// A request was refused: its body has a length and a transfer coding.
    FramingDoubtful => "framing_doubtful",
    /// A tunnel's peer link was refused: it comes from this server itself.
    LinkRefused => "link_refused",
    /// A tunnel's peer link was closed: the peer has opened a newer one.
    LinkReplaced => "link_replaced",
    /// An announcement of a peer counts for nothing: it names a server, or there are too many.
    AnnouncementRefused => "announcement_refused",
    /// A request did not wait for its tunnel client: too many do.
    SeekRefused => "seek_refused",
    /// A request was not passed on: there are as many connections to upstreams as there may be.
    UpstreamsFull => "upstreams_full",
    /// A request was not passed on: as many as may wait for a connection to its upstream.
    UpstreamQueueFull => "upstream_queue_full",
}
