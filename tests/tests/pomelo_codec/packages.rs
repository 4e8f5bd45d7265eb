//! Packages, in and out, against both Go servers.

use bytes::Bytes;
use linkspan_core::pomelo::{Package, PackageReader, PackageType, package, package_head};
use linkspan_core::{Limits, Opcode, Violation};
use linkspan_tests::vectors::{bytes, chunks, load, name, number, to_hex};
use serde_json::Value;

use crate::difference::{Differences, Known, REFUSED};

/// What nano takes at most.
const NANO_MAX: u32 = 65_536;

pub(crate) const TYPES: [PackageType; 5] = [
    PackageType::Handshake,
    PackageType::HandshakeAck,
    PackageType::Heartbeat,
    PackageType::Data,
    PackageType::Kick,
];

/// Packages as text; a long body by its length and its first bytes.
pub(crate) fn write<'a>(packages: impl IntoIterator<Item = (u64, &'a [u8])>) -> String {
    let write = |(kind, body): (u64, &[u8])| match body.len() {
        ..64 => format!("{kind}:{}", to_hex(body)),
        len => format!("{kind}:{len}*{}", to_hex(&body[..16])),
    };
    packages.into_iter().map(write).collect::<Vec<_>>().join(" ")
}

/// What one reader makes of each chunk.
pub(crate) fn ours(chunks: Vec<Bytes>, max: u32) -> Vec<String> {
    let mut reader = PackageReader::new();
    let step = |mut chunk: Bytes| {
        let mut packages = Vec::new();
        let error = loop {
            match reader.next(&mut chunk, max) {
                Ok(Some(package)) => packages.push(package),
                Ok(None) => break "",
                Err(_) => break REFUSED,
            }
        };
        let list = write(packages.iter().map(|Package { kind, body }| (*kind as u64, body.as_ref())));
        format!("{list} {error}").trim().to_owned()
    };
    chunks.into_iter().map(step).collect()
}

fn theirs(step: &Value) -> String {
    let none = Vec::new();
    let packages = step["packages"].as_array().unwrap_or(&none);
    let packages: Vec<_> =
        packages.iter().map(|one| (number(&one["type"]) as u64, bytes(&one["body"]))).collect();
    let list = write(packages.iter().map(|(kind, body)| (*kind, body.as_ref())));
    let error = if step.get("error").is_some() { REFUSED } else { "" };
    format!("{list} {error}").trim().to_owned()
}

#[test]
fn recorded_packages_are_read_alike() {
    const AT_ONCE: &str = "a body that is whole is given out, not held back until more arrives";
    const TYPE_FIRST: &str = "a type is refused at its first byte";
    const GOOD_FIRST: &str = "packages in front of a bad header count";
    const KNOWN: &[Known] = &[
        ("stall_header_then_1_byte_body", " | 4:ff | 3:", AT_ONCE),
        ("stall_body_3_split", " | 4:aabbcc | 3:", AT_ONCE),
        ("good_then_bad_type", "3: refused", GOOD_FIRST),
        ("good_then_bad_type_partial", "3: refused", TYPE_FIRST),
    ];
    let vectors = load("nano/packages.json");
    let mut differences = Differences::new(KNOWN);
    for case in vectors["decode"].as_array().expect("cases") {
        let input = chunks(&case["chunks"]);
        let nano = ours(input.clone(), NANO_MAX);
        if let Some(steps) = case["nano_steps"].as_array() {
            let steps: Vec<_> = steps.iter().map(theirs).collect();
            differences.compare("nano", name(case), &nano.join(" | "), &steps.join(" | "));
        } else {
            let last = nano.last().expect("a chunk");
            differences.compare("nano", name(case), last, &theirs(&case["nano_last_step"]));
        }
        if let Some(result) = case.get("pitaya") {
            let pitaya = ours(input, Limits::BODY_MAX);
            differences.compare("pitaya", name(case), &pitaya.join(" | "), &theirs(result));
        }
    }
    differences.finish(40);
}

fn encode(kind: u64, body: &Bytes) -> Option<Bytes> {
    let kind = *TYPES.iter().find(|known| **known as u64 == kind)?;
    let frame = package(kind, body.clone()).ok()?;
    assert_eq!(frame.opcode, Opcode::Binary);
    assert_eq!(frame.body().as_ptr(), body.as_ptr(), "the body is shared");
    Some(frame.into_bytes())
}

#[test]
fn recorded_packages_are_written_alike() {
    const WRAPS: &str = "a body that the length field cannot say is refused";
    const KNOWN: &[Known] = &[("data_len_16777216", REFUSED, WRAPS), ("data_len_16777221", REFUSED, WRAPS)];
    let vectors = load("nano/packages.json");
    let mut differences = Differences::new(KNOWN);
    for case in vectors["encode"].as_array().expect("cases") {
        let ours = encode(number(&case["type"]) as u64, &bytes(&case["body"]));
        for peer in ["nano", "pitaya"] {
            let result = &case[peer];
            let text = |bytes: Option<&[u8]>, len: usize| {
                bytes.map_or(REFUSED.to_owned(), |bytes| format!("{len} {}", to_hex(bytes)))
            };
            let theirs = result.get("out").or(result.get("out_head")).map(bytes);
            let len = result.get("out_len").map_or(theirs.as_ref().map_or(0, Bytes::len), number);
            let shown = theirs.as_ref().map_or(0, Bytes::len);
            let ours = ours.as_ref().map(|ours| (&ours[..shown.min(ours.len())], ours.len()));
            let ours = text(ours.map(|(head, _)| head), ours.map_or(0, |(_, len)| len));
            differences.compare(peer, name(case), &ours, &text(theirs.as_deref(), len));
        }
    }
    differences.finish(45);
}

#[test]
fn recorded_headers_are_read_alike() {
    for case in load("nano/packages.json")["pitaya_parse_header"].as_array().expect("cases") {
        let (head, result) = (bytes(&case["in"]), &case["result"]);
        if head.len() != 4 {
            // There, any other length is an error; here a header is a part of a stream, and may come in pieces.
            assert_eq!(result["error"], "invalid header");
            continue;
        }
        let read = PackageReader::new().next(&mut head.clone(), Limits::BODY_MAX);
        if let Some(len) = result.get("length") {
            assert!(read.is_ok());
            assert_eq!(package_head(TYPES[usize::from(head[0]) - 1], number(len)).expect("it fits"), *head);
        } else {
            assert_eq!(read, Err(Violation::PackageType));
        }
    }
}

#[test]
fn whole_packages_cost_nothing() {
    let stream = Bytes::from([&[4, 0, 0, 5][..], b"hello"].concat());
    let start = stream.as_ptr();
    let mut input = stream;
    let mut reader = PackageReader::new();
    let package = reader.next(&mut input, 5).expect("legal").expect("whole");
    assert_eq!(package.body.as_ptr(), start.wrapping_add(4), "the body lies where it was received");
    assert!(package.body.is_unique(), "a package that ends the chunk takes it over");
    assert_eq!(reader.footprint(), 0);
    assert!(reader.is_empty());
    // Also when the header came before.
    let mut head = Bytes::from_static(&[4, 0, 0, 5]);
    assert_eq!(reader.next(&mut head, 5), Ok(None));
    assert!(!reader.is_empty());
    let mut body = Bytes::from(b"world".to_vec());
    let start = body.as_ptr();
    let package = reader.next(&mut body, 5).expect("legal").expect("whole");
    assert_eq!(package.body.as_ptr(), start);
    assert!(package.body.is_unique());
    assert_eq!(reader.footprint(), 0);
}

#[test]
fn a_type_is_refused_at_its_first_byte() {
    for kind in (0..=u8::MAX).filter(|kind| !(1..=5).contains(kind)) {
        let mut reader = PackageReader::new();
        let first = reader.next(&mut Bytes::copy_from_slice(&[kind]), 0);
        assert_eq!(first, Err(Violation::PackageType));
        let mut good = Bytes::from_static(&[3, 0, 0, 0]);
        assert_eq!(reader.next(&mut good, 0), Err(Violation::PackageType), "the first error is for ever");
        assert!(!reader.is_empty());
    }
}

#[test]
fn a_length_is_refused_at_its_last_byte() {
    for (max, len) in [(0, 1), (1, 2), (65_536, 65_537), (65_536, 0xff_ffff), (0xff_fffe, 0xff_ffff)] {
        let head = package_head(PackageType::Data, len).expect("three bytes");
        let mut reader = PackageReader::new();
        assert_eq!(reader.next(&mut Bytes::copy_from_slice(&head[..3]), max), Ok(None));
        let last = reader.next(&mut Bytes::copy_from_slice(&head[3..]), max);
        assert_eq!(last, Err(Violation::PackageTooLarge), "{len} bytes with a limit of {max}");
        assert_eq!(reader.footprint(), 0);
        let head = package_head(PackageType::Data, max as usize).expect("three bytes");
        assert!(
            PackageReader::new().next(&mut Bytes::copy_from_slice(&head), max).is_ok(),
            "the limit itself is legal"
        );
    }
}

#[test]
fn nothing_is_reserved_from_an_announced_length() {
    let mut reader = PackageReader::new();
    assert_eq!(reader.next(&mut Bytes::from_static(&[4, 0xff, 0xff, 0xff]), Limits::BODY_MAX), Ok(None));
    assert_eq!(reader.footprint(), 0);
    assert_eq!(reader.next(&mut Bytes::from_static(b"x"), Limits::BODY_MAX), Ok(None));
    assert!(reader.footprint() <= 64, "{} bytes for one", reader.footprint());
}

#[test]
fn a_byte_per_call_costs_few_allocations() {
    for len in [1_usize, 63, 64, 65, 1000, 65_535, 65_536, 1 << 20] {
        let mut reader = PackageReader::new();
        let head = package_head(PackageType::Data, len).expect("three bytes");
        assert_eq!(reader.next(&mut Bytes::copy_from_slice(&head), Limits::BODY_MAX), Ok(None));
        let (mut buffers, mut copied, mut last) = (0, 0, 0);
        for at in 1..=len {
            let package = reader.next(&mut Bytes::from_static(b"x"), Limits::BODY_MAX).expect("legal");
            assert_eq!(package.is_some(), at == len);
            let footprint = reader.footprint();
            assert!(footprint <= len.min(at * 2).max(64.min(len)), "{footprint} bytes for {at} of {len}");
            if package.is_none() && footprint != last {
                buffers += 1;
                copied += last;
                last = footprint;
            }
        }
        assert!(buffers <= len.ilog2() as usize + 1, "{buffers} buffers for {len} bytes");
        assert!(copied <= len, "{copied} bytes were moved for {len}");
    }
}

#[test]
fn many_empty_packages_take_one_call_each() {
    let mut input = Bytes::from([3, 0, 0, 0].repeat(16_384));
    let mut reader = PackageReader::new();
    let mut packages = 0;
    while let Some(package) = reader.next(&mut input, 0).expect("legal") {
        assert!(package.body.is_empty());
        packages += 1;
    }
    assert_eq!(packages, 16_384);
    assert_eq!(reader.footprint(), 0);
}
