//! One message of a tunnel session: a short header of varints, and a body that runs to the end.

use bytes::Bytes;

use super::varint::{self, Varint};
use crate::{Frame, Key, Opcode, Violation};

/// The text of an [`Error`](Content::Error) that is a normal end.
pub const EOF: &[u8] = b"EOF";

/// How much of `proto/address` a receiver reads. What is longer is dialled cut off, which is another address.
pub const CONNECT_MAX: usize = 266;

/// The same of receivers before v0.4.5-rc.2 and v0.5.0.
pub const CONNECT_MAX_OLD: usize = 100;

/// How much of an error text, or of `client/session`, a receiver reads.
pub const TEXT_MAX: usize = 100;

/// The longest client key that can be announced with every session number.
pub const CLIENT_KEY_MAX: usize = 80;

/// Milliseconds. Receivers ignore it today; those before v0.3 take it as the limit of a dial.
const DEADLINE: i64 = 15_000;

/// The type of [`Content::Credit`]; originals ignore it, as they do every type above 8.
const CREDIT: i64 = 16;

/// Why a message cannot be read. Each ends the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message ends where a number should begin.
    #[error("a number is missing")]
    Missing,
    /// The message ends within a number.
    #[error("a number is cut off")]
    Cut,
    /// A number does not fit into 64 bits.
    #[error("a number overflows 64 bits")]
    Overflow,
    /// What shall be dialled is not `proto/address`.
    #[error("nothing to dial")]
    Target,
}

impl From<DecodeError> for Violation {
    fn from(_: DecodeError) -> Self {
        Self::MessageInvalid
    }
}

/// Why something cannot be said on this wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// `proto/address` is longer than the peer reads.
    #[error("the address is too long")]
    AddressTooLong,
    /// A protocol with a `/` would be split elsewhere by the peer.
    #[error("the protocol contains a slash")]
    Proto,
    /// A client key that is empty, too long, contains `/` or `::`, or ends with `:`.
    #[error("the client key must have 1 to {CLIENT_KEY_MAX} bytes, no `/`, no `::`, and no `:` at the end")]
    ClientKey,
}

/// What shall be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `tcp`, `udp`, `unix` …; through a peer with `client::` before it.
    pub proto: Bytes,
    /// `host:port` or a path.
    pub address: Bytes,
    /// Whether there was more than [`CONNECT_MAX`] bytes, so that `address` is not what was meant.
    pub is_cut: bool,
}

/// A session of a client that a peer announces or takes back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct ClientSession {
    /// The client's key.
    pub client: Bytes,
    /// The number of its session.
    pub session: i64,
}

impl ClientSession {
    /// Reads `client/session`: the first slash splits, the rest is decimal with an optional sign.
    pub fn read(text: &Bytes) -> Option<Self> {
        let slash = text.iter().position(|byte| *byte == b'/')?;
        // Of the decimals that Rust reads and Go does not there is none.
        let session = core::str::from_utf8(&text[slash + 1..]).ok()?.parse().ok()?;
        Some(Self { client: text.slice(..slash), session })
    }

    /// Whether every receiver reads back what is written.
    ///
    /// # Errors
    ///
    /// [`EncodeError::ClientKey`] if not.
    pub fn check(&self) -> Result<(), EncodeError> {
        if is_client_key(&self.client) { Ok(()) } else { Err(EncodeError::ClientKey) }
    }

    fn to_bytes(&self) -> Bytes {
        let number = alloc::format!("/{}", self.session);
        [&self.client[..], number.as_bytes()].concat().into()
    }
}

/// A client's key that every receiver reads back, in an announcement and before a protocol.
///
/// # Errors
///
/// [`EncodeError::ClientKey`] if it is empty, longer than [`CLIENT_KEY_MAX`], contains `/` or `::`, or ends with `:`.
pub fn client_key(key: &[u8]) -> Result<Key, EncodeError> {
    Key::new(key).ok().filter(|_| is_client_key(key)).ok_or(EncodeError::ClientKey)
}

fn is_client_key(key: &[u8]) -> bool {
    (1..=CLIENT_KEY_MAX).contains(&key.len())
        && !key.contains(&b'/')
        && !key.ends_with(b":")
        && !key.windows(2).any(|pair| pair == b"::")
}

/// The protocol of a dial that a peer is to pass on to its client.
pub fn forward_proto(client: &Key, proto: &[u8]) -> Bytes {
    [client.as_bytes(), b"::", proto].concat().into()
}

/// The client and the protocol of a dial that is to be passed on; `None` if it names no client.
pub fn split_forwarded(proto: &Bytes) -> Option<(Bytes, Bytes)> {
    let at = proto.windows(2).position(|pair| pair == b"::")?;
    Some((proto.slice(..at), proto.slice(at + 2..)))
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// Bytes of a stream.
    Data(Bytes),
    /// A new stream, to be dialled.
    Connect(Target),
    /// The end of a stream; [`EOF`] is a normal one.
    Error(Bytes),
    /// `client/session`, to be read by [`ClientSession::read`].
    AddClient(Bytes),
    /// `client/session`, to be read by [`ClientSession::read`].
    RemoveClient(Bytes),
    /// No more data on this stream for now.
    Pause,
    /// Data again.
    Resume,
    /// All streams that the sender knows; see [`sync_ids`].
    Sync(Bytes),
    /// So much more may come on this stream, in [`data_cost`](super::data_cost): a type of our own, which only those
    /// are sent who have [said](super::Hello) that they count.
    Credit(u32),
    /// A type of another version; ignored.
    Unknown(i64),
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// A number that no receiver uses.
    pub id: i64,
    /// The stream; ignored where the message is not about one.
    pub stream: i64,
    /// What it says.
    pub content: Content,
}

impl Message {
    /// Reads a whole binary message.
    ///
    /// Bodies are cut where every receiver cuts them.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; the session ends with it.
    pub fn decode(data: &Bytes) -> Result<Self, DecodeError> {
        let mut rest = &data[..];
        let id = varint::read(&mut rest)?;
        let stream = varint::read(&mut rest)?;
        let kind = varint::read(&mut rest)?;
        if matches!(kind, 1 | 2) {
            varint::read(&mut rest)?;
        }
        let body = data.slice(data.len() - rest.len()..);
        let text = |body: &Bytes| body.slice(..body.len().min(TEXT_MAX));
        let content = match kind {
            1 => Content::Data(body),
            2 => Content::Connect(read_target(&body)?),
            3 => Content::Error(text(&body)),
            4 => Content::AddClient(text(&body)),
            5 => Content::RemoveClient(text(&body)),
            6 => Content::Pause,
            7 => Content::Resume,
            8 => Content::Sync(body),
            CREDIT => read_credit(rest).map_or(Content::Unknown(CREDIT), Content::Credit),
            other => Content::Unknown(other),
        };
        Ok(Self { id, stream, content })
    }

    /// The frame of this message.
    ///
    /// An error text is cut to what receivers read, between two characters.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if a receiver would understand something else.
    pub fn encode(self) -> Result<Frame, EncodeError> {
        let deadline = Some(DEADLINE);
        let (kind, number, body) = match self.content {
            Content::Data(body) => (1, deadline, body),
            Content::Connect(target) => (2, deadline, write_target(&target, CONNECT_MAX)?),
            Content::Error(text) => (3, None, cut_text(&text)),
            Content::AddClient(text) => (4, None, checked(text)?),
            Content::RemoveClient(text) => (5, None, checked(text)?),
            Content::Pause => (6, None, Bytes::new()),
            Content::Resume => (7, None, Bytes::new()),
            Content::Sync(ids) => (8, None, ids),
            Content::Credit(cost) => (CREDIT, Some(i64::from(cost)), Bytes::new()),
            Content::Unknown(kind) => (kind, None, Bytes::new()),
        };
        let [id, stream, kind] = [self.id, self.stream, kind].map(Varint::new);
        let number = number.map(Varint::new);
        let number = number.as_ref().map_or(&[][..], Varint::as_slice);
        let head = [id.as_slice(), stream.as_slice(), kind.as_slice(), number];
        // Four numbers may exceed the room of a frame only for types that nobody has; then the frame is one buffer.
        Ok(Frame::with_head(Opcode::Binary, &head, body))
    }
}

impl Content {
    /// That `session` is there.
    ///
    /// # Errors
    ///
    /// As [`ClientSession::check`].
    pub fn add_client(session: &ClientSession) -> Result<Self, EncodeError> {
        session.check().map(|()| Self::AddClient(session.to_bytes()))
    }

    /// That `session` is gone.
    ///
    /// # Errors
    ///
    /// As [`ClientSession::check`].
    pub fn remove_client(session: &ClientSession) -> Result<Self, EncodeError> {
        session.check().map(|()| Self::RemoveClient(session.to_bytes()))
    }

    /// All streams that this side knows.
    pub fn sync(ids: impl Iterator<Item = i64>) -> Self {
        Self::Sync(ids.flat_map(i64::to_le_bytes).collect())
    }
}

impl Target {
    /// Whether a receiver that reads `max` bytes dials exactly this.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if not.
    pub fn check(&self, max: usize) -> Result<(), EncodeError> {
        if self.proto.contains(&b'/') {
            Err(EncodeError::Proto)
        } else if self.proto.len() + 1 + self.address.len() > max {
            Err(EncodeError::AddressTooLong)
        } else {
            Ok(())
        }
    }
}

/// The streams that a [`Content::Sync`] lists, in the order of the list; `None` if it is cut off.
pub fn sync_ids(body: &[u8]) -> Option<impl Iterator<Item = i64> + '_> {
    let (ids, rest) = body.as_chunks::<8>();
    rest.is_empty().then(|| ids.iter().map(|id| i64::from_le_bytes(*id)))
}

/// What counts for less than any piece is no credit.
fn read_credit(mut rest: &[u8]) -> Option<u32> {
    let cost = u32::try_from(varint::read(&mut rest).ok()?).ok()?;
    (cost >= Frame::COST_MIN).then_some(cost)
}

fn read_target(body: &Bytes) -> Result<Target, DecodeError> {
    let text = body.slice(..body.len().min(CONNECT_MAX));
    let slash = text.iter().position(|byte| *byte == b'/').ok_or(DecodeError::Target)?;
    Ok(Target {
        proto: text.slice(..slash),
        address: text.slice(slash + 1..),
        is_cut: body.len() > CONNECT_MAX,
    })
}

fn write_target(target: &Target, max: usize) -> Result<Bytes, EncodeError> {
    target.check(max)?;
    Ok([&target.proto[..], b"/", &target.address[..]].concat().into())
}

fn checked(text: Bytes) -> Result<Bytes, EncodeError> {
    match ClientSession::read(&text) {
        Some(session) if text.len() <= TEXT_MAX => session.check().map(|()| text),
        _ => Err(EncodeError::ClientKey),
    }
}

/// At most [`TEXT_MAX`] bytes, and no half of a character at the end.
pub(super) fn cut_text(text: &Bytes) -> Bytes {
    if text.len() <= TEXT_MAX {
        return text.clone();
    }
    let is_inside = |end: &usize| text[*end] & 0xc0 == 0x80;
    // A character has at most four bytes; what is no text is cut anywhere.
    let end = (TEXT_MAX - 3..=TEXT_MAX).rev().find(|end| !is_inside(end)).unwrap_or(TEXT_MAX);
    text.slice(..end)
}
