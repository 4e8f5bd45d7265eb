//! The chat codec, and the JSON rules under it.

use linkspan_core::chat::{self, InvalidUser, Kind, Message, parse_user, user_key};
use linkspan_core::json::{self, Invalid};
use linkspan_tests::fuzz_chat;
use proptest::collection::vec;
use proptest::prelude::*;

/// What one member named `x` holds, read as `read` says.
fn member<T>(
    input: &str,
    read: impl Fn(json::Literal<'_>) -> Result<Option<T>, Invalid>,
) -> Result<Option<T>, Invalid> {
    let mut found = None;
    json::members(input.as_bytes(), |name, value| {
        if name.eq_ignore_ascii_case("x") {
            found = read(value)?.or(found.take());
        }
        Ok(())
    })?;
    Ok(found)
}

fn as_unsigned(value: json::Literal<'_>) -> Result<Option<u64>, Invalid> {
    value.unsigned()
}

fn as_signed(value: json::Literal<'_>) -> Result<Option<i64>, Invalid> {
    value.signed()
}

#[test]
fn integers_are_digits_and_nothing_else() {
    let unsigned = |text: &str| member(&format!("{{\"x\":{text}}}"), as_unsigned);
    assert_eq!(unsigned("0"), Ok(Some(0)));
    assert_eq!(unsigned("18446744073709551615"), Ok(Some(u64::MAX)));
    assert_eq!(unsigned(" 7 "), Ok(Some(7)));
    assert_eq!(unsigned("null"), Ok(None));
    for wrong in [
        "18446744073709551616",
        "-0",
        "-1",
        "+1",
        "01",
        "1.0",
        "1e0",
        "1E2",
        "\"1\"",
        "true",
        "[]",
        "{}",
        "0x1",
        "",
        "NaN",
        "1e999",
    ] {
        assert_eq!(unsigned(wrong), Err(Invalid), "{wrong}");
    }
    let signed = |text: &str| member(&format!("{{\"x\":{text}}}"), as_signed);
    assert_eq!(signed("-9223372036854775808"), Ok(Some(i64::MIN)));
    assert_eq!(signed("-0"), Ok(Some(0)));
    assert_eq!(signed("9223372036854775808"), Err(Invalid));
    assert_eq!(signed("1.5"), Err(Invalid));
}

#[test]
fn names_match_by_ascii_case_the_last_wins_and_null_changes_nothing() {
    let unsigned = |text: &str| member(text, as_unsigned);
    assert_eq!(unsigned(r#"{"X":1,"x":2,"X":3}"#), Ok(Some(3)));
    assert_eq!(unsigned(r#"{"x":1,"X":null}"#), Ok(Some(1)));
    assert_eq!(unsigned(r#"{"\u0078":4}"#), Ok(Some(4)), "a name may be escaped");
    assert_eq!(unsigned(r#"{"y":"z","\ud800":[1,{"x":9}]}"#), Ok(None), "what is unknown is ignored");
    assert_eq!(unsigned("null"), Ok(None));
    assert_eq!(unsigned(" { } "), Ok(None));
    assert_eq!(
        unsigned(r#"{"x":"1","x":1}"#),
        Err(Invalid),
        "a wrong type is wrong where it is overridden, too"
    );
}

#[test]
fn the_whole_input_is_one_object() {
    let read = |input: &[u8]| json::members(input, |_, _| Ok(()));
    for good in ["{}", "\t\r\n null", r#"{"a":{"b":[1,2.5e3,true,"\/"]}}"#] {
        assert_eq!(read(good.as_bytes()), Ok(()), "{good}");
    }
    for wrong in [
        "",
        " ",
        "hello",
        "[]",
        "1",
        "\"x\"",
        "true",
        "{} x",
        "{}{}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "{",
        "\u{feff}{}",
        "nul",
        "{\"a\":\"\n\"}",
        "{\"a\n\":1}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":01}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":'1'}",
    ] {
        assert_eq!(read(wrong.as_bytes()), Err(Invalid), "{wrong:?}");
    }
    assert_eq!(read(b"{\"a\":\"\xff\"}"), Err(Invalid), "not UTF-8");
    assert_eq!(read(b"{\"a\":\"\xed\xa0\x80\"}"), Err(Invalid), "a surrogate is not UTF-8");
    assert_eq!(json::members(b"{\"a\":1}", |_, _| Err(Invalid)), Err(Invalid), "who reads may refuse");
}

#[test]
fn nothing_nests_too_deep() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let read = |text: String| json::members(text.as_bytes(), |_, _| Ok(()));
    let inner = json::DEPTH_MAX as usize - 1;
    assert_eq!(read(nested(inner)), Ok(()));
    assert_eq!(read(nested(inner + 1)), Err(Invalid));
    assert_eq!(read(nested(500_000)), Err(Invalid), "a bomb is refused, whatever its size");
    assert_eq!(read(format!("{{\"a\":[{}0]}}", "[],".repeat(1000))), Ok(()), "many are not deep");
    let text = format!("{{\"a\":[\"{}\\\"\"]}}", "[".repeat(100));
    assert_eq!(read(text), Ok(()), "brackets in a text do not count");
}

#[test]
fn escapes_are_read_and_written_as_go_does() {
    let text = |literal: &str| {
        member(&format!("{{\"x\":{literal}}}"), |value| value.text().map(|text| text.map(String::from)))
    };
    let read = |literal: &str| text(literal).expect("a string").expect("not null");
    assert_eq!(read(r#""a\"\\\/\b\f\n\r\t\u00e9""#), "a\"\\/\u{8}\u{c}\n\r\té");
    assert_eq!(read(r#""\ud83d\ude00""#), "😀");
    assert_eq!(read(r#""\uD83D\uDE00é""#), "😀é");
    assert_eq!(read(r#""\ud83d""#), "\u{fffd}");
    assert_eq!(read(r#""\ud83dx\ude00""#), "\u{fffd}x\u{fffd}");
    assert_eq!(read(r#""\ud83d\ud83d\ude00""#), "\u{fffd}😀");
    assert_eq!(read(r#""\ud83d\n""#), "\u{fffd}\n");
    assert_eq!(read("\"\u{2028}\u{7f}\""), "\u{2028}\u{7f}");
    assert_eq!(text("null"), Ok(None));
    assert_eq!(text("5"), Err(Invalid));

    let mut out = Vec::new();
    json::push_text(&mut out, "a\"\\/\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}<b>&é\u{2028}\u{2029}\u{202a}😀");
    let expected =
        "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\u{7f}\\u003cb\\u003e\\u0026é\\u2028\\u2029\u{202a}😀\"";
    assert_eq!(String::from_utf8(out).expect("text"), expected);
}

#[test]
fn a_message_has_four_members_and_defaults() {
    let read = |text: &str| {
        let message = Message::decode(text.as_bytes())?;
        Ok::<_, Invalid>((message.kind, message.sender, message.receiver, message.content().into_owned()))
    };
    let nothing = Ok((Kind::Connect, 0, 0, String::new()));
    assert_eq!(read("null"), nothing);
    assert_eq!(read("{}"), nothing);
    assert_eq!(read(r#"{"type":null,"sender":null,"receiver":null,"content":null}"#), nothing);
    assert_eq!(
        read(r#"{"TYPE":1,"Sender":2,"RECEIVER":3,"Content":"x"}"#),
        Ok((Kind::Send, 2, 3, "x".into()))
    );
    assert_eq!(read(r#"{"type":9}"#), Ok((Kind::Other(9), 0, 0, String::new())));
    assert_eq!(read(r#"{"content":5}"#), Err(Invalid));
    let message = chat::encode(Kind::Send, 1, u64::MAX, "a<b");
    assert_eq!(
        message,
        &br#"{"type":1,"sender":1,"receiver":18446744073709551615,"content":"a\u003cb"}"#[..]
    );
}

#[test]
fn users_are_numbers() {
    for (segment, user) in [("0", 0), ("+5", 5), ("007", 7), ("18446744073709551615", u64::MAX)] {
        assert_eq!(parse_user(segment), Ok(user));
    }
    assert_eq!(parse_user(&"0".repeat(100)), Ok(0));
    for wrong in ["", "+", "-1", "++1", "1+", " 1", "1 ", "abc", "0x1", "1_0", "١", "18446744073709551616"] {
        assert_eq!(parse_user(wrong), Err(InvalidUser), "{wrong:?}");
    }
    assert_eq!(InvalidUser.to_string(), "invalid user id");
    for user in [0, 9, 10, 1_234_567_890, u64::MAX] {
        assert_eq!(user_key(user).as_bytes(), user.to_string().as_bytes());
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(kind in any::<u64>(), sender in any::<u64>(), receiver in any::<u64>(), content in ".*") {
        let kinds = [Kind::Connect, Kind::Send, Kind::Receive, Kind::Close, Kind::Other(kind.max(4))];
        for kind in kinds {
            let text = chat::encode(kind, sender, receiver, &content);
            let message = Message::decode(&text).expect("what we write can be read");
            prop_assert_eq!((message.kind, message.sender, message.receiver), (kind, sender, receiver));
            prop_assert_eq!(message.content(), &content[..]);
            let value: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
            prop_assert_eq!(value["content"].as_str(), Some(&content[..]));
        }
    }

    #[test]
    fn text_survives(text in any::<String>()) {
        let mut quoted = Vec::new();
        json::push_text(&mut quoted, &text);
        prop_assert_eq!(serde_json::from_slice::<String>(&quoted).expect("JSON"), &text[..]);
        let object = format!("{{\"x\":{}}}", String::from_utf8(quoted).expect("text"));
        prop_assert_eq!(member(&object, |value| value.text().map(|text| text.map(String::from))), Ok(Some(text)));
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(data in vec(any::<u8>(), 0..200)) {
        fuzz_chat::chat_message(&data);
    }

    #[test]
    fn spoilt_messages_are_judged_as_by_the_plain_rules(which in 0_usize..6, cuts in vec((any::<usize>(), any::<u8>()), 0..4)) {
        let texts = [
            r#"{"type":1,"sender":2,"receiver":3,"content":"hello"}"#,
            r#"{"TYPE":1,"content":"\u00e9\n","x":[1,{"y":null}]}"#,
            r#"{"type":1,"type":null,"receiver":18446744073709551615}"#,
            r#"{"content":null,"sender":0}"#,
            r#" { "receiver" : 12 , "z" : -1.5 } "#,
            "null",
        ];
        const BYTES: &[u8] = b"\"\\{}[]:,.0123456789eE+- untrlfasTYPE\x00\x1f\xff";
        let mut data = texts[which].as_bytes().to_vec();
        for (at, what) in cuts {
            let at = at % data.len();
            data[at] = BYTES[usize::from(what) % BYTES.len()];
        }
        fuzz_chat::chat_message(&data);
    }
}
