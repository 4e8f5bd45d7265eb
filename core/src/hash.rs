//! Seeded hashing: keys are chosen by peers, so every table and every shard choice is keyed.

use core::hash::{BuildHasher, Hash, Hasher};

/// Builds the same hasher from the same seed, on every machine and in every process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeded(u64);

impl Seeded {
    /// A builder keyed by `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl BuildHasher for Seeded {
    type Hasher = SipHasher;

    fn build_hasher(&self) -> SipHasher {
        SipHasher::new(self.0)
    }
}

/// A table that is looked up, and never iterated: its order depends on the seed.
pub(crate) type Map<K, V> = hashbrown::HashMap<K, V, Seeded>;

/// Gives memory back once a table holds less than a quarter of what it has room for; an empty one keeps nothing.
pub(crate) fn give_back<K: Eq + Hash, V>(map: &mut Map<K, V>) {
    if map.is_empty() {
        map.shrink_to_fit();
    } else if map.capacity() > 28 && map.len() < map.capacity() / 4 {
        map.shrink_to(map.len() * 2);
    }
}

/// The keyed hash of one name.
pub(crate) fn hash(seed: u64, name: &[u8]) -> u64 {
    let mut hasher = SipHasher::new(seed);
    hasher.write(name);
    hasher.finish()
}

/// SipHash-1-3 (Aumasson and Bernstein, 2012): a keyed hash that resists chosen keys.
#[derive(Clone, Debug)]
pub(crate) struct SipHasher {
    state: [u64; 4],
    tail: u64,
    tail_len: u32,
    total: u64,
}

impl SipHasher {
    fn new(seed: u64) -> Self {
        // The second half of the key is derived: one 64-bit seed is what a driver provides.
        Self::with_key([seed, seed.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15])
    }

    fn with_key([one, other]: [u64; 2]) -> Self {
        Self {
            state: [
                one ^ 0x736f_6d65_7073_6575,
                other ^ 0x646f_7261_6e64_6f6d,
                one ^ 0x6c79_6765_6e65_7261,
                other ^ 0x7465_6462_7974_6573,
            ],
            tail: 0,
            tail_len: 0,
            total: 0,
        }
    }

    fn round(state: &mut [u64; 4]) {
        let [v0, v1, v2, v3] = state;
        *v0 = v0.wrapping_add(*v1);
        *v1 = v1.rotate_left(13) ^ *v0;
        *v0 = v0.rotate_left(32);
        *v2 = v2.wrapping_add(*v3);
        *v3 = v3.rotate_left(16) ^ *v2;
        *v0 = v0.wrapping_add(*v3);
        *v3 = v3.rotate_left(21) ^ *v0;
        *v2 = v2.wrapping_add(*v1);
        *v1 = v1.rotate_left(17) ^ *v2;
        *v2 = v2.rotate_left(32);
    }

    fn word(&mut self, word: u64) {
        self.state[3] ^= word;
        Self::round(&mut self.state);
        self.state[0] ^= word;
    }
}

impl Hasher for SipHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.total = self.total.wrapping_add(bytes.len() as u64);
        let mut rest = bytes;
        while self.tail_len > 0 && !rest.is_empty() {
            self.push(rest[0]);
            rest = &rest[1..];
        }
        let mut words = rest.chunks_exact(8);
        for chunk in &mut words {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
        for byte in words.remainder() {
            self.push(*byte);
        }
    }

    fn finish(&self) -> u64 {
        let mut last = self.clone();
        last.word((self.total << 56) | self.tail);
        last.state[2] ^= 0xff;
        for _ in 0..3 {
            Self::round(&mut last.state);
        }
        last.state[0] ^ last.state[1] ^ last.state[2] ^ last.state[3]
    }
}

impl SipHasher {
    fn push(&mut self, byte: u8) {
        self.tail |= u64::from(byte) << (8 * self.tail_len);
        self.tail_len += 1;
        if self.tail_len == 8 {
            let word = self.tail;
            self.tail = 0;
            self.tail_len = 0;
            self.word(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// What the standard library's hasher, the same function with the key 0, says of the bytes 0, 1, 2 ….
    const KNOWN: [(u8, u64); 8] = [
        (0, 0xd1fb_a762_150c_532c),
        (1, 0x68a9_1412_8e01_e473),
        (7, 0x2f09_8ab0_c751_325a),
        (8, 0xead4_11e6_7ebe_2eea),
        (9, 0x7592_7f9d_9512_4362),
        (15, 0xf30e_b725_bb91_c9ea),
        (16, 0x8972_1884_33a5_c5b7),
        (33, 0x7fb7_1d24_dfa4_c9f6),
    ];

    #[test]
    fn equals_the_reference_however_the_bytes_are_cut() {
        for (len, known) in KNOWN {
            let bytes: Vec<u8> = (0..len).collect();
            for cut in 0..=bytes.len() {
                for other in cut..=bytes.len() {
                    let mut hasher = SipHasher::with_key([0, 0]);
                    hasher.write(&bytes[..cut]);
                    hasher.write(&bytes[cut..other]);
                    hasher.write(&bytes[other..]);
                    assert_eq!(hasher.finish(), known, "{len} bytes cut at {cut} and {other}");
                }
            }
        }
    }

    /// A seed is all of a key: tables of two processes have nothing in common.
    #[test]
    fn seeds_give_different_keys() {
        let hashes: Vec<u64> = (0..64).map(|bit| hash(1 << bit, b"name")).collect();
        assert!(hashes.iter().enumerate().all(|(at, one)| !hashes[..at].contains(one)));
        assert_ne!(hash(0, b"name"), {
            let mut unkeyed = SipHasher::with_key([0, 0]);
            unkeyed.write(b"name");
            unkeyed.finish()
        });
    }

    #[test]
    fn a_table_gives_back_what_it_no_longer_needs() {
        let mut map: Map<u32, u32> = Map::with_hasher(Seeded::new(1));
        map.extend((0..1000).map(|key| (key, key)));
        let full = map.capacity();
        for key in 500..1000 {
            map.remove(&key);
        }
        give_back(&mut map);
        assert!(map.capacity() > full / 2, "half of it may be needed again");
        for key in 100..500 {
            map.remove(&key);
        }
        give_back(&mut map);
        assert!((100..full / 4).contains(&map.capacity()) && map.len() == 100, "{}", map.capacity());
        for key in 1..100 {
            map.remove(&key);
        }
        give_back(&mut map);
        let least = map.capacity();
        assert!((1..=28).contains(&least), "{least}");
        give_back(&mut map);
        assert_eq!(map.capacity(), least, "a small table stays");
        for (room, left) in [(28, 2), (448, 112)] {
            let mut map: Map<u32, u32> = Map::with_capacity_and_hasher(room, Seeded::new(1));
            map.extend((0..left).map(|key| (key, key)));
            assert_eq!(map.capacity(), room);
            give_back(&mut map);
            assert_eq!(map.capacity(), room, "with {left} of {room} it stays");
        }
        map.clear();
        give_back(&mut map);
        assert_eq!(map.capacity(), 0);
    }
}
