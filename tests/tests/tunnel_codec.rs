//! Messages of the tunnel against what the field's own encoder and decoder made of them.

use bytes::Bytes;
use linkspan_core::tunnel::{
    ClientSession, Content, DecodeError, EncodeError, Message, TEXT_MAX, Target, sync_ids,
};
use linkspan_tests::{fuzz_tunnel, vectors};
use proptest::prelude::*;
use serde_json::Value;

fn cases(file: &str) -> Vec<Value> {
    vectors::load(file)["vectors"].as_array().expect("a list").clone()
}

fn number(value: &Value) -> i64 {
    value.as_str().expect("a decimal").parse().expect("a decimal")
}

fn content(case: &Value) -> Content {
    let body = vectors::bytes(&case["body_hex"]);
    match case["type_num"].as_i64().expect("a type") {
        1 => Content::Data(body),
        2 => {
            let slash = body.iter().position(|byte| *byte == b'/').expect("a slash");
            let (proto, address) = (body.slice(..slash), body.slice(slash + 1..));
            Content::Connect(Target { proto, address, is_cut: false })
        }
        3 => Content::Error(body),
        4 => Content::AddClient(body),
        5 => Content::RemoveClient(body),
        6 => Content::Pause,
        7 => Content::Resume,
        8 => Content::Sync(body),
        other => panic!("type {other}"),
    }
}

/// What the original writes and ours refuses or cuts, because receivers read something else.
const GUARDED: [(&str, Result<usize, EncodeError>); 3] = [
    ("connect 300-byte body (encoder has no limit)", Err(EncodeError::AddressTooLong)),
    ("error 150 bytes (encoder has no limit)", Ok(3 + TEXT_MAX)),
    ("addclient 120 bytes (encoder has no limit)", Err(EncodeError::ClientKey)),
];

#[test]
fn every_message_is_written_as_recorded() {
    let cases = cases("tunnel/codec-encode.json");
    assert_eq!(cases.len(), 46);
    for case in &cases {
        let name = vectors::name(case);
        let message =
            Message { id: number(&case["id"]), stream: number(&case["conn_id"]), content: content(case) };
        let frame = message.encode();
        match GUARDED.iter().find(|(guarded, _)| *guarded == name) {
            None => assert_eq!(frame.expect(name).into_bytes(), vectors::bytes(&case["hex"]), "{name}"),
            Some((_, guarded)) => assert_eq!(&frame.map(|frame| frame.len()), guarded, "{name}"),
        }
    }
}

#[test]
fn every_input_is_read_as_recorded() {
    let cases = cases("tunnel/codec-decode.json");
    assert_eq!(cases.len(), 86);
    for case in &cases {
        let name = vectors::name(case);
        let read = Message::decode(&vectors::bytes(&case["hex"]));
        if case["ok"] == false {
            let error = match case["error"].as_str().expect(name) {
                "EOF" => DecodeError::Missing,
                "unexpected EOF" => DecodeError::Cut,
                "failed to parse connect address" => DecodeError::Target,
                text if text.contains("overflows") => DecodeError::Overflow,
                text => panic!("{name}: {text}"),
            };
            assert_eq!(read, Err(error), "{name}");
            continue;
        }
        let message = read.expect(name);
        assert_eq!(message.id, number(&case["id"]), "{name}");
        assert_eq!(message.stream, number(&case["conn_id"]), "{name}");
        compare(&message.content, case);
    }
}

fn compare(content: &Content, case: &Value) {
    let name = vectors::name(case);
    let remainder = vectors::bytes(&case["remainder_hex"]);
    let text = |field: &str| Bytes::from(case[field].as_str().unwrap_or_default().to_owned());
    let kind = match content {
        Content::Data(body) => {
            assert_eq!(*body, remainder, "{name}");
            1
        }
        Content::Connect(target) => {
            assert_eq!(String::from_utf8_lossy(&target.proto).as_bytes(), text("proto"), "{name}");
            assert_eq!(String::from_utf8_lossy(&target.address).as_bytes(), text("address"), "{name}");
            assert_eq!(target.is_cut, !remainder.is_empty(), "{name}");
            2
        }
        Content::Error(error) => {
            assert_eq!(String::from_utf8_lossy(error).as_bytes(), text("err_text"), "{name}");
            3
        }
        Content::AddClient(session) | Content::RemoveClient(session) => {
            let parsed = ClientSession::read(session)
                .map(|one| format!("{}|{}", String::from_utf8_lossy(&one.client), one.session));
            assert_eq!(parsed.as_deref(), case["parse_address"].as_str(), "{name}");
            if matches!(content, Content::AddClient(_)) { 4 } else { 5 }
        }
        Content::Pause => 6,
        Content::Resume => 7,
        Content::Sync(body) => {
            let ids = sync_ids(body).map(Iterator::collect::<Vec<i64>>);
            let expected = case["sync_ids"].as_array().map(|ids| ids.iter().map(number).collect());
            assert_eq!(ids, expected.or_else(|| body.is_empty().then(Vec::new)), "{name}");
            8
        }
        Content::Unknown(kind) => *kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind, number(&case["type_num"]), "{name}");
}

#[test]
fn what_cannot_be_announced_is_refused() {
    let long = "k".repeat(81);
    for key in ["", "a/b", "a::b", &long] {
        let session = ClientSession { client: Bytes::from(key.to_owned()), session: 5 };
        assert_eq!(Content::add_client(&session), Err(EncodeError::ClientKey), "{key}");
        assert_eq!(Content::remove_client(&session), Err(EncodeError::ClientKey), "{key}");
    }
    let session = ClientSession { client: Bytes::from("k".repeat(80)), session: i64::MAX };
    let Ok(Content::AddClient(text)) = Content::add_client(&session) else { panic!("it fits") };
    assert!(text.len() <= TEXT_MAX);
    assert_eq!(ClientSession::read(&text), Some(session));
}

#[test]
fn a_text_is_cut_between_two_characters() {
    let text = Bytes::from("é".repeat(30) + "x" + &"é".repeat(30));
    let frame = Message { id: 1, stream: 2, content: Content::Error(text) }.encode().expect("sayable");
    assert!(core::str::from_utf8(frame.body()).is_ok());
    assert_eq!(frame.body().len(), TEXT_MAX - 1);
}

proptest! {
    #[test]
    fn any_life_keeps_its_limits(data in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz_tunnel::tunnel_session(&data);
        fuzz_tunnel::tunnel_policy(&data);
    }

    #[test]
    fn any_bytes_are_read_or_refused(data in prop::collection::vec(any::<u8>(), 0..64)) {
        fuzz_tunnel::tunnel_message(&data);
    }

    #[test]
    fn what_is_written_is_read_back(id: i64, stream: i64, body in prop::collection::vec(any::<u8>(), 0..64)) {
        for content in [Content::Data(body.clone().into()), Content::Error(body.clone().into()), Content::Pause] {
            let message = Message { id, stream, content };
            let frame = message.clone().encode().expect("sayable");
            prop_assert_eq!(Message::decode(&frame.into_bytes()), Ok(message));
        }
    }
}
