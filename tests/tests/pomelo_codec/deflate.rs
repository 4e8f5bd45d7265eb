//! Compressed bodies: both containers, the limit, and input that means harm.

use bytes::Bytes;
use linkspan_core::Violation;
use linkspan_core::pomelo::{deflate, inflate};
use linkspan_tests::vectors::hex;

const HELLO: &[u8] = b"hello hello hello hello";

/// Not compressible beyond four bits of eight: the same bytes on every machine.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 28) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn zlib(data: &[u8]) -> Bytes {
    deflate(data).expect("smaller")
}

/// A bit at a time, unlike the table of the core.
fn crc32(data: &[u8]) -> u32 {
    let shift = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
    !data.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| shift(crc)))
}

/// A gzip member with the optional fields that `flags` names.
fn gzip(data: &[u8], flags: u8) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 255];
    if flags & 0x04 != 0 {
        member.extend([3, 0, 9, 9, 9]);
    }
    if flags & 0x08 != 0 {
        member.extend(b"name\0");
    }
    if flags & 0x10 != 0 {
        member.extend(b"a comment\0");
    }
    if flags & 0x02 != 0 {
        let crc = crc32(&member);
        member.extend(&crc.to_le_bytes()[..2]);
    }
    let zlib = zlib(data);
    member.extend(&zlib[2..zlib.len() - 4]);
    member.extend(crc32(data).to_le_bytes());
    member.extend((data.len() as u32).to_le_bytes());
    member
}

#[test]
fn reads_what_others_wrote() {
    // By zlib and by gzip.
    let zlib = hex("789ccb48cdc9c957c8402701680308b1");
    let gzip = hex("1f8b08080000000002ff6772656574696e672e74787400cb48cdc9c957c8402701e3513d8d17000000");
    for stream in [zlib, gzip] {
        assert_eq!(inflate(&stream, 100).expect("good"), HELLO);
        assert_eq!(inflate(&stream, 23).expect("good"), HELLO);
        assert_eq!(inflate(&stream, 22), Err(Violation::InflatedTooLarge));
    }
}

#[test]
fn reads_every_gzip_header() {
    for flags in 0..=u8::MAX {
        let member = gzip(HELLO, flags);
        if flags & 0xe0 == 0 {
            assert_eq!(inflate(&member, 100).expect("good"), HELLO, "flags {flags:#04x}");
        } else {
            assert_eq!(inflate(&member, 100), Err(Violation::Deflate), "reserved flags {flags:#04x}");
        }
    }
}

#[test]
fn round_trips_at_the_borders() {
    for len in [
        64,
        255,
        256,
        8191,
        8192,
        16_383,
        16_384,
        16_385,
        32_767,
        32_768,
        32_769,
        65_535,
        65_536,
        65_537,
        1 << 20,
    ] {
        for data in [vec![7; len], noise(len)] {
            let small = zlib(&data);
            assert!(small.len() < len);
            for stream in [small.to_vec(), gzip(&data, 0)] {
                let len = len as u32;
                assert!(inflate(&stream, len).expect("exactly the limit") == data);
                assert!(inflate(&stream, u32::MAX).expect("no limit to speak of") == data);
                assert_eq!(inflate(&stream, len - 1), Err(Violation::InflatedTooLarge));
                assert_eq!(inflate(&stream, 0), Err(Violation::InflatedTooLarge));
            }
        }
    }
}

#[test]
fn is_only_said_to_be_smaller_if_it_is() {
    for data in [&b""[..], b"x", b"xyz", b"{\"code\":200}", &(0..=255).collect::<Vec<_>>()] {
        assert_eq!(deflate(data), None);
    }
    for len in 0..200 {
        if let Some(small) = deflate(&vec![b'a'; len]) {
            assert!(small.len() < len);
            assert_eq!(inflate(&small, 200).expect("good"), vec![b'a'; len]);
        } else {
            assert!(len < 16, "{len} equal bytes can be made smaller");
        }
    }
}

#[test]
fn a_stream_ends_where_the_body_ends() {
    for flags in [None, Some(0), Some(0x1e)] {
        let stream = flags.map_or_else(|| zlib(HELLO).to_vec(), |flags| gzip(HELLO, flags));
        for cut in 0..stream.len() {
            assert_eq!(
                inflate(&stream[..cut], 100),
                Err(Violation::Deflate),
                "{cut} of {} bytes",
                stream.len()
            );
        }
        assert_eq!(inflate(&[&stream[..], &[0]].concat(), 100), Err(Violation::Deflate));
        assert_eq!(
            inflate(&[&stream[..], &stream].concat(), 100),
            Err(Violation::Deflate),
            "one member only"
        );
    }
}

#[test]
fn damage_is_noticed() {
    for stream in [zlib(HELLO).to_vec(), gzip(HELLO, 0x1e)] {
        for bit in 0..stream.len() * 8 {
            let mut damaged = stream.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // What says nothing about the data (the time in a gzip header) may be damaged.
            if let Ok(out) = inflate(&damaged, 100) {
                assert_eq!(out, HELLO, "bit {bit}");
            }
        }
        let mut damaged = stream;
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        assert_eq!(inflate(&damaged, 100), Err(Violation::Deflate), "checksums are verified");
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let bomb = zlib(&vec![0; 16 << 20]);
    assert!(bomb.len() < (16 << 20) / 1000, "a thousand to one");
    for stream in [bomb.to_vec(), gzip(&vec![0; 1 << 20], 0)] {
        for max in [1, 1000, 65_536, 655_360] {
            assert_eq!(inflate(&stream, max), Err(Violation::InflatedTooLarge));
        }
    }
    // Only one layer is taken off, however many there are.
    let outer = zlib(&bomb);
    assert_eq!(inflate(&outer, 655_360).expect("the inner bomb"), bomb);
}

/// Bits in the order of a deflate stream.
#[derive(Default)]
struct Bits(Vec<u8>, u32);

impl Bits {
    fn put(&mut self, value: u32, count: u32) -> &mut Self {
        for at in 0..count {
            if self.1.is_multiple_of(8) {
                self.0.push(0);
            }
            *self.0.last_mut().expect("just pushed") |= (((value >> at) & 1) as u8) << (self.1 % 8);
            self.1 += 1;
        }
        self
    }

    /// A block with code tables of its own, and nothing in it: the most work that its twelve bytes can ask for.
    fn empty_block(&mut self, last: bool) {
        self.put(u32::from(last), 1).put(2, 2);
        // 257 literal codes, 1 distance code, 18 lengths of code lengths: one bit each for "138 zeros" (18) and 1.
        self.put(0, 5).put(0, 5).put(14, 4);
        for at in 0..18 {
            self.put(u32::from(at == 2 || at == 17), 3);
        }
        // No literals at all, the end of the block, one distance; then that end.
        self.put(1, 1).put(138 - 11, 7).put(1, 1).put(118 - 11, 7).put(0, 1).put(0, 1).put(0, 1);
    }
}

#[test]
fn empty_blocks_are_counted() {
    let stream = |blocks: usize| {
        let mut bits = Bits::default();
        for at in 1..=blocks {
            bits.empty_block(at == blocks);
        }
        [&[0x78, 0x9c], &bits.0[..], &[0, 0, 0, 1]].concat()
    };
    assert_eq!(inflate(&stream(1), 100).expect("good"), "");
    assert_eq!(inflate(&stream(64), 100).expect("good"), "");
    // Without a count, each byte of these would cost a hundred times the work of an ordinary one.
    for blocks in [100, 1000, 5000] {
        assert_eq!(inflate(&stream(blocks), 100), Err(Violation::Deflate));
    }
    let stored =
        [&[0x78, 0x9c], &[0, 0, 0, 0xff, 0xff].repeat(13_000)[..], &[1, 0, 0, 0xff, 0xff, 0, 0, 0, 1]]
            .concat();
    assert_eq!(inflate(&stored, 100), Err(Violation::Deflate));
}

#[test]
fn large_bodies_have_as_many_blocks_as_they_need() {
    // Compressors start a block every few thousand symbols: far below what is counted.
    let data = noise(4 << 20);
    assert!(inflate(&zlib(&data), u32::MAX).expect("good") == data);
    // Stored blocks, 1,000 bytes each.
    let piece = [7; 1000];
    let block = [&[0, 0xe8, 0x03, 0x17, 0xfc][..], &piece].concat();
    let sum = piece.repeat(500).iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    let sum = (sum.1 << 16 | sum.0).to_be_bytes();
    let stream = [&[0x78, 0x01], &block.repeat(500)[..], &[1, 0, 0, 0xff, 0xff], &sum].concat();
    assert!(inflate(&stream, 500_000).expect("good") == piece.repeat(500));
}
