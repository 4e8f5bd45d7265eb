//! Packages and messages against the JavaScript codecs.
//!
//! They check no lengths and count in 32 bits; where they make something of broken input, ours refuses it.

use bytes::Bytes;
use linkspan_core::Limits;
use linkspan_core::pomelo::{self, Dictionary, Message, MessageId, RouteOut};
use linkspan_tests::vectors::{bytes, load, name, number, text, to_hex};
use serde_json::Value;

use crate::difference::{Differences, Known, REFUSED};
use crate::messages::{ID_LONG, ID_OPEN, recorded_dictionary};
use crate::packages;

const BITS: &str = "ids above 2^31 - 1 are wrapped or cut by 32-bit arithmetic there; ours are 64 bits wide";

/// The results of each codec: all fields of a case but its name and input.
fn results(case: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let fields = case.as_object().expect("a case").iter();
    fields.filter(|(field, _)| !["name", "in", "id"].contains(&field.as_str()))
}

/// A body as text; a long one by its length and its first 32 bytes, as it was recorded.
fn shorten(body: &[u8]) -> String {
    if body.len() > 400 { format!("{}*{}", body.len(), to_hex(&body[..32])) } else { to_hex(body) }
}

fn ours(data: Bytes, dictionary: &Dictionary) -> String {
    let Ok(message) = Message::decode(data, dictionary) else { return REFUSED.to_owned() };
    let Message { kind, id, route, deflated, body, .. } = message;
    let route = String::from_utf8_lossy(&route);
    format!("{} {} {route:?} {} {}", kind as u8, id.number(), shorten(&body), u8::from(deflated))
}

fn theirs(result: &Value, dictionary: &Dictionary) -> String {
    if result.get("error").is_some() {
        return REFUSED.to_owned();
    }
    let route = match &result["route"] {
        Value::Null => Bytes::new(),
        // A codec gives the code, its caller looks it up.
        Value::Number(code) => {
            let known = code.as_u64().and_then(|code| dictionary.route(u16::try_from(code).ok()?).cloned());
            known.unwrap_or_else(|| format!("code {code}").into())
        }
        route => text(route),
    };
    let route = String::from_utf8_lossy(&route);
    let data = match result["data"].get("hex_head") {
        Some(head) => format!("{}*{}", result["data"]["len"], head.as_str().unwrap_or_default()),
        None => shorten(&bytes(&result["data"])),
    };
    format!("{} {} {route:?} {data} {}", result["type_no"], result["id"], result["gzip"])
}

#[test]
fn recorded_messages_are_read_alike() {
    const CODES: &str = "a code that is not in the dictionary is refused; code 0 never is";
    const SHORT: &str = "a message shorter than its own fields is refused";
    const TYPES: &str = "unknown types are refused";
    const KNOWN: &[Known] = &[
        ("roundtrip_nano_request_id_4294967295", "0 4294967295 \"a.b\" 6869 0", BITS),
        ("roundtrip_nano_response_id_4294967296", "2 4294967296 \"\" 6869 0", BITS),
        ("roundtrip_nano_request_id_9007199254740992", "0 9007199254740992 \"a.b\" 6869 0", BITS),
        ("roundtrip_nano_response_id_9007199254740992", "2 9007199254740992 \"\" 6869 0", BITS),
        ("roundtrip_nano_response_id_9007199254740993", "2 9007199254740993 \"\" 6869 0", BITS),
        ("roundtrip_nano_response_id_9223372036854775807", "2 9223372036854775807 \"\" 6869 0", BITS),
        ("roundtrip_nano_response_id_9223372036854775808", "2 9223372036854775808 \"\" 6869 0", BITS),
        ("id_10_bytes_max", "2 18446744073709551615 \"\" 61 0", BITS),
        ("id_10_bytes_overflow", "2 18446744073709551615 \"\" 61 0", BITS),
        ("id_11_bytes", REFUSED, ID_LONG),
        ("id_20_bytes", REFUSED, ID_LONG),
        ("request_id_unterminated", REFUSED, ID_OPEN),
        ("request_id_unterminated_route_fits", REFUSED, ID_OPEN),
        ("request_no_route_byte", REFUSED, SHORT),
        ("roundtrip_nano_request_compressed_zero.code", REFUSED, CODES),
        ("roundtrip_nano_notify_compressed_zero.code", REFUSED, CODES),
        ("roundtrip_nano_push_compressed_zero.code", REFUSED, CODES),
        ("compressed_unknown_code", REFUSED, CODES),
        ("type_4", REFUSED, TYPES),
        ("type_5", REFUSED, TYPES),
    ];
    let dictionary = recorded_dictionary(&load("nano/messages.json"));
    let mut differences = Differences::new(KNOWN);
    for case in load("nano/js_codecs.json")["decode"].as_array().expect("cases") {
        let ours = ours(bytes(&case["in"]), &dictionary);
        for (codec, result) in results(case) {
            differences.compare(codec, name(case), &ours, &theirs(result, &dictionary));
        }
    }
    differences.finish(90);
}

#[test]
fn recorded_ids_are_written_alike() {
    const CUT: &str = "the buffer is sized for a 32-bit id, so the message loses its end";
    const KNOWN: &[Known] = &[
        ("4294967295", "00ffffffff0f03612e626869", CUT),
        ("4294967296", "00808080801003612e626869", CUT),
        ("9007199254740991", "00ffffffffffffff0f03612e626869", CUT),
    ];
    let mut differences = Differences::new(KNOWN);
    for case in load("nano/js_codecs.json")["encode_ids"].as_array().expect("cases") {
        let id = case["id"].as_str().expect("an id");
        let number = MessageId::from_number(id.parse().expect("a number"));
        let body = Bytes::from_static(b"hi");
        let frame = pomelo::request(&number, RouteOut::Plain(b"a.b"), false, body, Limits::BODY_MAX);
        let ours = to_hex(&frame.expect("it can be said").into_bytes()[4..]);
        for (codec, result) in results(case) {
            differences.compare(codec, id, &ours, result.as_str().expect("hex"));
        }
    }
    differences.finish(20);
}

fn their_packages(result: &Value) -> String {
    let list = result.as_array().map_or(std::slice::from_ref(result), Vec::as_slice);
    let packages = list.iter().map(|one| {
        let body = match &one["body"] {
            Value::Null => Bytes::new(),
            Value::Object(long) => vec![0; number(&long["len"])].into(),
            body => bytes(body),
        };
        (number(&one["type"]) as u64, body)
    });
    let packages: Vec<_> = packages.collect();
    packages::write(packages.iter().map(|(kind, body)| (*kind, body.as_ref())))
}

#[test]
fn recorded_packages_are_read_alike() {
    const WAITS: &str = "an unfinished package is waited for, not made up";
    const TYPE: &str = "unknown types are refused";
    const KNOWN: &[Known] = &[
        ("one_byte", "", WAITS),
        ("three_bytes", "", WAITS),
        ("package_plus_partial_header", "3:", WAITS),
        ("len_65537_error", "", WAITS),
        ("type_0", REFUSED, TYPE),
        ("good_then_bad_type_partial", "3: refused", TYPE),
        ("bad_type_then_good", REFUSED, TYPE),
        ("tls_hello", REFUSED, TYPE),
    ];
    let mut differences = Differences::new(KNOWN);
    for case in load("nano/js_codecs.json")["package_decode"].as_array().expect("cases") {
        let ours = packages::ours(vec![bytes(&case["in"])], Limits::BODY_MAX).join(" | ");
        for (codec, result) in results(case) {
            differences.compare(codec, name(case), &ours, &their_packages(result));
        }
    }
    differences.finish(15);
}
