//! The two texts on the wire: a request, and a reply or push.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Answer, OperationIds};
use crate::hub::PlatformSet;
use crate::json::{self, Invalid, Literal};
use crate::{Frame, Key, Opcode, Push};

/// A view of one request; what is missing or `null` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// `reqFuncName`: which function is called.
    pub function: Cow<'a, str>,
    /// `operationID`: what the answer will be known by.
    pub operation: Cow<'a, str>,
    /// `data`: the arguments, mostly JSON.
    pub data: Cow<'a, str>,
    /// `userID`: in whose name.
    pub user: Cow<'a, str>,
    /// `batchMsg`: whether the user's new messages shall come as lists.
    pub batch: bool,
}

impl<'a> Request<'a> {
    /// Reads one request by the rules of [`json`].
    ///
    /// # Errors
    ///
    /// [`Invalid`] if it is not an object or `null`, or a member is of a wrong type.
    pub fn decode(input: &'a [u8]) -> Result<Self, Invalid> {
        let mut request = Self::default();
        json::members(input, |name, value| {
            let is = |known| name.eq_ignore_ascii_case(known);
            if is("batchMsg") {
                request.batch = value.signed()?.map_or(request.batch, |number| number == 1);
                return Ok(());
            }
            let field = match () {
                () if is("reqFuncName") => &mut request.function,
                () if is("operationID") => &mut request.operation,
                () if is("data") => &mut request.data,
                () if is("userID") => &mut request.user,
                () => return Ok(()),
            };
            set_text(field, value)
        })?;
        Ok(request)
    }

    /// Writes one request, as a client.
    pub fn encode(&self) -> Bytes {
        let texts = [&self.function, &self.operation, &self.data, &self.user];
        let mut out =
            Vec::with_capacity(96 + texts.map(|text| text.len() + text.len() / 8).iter().sum::<usize>());
        for (name, text) in
            ["{\"reqFuncName\":", ",\"operationID\":", ",\"data\":", ",\"userID\":"].into_iter().zip(texts)
        {
            out.extend_from_slice(name.as_bytes());
            json::push_text(&mut out, text);
        }
        let batch: &[u8] = if self.batch { b",\"batchMsg\":1}" } else { b",\"batchMsg\":0}" };
        out.extend_from_slice(batch);
        out.into()
    }
}

fn set_text<'a>(field: &mut Cow<'a, str>, value: Literal<'a>) -> Result<(), Invalid> {
    if let Some(text) = value.text()? {
        *field = text;
    }
    Ok(())
}

/// A view of one reply or push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply<'a> {
    /// `event`: the function that is answered, or the name of the event.
    pub event: Cow<'a, str>,
    /// `errCode`: 0 is success.
    pub code: i32,
    /// `errMsg`: what went wrong.
    pub message: Cow<'a, str>,
    /// `data`: the result, mostly JSON.
    pub data: Cow<'a, str>,
    /// `operationID`: that of the request; "0" or empty in a push.
    pub operation: Cow<'a, str>,
}

impl<'a> Reply<'a> {
    /// The answer to a call of the function `event`.
    pub fn to_call(event: &'a str, operation: &'a str, answer: &'a Answer) -> Self {
        Self {
            event: event.into(),
            code: answer.code,
            message: Cow::Borrowed(&answer.message),
            data: Cow::Borrowed(&answer.data),
            operation: operation.into(),
        }
    }

    /// Reads one reply by the rules of [`json`].
    ///
    /// # Errors
    ///
    /// [`Invalid`] if it is not an object or `null`, or a member is of a wrong type.
    pub fn decode(input: &'a [u8]) -> Result<Self, Invalid> {
        let mut reply = Self::default();
        json::members(input, |name, value| {
            let is = |known| name.eq_ignore_ascii_case(known);
            if is("errCode") {
                if let Some(code) = value.signed()? {
                    reply.code = i32::try_from(code).map_err(|_| Invalid)?;
                }
                return Ok(());
            }
            let field = match () {
                () if is("event") => &mut reply.event,
                () if is("errMsg") => &mut reply.message,
                () if is("data") => &mut reply.data,
                () if is("operationID") => &mut reply.operation,
                () => return Ok(()),
            };
            set_text(field, value)
        })?;
        Ok(reply)
    }

    /// Writes one reply: all five members, always in this order.
    pub fn encode(&self) -> Bytes {
        let mut out = head(&self.event, self.code, &self.message, self.data.len());
        json::push_text(&mut out, &self.data);
        tail(out, &self.operation)
    }

    /// The reply as a message for all IM connections of a user, and for none that speaks another dialect.
    pub fn to_push(&self) -> Push {
        Push::im(Bytes::copy_from_slice(self.event.as_bytes()), self.encode(), 0)
    }
}

/// Everything before the data, with room for so much more.
fn head(event: &str, code: i32, message: &str, more: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(96 + event.len() + message.len() + more + more / 4);
    out.extend_from_slice(b"{\"event\":");
    json::push_text(&mut out, event);
    out.extend_from_slice(b",\"errCode\":");
    push_number(&mut out, code);
    out.extend_from_slice(b",\"errMsg\":");
    json::push_text(&mut out, message);
    out.extend_from_slice(b",\"data\":");
    out
}

fn tail(mut out: Vec<u8>, operation: &str) -> Bytes {
    out.extend_from_slice(b",\"operationID\":");
    json::push_text(&mut out, operation);
    out.push(b'}');
    out.into()
}

fn push_number(out: &mut Vec<u8>, number: i32) {
    if number < 0 {
        out.push(b'-');
    }
    OperationIds::push_decimal(out, u64::from(number.unsigned_abs()));
}

/// The event that tells a client that it was removed; its `errMsg` says why.
pub(super) const KICKED: &str = "OnKickedOffline";
/// The event that tells on what a watched user is online: `{"userID","status","platformIDs"}`, with status 1 for online.
pub const STATUS_CHANGED: &str = "OnUserStatusChanged";

/// The frame that says on what `user` is online.
pub(super) fn status_frame(user: &Key, platforms: PlatformSet) -> Frame {
    let mut data = Vec::with_capacity(64);
    data.extend_from_slice(b"{\"userID\":");
    json::push_text(&mut data, &String::from_utf8_lossy(user.as_bytes()));
    data.extend_from_slice(if platforms.is_empty() { b",\"status\":0" } else { b",\"status\":1" });
    data.extend_from_slice(b",\"platformIDs\":[");
    for (index, platform) in platforms.iter().enumerate() {
        if index > 0 {
            data.push(b',');
        }
        push_number(&mut data, platform.number().into());
    }
    data.extend_from_slice(b"]}");
    let data = String::from_utf8_lossy(&data);
    let mut out = head(STATUS_CHANGED, 0, "", data.len());
    json::push_text(&mut out, &data);
    Frame::new(Opcode::Text, tail(out, event_operation(STATUS_CHANGED)))
}

/// The event that brings one new message, and the one that brings a list of them.
pub(super) const NEW_MESSAGE: &str = "OnRecvNewMessage";
const NEW_MESSAGES: &str = "OnRecvNewMessages";

/// The frame of a message that a service or another dialect has sent: its route is the event, its body the data.
/// `None` if it is not text.
pub(super) fn encode_push(push: &Push, batch: bool) -> Option<Frame> {
    let [event, data] = [push.route(), push.body()].map(|bytes| core::str::from_utf8(bytes).ok());
    let (event, data) = (event?, data?);
    let mut out = head(if batch { NEW_MESSAGES } else { event }, 0, "", data.len() + 2);
    if batch {
        out.extend_from_slice(b"\"[");
        let from = out.len();
        json::push_text(&mut out, data);
        // The brackets stand inside the quotes.
        out.remove(from);
        out.insert(out.len() - 1, b']');
    } else {
        json::push_text(&mut out, data);
    }
    Some(Frame::new(Opcode::Text, tail(out, event_operation(event))))
}

/// The operation id that the original gives an event: none to what is about the connection and its conversations.
fn event_operation(event: &str) -> &'static str {
    match event {
        "OnProgress"
        | "OnSyncServerStart"
        | "OnSyncServerFinish"
        | "OnSyncServerFailed"
        | "OnNewConversation"
        | "OnConversationChanged"
        | "OnTotalUnreadMessageCountChanged"
        | "OnConnecting"
        | "OnConnectSuccess"
        | "OnConnectFailed"
        | "OnKickedOffline"
        | "OnUserTokenExpired" => "",
        _ => "0",
    }
}
