//! Frames and handshakes that mean no good, next to a client that does.

use serde_json::{Value, json};

use super::{Tab, file, serve};
use crate::binary::Wire;
use crate::binary::wire::frame;

/// What a bad frame is answered with.
enum Expected {
    /// One answer: event, code, text.
    Answer(&'static str, i32, &'static str),
    /// The end of the connection, with this close code.
    End(u16),
}

const UNREADABLE: Expected = Expected::Answer("error", 100, "Unmarshal failed");

fn request(function: &str, user: &str, data: &str) -> Vec<u8> {
    json!({"reqFuncName": function, "operationID": "op", "userID": user, "data": data})
        .to_string()
        .into_bytes()
}

/// Each frame, and the documented answer.
fn frames() -> Vec<(&'static str, Vec<u8>, Expected)> {
    let parameter = |event| Expected::Answer(event, 1001, "Request Parameter Error");
    let deep = [&b"{\"a\":"[..], &b"[".repeat(100_000)].concat();
    let number = [&b"{\"batchMsg\":"[..], &b"9".repeat(500_000), b"}"].concat();
    let send = |message: &str, to: &str| {
        let data = json!({"message": message, "recvID": to, "groupID": "", "offlinePushInfo": ""});
        request("SendMessage", "eve", &data.to_string())
    };
    vec![
        ("nothing", Vec::new(), UNREADABLE),
        ("a word", b"hello".to_vec(), UNREADABLE),
        ("half an object", br#"{"reqFuncName":"#.to_vec(), UNREADABLE),
        ("a list", b"[]".to_vec(), UNREADABLE),
        ("a wrong type", br#"{"reqFuncName":1}"#.to_vec(), UNREADABLE),
        ("data as an object", br#"{"userID":"eve","data":{}}"#.to_vec(), UNREADABLE),
        ("trailing text", br#"{"userID":"eve"} x"#.to_vec(), UNREADABLE),
        ("no UTF-8", b"\xff\xfe{}".to_vec(), UNREADABLE),
        ("a byte order mark", "\u{feff}{}".as_bytes().to_vec(), UNREADABLE),
        ("deep nesting", deep, UNREADABLE),
        ("a number of 500,000 digits", number, UNREADABLE),
        (
            "a duplicate name",
            br#"{"userID":"eve","userID":"ann","reqFuncName":"Logout"}"#.to_vec(),
            parameter("Logout"),
        ),
        ("another user", request("GetLoginStatus", "ann", ""), parameter("GetLoginStatus")),
        (
            "another user's login",
            request("Login", "ann", r#"{"userID":"ann","token":"tok-ann"}"#),
            parameter("Login"),
        ),
        ("no user", request("GetLoginStatus", "", ""), parameter("GetLoginStatus")),
        ("no such function", request("Nope", "eve", ""), parameter("Nope")),
        ("an internal of the original", request("InitSDK", "eve", ""), parameter("InitSDK")),
        (
            "arguments that are none",
            request("SendMessage", "eve", "x"),
            Expected::Answer("SendMessage", 1001, "unmarshal failed"),
        ),
        (
            "an argument is missing",
            request("SendMessage", "eve", "{}"),
            Expected::Answer("SendMessage", 1001, "key not in"),
        ),
        (
            "a message that is no JSON",
            send("hello", "ann"),
            Expected::Answer("SendMessage", 803, "args failed"),
        ),
        ("to nobody", send("{}", ""), Expected::Answer("SendMessage", 803, "args failed")),
        (
            "to a name that is too long",
            send("{}", &"x".repeat(300)),
            Expected::Answer("SendMessage", 803, "args failed"),
        ),
        (
            "about too many users",
            request("GetUsersInfo", "eve", &json!(vec!["u"; 1000]).to_string()),
            Expected::Answer("GetUsersInfo", 803, "args failed"),
        ),
        (
            "history of nobody",
            request("GetHistoryMessageList", "eve", "{}"),
            Expected::Answer("GetHistoryMessageList", 803, "args failed"),
        ),
        ("above a megabyte", vec![b' '; 1024 * 1024 + 1], Expected::End(1009)),
    ]
}

/// Every answer goes to whoever has asked for it, and to nobody else.
///
/// # Panics
///
/// If a listener of `program` answers otherwise.
pub fn bad_frames_have_documented_answers(program: &str) {
    let list = file("im-hostile", "ann tok-ann\neve tok-eve\n");
    let (mut gateway, address) = serve(program, &format!("static:{}", list.display()), &[]);
    let mut honest = Tab::login(address, "ann", 5);
    for (what, bytes, expected) in frames() {
        for opcode in [1, 2] {
            let is_text = std::str::from_utf8(&bytes).is_ok();
            let mut eve = Tab::login(address, "eve", 5);
            eve.wire.raw(&frame(opcode, &bytes)).expect("it takes it");
            match &expected {
                // A text that is not UTF-8 breaks the WebSocket protocol itself.
                Expected::Answer(..) if opcode == 1 && !is_text => {
                    assert_eq!(eve.wire.receive_text().expect("in time"), None, "{what}");
                    assert_eq!(eve.wire.closed_with, Some(1007), "{what}");
                }
                Expected::Answer(event, code, text) => {
                    let heard = eve.hear();
                    let answer = [&heard["event"], &heard["errCode"], &heard["errMsg"]];
                    assert_eq!(answer, [&json!(event), &json!(code), &json!(text)], "{what}");
                    eve.assert_served();
                }
                Expected::End(code) => {
                    assert_eq!(eve.wire.receive_text().ok().flatten(), None, "{what}");
                    assert_eq!(eve.wire.closed_with, Some(*code), "{what}");
                }
            }
            eve.close();
        }
    }
    // What eve sends has eve's name on it, whatever it says about itself.
    let mut eve = Tab::login(address, "eve", 5);
    eve.send("ann", 1);
    let event = honest.hear_of("OnRecvNewMessage");
    let message: Value = serde_json::from_str(event["data"].as_str().expect("a text")).expect("JSON");
    assert_eq!((&message["sendID"], &message["content"]), (&json!("eve"), &json!("1")));
    honest.assert_served();
    eve.close();
    honest.close();
    gateway.stop();
}

/// Wrong tokens, handshakes that end in the middle, and a hundred logins of one connection.
///
/// # Panics
///
/// If anybody else notices.
pub fn a_flood_of_logins_concerns_nobody_else(program: &str) {
    let list = file("im-flood", "ann tok-ann\neve tok-eve\n");
    let (mut gateway, address) = serve(program, &format!("static:{}", list.display()), &[]);
    let mut honest = Tab::login(address, "ann", 5);
    let mut halves = Vec::new();
    for number in 0..200 {
        let refused = Tab::open(address, "ann", 1, &format!("guess-{number}")).err().expect("it is refused");
        assert!(
            refused.starts_with("HTTP/1.1 401 ") && refused.ends_with("\r\n\r\nUnauthorized\n"),
            "{refused}"
        );
        let mut half = Wire::open(address, crate::binary::Carrier::Tcp).expect("it connects");
        half.raw(b"GET /?sendID=ann&token=tok-ann&platformID=5 HTTP/1.1\r\nHost:").expect("it takes it");
        halves.push(half);
    }
    honest.assert_served();
    let mut eve = Tab::login(address, "eve", 5);
    for number in 0..100 {
        eve.ask_login(&number.to_string());
    }
    for number in 0..100 {
        let answer = eve.hear();
        assert_eq!((&answer["errMsg"], &answer["operationID"]), (&json!("ok"), &json!(number.to_string())));
    }
    honest.assert_served();
    assert!(honest.is_quiet());
    // Whoever gave no right token has taken no place away.
    let others: Vec<_> =
        (0..9).map(|_| Tab::open(address, "ann", 5, "tok-ann").expect("there is room")).collect();
    assert!(Tab::open(address, "ann", 5, "tok-ann").err().expect("it is full").contains("Over quantity"));
    drop((others, halves));
    honest.close();
    eve.close();
    gateway.stop();
}
