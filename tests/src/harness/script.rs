//! What happens to a connection, drawn from bytes: a fuzzer and a property test describe the same lives.

use std::time::Duration;

use arbitrary::Unstructured;
use bytes::Bytes;
use linkspan_core::hub::{Platform, PlatformSet, Refusal};
use linkspan_core::{CloseReason, Delivery, Event, GroupId, Instant, Key, Limits, Overflow, Push};

/// A source of choices. When its bytes run out every choice is the first one.
#[derive(Debug)]
pub struct Script<'a> {
    choices: Unstructured<'a>,
    now: Instant,
    beat: Duration,
}

/// One package as it goes over the wire, however wrong it is.
pub fn package(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("bodies of tests are short").to_be_bytes();
    [&[kind, len[1], len[2], len[3]], body].concat()
}

impl<'a> Script<'a> {
    /// The choices that `data` stands for.
    pub fn new(data: &'a [u8]) -> Self {
        // Late enough that the clock may also jump back.
        let now = Instant::from_micros(1_000_000_000_000);
        Self { choices: Unstructured::new(data), now, beat: Duration::from_secs(30) }
    }

    /// Whether all bytes are used up.
    pub fn is_over(&self) -> bool {
        self.choices.is_empty()
    }

    /// The time of the last step.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A number below `end`.
    pub fn choose(&mut self, end: usize) -> usize {
        self.choices.choose_index(end).unwrap_or_default()
    }

    /// The time of the next step: mostly the same, sometimes at a border, seldom far off or back.
    pub fn tick(&mut self) -> Instant {
        const MICRO: Duration = Duration::from_micros(1);
        let beat = self.beat;
        let ahead = match self.choose(32) {
            0 => beat - MICRO,
            1 => beat,
            2 => beat + MICRO,
            3 => beat * 2,
            4 => beat * 3,
            5 => Duration::from_secs(600),
            6 => Duration::from_secs(86_400),
            7 => {
                // A clock that jumps back must stand still.
                return Instant::from_micros(self.now.as_micros() - beat.as_micros() as u64);
            }
            8..=12 => MICRO,
            13..=15 => beat / 4,
            _ => Duration::ZERO,
        };
        self.now = self.now + ahead;
        self.now
    }

    /// Up to `most` bytes of any value.
    pub fn raw(&mut self, most: usize) -> Vec<u8> {
        let len = self.choose(most + 1);
        let len = len.min(self.choices.len());
        self.choices.bytes(len).map(<[u8]>::to_vec).unwrap_or_default()
    }

    /// A payload, by size: the borders count, the bytes do not.
    pub fn body(&mut self) -> Bytes {
        const SIZES: [usize; 12] = [0, 1, 2, 7, 64, 125, 126, 127, 255, 256, 4096, 65_536];
        let size = SIZES[self.choose(SIZES.len())];
        Bytes::from(vec![b'a' + (size % 26) as u8; size])
    }

    /// A route; some are in the dictionary of the tests, some cannot be said.
    pub fn route(&mut self) -> Bytes {
        const LONG: [u8; 256] = [b'r'; 256];
        match self.choose(8) {
            0 => Bytes::new(),
            1 => Bytes::from_static(&LONG),
            2 => Bytes::from_static(&LONG[1..]),
            3..=5 => Bytes::from_static(b"onEcho"),
            _ => Bytes::from_static(b"Echo.Raw"),
        }
    }

    /// The bytes of a request id: few values, so that they collide; some are padded, reversed or endless.
    pub fn id(&mut self) -> Vec<u8> {
        const IDS: [&[u8]; 8] =
            [&[1], &[2], &[127], &[0x80, 1], &[0], &[0x81, 0x80, 0], &[0x81, 0], &[0xff; 11]];
        IDS[self.choose(IDS.len())].to_vec()
    }

    /// What to do where a queue is full.
    pub fn overflow(&mut self) -> Overflow {
        [Overflow::DropNewest, Overflow::DropOldest, Overflow::Close, Overflow::Backpressure][self.choose(4)]
    }

    /// One of four keys.
    pub fn key(&mut self) -> Key {
        Key::new([b'k', self.choose(4) as u8]).expect("neither empty nor long")
    }

    /// One of four groups.
    pub fn group(&mut self) -> GroupId {
        GroupId::new([b'g', self.choose(4) as u8]).expect("neither empty nor long")
    }

    /// The bounds of a connection: as they are by default, or so tight that a short script reaches them.
    pub fn limits(&mut self) -> Limits {
        let mut limits = Limits::default();
        if self.choose(4) > 0 {
            limits.receive_max = 512;
            limits.inflate_max = 1024;
            limits.send_max = 600;
            limits.send_queue_bytes = 1024;
            limits.pending_requests = 2;
            limits.pending_bytes = 256;
            limits.keys_per_connection = 1;
            limits.groups_per_connection = 1;
        }
        if self.choose(4) == 0 {
            limits.heartbeat = Some(Duration::from_secs(1));
            limits.silence = Some(Duration::from_secs(2));
        } else if self.choose(8) == 0 {
            limits.heartbeat = None;
            limits.silence = None;
        }
        assert_eq!(limits.validate(), Ok(()));
        self.beat = limits.heartbeat.unwrap_or(self.beat);
        limits
    }

    /// What the hub and the driver may do to any connection.
    pub fn outside<C>(&mut self) -> Event<C> {
        const REASONS: [CloseReason; 5] = [
            CloseReason::PeerClosed,
            CloseReason::ConnectionLost,
            CloseReason::Stopping,
            CloseReason::Replaced,
            CloseReason::Overloaded,
        ];
        let reason = REASONS[self.choose(REASONS.len())];
        match self.choose(16) {
            0 => Event::Closed(reason),
            1 => Event::Drain(reason),
            2..=4 => Event::Delivered(Delivery::Admitted(self.key())),
            5 => Event::Delivered(Delivery::Rejected { key: self.key(), why: Refusal::Taken }),
            6 => Event::Delivered(match self.choose(6) {
                0 => Delivery::WatchRefused(self.key()),
                1 => Delivery::Reserved(self.key()),
                2 => Delivery::Congested(self.key()),
                3 => Delivery::Relieved(self.key()),
                _ => Delivery::Presence { key: self.key(), platforms: PlatformSet::from(Platform::WEB) },
            }),
            7 => Event::Held(self.choose(4) == 0),
            _ => Event::Delivered(Delivery::Push(Push::new(self.route(), self.body(), self.overflow()))),
        }
    }

    /// Spoils an input: a flipped bit, another byte, a cut, a repetition. Mostly it stays as it is.
    pub fn spoil(&mut self, input: &mut Vec<u8>) {
        if input.is_empty() {
            return;
        }
        let at = self.choose(input.len());
        match self.choose(24) {
            0 => input[at] ^= 1 << self.choose(8),
            1 => input[at] = self.choose(256) as u8,
            2 => input.truncate(at),
            3 => _ = input.remove(at),
            4 => input.insert(at, self.choose(256) as u8),
            5 => input.extend_from_within(at..),
            _ => {}
        }
    }
}
