//! One message: `{"type":…,"sender":…,"receiver":…,"content":…}`.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use bytes::Bytes;

use super::user::Digits;
use crate::Push;
use crate::json::{self, Invalid, Literal};

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 0, also where the type is missing: says nothing.
    Connect,
    /// 1: is to be brought to the receiver.
    Send,
    /// 2: was brought to the receiver.
    Receive,
    /// 3: the connection is to be closed.
    Close,
    /// Any other number: says nothing.
    Other(u64),
}

impl Kind {
    /// The number on the wire.
    pub const fn number(self) -> u64 {
        match self {
            Self::Connect => 0,
            Self::Send => 1,
            Self::Receive => 2,
            Self::Close => 3,
            Self::Other(number) => number,
        }
    }

    const fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Connect,
            1 => Self::Send,
            2 => Self::Receive,
            3 => Self::Close,
            other => Self::Other(other),
        }
    }
}

/// A view of one message; what is missing or `null` is zero or empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is for.
    pub kind: Kind,
    /// Who says to have sent it.
    pub sender: u64,
    /// Whom it is for.
    pub receiver: u64,
    /// A valid JSON string with its quotes.
    content: &'a str,
}

impl<'a> Message<'a> {
    /// Reads one message by the rules of [`json`].
    ///
    /// # Errors
    ///
    /// [`Invalid`] if it is not an object or `null`, or a member is of a wrong type.
    pub fn decode(input: &'a [u8]) -> Result<Self, Invalid> {
        let mut kind = 0;
        let mut message = Self { kind: Kind::Connect, sender: 0, receiver: 0, content: "\"\"" };
        let set = |field: &mut u64, value: Literal<'_>| {
            *field = value.unsigned()?.unwrap_or(*field);
            Ok(())
        };
        json::members(input, |name, value| match name {
            name if name.eq_ignore_ascii_case("type") => set(&mut kind, value),
            name if name.eq_ignore_ascii_case("sender") => set(&mut message.sender, value),
            name if name.eq_ignore_ascii_case("receiver") => set(&mut message.receiver, value),
            name if name.eq_ignore_ascii_case("content") => {
                message.content = value.quoted_text()?.unwrap_or(message.content);
                Ok(())
            }
            _ => Ok(()),
        })?;
        message.kind = Kind::from_number(kind);
        Ok(message)
    }

    /// The text.
    pub fn content(&self) -> Cow<'a, str> {
        json::unquote(self.content)
    }

    /// The message with another type and sender, and nothing in it that is not a message's; the content keeps its
    /// escapes, even those that no text can say.
    pub(super) fn stamped(&self, kind: Kind, sender: u64) -> Bytes {
        let mut out = head(kind, sender, self.receiver, self.content.len() + 1);
        out.extend_from_slice(self.content.as_bytes());
        out.push(b'}');
        out.into()
    }
}

/// Writes one message.
pub fn encode(kind: Kind, sender: u64, receiver: u64, content: &str) -> Bytes {
    let mut out = head(kind, sender, receiver, content.len() + 3);
    json::push_text(&mut out, content);
    out.push(b'}');
    out.into()
}

/// What a push of another origin is to a chat client: a message that no user has sent, with the event's name beside
/// it. `None` if it is not text.
pub(super) fn encode_event(push: &Push) -> Option<Bytes> {
    let [route, body] = [push.route(), push.body()].map(|bytes| core::str::from_utf8(bytes).ok());
    let (route, body) = (route?, body?);
    let mut out = head(Kind::Receive, 0, 0, route.len() + body.len() + 14);
    json::push_text(&mut out, body);
    out.extend_from_slice(b",\"route\":");
    json::push_text(&mut out, route);
    out.push(b'}');
    Some(out.into())
}

/// Everything before the content.
fn head(kind: Kind, sender: u64, receiver: u64, more: usize) -> Vec<u8> {
    let mut space = [0; Digits::MAX];
    let mut out = Vec::with_capacity(48 + 3 * 8 + more);
    let fields = [("{\"type\":", kind.number()), (",\"sender\":", sender), (",\"receiver\":", receiver)];
    for (name, number) in fields {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(Digits::write(number, &mut space));
    }
    out.extend_from_slice(b",\"content\":");
    out
}
