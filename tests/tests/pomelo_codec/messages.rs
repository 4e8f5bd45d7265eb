//! Messages, in and out, against both Go servers.

use bytes::Bytes;
use linkspan_core::pomelo::{self, Dictionary, EncodeError, Message, MessageId, RouteOut};
use linkspan_core::{Frame, Limits};
use linkspan_tests::vectors::{bytes, load, name, number, text, to_hex};
use serde_json::Value;

use crate::difference::{Differences, Known, REFUSED};

const CODE_0: &str = "code 0 is in no dictionary of ours: clients take it for no code";
pub(crate) const ID_LONG: &str = "more than ten groups say nothing that fits into 64 bits";
pub(crate) const ID_OPEN: &str = "an id without a last byte is refused, not read again as data or route";
const EMPTY: &str = "a response without data is valid; nano sends it too";
const NO_CODED_RESPONSE: &str = "a response has no route; with the bit set JavaScript clients drop its body";
const ROUTE_LONG: &str = "a route that its length byte cannot say is refused, not cut";

/// The recorded dictionary, without code 0.
pub(crate) fn recorded_dictionary(vectors: &Value) -> Dictionary {
    let entries = vectors["dictionary"].as_object().expect("a dictionary");
    let entries = entries.iter().map(|(route, code)| (route, number(code) as u16));
    Dictionary::new(entries.filter(|(_, code)| *code != 0)).expect("a good dictionary")
}

fn write(kind: u64, id: u64, error: bool, route: &[u8], data: &[u8]) -> String {
    let error = if error { " error" } else { "" };
    format!("{kind} {id} {:?} {}{error}", String::from_utf8_lossy(route), to_hex(data))
}

fn theirs(result: &Value) -> String {
    if result.get("type_no").is_none() {
        return REFUSED.to_owned();
    }
    let kind = result["type_no"].as_u64().expect("a type");
    let id = result["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    let route = result.get("route_hex").map_or_else(|| text(&result["route"]), bytes);
    let error = result["error_flag"].as_bool().unwrap_or_default();
    write(kind, id, error, &route, &bytes(&result["data"]))
}

/// What ours makes of `data`; as a peer that knows errors and compression (pitaya) or one that does not (nano).
fn ours(data: Bytes, dictionary: &Dictionary, pitaya: bool) -> String {
    let Ok(message) = Message::decode(data, dictionary) else { return REFUSED.to_owned() };
    let Message { kind, id, route, error, deflated, mut body } = message;
    if pitaya && deflated {
        match pomelo::inflate(&body, Limits::BODY_MAX) {
            Ok(inflated) => body = inflated,
            Err(_) => return REFUSED.to_owned(),
        }
    }
    write(kind as u64, id.number(), error && pitaya, &route, &body)
}

#[test]
fn recorded_messages_are_read_alike() {
    const KNOWN: &[Known] = &[
        ("roundtrip_nano_response_empty_data", "2 1 \"\" ", EMPTY),
        ("response_no_data", "2 1 \"\" ", EMPTY),
        ("response_id0_no_data", "2 0 \"\" ", EMPTY),
        ("roundtrip_nano_request_compressed_zero.code", REFUSED, CODE_0),
        ("roundtrip_nano_notify_compressed_zero.code", REFUSED, CODE_0),
        ("roundtrip_nano_push_compressed_zero.code", REFUSED, CODE_0),
        ("response_id_unterminated_1", REFUSED, ID_OPEN),
        ("response_id_unterminated_9", REFUSED, ID_OPEN),
        ("response_id_unterminated_20", REFUSED, ID_OPEN),
        ("id_11_bytes", REFUSED, ID_LONG),
        ("id_20_bytes", REFUSED, ID_LONG),
    ];
    let vectors = load("nano/messages.json");
    let dictionary = recorded_dictionary(&vectors);
    let mut differences = Differences::new(KNOWN);
    for case in vectors["decode"].as_array().expect("cases") {
        for peer in ["nano", "nano_spare", "pitaya"] {
            if let Some(result) = case.get(peer) {
                let ours = ours(bytes(&case["in"]), &dictionary, peer == "pitaya");
                differences.compare(peer, name(case), &ours, &theirs(result));
            }
        }
    }
    differences.finish(190);
}

/// What ours writes for a recorded case, without the package header.
fn encode(case: &Value, dictionary: &Dictionary) -> Option<Result<Frame, EncodeError>> {
    let route = text(&case["route"]);
    let route = dictionary.code(&route).map_or(RouteOut::Plain(&route), RouteOut::Code);
    let id = case["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    let id = MessageId::from_number(id);
    let error = case.get("error_flag").is_some_and(|flag| *flag == true);
    let mut body = bytes(&case["data"]);
    let mut deflated = false;
    if case.get("compression").is_some_and(|flag| *flag == true)
        && let Some(smaller) = pomelo::deflate(&body)
    {
        body = smaller;
        deflated = true;
    }
    Some(match case["type_no"].as_u64() {
        Some(0) => pomelo::request(&id, route, deflated, body, Limits::BODY_MAX),
        Some(1) => pomelo::notify(route, deflated, body, Limits::BODY_MAX),
        Some(2) => pomelo::response(&id, error, deflated, body, Limits::BODY_MAX),
        Some(3) => pomelo::push(route, deflated, body, Limits::BODY_MAX),
        _ => return None,
    })
}

#[test]
fn recorded_messages_are_written_alike() {
    const KNOWN: &[Known] = &[
        ("request_route_len_256", REFUSED, ROUTE_LONG),
        ("request_route_len_257", REFUSED, ROUTE_LONG),
        ("request_route_len_300", REFUSED, ROUTE_LONG),
        ("push_route_len_256", REFUSED, ROUTE_LONG),
        ("push_route_len_300", REFUSED, ROUTE_LONG),
        ("push_route_len_512", REFUSED, ROUTE_LONG),
        ("response_with_route_in_dictionary_Echo.Raw", "04ac026869", NO_CODED_RESPONSE),
        ("response_with_route_in_dictionary_onMessage", "04ac026869", NO_CODED_RESPONSE),
        ("response_with_route_in_dictionary_connector.entry.enter", "04ac026869", NO_CODED_RESPONSE),
        ("response_with_route_in_dictionary_max.code", "04ac026869", NO_CODED_RESPONSE),
    ];
    let vectors = load("nano/messages.json");
    let dictionary = recorded_dictionary(&vectors);
    let mut differences = Differences::new(KNOWN);
    for case in vectors["encode"].as_array().expect("cases") {
        // Types above 3 do not exist in ours, so they cannot be written at all.
        let ours = encode(case, &dictionary).and_then(Result::ok).map(|frame| frame.into_bytes().slice(4..));
        for peer in ["nano", "pitaya"] {
            let Some(result) = case.get(peer) else { continue };
            let (ours, theirs) = outputs(ours.as_ref(), result, &dictionary);
            differences.compare(peer, name(case), &ours, &theirs);
        }
    }
    differences.finish(130);
}

/// Both outputs as far as they were recorded, and in a form that can be compared.
fn outputs(ours: Option<&Bytes>, result: &Value, dictionary: &Dictionary) -> (String, String) {
    let head = result.get("out_head").map(bytes);
    let out = result.get("out").map(bytes);
    let (Some(ours), Some(theirs)) = (ours, head.as_ref().or(out.as_ref())) else {
        let refused = || REFUSED.to_owned();
        return (ours.map_or_else(refused, |out| to_hex(out)), out.map_or_else(refused, |out| to_hex(&out)));
    };
    if head.is_some() {
        assert_eq!(ours.len(), number(&result["out_len"]));
        return (to_hex(&ours[..theirs.len()]), to_hex(theirs));
    }
    if theirs[0] & 0x10 != 0 {
        // Compressors differ: compare what they compressed.
        let read = |out: &Bytes| format!("{:#x} {}", out[0], self::ours(out.clone(), dictionary, true));
        return (read(ours), read(theirs));
    }
    (to_hex(ours), to_hex(theirs))
}
