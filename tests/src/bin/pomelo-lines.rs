#![forbid(unsafe_code)]
//! What our codec makes of generated and mutated packages and messages, one JSON object per line, for
//! `tests/interop/pinus-differential.js`: `pomelo-lines [SEED [COUNT]]`.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use bytes::Bytes;
use linkspan_core::pomelo::{self, Message, MessageType, PackageReader, RouteOut};
use linkspan_tests::fuzz::dictionary;
use linkspan_tests::harness::{Random, package};
use serde_json::{Value, json};

/// The largest body that any package can announce.
const BODY_MAX: u32 = 0xff_ffff;

fn main() -> io::Result<()> {
    let mut words = std::env::args().skip(1).map(|word| word.parse().expect("numbers: SEED COUNT"));
    let (seed, count) = (words.next().unwrap_or(1), words.next().unwrap_or(6000_u64));
    let mut random = Random::new(seed);
    let mut out = io::stdout().lock();
    let codes: Value =
        dictionary().iter().map(|(route, code)| (code.to_string(), Value::from(hex(route)))).collect();
    writeln!(out, "{}", json!({ "what": "dictionary", "codes": codes }))?;
    for number in 0..count {
        let line = if number % 3 == 0 { packages(&mut random) } else { message(&mut random) };
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("texts do not fail");
        text
    })
}

/// A few bytes are changed, left out, put in or cut off, once in a while.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..[0, 0, 1, 3][random.below(4)] {
        let (at, byte) = (random.below(bytes.len() + 1), random.bits() as u8);
        match random.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, byte),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|old| *old = byte),
        }
    }
}

fn packages(random: &mut Random) -> Value {
    let mut bytes = Vec::new();
    for _ in 0..random.below(4) {
        let size = [0, 1, 2, 3, 4, 60, 255, 256, 300][random.below(9)];
        bytes.extend(package(1 + random.below(5) as u8, &random.bytes(size)));
    }
    mutate(random, &mut bytes);
    let (mut reader, mut input, mut read) = (PackageReader::new(), Bytes::from(bytes.clone()), Vec::new());
    let refused = loop {
        match reader.next(&mut input, BODY_MAX) {
            Ok(Some(package)) => read.push(json!({ "type": package.kind as u8, "body": hex(&package.body) })),
            Ok(None) => break None,
            Err(violation) => break Some(violation.to_string()),
        }
    };
    let is_whole = reader.is_empty();
    json!({ "what": "packages", "hex": hex(&bytes), "read": read, "refused": refused, "whole": is_whole })
}

fn message(random: &mut Random) -> Value {
    let mut bytes = vec![(random.below(4) << 1) as u8];
    let kind = bytes[0] >> 1;
    let is_coded = random.once_in(3);
    // Unused bits, now and then.
    bytes[0] |= u8::from(is_coded) | [0, 0, 0x10, 0x20, 0x40, 0x80][random.below(6)];
    if kind % 2 == 0 {
        let bits = random.below(34);
        let mut id = random.bits() & ((1 << bits) - 1);
        if random.once_in(10) {
            // More groups than any number needs, up to one too many.
            let more = random.below(12);
            bytes.extend(random.bytes(more).iter().map(|byte| byte | 0x80));
            id *= random.below(2) as u64;
        }
        while id >= 0x80 {
            bytes.push(id as u8 | 0x80);
            id >>= 7;
        }
        bytes.push(id as u8);
    }
    if kind != 2 && is_coded {
        let known: Vec<u16> = dictionary().iter().map(|(_, code)| code).collect();
        let code = if random.once_in(8) { random.bits() as u16 } else { known[random.below(known.len())] };
        bytes.extend(code.to_be_bytes());
    } else if kind != 2 {
        let long = "x".repeat(255);
        let route = ["", "a", "Echo.JSON", "漢字.é", &long][random.below(5)];
        bytes.push(route.len() as u8);
        bytes.extend_from_slice(route.as_bytes());
    }
    let size = [0, 0, 1, 5, 40, 300][random.below(6)];
    bytes.extend(random.bytes(size));
    mutate(random, &mut bytes);
    let read = match Message::decode(bytes.clone().into(), &dictionary()) {
        Ok(message) => json!({
            "type": message.kind as u8,
            "id": message.id.number().to_string(),
            "groups": message.id.as_bytes().len(),
            "route": hex(&message.route),
            "deflated": message.deflated,
            "body": hex(&message.body),
            "again": hex(&encode(message, bytes[0] & 1 == 1)),
        }),
        Err(violation) => json!({ "refused": violation.to_string() }),
    };
    json!({ "what": "message", "hex": hex(&bytes), "read": read })
}

/// The body of the package that says the same.
fn encode(message: Message, is_coded: bool) -> Bytes {
    let dictionary = dictionary();
    let Message { kind, id, route, error, deflated, body } = message;
    let out = match dictionary.code(&route).filter(|_| is_coded) {
        Some(code) => RouteOut::Code(code),
        None => RouteOut::Plain(&route),
    };
    let frame = match kind {
        MessageType::Request => pomelo::request(&id, out, deflated, body, BODY_MAX),
        MessageType::Notify => pomelo::notify(out, deflated, body, BODY_MAX),
        MessageType::Response => pomelo::response(&id, error, deflated, body, BODY_MAX),
        MessageType::Push => pomelo::push(out, deflated, body, BODY_MAX),
    };
    frame.expect("it was a message before").into_bytes().slice(4..)
}
