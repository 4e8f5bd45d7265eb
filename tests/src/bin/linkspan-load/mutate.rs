//! Hostile bytes: random ones, well-known malformations, and honest sessions with a few bytes changed.

use crate::wire;

/// A small generator of random numbers (splitmix64): the same seed makes the same attack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }
}

/// The packages of one attack, in order. Over TCP they are one stream.
pub(crate) fn attack(random: &mut Random) -> Vec<Vec<u8>> {
    match random.below(10) {
        0 => {
            let length = random.below(600);
            vec![random.bytes(length)]
        }
        1..=3 => malformed(random),
        _ => mutated(random),
    }
}

fn package(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut package = Vec::new();
    wire::put_package(&mut package, kind, body);
    package
}

/// An honest session up to its first requests.
fn session(random: &mut Random) -> Vec<Vec<u8>> {
    let length = random.below(200);
    let payload = random.bytes(length);
    vec![
        package(wire::HANDSHAKE, br#"{"sys":{"type":"js-websocket","version":"0.0.1"},"user":{"name":"x"}}"#),
        package(wire::ACK, &[]),
        wire::message(wire::REQUEST, random.next() % 300, b"Echo.Raw", &payload),
        wire::message(wire::REQUEST, 7, b"Echo.JSON", br#"{"a":[1,2,{"b":null}]}"#),
        wire::message(wire::NOTIFY, 0, b"Echo.PushMe", &payload),
        package(wire::HEARTBEAT, &[]),
        wire::message(wire::REQUEST, 9, b"room.join", br#"{"uid":"mallory"}"#),
        wire::message(wire::NOTIFY, 0, b"room.message", br#"{"name":"m","content":"x"}"#),
    ]
}

/// An honest session with a few bytes changed, packages dropped, repeated or swapped.
fn mutated(random: &mut Random) -> Vec<Vec<u8>> {
    let mut packages = session(random);
    for _ in 0..=random.below(3) {
        let at = random.below(packages.len());
        match random.below(8) {
            0 => drop(packages.remove(at)),
            1 => packages.insert(at, packages[at].clone()),
            2 => {
                let other = random.below(packages.len());
                packages.swap(at, other);
            }
            _ => bend(&mut packages[at], random),
        }
        if packages.is_empty() {
            return packages;
        }
    }
    packages
}

/// Changes a few bytes.
fn bend(bytes: &mut Vec<u8>, random: &mut Random) {
    const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, 0xfe, 0x10, 0x20];
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    match random.below(5) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = EDGES[random.below(EDGES.len())],
        2 => bytes.truncate(at),
        3 => bytes.insert(at, random.byte()),
        _ => {
            let length = random.below(12);
            let more = random.bytes(length);
            bytes.splice(at..at, more);
        }
    }
}

/// One malformation that a decoder is known to meet, some after an honest handshake.
fn malformed(random: &mut Random) -> Vec<Vec<u8>> {
    let hello = session(random)[..2].to_vec();
    let after = |message: &[u8]| [hello.clone(), vec![package(wire::DATA, message)]].concat();
    match random.below(16) {
        0 => vec![package(0, b"type zero")],
        1 => vec![package(6 + random.byte() % 250, &[])],
        2 => vec![vec![wire::HANDSHAKE, 0xff, 0xff, 0xff]],
        3 => vec![vec![wire::DATA, 1, 0, 1]],
        4 => vec![package(wire::ACK, &[])],
        5 => vec![package(wire::HANDSHAKE, b"{not json")],
        6 => vec![package(wire::HANDSHAKE, "[".repeat(20_000).as_bytes())],
        7 => vec![package(wire::DATA, &[0, 1, 1, b'a'])],
        8 => after(&[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        9 => after(&[0x00, 0x01, 0xff, b'x']),
        10 => after(&[0x01, 0x01, 0x00]),
        11 => after(&[0x08 | random.byte()]),
        12 => after(&[0x10, 0x01, 0x01, b'a', 1, 2, 3, 4]),
        13 => after(&[]),
        14 => [hello.clone(), hello].concat(),
        _ => [hello, vec![package(wire::KICK, b"{}")]].concat(),
    }
}

/// A WebSocket upgrade as no client sends it, or garbage after one that is right.
pub(crate) fn upgrade(random: &mut Random) -> Vec<u8> {
    let mut bytes = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    if random.below(3) > 0 {
        let length = random.below(300);
        bytes.extend(random.bytes(length));
    }
    for _ in 0..random.below(4) {
        bend(&mut bytes, random);
    }
    bytes
}
