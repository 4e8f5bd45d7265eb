//! The two handshake bodies: what a client says first, and what the server answers.

use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::message::ROUTE_MAX;
use super::{Dictionary, ServerConfig, decode_text};
use crate::json;

/// Why a handshake is refused. The numbers are those of pitaya (400) and pomelo (500, 501).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum RefuseCode {
    /// The handshake cannot be understood or is not acceptable.
    Invalid,
    /// The application refuses the user.
    Denied,
    /// The client is too old. JavaScript clients tell their user so.
    TooOld,
}

impl RefuseCode {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Denied => 500,
            Self::TooOld => 501,
        }
    }
}

/// What a client can do, as far as its handshake tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Abilities {
    /// It reads the dictionary of the answer.
    pub(super) dictionary: bool,
    /// It resolves route codes in pushes.
    pub(super) coded_pushes: bool,
    /// It inflates bodies.
    pub(super) inflate: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Hello<'a> {
    #[serde(borrow)]
    sys: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct HelloSys<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    platform: Option<&'a RawValue>,
    #[serde(borrow, rename = "libVersion")]
    lib_version: Option<&'a RawValue>,
    #[serde(borrow, rename = "useDict")]
    use_dict: Option<&'a RawValue>,
    #[serde(borrow, rename = "useDeflate")]
    use_deflate: Option<&'a RawValue>,
}

/// The readable form of a handshake body; `None` if it is not JSON. An empty body is fine: nano's Go client sends none.
pub(super) fn read(body: &[u8]) -> Option<(Cow<'_, str>, Abilities)> {
    let text = decode_text(body);
    if text.trim_ascii().is_empty() {
        return Some((text, Abilities { dictionary: true, ..Abilities::default() }));
    }
    let abilities = {
        // Whatever `sys` holds, a client that says it in an unknown form just gets the plain protocol.
        serde_json::from_str::<&RawValue>(&text).ok()?;
        let hello = serde_json::from_str::<Hello<'_>>(&text).unwrap_or_default();
        let sys = hello.sys.and_then(|sys| serde_json::from_str::<HelloSys<'_>>(sys.get()).ok());
        abilities(&sys.unwrap_or_default())
    };
    Some((text, abilities))
}

fn abilities(sys: &HelloSys<'_>) -> Abilities {
    let says = |field: Option<&RawValue>, value: &str| field.is_some_and(|field| field.get() == value);
    // libpitaya ignores the dictionary and crashes on a push with a code.
    let libpitaya = sys.lib_version.is_some() || sys.platform.is_some();
    Abilities {
        dictionary: !libpitaya,
        coded_pushes: !libpitaya && (says(sys.kind, r#""js-websocket""#) || says(sys.use_dict, "true")),
        inflate: sys.lib_version.is_some() || says(sys.use_deflate, "true"),
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    code: u16,
    sys: AnswerSys<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct AnswerSys<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    dict: Option<Codes<'a>>,
    heartbeat: u64,
    serializer: &'a str,
    servertime: u64,
}

struct Codes<'a>(&'a Dictionary);

impl Serialize for Codes<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(route, code)| (decode_text(route), code)))
    }
}

/// The server's answer. `user` is sent if it is valid JSON.
pub(super) fn answer(
    code: u16,
    config: &ServerConfig,
    heartbeat: Option<Duration>,
    unix: Duration,
    abilities: Abilities,
    user: Option<&Bytes>,
) -> Bytes {
    let dict = (abilities.dictionary && !config.dictionary.is_empty()).then_some(Codes(&config.dictionary));
    let answer = Answer {
        code,
        sys: AnswerSys {
            dict,
            heartbeat: heartbeat.map_or(0, whole_seconds),
            serializer: &config.serializer,
            servertime: unix.as_secs(),
        },
        user: user.and_then(|user| serde_json::from_slice(user).ok()),
    };
    serde_json::to_vec(&answer).unwrap_or_else(|_| Vec::new()).into()
}

/// Whole seconds, at least one: pitaya's Go client fails on a fraction, libpitaya takes less than one as none.
pub(super) fn whole_seconds(span: Duration) -> u64 {
    (span.as_secs() + u64::from(span.subsec_nanos() > 0)).max(1)
}

#[derive(Deserialize)]
struct ServerHello<'a> {
    code: i64,
    #[serde(borrow, default)]
    sys: Option<&'a RawValue>,
}

// Each field is read for itself: one in an unknown form must not cost the others.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ServerSys<'a> {
    #[serde(borrow)]
    heartbeat: Option<&'a RawValue>,
    #[serde(borrow)]
    dict: Option<&'a RawValue>,
}

/// What a client learns from the server's answer.
#[derive(Clone, Debug)]
pub(super) struct Welcome {
    /// 200 is yes.
    pub(super) code: i64,
    /// The server's interval; `None` if it wants no heartbeats.
    pub(super) heartbeat: Option<Duration>,
    /// The codes the server knows.
    pub(super) dictionary: Dictionary,
}

fn parse<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

/// Reads the server's answer; `None` if it is not one.
pub(super) fn read_answer(body: &[u8]) -> Option<Welcome> {
    let text = decode_text(body);
    let hello: ServerHello<'_> = serde_json::from_str(&text).ok()?;
    let sys: ServerSys<'_> = hello.sys.and_then(parse).unwrap_or_default();
    let seconds = sys.heartbeat.and_then(parse::<f64>);
    let seconds = seconds.filter(|seconds| seconds.is_finite() && (0.001..1e6).contains(seconds));
    Some(Welcome {
        code: hello.code,
        heartbeat: seconds.map(Duration::from_secs_f64),
        dictionary: sys.dict.map(read_dictionary).unwrap_or_default(),
    })
}

/// What our dictionary refuses, such as code 0 or a code that another route has, is not used; the other routes still
/// serve. So there are never more than there are codes, whatever the server says.
fn read_dictionary(dict: &RawValue) -> Dictionary {
    let (mut routes, mut codes) = (BTreeMap::new(), BTreeSet::new());
    let read = json::members(dict.get().as_bytes(), |route, code| {
        let code = code.unsigned().ok().flatten().and_then(|code| u16::try_from(code).ok());
        if let Some(code) = code.filter(|code| *code != 0)
            && (1..=ROUTE_MAX).contains(&route.len())
            && !routes.contains_key(route)
            && codes.insert(code)
        {
            routes.insert(String::from(route), code);
        }
        Ok(())
    });
    let entries = routes.iter().map(|(route, code)| (route.as_bytes(), *code));
    read.ok().and_then(|()| Dictionary::new(entries).ok()).unwrap_or_default()
}
