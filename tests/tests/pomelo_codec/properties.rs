//! The laws of the codec, over drawn and over bordering values.

use bytes::Bytes;
use linkspan_core::pomelo::{
    self, Dictionary, EncodeError, Message, MessageId, MessageType, Package, PackageReader, PackageType,
    RouteOut, package_head,
};
use linkspan_core::{Frame, Limits, Violation};
use linkspan_tests::fuzz;
use proptest::prelude::*;
use proptest::sample::select;

use crate::packages::TYPES;

const MAX: u32 = Limits::BODY_MAX;

/// Lengths around everything that changes with a length.
const LENGTHS: [usize; 15] = [0, 1, 2, 3, 63, 64, 65, 125, 126, 127, 255, 256, 65_535, 65_536, 65_537];

const KINDS: [MessageType; 4] =
    [MessageType::Request, MessageType::Notify, MessageType::Response, MessageType::Push];

/// How compressed bodies start: zlib, gzip, anything.
const STARTS: [&[u8]; 3] = [&[0x78, 0x9c], &[0x1f, 0x8b, 8, 0], &[]];

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![4 => select(&LENGTHS[..12]), 1 => select(&LENGTHS[12..]), 2 => 0_usize..300]
}

fn body() -> impl Strategy<Value = Bytes> {
    (length(), any::<u8>()).prop_map(|(len, fill)| (0..len).map(|at| fill.wrapping_add(at as u8)).collect())
}

fn packages() -> impl Strategy<Value = Vec<Package>> {
    prop::collection::vec((select(&TYPES[..]), body()).prop_map(|(kind, body)| Package { kind, body }), 0..6)
}

fn stream(packages: &[Package]) -> Vec<u8> {
    let frame = |package: &Package| pomelo::package(package.kind, package.body.clone()).expect("it fits");
    packages.iter().flat_map(|package| frame(package).into_bytes()).collect()
}

proptest! {
    #[test]
    fn packages_survive_any_cutting(packages in packages(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let stream = stream(&packages);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut reader = PackageReader::new();
        let mut read = Vec::new();
        for cut in cuts.windows(2) {
            let mut chunk = Bytes::copy_from_slice(&stream[cut[0]..cut[1]]);
            while let Some(package) = reader.next(&mut chunk, 65_537).expect("legal") {
                read.push(package);
            }
            prop_assert!(chunk.is_empty());
            prop_assert!(reader.footprint() <= 65_537);
        }
        prop_assert_eq!(read, packages);
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn a_proper_prefix_yields_nothing(kind in select(&TYPES[..]), body in body(), cut in any::<prop::sample::Index>()) {
        let whole = stream(&[Package { kind, body: body.clone() }]);
        let cut = cut.index(whole.len());
        let mut reader = PackageReader::new();
        prop_assert_eq!(reader.next(&mut Bytes::copy_from_slice(&whole[..cut]), MAX), Ok(None));
        prop_assert_eq!(reader.is_empty(), cut == 0);
        prop_assert!(reader.footprint() <= body.len(), "never more than announced");
        let rest = reader.next(&mut Bytes::copy_from_slice(&whole[cut..]), MAX);
        prop_assert_eq!(rest, Ok(Some(Package { kind, body })));
        prop_assert_eq!(reader.footprint(), 0);
    }

    #[test]
    fn messages_round_trip(
        kind in select(&KINDS[..]), id in any::<u64>(), bits in 0_u32..64, flags in any::<[bool; 3]>(), body in body(),
        route in prop_oneof![prop::collection::vec(any::<u8>(), 0..=255), select(&["Echo.Raw", "onMessage", "last"][..]).prop_map(Vec::from)],
    ) {
        let dictionary = fuzz::dictionary();
        let [error, deflated, coded] = flags;
        let id = MessageId::from_number(id >> bits);
        let out = dictionary.code(&route).filter(|_| coded).map_or(RouteOut::Plain(&route), RouteOut::Code);
        let (frame, id, route, error) = match kind {
            MessageType::Request => (pomelo::request(&id, out, deflated, body.clone(), MAX), id, route, false),
            MessageType::Notify => (pomelo::notify(out, deflated, body.clone(), MAX), MessageId::NONE, route, false),
            MessageType::Response => (pomelo::response(&id, error, deflated, body.clone(), MAX), id, Vec::new(), error),
            MessageType::Push => (pomelo::push(out, deflated, body.clone(), MAX), MessageId::NONE, route, false),
        };
        let message = Message { kind, id, route: route.into(), error, deflated, body };
        prop_assert_eq!(read(frame), message);
    }

    #[test]
    fn hostile_streams_of_packages(data in prop::collection::vec(prop_oneof![0_u8..7, any::<u8>()], 0..200)) {
        fuzz::pomelo_packages(&data);
    }

    #[test]
    fn hostile_messages(data in prop::collection::vec(prop_oneof![0_u8..7, any::<u8>()], 0..40)) {
        fuzz::pomelo_message(&data);
    }

    #[test]
    fn hostile_compressed_bodies(start in select(&STARTS[..]), data in prop::collection::vec(any::<u8>(), 0..100)) {
        fuzz::inflate(&[&[20], start, &data].concat());
    }
}

/// The message in a frame, read the way a peer does.
fn read(frame: Result<Frame, EncodeError>) -> Message {
    let mut input = frame.expect("it can be said").into_bytes();
    let package = PackageReader::new().next(&mut input, MAX).expect("legal").expect("whole");
    assert!(input.is_empty());
    assert_eq!(package.kind, PackageType::Data);
    Message::decode(package.body, &fuzz::dictionary()).expect("legal")
}

#[test]
fn packages_of_bordering_lengths_round_trip() {
    for len in LENGTHS.into_iter().chain([MAX as usize - 1, MAX as usize]) {
        let body = Bytes::from(vec![7; len]);
        for kind in TYPES {
            let mut input = pomelo::package(kind, body.clone()).expect("it fits").into_bytes();
            let package = PackageReader::new().next(&mut input, len as u32).expect("legal").expect("whole");
            assert_eq!((package.kind, package.body.len()), (kind, len));
            assert!(package.body == body, "{len} bytes");
        }
    }
}

#[test]
fn routes_of_every_length_round_trip() {
    for len in 0..=255 {
        let route = vec![b'r'; len];
        let message = read(pomelo::push(RouteOut::Plain(&route), false, Bytes::from_static(b"body"), MAX));
        assert_eq!((message.route.as_ref(), message.body.as_ref()), (&route[..], &b"body"[..]));
    }
    let codes = Dictionary::numbered((0..65_535).map(|number| format!("r{number}"))).expect("good");
    for code in 1..=u16::MAX {
        let whole =
            pomelo::notify(RouteOut::Code(code), false, Bytes::new(), MAX).expect("it fits").into_bytes();
        assert_eq!(
            Message::decode(whole.slice(4..), &codes).expect("known").route,
            codes.route(code).expect("known")
        );
    }
}

/// Numbers at which an id gets longer, and their neighbours.
fn bordering_ids() -> impl Iterator<Item = u64> {
    let borders = (0..64).map(|bit| 1_u64 << bit);
    borders.flat_map(|border| [border - 1, border, border + 1]).chain([u64::MAX - 1, u64::MAX])
}

#[test]
fn ids_are_as_short_as_they_can_be() {
    for number in bordering_ids() {
        let id = MessageId::from_number(number);
        let bits = 64 - number.leading_zeros();
        assert_eq!(id.as_bytes().len() as u32, bits.div_ceil(7).max(1), "{number}");
        assert_eq!(id.number(), number);
        assert_eq!(read(pomelo::response(&id, false, false, Bytes::new(), MAX)).id, id);
    }
}

#[test]
fn ids_are_echoed_byte_by_byte() {
    // All ids of one and two bytes, and every padded form of the bordering numbers.
    let short = (0..0x80_u8).map(|byte| vec![byte]);
    let pairs = (0x80..=0xff_u8).flat_map(|first| (0..0x80_u8).map(move |last| vec![first, last]));
    let padded = bordering_ids().flat_map(|number| {
        let id = MessageId::from_number(number);
        (1..=10 - id.as_bytes().len()).map(move |more| {
            let mut bytes = id.as_bytes().to_vec();
            *bytes.last_mut().expect("ids have bytes") |= 0x80;
            bytes.resize(bytes.len() + more - 1, 0x80);
            bytes.push(0);
            bytes
        })
    });
    for bytes in short.chain(pairs).chain(padded) {
        let request = [&[0], &bytes[..], &[3], b"a.b"].concat();
        let message = Message::decode(request.into(), &Dictionary::default()).expect("legal");
        assert_eq!(message.id.as_bytes(), bytes);
        assert_eq!(message.route, "a.b");
        let answer = pomelo::response(&message.id, false, false, Bytes::new(), MAX).expect("it fits");
        assert_eq!(answer.into_bytes()[5..], bytes);
        let value = bytes.iter().rev().fold(0_u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
        assert_eq!(message.id.number(), value);
    }
}

#[test]
fn ids_of_ten_bytes_or_without_an_end_are_the_border() {
    let decode = |bytes: Vec<u8>| Message::decode(bytes.into(), &Dictionary::default());
    for len in 1..=20 {
        for kind in [0, 4] {
            let open = [&[kind][..], &vec![0x80; len]].concat();
            assert_eq!(decode(open.clone()), Err(Violation::MessageId), "{len} bytes without an end");
            let closed = decode([&open[..], &[0, 0]].concat());
            let expected = if len < 10 { Ok(len + 1) } else { Err(Violation::MessageId) };
            assert_eq!(closed.map(|message| message.id.as_bytes().len()), expected);
        }
    }
}

#[test]
fn messages_shorter_than_their_fields_are_refused() {
    let dictionary = fuzz::dictionary();
    let route = RouteOut::Plain(b"a.b");
    let id = MessageId::from_number(300);
    let frames = [
        (pomelo::request(&id, route, false, Bytes::new(), MAX), 1 + 2 + 1 + 3),
        (pomelo::request(&id, RouteOut::Code(255), false, Bytes::new(), MAX), 1 + 2 + 2),
        (pomelo::notify(route, false, Bytes::new(), MAX), 1 + 1 + 3),
        (pomelo::push(RouteOut::Code(255), false, Bytes::new(), MAX), 1 + 2),
        (pomelo::response(&id, false, false, Bytes::new(), MAX), 1 + 2),
    ];
    for (frame, len) in frames {
        let whole = frame.expect("it fits").into_bytes().slice(4..);
        assert_eq!(whole.len(), len);
        assert!(Message::decode(whole.clone(), &dictionary).is_ok());
        for cut in 0..len {
            let short = Message::decode(whole.slice(..cut), &dictionary);
            let expected =
                if cut == 2 && whole[0] & 2 == 0 { Violation::MessageId } else { Violation::MessageInvalid };
            assert_eq!(short, Err(expected), "{cut} of {len} bytes");
        }
    }
}

#[test]
fn encoders_refuse_what_cannot_be_said() {
    let id = MessageId::from_number(1);
    let body = Bytes::from_static(b"0123456789");
    let long = vec![b'r'; 256];
    for route in [RouteOut::Plain(&long), RouteOut::Code(0)] {
        let expected = if route == RouteOut::Code(0) {
            EncodeError::RouteCode
        } else {
            EncodeError::RouteTooLong { len: 256 }
        };
        assert_eq!(pomelo::request(&id, route, false, body.clone(), MAX), Err(expected));
        assert_eq!(pomelo::notify(route, false, body.clone(), MAX), Err(expected));
        assert_eq!(pomelo::push(route, false, body.clone(), MAX), Err(expected));
    }
    let route = RouteOut::Plain(b"a.b");
    let none = MessageId::NONE;
    assert_eq!(pomelo::request(&none, route, false, body.clone(), MAX), Err(EncodeError::IdMissing));
    assert_eq!(pomelo::response(&none, false, false, body.clone(), MAX), Err(EncodeError::IdMissing));
    // The limit counts the whole package body, and is exact.
    let too_large = |len, max| Err(EncodeError::BodyTooLarge { len, max });
    assert!(pomelo::push(route, false, body.clone(), 15).is_ok());
    assert_eq!(pomelo::push(route, false, body.clone(), 14), too_large(15, 14));
    assert!(pomelo::response(&id, true, true, body.clone(), 12).is_ok());
    assert_eq!(pomelo::response(&id, true, true, body, 11), too_large(12, 11));
    // Above three bytes of length nothing helps, not even a larger limit.
    let largest = Bytes::from(vec![0; MAX as usize + 1]);
    let len = largest.len();
    assert_eq!(package_head(PackageType::Data, len), Err(EncodeError::BodyTooLarge { len, max: MAX }));
    assert_eq!(pomelo::package(PackageType::Kick, largest.clone()), too_large(len, MAX));
    let fits = largest.slice(..MAX as usize - 2);
    assert!(pomelo::response(&id, false, false, fits, u32::MAX).is_ok());
    let over = largest.slice(..MAX as usize - 1);
    assert_eq!(pomelo::response(&id, false, false, over, u32::MAX), too_large(MAX as usize + 1, MAX));
}

#[test]
fn payloads_are_shared_both_ways() {
    let body = Bytes::from(vec![7; 1000]);
    let frame =
        pomelo::push(RouteOut::Plain(b"a.route.of.22.bytes.ab"), false, body.clone(), MAX).expect("it fits");
    assert_eq!(frame.body().as_ptr(), body.as_ptr());
    let whole = frame.into_bytes().slice(4..);
    let message = Message::decode(whole.clone(), &Dictionary::default()).expect("legal");
    assert_eq!(message.route.as_ptr(), whole[2..].as_ptr());
    assert_eq!(message.body.as_ptr(), whole[24..].as_ptr());
}
