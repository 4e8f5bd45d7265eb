//! Messages and conversations as v2 clients read them.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use linkspan_core::json;
use serde_json::{Map, Value};

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
    let element = serde_json::json!({"data": data, "description": description, "extension": extension});
    let mut message = message(caller, content::CUSTOM, element.to_string());
    message.insert("customElem".into(), element);
    message
}

/// Whom a message is for, and when.
pub(super) struct Address<'a> {
    pub(super) receiver: &'a str,
    pub(super) now: u64,
}

/// What a client may not decide about a message.
fn decided(caller: &Caller, Address { receiver, now }: Address<'_>) -> [(&'static str, Value); 8] {
    [
        ("sendID", Value::from(caller.user())),
        ("recvID", receiver.into()),
        ("groupID", "".into()),
        ("sessionType", SINGLE_TYPE.into()),
        ("platformID", caller.platform().number().into()),
        ("sendTime", now.into()),
        ("serverMsgID", new_id().into()),
        ("status", status::SENT.into()),
    ]
}

/// A message that is about to be kept; who sends it is whoever calls. What the client has made of it is taken over as
/// it stands there, but for what it may not decide. `None` if it is no JSON object.
pub(super) fn outgoing(caller: &Caller, receiver: &str, message: &str, now: u64) -> Option<Draft> {
    let decided = decided(caller, Address { receiver, now });
    let mut members = Vec::with_capacity(message.len() + 256);
    let (mut id, mut is_object) = (None, message.trim_start().starts_with('{'));
    let outcome = json::members(message.as_bytes(), |name, value| {
        match name {
            "clientMsgID" => id = value.text().ok().flatten().filter(|id| !id.is_empty()),
            "seq" => {}
            name if decided.iter().any(|(own, _)| *own == name) => {}
            name => {
                json::push_text(&mut members, name);
                members.push(b':');
                members.extend_from_slice(value.as_str().as_bytes());
                members.push(b',');
            }
        }
        Ok(())
    });
    is_object &= outcome.is_ok();
    let id = id.map_or_else(new_id, Cow::into_owned);
    members.extend_from_slice(b"\"clientMsgID\":");
    json::push_text(&mut members, &id);
    for (name, value) in decided {
        members.extend_from_slice(b",\"");
        members.extend_from_slice(name.as_bytes());
        members.extend_from_slice(b"\":");
        match value {
            Value::String(text) => json::push_text(&mut members, &text),
            other => members.extend_from_slice(other.to_string().as_bytes()),
        }
    }
    let (sender, receiver) = (caller.user().into(), receiver.into());
    let members = String::from_utf8(members).ok().filter(|_| is_object)?;
    Some(Draft { sender, receiver, id, sent: now, members })
}

/// A sign that somebody types.
pub(super) fn typing(caller: &Caller, to: Address<'_>, tip: String) -> Map<String, Value> {
    let mut message = message(caller, content::TYPING, tip);
    message.extend(decided(caller, to).into_iter().map(|(name, value)| (String::from(name), value)));
    message
}

/// One side of a conversation.
pub(super) fn conversation(one: &Conversation) -> Value {
    serde_json::json!({
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
