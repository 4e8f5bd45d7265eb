//! What the two ends of a pair say to each other over a relay, and what they must hear.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use crate::link::find;
use crate::relay::Protocol;
use crate::socket::Socket;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Messages from one user to another
    Send,
    /// Requests that the server answers itself (IM)
    Request,
}

/// How long the server may take to let somebody in.
const LOGIN_MAX: Duration = Duration::from_secs(20);
/// Chat users begin here, so that every id has as many digits.
const FIRST_USER: usize = 10_000;
/// Digits of a number in a message.
const DIGITS: usize = 10;

/// What is to be thought of something that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The next of those that are counted.
    Next,
    /// The reply to a message whose arrival at the other end is what is counted.
    Reply,
    /// It belongs there, and counts for nothing.
    Beside,
    /// It is wrong, or not the next.
    Wrong,
}

/// One pair's texts.
pub(crate) enum Script {
    /// One text with a number in it; the other end gets it as it is.
    Chat { text: Vec<u8>, number_at: usize },
    /// One request, answered with a known text in which only the number differs.
    ImRequest { text: Vec<u8>, number_at: usize },
    /// A message to another user, who gets it pushed; the sender gets a reply.
    ImSend { text: Vec<u8>, number_at: usize },
}

impl Script {
    /// What pair `pair` says, in frames of `size` bytes where the protocol leaves that open.
    pub(crate) fn new(protocol: Protocol, kind: Kind, pair: usize, size: usize) -> Self {
        let number = "0".repeat(DIGITS);
        match (protocol, kind) {
            (Protocol::Chat, _) => {
                let (from, to) = chat_users(pair);
                let head = format!(r#"{{"type":1,"sender":{from},"receiver":{to},"content":"{number}"#);
                let number_at = head.len() - DIGITS;
                let filling = size.saturating_sub(head.len() + 2);
                let text = format!(r#"{head}{}"}}"#, "x".repeat(filling)).into_bytes();
                Self::Chat { text, number_at }
            }
            (Protocol::Im, Kind::Request) => {
                let from = im_user(2 * pair);
                let text = im_frame("GetLoginStatus", &number, "", &from);
                Self::ImRequest { number_at: number_place(&text), text }
            }
            (Protocol::Im, Kind::Send) => {
                let (from, to) = (im_user(2 * pair), im_user(2 * pair + 1));
                let message = json!({
                    "clientMsgID": number, "createTime": 1, "sendTime": 1, "sessionType": 1, "sendID": from,
                    "recvID": to, "msgFrom": 100, "contentType": 101, "platformID": 5, "content": "hello",
                    "seq": 0, "isRead": false, "status": 1,
                });
                let data = json!({
                    "message": message.to_string(), "recvID": to, "groupID": "", "offlinePushInfo": "{}",
                });
                let text = im_frame("SendMessage", "send", &data.to_string(), &from);
                Self::ImSend { number_at: number_place(&text), text }
            }
        }
    }

    /// The text with this number.
    pub(crate) fn say(&mut self, number: u64) -> &[u8] {
        let (Self::Chat { text, number_at }
        | Self::ImRequest { text, number_at }
        | Self::ImSend { text, number_at }) = self;
        put_number(&mut text[*number_at..*number_at + DIGITS], number);
        text
    }

    /// True if the one who asks is the one whose answers count.
    pub(crate) fn answers_count(&self) -> bool {
        matches!(self, Self::ImRequest { .. })
    }

    /// True if the speaker gets a reply to each message, beside what the other one hears.
    pub(crate) fn has_replies(&self) -> bool {
        matches!(self, Self::ImSend { .. })
    }

    /// Looks at what the one who speaks has heard, while number `next` is the next.
    pub(crate) fn hear_speaker(&self, message: &[u8], next: u64) -> Heard {
        match self {
            Self::Chat { .. } => Heard::Wrong,
            Self::ImRequest { .. } => {
                let is_right = message.starts_with(br#"{"event":"GetLoginStatus","errCode":0,"#)
                    && number_after(message, br#""operationID":""#) == Some(next);
                if is_right { Heard::Next } else { Heard::Wrong }
            }
            Self::ImSend { .. } if is_news(message) => Heard::Beside,
            Self::ImSend { .. } => {
                let is_right = message.starts_with(br#"{"event":"SendMessage","errCode":0,"#);
                if is_right { Heard::Reply } else { Heard::Wrong }
            }
        }
    }

    /// Looks at what the other one has heard.
    pub(crate) fn hear_listener(&self, message: &[u8], next: u64) -> Heard {
        if matches!(self, Self::ImSend { .. }) && is_news(message) {
            return Heard::Beside;
        }
        let is_right = match self {
            Self::Chat { text, number_at } => {
                message.len() == text.len()
                    && message[..*number_at] == text[..*number_at]
                    && number_at_start(&message[*number_at..]) == Some(next)
                    && message[number_at + DIGITS..] == text[number_at + DIGITS..]
            }
            Self::ImRequest { .. } => false,
            Self::ImSend { .. } => {
                message.starts_with(br#"{"event":"OnRecvNewMessage","errCode":0,"#)
                    && number_after(message, br#"clientMsgID\":\""#) == Some(next)
            }
        };
        if is_right { Heard::Next } else { Heard::Wrong }
    }
}

/// Opens the connection of a user who may speak at once; `index` counts the users.
pub(crate) async fn enter(protocol: Protocol, address: SocketAddr, index: usize) -> io::Result<Socket> {
    let opening = async {
        match protocol {
            Protocol::Chat => Socket::open(address, index, &format!("/ws/{}", FIRST_USER + index), "").await,
            Protocol::Im => log_in(address, index).await,
        }
    };
    timeout(LOGIN_MAX, opening).await.map_err(|_| io::Error::other("no answer to the login"))?
}

/// One message or request, and what must come back: a connection that was never used is not what operators hold.
pub(crate) async fn ask_once(protocol: Protocol, socket: &mut Socket, index: usize) -> io::Result<()> {
    let (text, expected) = match protocol {
        Protocol::Chat => {
            let user = FIRST_USER + index;
            let text = format!(r#"{{"type":1,"sender":{user},"receiver":{user},"content":"to myself"}}"#);
            (text.clone().into_bytes(), text.into_bytes())
        }
        Protocol::Im => {
            let text = im_frame("GetLoginStatus", "1", "", &im_user(index));
            (text, br#"{"event":"GetLoginStatus","errCode":0,"#.to_vec())
        }
    };
    socket.queue_text(&text);
    let answer = timeout(LOGIN_MAX, socket.next()).await??;
    if answer.starts_with(&expected) {
        return Ok(());
    }
    Err(io::Error::other(format!("not the answer: {answer:?}")))
}

async fn log_in(address: SocketAddr, index: usize) -> io::Result<Socket> {
    let user = im_user(index);
    let path = format!("/?sendID={user}&token=t&platformID=5");
    let mut socket = Socket::open(address, index, &path, "").await?;
    let data = json!({ "userID": user, "token": "t" }).to_string();
    socket.queue_text(&im_frame("Login", "login", &data, &user));
    loop {
        let message = socket.next().await?;
        if message.starts_with(br#"{"event":"Login","errCode":0,"#) {
            return Ok(socket);
        }
        if message.starts_with(br#"{"event":"Login""#) {
            return Err(io::Error::other(format!("login refused: {message:?}")));
        }
    }
}

fn im_frame(function: &str, operation: &str, data: &str, user: &str) -> Vec<u8> {
    let frame = json!({
        "reqFuncName": function, "operationID": operation, "data": data, "userID": user, "batchMsg": 0,
    });
    frame.to_string().into_bytes()
}

/// What an IM server tells beside: of conversations, of counts.
fn is_news(message: &[u8]) -> bool {
    message.starts_with(br#"{"event":"On"#) && !message.starts_with(br#"{"event":"OnRecv"#)
}

fn im_user(index: usize) -> String {
    format!("u{index}")
}

fn chat_users(pair: usize) -> (usize, usize) {
    (FIRST_USER + 2 * pair, FIRST_USER + 2 * pair + 1)
}

/// Where the number 0 stands.
fn number_place(text: &[u8]) -> usize {
    find(text, &[b'0'; DIGITS]).unwrap_or(0)
}

fn put_number(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10).to_le_bytes()[0];
        number /= 10;
    }
}

fn number_after(message: &[u8], name: &[u8]) -> Option<u64> {
    number_at_start(&message[find(message, name)? + name.len()..])
}

fn number_at_start(bytes: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(bytes.get(..DIGITS)?).ok()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Heard, Kind, Script};
    use crate::relay::Protocol;

    #[test]
    fn a_chat_message_is_as_long_as_asked_and_known_again() {
        let mut script = Script::new(Protocol::Chat, Kind::Send, 3, 131);
        let said = script.say(42).to_vec();
        assert_eq!(said.len(), 131);
        serde_json::from_slice::<serde_json::Value>(&said).unwrap();
        assert_eq!(script.hear_listener(&said, 42), Heard::Next);
        assert_eq!(script.hear_listener(&said, 43), Heard::Wrong);
        assert_eq!(script.hear_listener(&said[1..], 42), Heard::Wrong);
    }

    #[test]
    fn an_im_push_is_known_by_the_number_of_its_message() {
        let mut script = Script::new(Protocol::Im, Kind::Send, 0, 0);
        let said: serde_json::Value = serde_json::from_slice(script.say(7)).unwrap();
        let data: serde_json::Value = serde_json::from_str(said["data"].as_str().unwrap()).unwrap();
        let push = serde_json::json!({ "event": "OnRecvNewMessage", "errCode": 0, "errMsg": "",
            "data": data["message"], "operationID": "0" });
        // The server writes its five members in the order that the protocol names.
        let text = format!(
            r#"{{"event":"OnRecvNewMessage","errCode":0,"errMsg":"","data":{},"operationID":"0"}}"#,
            push["data"]
        );
        assert_eq!(script.hear_listener(text.as_bytes(), 7), Heard::Next);
        assert_eq!(script.hear_speaker(br#"{"event":"SendMessage","errCode":0,"x":1}"#, 7), Heard::Reply);
        assert_eq!(script.hear_listener(br#"{"event":"OnNewConversation","errCode":0}"#, 7), Heard::Beside);
        assert_eq!(script.hear_speaker(br#"{"event":"SendMessage","errCode":1,"x":1}"#, 7), Heard::Wrong);
    }
}
