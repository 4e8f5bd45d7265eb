//! Reading and writing the two texts by Go's rules.

use std::borrow::Cow;

use linkspan_core::im::{Answer, Envelope, OperationIds, Reply};
use linkspan_tests::fuzz_im;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

fn decode(text: &str) -> Option<Envelope<'_>> {
    Envelope::decode(text.as_bytes()).ok()
}

fn data(text: &str) -> Option<String> {
    decode(text).map(|request| request.data.into_owned())
}

#[test]
fn names_match_in_any_case_and_the_last_one_counts() {
    assert_eq!(data(r#"{"data":"a","DATA":"b","dAtA":null,"x":[{"data":"c"}]}"#).unwrap(), "b");
    let request = decode(r#"{"REQFUNCNAME":"F","operationid":"o","UserId":"u","BATCHMSG":1}"#).unwrap();
    assert_eq!((&*request.function, &*request.operation, &*request.user), ("F", "o", "u"));
    assert!(request.batch);
}

#[test]
fn the_batch_flag_has_a_name_of_its_own() {
    let batch = |text: &str| decode(text).map(|request| request.batch);
    assert_eq!(batch(r#"{"batchMsg":1}"#), Some(true));
    assert_eq!(batch(r#"{"batch":1}"#), Some(false), "the trap");
    assert_eq!(batch(r#"{"batchMsg":0}"#), Some(false));
    assert_eq!(batch(r#"{"batchMsg":2}"#), Some(false));
    assert_eq!(batch(r#"{"batchMsg":1,"batchMsg":null}"#), Some(true));
    for bad in ["\"1\"", "1.5", "1.0", "1e0", "true", "[]", "9223372036854775808", "01"] {
        assert_eq!(batch(&format!("{{\"batchMsg\":{bad}}}")), None, "{bad}");
    }
}

#[test]
fn nothing_but_an_object_of_strings_is_a_request() {
    assert_eq!(decode("null"), Some(Envelope::default()));
    assert_eq!(decode("{}"), Some(Envelope::default()));
    assert_eq!(decode(" \n{ } \t"), Some(Envelope::default()));
    let bad = [
        "",
        " ",
        "[]",
        "7",
        "\"x\"",
        "true",
        "{",
        "{}{}",
        "{} x",
        "{\"data\":{}}",
        "{\"data\":7}",
        "{\"data\":[]}",
        "{\"userID\":false}",
        "{'data':''}",
        "{\"data\":\"\n\"}",
        "{\"data\":\"\\x\"}",
        "\u{feff}{}",
        "{\"data\":\"a\"\u{0}}",
        "nul",
        "{\"a\":1,}",
        "{\"data\":\"\\u12\"}",
    ];
    for text in bad {
        assert_eq!(decode(text), None, "{text:?}");
    }
    assert!(Envelope::decode(b"{\"data\":\"\xff\"}").is_err());
}

#[test]
fn half_a_surrogate_is_a_replacement() {
    assert_eq!(data(r#"{"data":"\ud800"}"#).unwrap(), "\u{fffd}");
    assert_eq!(data(r#"{"data":"\ud83d\ude00"}"#).unwrap(), "😀");
    assert_eq!(data(r#"{"data":"\u0000\u2028"}"#).unwrap(), "\0\u{2028}");
}

#[test]
fn a_reply_has_all_five_members_in_this_order() {
    let answer =
        Answer { code: -7, message: "a\"b".into(), data: "<a href='x'>&\u{2028}\u{2029}\n\u{1}é".into() };
    let text = Reply::to_call("F<", "op", &answer).encode();
    let expected = concat!(
        r#"{"event":"F\u003c","errCode":-7,"errMsg":"a\"b","#,
        r#""data":"\u003ca href='x'\u003e\u0026\u2028\u2029\n\u0001é","operationID":"op"}"#
    );
    assert_eq!(std::str::from_utf8(&text).unwrap(), expected);
    let empty = std::str::from_utf8(&Reply::default().encode()).unwrap().to_owned();
    assert_eq!(empty, r#"{"event":"","errCode":0,"errMsg":"","data":"","operationID":""}"#);
}

#[test]
fn a_code_is_an_int32() {
    for (code, is_good) in
        [("2147483647", true), ("-2147483648", true), ("2147483648", false), ("1.0", false)]
    {
        let text = format!("{{\"errCode\":{code}}}");
        assert_eq!(Reply::decode(text.as_bytes()).is_ok(), is_good, "{code}");
    }
}

#[test]
fn operation_ids_are_time_and_chance() {
    let unix = std::time::Duration::from_nanos(1_700_000_000_123_456_789);
    let mut ids = OperationIds::new(1);
    let [first, second] = [ids.next_id(unix), ids.next_id(unix)];
    assert_ne!(first, second);
    assert!(first.starts_with("1700000000123456789") && first.len() > 19);
    assert_eq!(first, OperationIds::new(1).next_id(unix), "same in, same out");
    assert!(OperationIds::new(0).next_id(std::time::Duration::ZERO).starts_with('0'));
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\\x00-\\x7f]{0,20}", Just("\u{2028}<&>\u{fffd}".to_owned())]
}

/// A valid request with something done to it.
fn spoilt() -> impl Strategy<Value = Vec<u8>> {
    let whole = (vec(text(), 4), any::<bool>()).prop_map(|(texts, batch)| {
        let [function, operation, data, user] = &texts[..] else { unreachable!() };
        let [function, operation, data, user] =
            [function, operation, data, user].map(|one| Cow::Borrowed(&**one));
        Envelope { function, operation, data, user, batch }.encode().to_vec()
    });
    (whole, vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 0..4)).prop_map(|(mut text, edits)| {
        for (at, byte, edit) in edits {
            let at = at.index(text.len().max(1));
            match edit {
                0 if at < text.len() => text[at] = byte,
                1 if at < text.len() => _ = text.remove(at),
                2 => text.insert(at.min(text.len()), byte),
                _ => text.truncate(at),
            }
        }
        text
    })
}

proptest! {
    #[test]
    fn a_request_survives_the_wire(texts in vec(text(), 4), batch in any::<bool>()) {
        let [function, operation, data, user] = [0, 1, 2, 3].map(|at| Cow::Borrowed(&*texts[at]));
        let request = Envelope { function, operation, data, user, batch };
        let text = request.encode();
        prop_assert_eq!(Envelope::decode(&text).unwrap(), request);
        prop_assert!(serde_json::from_slice::<Value>(&text).is_ok());
    }

    #[test]
    fn a_reply_survives_the_wire(texts in vec(text(), 4), code in any::<i32>()) {
        let [event, message, data, operation] = [0, 1, 2, 3].map(|at| Cow::Borrowed(&*texts[at]));
        let reply = Reply { event, code, message, data, operation };
        let text = reply.encode();
        prop_assert_eq!(Reply::decode(&text).unwrap(), reply);
        prop_assert!(!text.iter().any(|byte| b"<>&\n".contains(byte)));
    }

    /// What is not JSON is never taken; what is taken reads the same when it is written again.
    #[test]
    fn spoilt_requests_are_read_well_or_not_at_all(text in spoilt()) {
        if let Ok(request) = Envelope::decode(&text) {
            let again = request.encode();
            prop_assert_eq!(Envelope::decode(&again).unwrap(), request);
            let is_text = std::str::from_utf8(&text).is_ok();
            prop_assert!(is_text);
        } else if let Ok(value) = serde_json::from_slice::<Value>(&text) {
            // It is JSON, so a member must be of a wrong type.
            let wrong = value.as_object().is_none_or(|members| members.iter().any(|(name, value)| {
                let is_text = ["reqFuncName", "operationID", "data", "userID"].iter().any(|one| one.eq_ignore_ascii_case(name));
                is_text && !value.is_string() && !value.is_null()
                    || name.eq_ignore_ascii_case("batchMsg") && !value.is_i64()
            }));
            prop_assert!(wrong, "{:?}", value);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_taken(text in prop_oneof![vec(any::<u8>(), 0..200), spoilt()]) {
        fuzz_im::im_envelope(&text);
    }
}
