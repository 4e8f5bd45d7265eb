//! One transport connection between two ends: two directions that keep order and bytes, and little else.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use linkspan_core::Opcode;

use super::branch::Wires;
use crate::harness::Random;

/// What travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A piece of a byte stream, or one whole message.
    Data(Opcode, Bytes),
    /// The end of this direction.
    Fin,
}

impl Piece {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Data(_, data) => data.len().max(1),
            Self::Fin => 0,
        }
    }
}

/// How a link cuts a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cuts {
    /// As it was written.
    Whole,
    /// Anywhere.
    Random,
    /// Into single bytes, as long as there are not too many of them.
    Bytes,
}

/// What a link is like when nothing is wrong with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    /// Microseconds on the way, at least.
    pub(super) latency: u64,
    /// Microseconds on the way beyond that, at most.
    pub(super) jitter: u64,
    /// Bytes that may be on their way or unread before the writer must wait.
    pub(super) window: usize,
    pub(super) cuts: Cuts,
}

/// One direction of a link.
#[derive(Debug)]
pub(super) struct Way {
    nature: Nature,
    pieces: VecDeque<(u64, Piece)>,
    /// Nothing arrives before what was sent before it.
    last: u64,
    /// Bytes that were written and not read.
    pub(super) unread: usize,
    /// The writer waits for room.
    pub(super) is_blocked: bool,
    /// Nothing moves before this time.
    pub(super) stalled_until: u64,
    /// Microseconds that each byte takes.
    pub(super) slowness: u64,
    /// Whatever is sent is lost, and nobody is told.
    pub(super) is_dead: bool,
    /// One in so many pieces is spoilt on the way; 0 is none.
    pub(super) spoils: usize,
    /// Whether any piece was.
    has_spoilt: bool,
    /// The writer has ended this direction.
    pub(super) is_ended: bool,
    /// When the next arrival is entered in the agenda for.
    pub(super) arrival: Option<u64>,
    random: Random,
}

impl Way {
    pub(super) fn new(nature: Nature, random: Random) -> Self {
        Self {
            nature,
            pieces: VecDeque::new(),
            last: 0,
            unread: 0,
            is_blocked: false,
            stalled_until: 0,
            slowness: 0,
            is_dead: false,
            spoils: 0,
            has_spoilt: false,
            is_ended: false,
            arrival: None,
            random,
        }
    }

    /// How many bytes the writer may write now.
    pub(super) fn room(&self) -> usize {
        self.nature.window.saturating_sub(self.unread)
    }

    /// How many of the `len` bytes that a writer has are taken at once.
    pub(super) fn takes(&mut self, len: usize) -> usize {
        let most = self.room().min(len);
        match self.nature.cuts {
            Cuts::Whole => most,
            Cuts::Random | Cuts::Bytes if self.random.once_in(4) => most.min(1 + self.random.below(len)),
            Cuts::Random | Cuts::Bytes => most,
        }
    }

    /// Sends something on its way.
    pub(super) fn send(&mut self, now: u64, piece: Piece) {
        if self.is_ended {
            return;
        }
        self.unread += piece.len();
        if self.is_dead {
            return;
        }
        match piece {
            Piece::Data(Opcode::Stream, mut data) if self.nature.cuts != Cuts::Whole => {
                let bytes = self.nature.cuts == Cuts::Bytes && data.len() <= 64;
                while !data.is_empty() {
                    let most = if bytes { 1 } else { [1, 4, 40, data.len()][self.random.below(4)] };
                    let cut = data.split_to(most.min(data.len()));
                    self.put(now, Piece::Data(Opcode::Stream, cut));
                }
            }
            Piece::Fin => {
                self.is_ended = true;
                self.put(now, Piece::Fin);
            }
            piece => self.put(now, piece),
        }
    }

    fn put(&mut self, now: u64, mut piece: Piece) {
        if self.spoils > 0 && self.random.once_in(self.spoils) {
            self.has_spoilt = true;
            piece = self.spoil(now, piece);
        }
        self.place(now, piece);
    }

    fn place(&mut self, now: u64, piece: Piece) {
        let wait = self.nature.latency + self.random.below(self.nature.jitter as usize + 1) as u64;
        let at = now + wait + self.slowness * piece.len() as u64;
        self.last = self.last.max(at).max(self.stalled_until);
        self.pieces.push_back((self.last, piece));
    }

    /// What a hostile peer says instead: something like it, twice, or something that was not its turn.
    fn spoil(&mut self, now: u64, piece: Piece) -> Piece {
        let Piece::Data(opcode, data) = piece else { return piece };
        let mut bytes = data.to_vec();
        let random = &mut self.random;
        if bytes.is_empty() {
            bytes.push(random.bits() as u8);
        }
        let at = random.below(bytes.len());
        match random.below(10) {
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = random.bits() as u8,
            3 => bytes.truncate(at),
            4 => bytes.insert(at, random.bits() as u8),
            5 => bytes.extend_from_within(at..),
            6 => {
                let digits = bytes.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit());
                let digits: Vec<usize> = digits.map(|(at, _)| at).collect();
                if !digits.is_empty() {
                    bytes[digits[random.below(digits.len())]] = b'0' + random.below(10) as u8;
                }
            }
            7 => {
                self.unread += bytes.len().max(1);
                self.place(now, Piece::Data(opcode, data.clone()));
            }
            8 => {
                let opcodes = [Opcode::Binary, Opcode::Text, Opcode::Ping, Opcode::Pong];
                if opcode != Opcode::Stream {
                    return Piece::Data(opcodes[self.random.below(4)], data);
                }
            }
            _ => bytes = random.bytes(bytes.len().min(64)),
        }
        Piece::Data(opcode, bytes.into())
    }

    /// When the next piece is there.
    pub(super) fn next(&self) -> Option<u64> {
        if self.is_dead {
            return None;
        }
        self.pieces.front().map(|(at, _)| (*at).max(self.stalled_until))
    }

    /// Takes what has arrived; pieces of a stream that are there together may come as one.
    pub(super) fn take(&mut self, now: u64) -> Option<Piece> {
        self.next().filter(|at| *at <= now)?;
        let (_, first) = self.pieces.pop_front()?;
        let mut taken = first.len();
        let piece = match first {
            Piece::Data(Opcode::Stream, first) if self.is_joinable(now) => {
                let mut joined = BytesMut::from(&first[..]);
                while joined.len() < 32 * 1024
                    && self.is_joinable(now)
                    && let Some((_, Piece::Data(_, more))) = self.pieces.pop_front()
                {
                    taken += more.len();
                    joined.extend_from_slice(&more);
                }
                Piece::Data(Opcode::Stream, joined.freeze())
            }
            first => first,
        };
        // Spoiling may have changed the length.
        self.unread = if self.pieces.is_empty() { 0 } else { self.unread.saturating_sub(taken) };
        Some(piece)
    }

    fn is_joinable(&mut self, now: u64) -> bool {
        matches!(self.pieces.front(), Some((at, Piece::Data(Opcode::Stream, _))) if *at <= now)
            && !self.random.once_in(3)
    }

    /// What was held up arrives now.
    pub(super) fn hasten(&mut self, now: u64) {
        self.pieces.iter_mut().for_each(|(at, _)| *at = (*at).min(now));
        self.last = self.last.min(now);
    }

    /// Whether something is on its way or unread.
    pub(super) fn has_data(&self) -> bool {
        self.pieces.iter().any(|(_, piece)| piece.len() > 0)
    }

    /// Nothing arrives any more, and nobody is told.
    pub(super) fn die(&mut self) {
        self.is_dead = true;
        self.pieces.clear();
    }

    /// What was on its way is lost, as when the line is reset.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.unread = 0;
    }
}

/// A link: `ways[0]` leads to side 0, `ways[1]` to side 1.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) ways: [Way; 2],
    pub(super) ends: [usize; 2],
    /// Which side has been told, or can find out, that the line was reset.
    pub(super) reset: [bool; 2],
    /// Whether it carries a byte stream; if not, whole messages.
    pub(super) is_stream: bool,
    /// Whether all that the user says on it is what it would say, and arrives so. What was spoilt stays spoilt: it may be
    /// on its way still when the user is well-behaved again, or has left.
    pub(super) is_trusted: bool,
    /// Whether the gateway's last words on it tell the user why it ends.
    pub(super) has_goodbye: bool,
    /// The streams of a tunnel.
    pub(super) wires: Option<Wires>,
}

impl Link {
    pub(super) fn new(nature: Nature, is_stream: bool, seed: u64, ends: [usize; 2]) -> Self {
        let way = |salt| Way::new(nature, Random::new(seed ^ salt));
        Self {
            ways: [way(0x6c65_6674), way(0x72_6967_6874)],
            ends,
            reset: [false; 2],
            is_stream,
            is_trusted: true,
            has_goodbye: false,
            wires: None,
        }
    }

    /// One in so many pieces is spoilt from now on, by the user and towards it; 0 is none.
    pub(super) fn spoil(&mut self, spoils: [usize; 2]) {
        for (way, spoils) in self.ways.iter_mut().zip(spoils) {
            way.spoils = spoils;
        }
        self.is_trusted &= spoils == [0; 2];
    }

    /// Whether the user has heard on it what its gateway has not said, or will.
    pub(super) const fn is_forged(&self) -> bool {
        self.ways[1].has_spoilt
    }
}
