//! Messages and conversations as v2 clients read them.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

use super::store::{Conversation, Draft};
use super::{Caller, now};

/// What comes before the other user in the name of a conversation of two.
pub(super) const SINGLE: &str = "single_";
/// A conversation of two users.
const SINGLE_TYPE: u32 = 1;

/// Content types.
mod content {
    pub(super) const TEXT: u32 = 101;
    pub(super) const CUSTOM: u32 = 110;
    pub(super) const TYPING: u32 = 113;
}

/// How far a message is.
mod status {
    pub(super) const SENDING: u32 = 1;
    pub(super) const SENT: u32 = 2;
}

/// 32 hexadecimal digits that nobody else has.
fn new_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}{:016x}", RandomState::new().hash_one(count), RandomState::new().hash_one(now()))
}

fn message(caller: &Caller, kind: u32, content: String) -> Map<String, Value> {
    let now = now();
    let fields = [
        ("clientMsgID", new_id().into()),
        ("createTime", now.into()),
        ("sendTime", now.into()),
        ("sessionType", 0.into()),
        ("sendID", caller.user().into()),
        ("msgFrom", 100.into()),
        ("contentType", kind.into()),
        ("platformID", caller.platform().number().into()),
        ("senderNickname", caller.user().into()),
        ("content", content.into()),
        ("seq", 0.into()),
        ("isRead", false.into()),
        ("status", status::SENDING.into()),
    ];
    fields.into_iter().map(|(name, value): (_, Value)| (String::from(name), value)).collect()
}

/// A new text.
pub(super) fn text(caller: &Caller, content: String) -> Map<String, Value> {
    message(caller, content::TEXT, content)
}

/// A new message with content of the application's own.
pub(super) fn custom(caller: &Caller, data: &str, extension: &str, description: &str) -> Map<String, Value> {
    let element = json!({"data": data, "description": description, "extension": extension});
    let mut message = message(caller, content::CUSTOM, element.to_string());
    message.insert("customElem".into(), element);
    message
}

/// Whom a message is for, and when.
pub(super) struct Address<'a> {
    pub(super) receiver: &'a str,
    pub(super) now: u64,
}

/// What a client has made of a message, with what it may not decide.
fn address(message: &mut Map<String, Value>, caller: &Caller, Address { receiver, now }: Address<'_>) {
    let fields = [
        ("sendID", Value::from(caller.user())),
        ("recvID", receiver.into()),
        ("groupID", "".into()),
        ("sessionType", SINGLE_TYPE.into()),
        ("platformID", caller.platform().number().into()),
        ("sendTime", now.into()),
        ("serverMsgID", new_id().into()),
        ("status", status::SENT.into()),
    ];
    for (name, value) in fields {
        message.insert(name.into(), value);
    }
}

/// A message that is about to be kept; who sends it is whoever calls.
pub(super) fn outgoing(caller: &Caller, receiver: &str, mut message: Map<String, Value>, now: u64) -> Draft {
    address(&mut message, caller, Address { receiver, now });
    let id = message.get("clientMsgID").and_then(Value::as_str).filter(|id| !id.is_empty());
    let id = id.map_or_else(new_id, str::to_owned);
    message.insert("clientMsgID".into(), id.clone().into());
    let (sender, receiver) = (caller.user().into(), receiver.into());
    Draft { sender, receiver, id, sent: now, message }
}

/// A sign that somebody types.
pub(super) fn typing(caller: &Caller, to: Address<'_>, tip: String) -> Map<String, Value> {
    let mut message = message(caller, content::TYPING, tip);
    address(&mut message, caller, to);
    message
}

/// One side of a conversation.
pub(super) fn conversation(one: &Conversation) -> Value {
    json!({
        "conversationID": format!("{SINGLE}{}", one.peer),
        "conversationType": SINGLE_TYPE,
        "userID": one.peer,
        "groupID": "",
        "showName": one.peer,
        "faceURL": "",
        "recvMsgOpt": 0,
        "unreadCount": one.unread,
        "groupAtType": 0,
        "latestMsg": String::from_utf8_lossy(&one.latest),
        "latestMsgSendTime": one.latest_sent,
        "draftText": "",
        "draftTextTime": 0,
        "isPinned": false,
        "isPrivateChat": false,
        "isNotInGroup": false,
        "attachedInfo": "",
        "ex": "",
    })
}
