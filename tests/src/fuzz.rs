//! The bodies of the fuzz targets, as plain functions: they also run over the committed corpus on stable.

use bytes::{Bytes, BytesMut};
use linkspan_core::Violation;
use linkspan_core::pomelo::{self, Dictionary, Message, MessageType, Package, PackageReader, RouteOut};

use crate::{
    fuzz_chat, fuzz_connection, fuzz_edge, fuzz_framing, fuzz_http, fuzz_hub, fuzz_im, fuzz_machines,
    fuzz_tunnel, fuzz_world,
};

/// What a fuzz target does with its input.
pub type Body = fn(&[u8]);

/// Every fuzz target with its body. Each has a file in `fuzz/fuzz_targets` and a folder in `tests/corpus`.
pub const TARGETS: &[(&str, Body)] = &[
    ("chat_client", fuzz_chat::chat_client),
    ("chat_message", fuzz_chat::chat_message),
    ("chat_server", fuzz_chat::chat_server),
    ("edge_and_hello", fuzz_edge::edge_and_hello),
    ("http_framing", fuzz_framing::http_framing),
    ("http_path", fuzz_http::http_path),
    ("http_pool", fuzz_http::http_pool),
    ("http_router", fuzz_http::http_router),
    ("http_upstream", fuzz_edge::http_upstream),
    ("hub", fuzz_hub::hub),
    ("im_client", fuzz_im::im_client),
    ("im_envelope", fuzz_im::im_envelope),
    ("im_server", fuzz_im::im_server),
    ("inflate", inflate),
    ("json_members", fuzz_http::json_members),
    ("machines", fuzz_machines::machines),
    ("pomelo_bystanders", fuzz_connection::pomelo_bystanders),
    ("pomelo_client", fuzz_connection::pomelo_client),
    ("pomelo_message", pomelo_message),
    ("pomelo_packages", pomelo_packages),
    ("pomelo_server", fuzz_connection::pomelo_server),
    ("record_line", fuzz_edge::record_line),
    ("tunnel_message", fuzz_tunnel::tunnel_message),
    ("tunnel_policy", fuzz_tunnel::tunnel_policy),
    ("tunnel_session", fuzz_tunnel::tunnel_session),
    ("world", fuzz_world::world),
];

/// The largest body that any package can announce.
const BODY_MAX: u32 = 0xff_ffff;

/// What a reader made of a stream: its packages, and how it ended.
type Outcome = (Vec<Package>, Option<Violation>);

/// A stream of packages: byte 0 says how it is cut, byte 1 how long a body may be, the rest is the stream.
pub fn pomelo_packages(data: &[u8]) {
    let [cut, limit, stream @ ..] = data else { return };
    let limit = BODY_MAX >> (limit % 25);
    let whole = read_packages(stream, stream.len(), limit);
    assert_eq!(whole, read_packages(stream, usize::from(*cut), limit), "cutting changes nothing");
    assert_eq!(whole, read_packages(stream, 1, limit), "cutting changes nothing");
    let mut again = BytesMut::new();
    for Package { kind, body } in whole.0 {
        assert!(body.len() <= limit as usize);
        let frame = pomelo::package(kind, body).expect("it was a package before");
        again.extend_from_slice(&frame.into_bytes());
    }
    assert_eq!(again, stream[..again.len()], "packages are written as they were read");
}

/// Reads `stream` in pieces of `cut` bytes, and checks what a reader promises on the way.
fn read_packages(stream: &[u8], cut: usize, limit: u32) -> Outcome {
    let (mut packages, mut taken, mut calls) = (Vec::new(), 0, 0);
    let mut reader = PackageReader::new();
    let pieces = stream.chunks(cut.max(1));
    let most = stream.len() / 4 + pieces.len();
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        loop {
            calls += 1;
            match reader.next(&mut input, limit) {
                Ok(Some(package)) => {
                    taken += 4 + package.body.len();
                    packages.push(package);
                    assert!(reader.is_empty());
                }
                Ok(None) => break assert!(input.is_empty(), "all of it is taken"),
                Err(violation) => {
                    assert_eq!(
                        reader.next(&mut Bytes::new(), limit),
                        Err(violation),
                        "the first error is for ever"
                    );
                    assert_eq!(reader.footprint(), 0);
                    return (packages, Some(violation));
                }
            }
        }
        assert!(reader.footprint() <= limit as usize);
        assert!(reader.footprint() <= (2 * stream.len()).max(64), "memory follows what has come");
    }
    assert!(calls <= most, "{calls} calls for {most} packages and pieces");
    assert_eq!(reader.is_empty(), taken == stream.len());
    (packages, None)
}

/// The routes that messages of the fuzz targets can name by code.
///
/// # Panics
///
/// Never: the entries are fixed.
pub fn dictionary() -> Dictionary {
    let entries =
        [("Echo.Raw", 1), ("room.join", 255), ("onMessage", 256), ("gate.entry", 0x1234), ("last", 0xffff)];
    Dictionary::new(entries).expect("a good dictionary")
}

/// One message, with [`dictionary`] in force.
pub fn pomelo_message(data: &[u8]) {
    let dictionary = dictionary();
    let Ok(message) = Message::decode(Bytes::copy_from_slice(data), &dictionary) else { return };
    assert!(data.ends_with(&message.body));
    assert!(message.route.len() <= 255);
    let has_id = matches!(message.kind, MessageType::Request | MessageType::Response);
    assert_eq!(message.id.is_none(), !has_id);
    let coded = data[0] & 1 == 1;
    let route = match dictionary.code(&message.route) {
        Some(code) if coded => RouteOut::Code(code),
        _ => RouteOut::Plain(&message.route),
    };
    let Message { kind, id, error, deflated, .. } = message;
    let body = message.body.clone();
    let frame = match kind {
        MessageType::Request => pomelo::request(&id, route, deflated, body, BODY_MAX),
        MessageType::Notify => pomelo::notify(route, deflated, body, BODY_MAX),
        MessageType::Response => pomelo::response(&id, error, deflated, body, BODY_MAX),
        MessageType::Push => pomelo::push(route, deflated, body, BODY_MAX),
    };
    let whole = frame.expect("it was a message before").into_bytes();
    let again = whole.slice(4..);
    // What is not written again: unused bits, the error bit of what is no response, the code bit of what is one.
    let said = if kind == MessageType::Response { 0x36 } else { 0x17 };
    assert_eq!(again[0], data[0] & said);
    assert_eq!(again[1..], data[1..], "ids, routes and bodies are written as they were read");
    let read = Message::decode(again, &dictionary).expect("what we write can be read");
    assert_eq!(read, Message { error: read.error, ..message });
}

/// A compressed body: byte 0 says how much may come out, the rest is the body.
pub fn inflate(data: &[u8]) {
    let [max, body @ ..] = data else { return };
    let max = 1_u32 << (max % 21);
    match pomelo::inflate(body, max) {
        Ok(out) => {
            assert!(out.len() <= max as usize);
            if let Some(less) = u32::try_from(out.len()).ok().and_then(|len| len.checked_sub(1)) {
                assert_eq!(
                    pomelo::inflate(body, less),
                    Err(Violation::InflatedTooLarge),
                    "the limit is exact"
                );
            }
            if let Some(again) = pomelo::deflate(&out) {
                assert!(again.len() < out.len());
                assert_eq!(pomelo::inflate(&again, max).as_ref(), Ok(&out));
            }
        }
        Err(violation) => assert!(matches!(violation, Violation::Deflate | Violation::InflatedTooLarge)),
    }
}
