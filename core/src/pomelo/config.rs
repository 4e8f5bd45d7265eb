//! What an operator decides about the pomelo dialect, and how errors are said in it.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::Dictionary;

/// How a failed request is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorAnswers {
    /// As pitaya: a response with flag 0x20 and an [`ErrorBody`]. nano's and JavaScript clients ignore the flag.
    #[default]
    Pitaya,
    /// As nano: a failed request is never answered.
    None,
}

/// What one listener's server side of the dialect does. Times and sizes are in [`Limits`](crate::Limits).
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Route codes, announced at the handshake. Default: none.
    pub dictionary: Dictionary,
    /// Whether a WebSocket message must be exactly one package, as pitaya demands. Default: a stream, as nano.
    pub strict_boundaries: bool,
    /// Whether a client may acknowledge without a handshake, as nano and pitaya let it. Default: no.
    pub ack_without_handshake: bool,
    /// How failed requests are answered.
    pub errors: ErrorAnswers,
    /// From which size on, in bytes, bodies are deflated for clients that can read it. Default: never.
    pub deflate_above: Option<u32>,
    /// Announced at the handshake; `json` or `protobuf`. Also decides how an [`ErrorBody`] is written. Default `json`.
    pub serializer: Cow<'static, str>,
    /// Unix time at [`Instant::ORIGIN`](crate::Instant::ORIGIN), for the handshake's `servertime`. Default: zero.
    pub origin_unix: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            dictionary: Dictionary::default(),
            strict_boundaries: false,
            ack_without_handshake: false,
            errors: ErrorAnswers::Pitaya,
            deflate_above: None,
            serializer: Cow::Borrowed("json"),
            origin_unix: Duration::ZERO,
        }
    }
}

/// What a client says about itself.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The handshake body, JSON. Default: `{"sys":{"type":"linkspan","version":"…"}}`.
    pub handshake: Bytes,
    /// Whether heartbeats are sent only in answer to the server's, as JavaScript clients do. Default: no.
    pub passive_heartbeat: bool,
    /// The largest request id; ids count from 1 and begin again behind it. Default 2^31 − 1: JavaScript peers compute
    /// ids with 32-bit operators.
    pub id_max: u32,
}

impl Default for ClientConfig {
    fn default() -> Self {
        let hello = concat!(r#"{"sys":{"type":"linkspan","version":""#, env!("CARGO_PKG_VERSION"), r#""}}"#);
        Self {
            handshake: Bytes::from_static(hello.as_bytes()),
            passive_heartbeat: false,
            id_max: 0x7fff_ffff,
        }
    }
}

/// Why a request failed, in pitaya's form: a code, a text, optional metadata.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ErrorBody {
    /// The code, such as `PIT-404`.
    pub code: Cow<'static, str>,
    /// The text.
    #[serde(rename = "msg", default)]
    pub message: Cow<'static, str>,
    /// More, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl ErrorBody {
    /// Something failed that has no code of its own.
    pub const UNKNOWN: &'static str = "PIT-000";
    /// The route or the argument cannot be understood.
    pub const BAD_REQUEST: &'static str = "PIT-400";
    /// Nobody answers this route.
    pub const NOT_FOUND: &'static str = "PIT-404";
    /// No answer came in time.
    pub const TIMEOUT: &'static str = "PIT-408";
    /// The server failed.
    pub const INTERNAL: &'static str = "PIT-500";

    /// An error without metadata.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into(), message: message.into(), metadata: BTreeMap::new() }
    }

    /// The error as the body of an answer, in the listener's serializer.
    pub fn encode(&self, serializer: &str) -> Bytes {
        if serializer == "protobuf" {
            return self.encode_protobuf();
        }
        serde_json::to_vec(self).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
    }

    /// `Error { 1: code, 2: msg, 3: map metadata }`.
    fn encode_protobuf(&self) -> Bytes {
        let mut out = Vec::new();
        put_field(&mut out, 1, self.code.as_bytes());
        put_field(&mut out, 2, self.message.as_bytes());
        for (name, value) in &self.metadata {
            let mut entry = Vec::new();
            put_field(&mut entry, 1, name.as_bytes());
            put_field(&mut entry, 2, value.as_bytes());
            put_field(&mut out, 3, &entry);
        }
        out.into()
    }
}

/// One length-delimited protobuf field.
fn put_field(out: &mut Vec<u8>, number: u8, data: &[u8]) {
    out.push((number << 3) | 2);
    let mut len = data.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(data);
}
