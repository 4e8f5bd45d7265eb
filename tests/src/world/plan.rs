//! What will happen in one world, as lists that can be written down, shortened and replayed.

use std::fmt;

/// How large a world is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// One gateway, up to 8 users.
    #[default]
    Lite,
    /// Two to four gateways, up to 30 users and agents.
    Cluster,
    /// One gateway, thousands of users, for a short while.
    Crowd,
    /// One gateway, two users, for a week.
    Long,
}

impl Size {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Lite, Self::Cluster, Self::Crowd, Self::Long];

    /// How scripts and commands call it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Lite => "lite",
            Self::Cluster => "cluster",
            Self::Crowd => "crowd",
            Self::Long => "long",
        }
    }

    /// The one that is called so.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|size| size.text() == text)
    }
}

/// An enumeration whose values have names in scripts.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$what:meta])* $word:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$what])* $word,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$word,)*];

            /// How scripts and traces call it.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$word => $text,)* }
            }

            /// The one that is called so.
            pub fn from_text(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.text() == text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.text())
            }
        }
    };
}

pub(super) use words;

words! {
    /// What a user speaks.
    Kind {
        /// Pomelo over a stream.
        PomeloTcp = "pomelo-tcp",
        /// Pomelo over WebSocket messages.
        PomeloWs = "pomelo-ws",
        /// The chat dialect.
        Chat = "chat",
        /// The IM dialect, through its door.
        Im = "im",
        /// A tunnel's client, whose gateway dials through it.
        Agent = "agent",
        /// A tunnel's client with the defects of the originals.
        Original = "original",
        /// Somebody who only watches who is online.
        Watcher = "watcher",
        /// A link of the gateway that its name is the number of, to its home as a peer.
        Peer = "peer",
    }
}

words! {
    /// What a user does.
    Verb {
        /// Asks for an echo; a: bytes, b: which service.
        Request = "request",
        /// Sends what wants no answer; a: bytes.
        Notify = "notify",
        /// Sends to a user; a: whose name, b: bytes.
        Send = "send",
        /// Joins a group; a: which.
        Join = "join",
        /// Leaves a group; a: which.
        Leave = "leave",
        /// Sends to a group; a: which, b: bytes.
        Cast = "cast",
        /// Does many things at once; a: how many, b: bytes.
        Flood = "flood",
        /// Ends its connection in order, and comes back; a: after how many milliseconds.
        HangUp = "hang-up",
        /// A service removes it.
        Kick = "kick",
        /// A service sends to its name; a: bytes, b: what happens where it is too slow.
        Push = "push",
        /// A service removes everybody of a group; a: which.
        Clear = "clear",
        /// Asks to be registered under a further name; a: which.
        Bind = "bind",
        /// Gives that name up; a: which.
        Unbind = "unbind",
        /// Logs out of the IM session.
        Logout = "logout",
        /// The gateway opens a stream through it; a: bytes, b: what the target is like.
        Dial = "dial",
        /// A service opens a stream through an agent, wherever it is; a: whose name, b: what the target is like.
        Reach = "reach",
        /// A visitor asks a gateway, as a proxy, for a path; a: which, b: what becomes of it.
        Fetch = "fetch",
        /// Ends its connection in order, and goes to another gateway.
        Move = "move",
        /// A client with the originals' defects says nothing more, and keeps its line.
        Mute = "mute",
        /// It opens a stream through the gateway; a: bytes, b: what the target is like.
        DialBack = "dial-back",
    }
}

words! {
    /// What goes wrong.
    Harm {
        /// The user's line is reset.
        Cut = "cut",
        /// The user's line is dead in some direction; extra: 1 towards the gateway, 2 towards the user, 3 both.
        Half = "half",
        /// Nothing moves on the user's line.
        Stall = "stall",
        /// The user's line is slow; extra: microseconds for each byte.
        Slow = "slow",
        /// The user does not read.
        Deaf = "deaf",
        /// What the user sends is spoilt; extra: one in so many pieces.
        Spoil = "spoil",
        /// The task of the user's connection gets no turn.
        Nap = "nap",
        /// The gateway stands still.
        Freeze = "freeze",
        /// The gateway's process is gone; extra: 1 if its peers are told.
        Crash = "crash",
        /// The gateway stops gracefully, and starts again.
        Roll = "roll",
        /// The gateway's clock is off; extra: 1 behind, 0 ahead.
        Skew = "skew",
        /// The gateway accepts nobody, for want of descriptors.
        Exhaust = "exhaust",
        /// A remote node takes over some services.
        NodeUp = "node-up",
        /// That node has left.
        NodeDown = "node-down",
        /// Nothing moves between the gateway and one half of its users; extra: 0 those with even numbers, 1 the others.
        Partition = "partition",
        /// Nothing moves between the gateway and its peers; extra: 1 towards them, 2 from them, 3 both.
        Split = "split",
        /// An upstream refuses everybody, and its connections break; extra: which.
        Upstream = "upstream",
        /// The link to a peer announces what is not so; extra: how many sessions.
        Lie = "lie",
        /// What the user hears is forged by somebody who poses as its gateway; extra: one in so many pieces.
        Forge = "forge",
    }
}

impl Kind {
    /// Whether the user's own end is one of ours, and has to bear with whatever it hears; the others are the world's.
    pub(super) const fn is_ours(self) -> bool {
        !matches!(self, Self::Original | Self::Watcher)
    }
}

impl Harm {
    /// Whether it befalls a user; if not, a gateway.
    pub const fn is_of_user(self) -> bool {
        matches!(
            self,
            Self::Cut
                | Self::Half
                | Self::Stall
                | Self::Slow
                | Self::Deaf
                | Self::Spoil
                | Self::Nap
                | Self::Lie
                | Self::Forge
        )
    }
}

impl Harm {
    /// Whether it may keep bytes from somebody for a while, or for ever, without ending the line.
    pub(super) const fn holds_up(self) -> bool {
        match self {
            Self::Half | Self::Stall | Self::Slow | Self::Deaf | Self::Nap => true,
            Self::Freeze | Self::Crash | Self::Skew | Self::Partition | Self::Split => true,
            Self::Cut | Self::Spoil | Self::Roll | Self::Exhaust | Self::NodeUp | Self::NodeDown => false,
            Self::Upstream | Self::Lie | Self::Forge => false,
        }
    }
}

/// Numbers that shape a world, each with a name in scripts.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident = $default:literal,)*) => {
        /// What a world is like. All times are in microseconds.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Settings { $($(#[$doc])* pub $name: u64,)* }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Settings {
            /// Every setting with its name.
            pub fn fields(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }

            /// Sets one by its name; false if there is none of that name.
            pub fn set(&mut self, name: &str, value: u64) -> bool {
                match name {
                    $(stringify!($name) => self.$name = value,)*
                    _ => return false,
                }
                true
            }
        }
    };
}

settings! {
    /// How many gateways there are.
    gateways = 1,
    /// How many shards the hub of each has.
    shards = 1,
    /// When faults end and everything has to come to rest.
    heal = 20_000_000,
    /// How late timers may be.
    late = 0,
    /// How long a task may wait for its turn.
    busy = 0,
    /// What a byte needs from end to end, at least.
    latency = 5_000,
    /// And beyond that, at most.
    jitter = 5_000,
    /// Bytes on their way or unread before a writer must wait.
    window = 65_536,
    /// How streams are cut: 0 not, 1 anywhere, 2 into bytes.
    cuts = 0,
    /// Which bounds are in force: 0 the defaults, 1 tight, 2 so tight that everything is reached.
    bounds = 0,
    /// Which policy decides about names: 0 many, 1 newest wins, 2 reject, 3 two at most, 4 one per platform, 5 one per
    /// class, 6 a PC and one other.
    admission = 0,
    /// The same for the chat dialect.
    duplicate = 1,
    /// What happens to slow readers: 0 close, 1 drop the newest, 2 drop the oldest, 3 back-pressure.
    slow = 0,
    /// Whether chat messages are stamped.
    stamped = 0,
    /// Whether chat clients may send what cannot be read.
    lenient = 0,
    /// From which size on pomelo bodies are deflated; 0 is never.
    deflate = 0,
    /// Whether pomelo routes have codes.
    dictionary = 0,
    /// Whether pomelo clients answer heartbeats instead of sending their own.
    passive = 0,
    /// How long services take, at most.
    service = 1_000,
    /// One in so many requests is never answered; 0 is none.
    silent = 0,
    /// One in so many requests is answered after it has expired; 0 is none.
    tardy = 0,
    /// One in so many answers is larger than may be sent; 0 is none.
    bulky = 0,
    /// Whether a name is given before the handshake is over.
    early = 0,
    /// One in so many handshakes is refused; 0 is none.
    refuse = 0,
    /// What checks of tokens do: 0 quick, 1 slow, 2 sometimes wrong, 3 sometimes never.
    auth = 0,
    /// One in so many connections of pages is made by a foreign page; 0 is none.
    foreign = 0,
    /// How many addresses the users share.
    addresses = 200,
    /// How long who seeks an agent waits for it.
    patience = 0,
    /// Whether tunnels are between our own ends (1) or a Linkspan and one that must be probed (0).
    ours = 1,
}

/// One user of the world, or an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserPlan {
    /// What it speaks.
    pub kind: Kind,
    /// Its name; several may have the same.
    pub name: u64,
    /// The gateway that it tries first.
    pub home: usize,
    /// When it connects first.
    pub at: u64,
}

/// Something that a user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// When, in microseconds.
    pub at: u64,
    /// Which user.
    pub user: usize,
    /// What.
    pub verb: Verb,
    /// See [`Verb`].
    pub a: u64,
    /// See [`Verb`].
    pub b: u64,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When, in microseconds.
    pub at: u64,
    /// What.
    pub harm: Harm,
    /// Which user, or which gateway.
    pub whom: usize,
    /// For how long, in microseconds.
    pub span: u64,
    /// See [`Harm`].
    pub extra: u64,
}

/// A whole world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Decides everything that is not said here: cuts, delays, what is spoilt and how.
    pub seed: u64,
    /// How large it is.
    pub size: Size,
    /// What it is like.
    pub settings: Settings,
    /// Who lives in it.
    pub users: Vec<UserPlan>,
    /// What they do.
    pub ops: Vec<Op>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// A number of its own for each purpose, so that one choice more or less leaves all others as they are.
pub(super) fn salted(seed: u64, purpose: u64) -> u64 {
    let mut random = crate::harness::Random::new(seed ^ purpose.wrapping_mul(0x9e6c_63d0_876a_3f6b));
    random.bits()
}
