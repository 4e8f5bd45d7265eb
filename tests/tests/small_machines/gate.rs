//! The gate against a naive model, its marks and its memory.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use linkspan_core::gate::Gate;
use linkspan_core::{CloseReason, Instant, Limits, Mark};
use proptest::collection::vec;
use proptest::prelude::*;

/// Spellings of four sources, and loopback.
const ADDRESSES: [(&str, Option<u8>); 9] = [
    ("10.0.0.1", Some(1)),
    ("::ffff:10.0.0.1", Some(1)),
    ("10.0.0.2", Some(2)),
    ("2001:db8::1", Some(3)),
    ("2001:db8::ffff:0:0:2", Some(3)),
    ("2001:db8:0:1::1", Some(4)),
    ("127.0.0.1", None),
    ("127.9.9.9", None),
    ("::1", None),
];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn limits() -> Limits {
    Limits {
        connections: 6,
        connections_per_address: 3,
        connects_per_second: 10,
        connects_burst: 4,
        buffered_bytes: 1000,
        ..Limits::default()
    }
}

fn gate(limits: Limits) -> Gate {
    Gate::new(Arc::new(limits), 3)
}

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

/// One source as a bucket of tokens, a hundred millitokens per connection.
struct Bucket {
    open: u32,
    tokens: u64,
    filled_at: u64,
}

/// What a gate does, said as plainly as possible. With ten connections per second a bucket gets one millitoken of a
/// hundred per millisecond.
#[derive(Default)]
struct Model {
    buckets: BTreeMap<u8, Bucket>,
    loopback: u32,
    buffered: u64,
}

impl Model {
    const TOKEN: u64 = 100;

    fn open(&self) -> u32 {
        self.loopback + self.buckets.values().map(|bucket| bucket.open).sum::<u32>()
    }

    fn admit(&mut self, now: u64, source: Option<u8>) -> Result<(), Mark> {
        let limits = limits();
        if self.buffered * 10 >= limits.buffered_bytes * 8 {
            return Err(Mark::MemoryFull);
        }
        if self.open() >= limits.connections {
            return Err(Mark::ConnectionsFull);
        }
        let Some(source) = source else {
            self.loopback += 1;
            return Ok(());
        };
        let most = u64::from(limits.connects_burst) * Self::TOKEN;
        let full = Bucket { open: 0, tokens: most, filled_at: now };
        let bucket = self.buckets.entry(source).or_insert(full);
        if bucket.open >= limits.connections_per_address {
            return Err(Mark::AddressFull);
        }
        bucket.tokens = most.min(bucket.tokens + now - bucket.filled_at);
        bucket.filled_at = now;
        if bucket.tokens < Self::TOKEN {
            return Err(Mark::AddressRate);
        }
        bucket.tokens -= Self::TOKEN;
        bucket.open += 1;
        Ok(())
    }

    fn release(&mut self, source: Option<u8>) {
        match source {
            None => self.loopback = self.loopback.saturating_sub(1),
            Some(source) => {
                if let Some(bucket) = self.buckets.get_mut(&source) {
                    bucket.open = bucket.open.saturating_sub(1);
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Admit(usize),
    Release(usize),
    Buffered(u64),
    Wait(u64),
    Sweep,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..ADDRESSES.len()).prop_map(Step::Admit),
        5 => (0..ADDRESSES.len()).prop_map(Step::Release),
        1 => prop_oneof![Just(0_u64), Just(799), Just(800), 0..2000_u64].prop_map(Step::Buffered),
        4 => prop_oneof![Just(0_u64), Just(1), Just(99), Just(100), 0..1000_u64].prop_map(Step::Wait),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    #[test]
    fn equals_the_model(steps in vec(any_step(), 0..300)) {
        let mut gate = gate(limits());
        let mut model = Model::default();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Admit(which) => {
                    let (text, source) = ADDRESSES[which];
                    let refused = |mark| (CloseReason::Overloaded, mark);
                    let expected = model.admit(now, source).map_err(refused);
                    prop_assert_eq!(gate.admit(at(now), address(text)), expected, "{} at {} ms", text, now);
                }
                // Also of addresses that have no connection: nothing happens then.
                Step::Release(which) => {
                    let (text, source) = ADDRESSES[which];
                    gate.release(address(text));
                    model.release(source);
                }
                Step::Buffered(bytes) => {
                    gate.set_buffered(bytes);
                    model.buffered = bytes;
                }
                Step::Wait(millis) => now += millis,
                Step::Sweep => gate.sweep(at(now)),
            }
            prop_assert_eq!(gate.connections(), model.open());
            prop_assert!(gate.addresses() <= 2 * limits().connections as usize);
        }
        for (text, _) in ADDRESSES {
            for _ in 0..limits().connections {
                gate.release(address(text));
            }
        }
        gate.sweep(at(now + 10_000));
        let fresh = self::gate(limits()).footprint();
        prop_assert_eq!((gate.connections(), gate.addresses(), gate.footprint()), (0, 0, fresh));
    }

    /// No time and no limit makes it panic.
    #[test]
    fn is_total(
        times in vec(any::<u64>(), 0..50),
        connections in any::<u32>(),
        per_second in any::<u32>(),
        burst in any::<u32>(),
    ) {
        let limits = Limits {
            connections,
            connections_per_address: connections,
            connects_per_second: per_second,
            connects_burst: burst,
            wrong_tokens_per_second: per_second,
            wrong_tokens_burst: burst,
            ..Limits::default()
        };
        let mut gate = gate(limits);
        for time in times {
            let _ = gate.admit(Instant::from_micros(time), address("10.0.0.1"));
            gate.release(address("10.0.0.2"));
            gate.allows_token(Instant::from_micros(time), address("10.0.0.3"));
            gate.count_wrong_token(Instant::from_micros(time), address("10.0.0.3"));
            gate.sweep(Instant::from_micros(time / 2));
        }
    }

    /// Whenever too much is buffered, somebody holds too much.
    #[test]
    fn too_much_is_somebodys_fault(shares in vec(0..800_u64, 1..6)) {
        let mut gate = gate(limits());
        for _ in &shares {
            gate.admit(at(0), address("::1")).unwrap();
        }
        let buffered = shares.iter().sum();
        let excessive = shares.iter().any(|own| gate.is_excessive(*own, buffered));
        prop_assert_eq!(excessive, buffered > limits().buffered_bytes);
    }
}

fn refusal(gate: &mut Gate, now: u64, text: &str) -> Option<Mark> {
    gate.admit(at(now), address(text)).err().map(|(_, mark)| mark)
}

#[test]
fn a_fair_share_is_kept_and_one_byte_more_is_not() {
    let mut gate = gate(limits());
    for _ in 0..5 {
        gate.admit(at(0), address("::1")).unwrap();
    }
    assert!(gate.is_excessive(201, 1001));
    assert!(!gate.is_excessive(200, 1001));
    assert!(!gate.is_excessive(1000, 1000), "nobody is excessive while all of it fits");
}

#[test]
fn a_full_process_refuses() {
    let mut gate = gate(Limits { connections: 2, ..limits() });
    assert_eq!(refusal(&mut gate, 0, "10.0.0.1"), None);
    assert_eq!(refusal(&mut gate, 0, "127.0.0.1"), None);
    assert_eq!(refusal(&mut gate, 0, "127.0.0.1"), Some(Mark::ConnectionsFull));
    gate.release(address("10.0.0.1"));
    assert_eq!(refusal(&mut gate, 0, "127.0.0.1"), None);
}

#[test]
fn an_address_with_too_many_connections_is_refused() {
    let mut gate = gate(Limits { connections_per_address: 1, ..limits() });
    assert_eq!(refusal(&mut gate, 0, "2001:db8::1"), None);
    assert_eq!(refusal(&mut gate, 0, "2001:db8::2"), Some(Mark::AddressFull), "the same /64");
    assert_eq!(refusal(&mut gate, 0, "2001:db8:0:1::2"), None);
}

#[test]
fn an_address_that_connects_too_fast_is_refused() {
    let mut gate = gate(limits());
    for attempt in 0..20 {
        let refused = refusal(&mut gate, 0, "10.0.0.1");
        assert_eq!(refused, (attempt >= 4).then_some(Mark::AddressRate));
        gate.release(address("10.0.0.1"));
        assert_eq!(refusal(&mut gate, 0, "127.0.0.1"), None, "loopback is exempt");
        gate.release(address("127.0.0.1"));
    }
    assert_eq!(refusal(&mut gate, 99, "10.0.0.1"), Some(Mark::AddressRate));
    assert_eq!(refusal(&mut gate, 100, "10.0.0.1"), None, "ten per second");
}

#[test]
fn a_process_that_buffers_too_much_refuses() {
    let mut gate = gate(limits());
    gate.set_buffered(800);
    assert_eq!(refusal(&mut gate, 0, "127.0.0.1"), Some(Mark::MemoryFull));
    gate.set_buffered(799);
    assert_eq!(refusal(&mut gate, 0, "127.0.0.1"), None);
}

#[test]
fn a_flood_from_ever_new_addresses_does_not_fill_the_memory() {
    let mut gate = gate(Limits { connections: 1000, ..limits() });
    for number in 0..100_000_u32 {
        let from = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
        gate.admit(at(0), from).unwrap();
        gate.release(from);
        assert!(gate.addresses() <= 1001);
    }
    assert!(gate.footprint() < 288 * 1024, "{} bytes", gate.footprint());
    // Later, new connections make it forget the flood bit by bit.
    for attempt in 0..600 {
        gate.admit(at(10_000 + attempt * 100), address("10.9.9.9")).unwrap();
        gate.release(address("10.9.9.9"));
    }
    assert_eq!(gate.addresses(), 1);
}

/// As many as may be inside are remembered when they have gone, and those are forgotten first that matter least.
#[test]
fn so_many_pasts_are_remembered() {
    let one_each = Limits { connections: 3, connects_per_second: 1, connects_burst: 1, ..limits() };
    let mut gate = gate(one_each);
    let from = |number| address(&format!("10.0.0.{number}"));
    for number in 1..=4 {
        gate.admit(at(number), from(number)).unwrap();
        gate.release(from(number));
        assert_eq!(gate.addresses(), number.min(3) as usize);
    }
    for number in [2, 3, 4] {
        assert_eq!(refusal(&mut gate, 5, &from(number).to_string()), Some(Mark::AddressRate));
    }
    assert_eq!(refusal(&mut gate, 5, "10.0.0.1"), None, "it was forgotten");
}

/// T19: whoever guesses is not listened to for a while, and only those at the same address are with them.
#[test]
fn an_address_that_guesses_tokens_is_not_listened_to() {
    let mut gate = gate(Limits { wrong_tokens_per_second: 10, wrong_tokens_burst: 3, ..limits() });
    let allows = |gate: &mut Gate, now, text: &str| gate.allows_token(at(now), address(text));
    // With and without a connection of its own, behind a proxy.
    gate.admit(at(0), address("10.0.0.1")).unwrap();
    for (from, text) in [(0, "10.0.0.2"), (1000, "10.0.0.1")] {
        for _ in 0..3 {
            assert!(
                allows(&mut gate, from, text) && allows(&mut gate, from, text),
                "right ones cost nothing"
            );
            gate.count_wrong_token(at(from), address(text));
        }
        assert!(!allows(&mut gate, from + 99, text));
        assert!(allows(&mut gate, from + 100, text), "ten per second");
        gate.count_wrong_token(at(from + 100), address(text));
        assert!(!allows(&mut gate, from + 150, text));
    }
    assert!(allows(&mut gate, 0, "10.0.0.3") && allows(&mut gate, 0, "2001:db8::1"));
    for _ in 0..50 {
        gate.count_wrong_token(at(1150), address("127.0.0.1"));
    }
    assert!(allows(&mut gate, 1150, "127.0.0.1"), "loopback is exempt");
    // Whoever leaves and comes back is remembered, and forgotten when it no longer matters.
    gate.release(address("10.0.0.1"));
    gate.admit(at(1151), address("10.0.0.1")).unwrap();
    assert!(!allows(&mut gate, 1151, "10.0.0.1"));
    gate.release(address("10.0.0.1"));
    gate.sweep(at(10_000));
    assert_eq!((gate.addresses(), gate.footprint()), (0, self::gate(limits()).footprint()));
    // Without a limit nothing is remembered.
    let mut gate = self::gate(Limits { wrong_tokens_per_second: 0, ..limits() });
    gate.count_wrong_token(at(0), address("10.0.0.1"));
    assert!(gate.allows_token(at(0), address("10.0.0.1")) && gate.addresses() == 0);
}

#[test]
fn guesses_from_ever_new_addresses_do_not_fill_the_memory() {
    let mut gate = gate(Limits { connections: 1000, ..limits() });
    for number in 0..20_000_u32 {
        gate.count_wrong_token(at(0), IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)));
        assert!(gate.addresses() <= 1000);
    }
    assert!(gate.footprint() < 288 * 1024, "{} bytes", gate.footprint());
    gate.sweep(at(60_000));
    assert_eq!(gate.addresses(), 0);
}

/// What the connections of an address count on is counted once, and no longer when they are gone.
#[test]
fn a_pace_is_counted_for_as_long_as_it_is_there() {
    let mut gate = gate(Limits { messages_per_second: 10, messages_burst: 10, ..limits() });
    let fresh = gate.footprint();
    let mut footprints = Vec::new();
    for now in [0, 60_000] {
        for text in ["10.0.0.1", "10.0.0.2", "10.0.0.1"] {
            gate.admit(at(now), address(text)).unwrap();
            assert!(gate.pace(address(text)).is_some());
        }
        footprints.push(gate.footprint());
        for text in ["10.0.0.1", "10.0.0.2", "10.0.0.1"] {
            gate.release(address(text));
        }
        gate.sweep(at(now + 30_000));
        assert_eq!((gate.addresses(), gate.footprint()), (0, fresh));
    }
    assert_eq!(footprints[0], footprints[1]);
}
