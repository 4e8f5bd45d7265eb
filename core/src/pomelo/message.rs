//! The message layer: what the body of a data package says.

use bytes::{Buf, Bytes};

use super::dictionary::Dictionary;
use super::package::{PackageType, package_head};
use crate::{Frame, Opcode, Violation};

/// The route is a code of the dictionary.
const CODED: u8 = 0x01;
/// The body is compressed.
const DEFLATED: u8 = 0x10;
/// The response carries an error.
const ERROR: u8 = 0x20;

/// The longest route that can be written out, in bytes.
pub(super) const ROUTE_MAX: usize = 255;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[repr(u8)]
pub enum MessageType {
    /// Wants a response with the same id.
    Request = 0,
    /// Wants none.
    Notify = 1,
    /// Answers a request.
    Response = 2,
    /// Sent by the server on its own.
    Push = 3,
}

impl MessageType {
    const fn from_flag(flag: u8) -> Option<Self> {
        Some(match (flag >> 1) & 7 {
            0 => Self::Request,
            1 => Self::Notify,
            2 => Self::Response,
            3 => Self::Push,
            _ => return None,
        })
    }

    const fn has_id(self) -> bool {
        matches!(self, Self::Request | Self::Response)
    }

    const fn has_route(self) -> bool {
        !matches!(self, Self::Response)
    }
}

/// The id of a request, as the bytes in which it came.
///
/// An answer echoes these bytes: clients exist that write the groups in another order or with padding, and would not
/// recognise the same number written in another way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// Unused bytes are zero, so that comparing whole values compares the ids.
    bytes: [u8; MessageId::LEN_MAX],
    len: u8,
}

impl MessageId {
    /// The longest id, in bytes.
    pub const LEN_MAX: usize = 10;

    /// No id: what notifies and pushes have.
    pub const NONE: Self = Self { bytes: [0; Self::LEN_MAX], len: 0 };

    /// The shortest form of `number`: groups of seven bits, the lowest first.
    pub const fn from_number(mut number: u64) -> Self {
        let mut id = Self::NONE;
        loop {
            let group = (number & 0x7f) as u8;
            number >>= 7;
            id.bytes[id.len as usize] = if number == 0 { group } else { group | 0x80 };
            id.len += 1;
            if number == 0 {
                return id;
            }
        }
    }

    /// The bytes of the id at the start of `data`: up to and including the first one below 128.
    fn read(data: &[u8]) -> Result<Self, Violation> {
        let mut id = Self::NONE;
        for &byte in data.iter().take(Self::LEN_MAX) {
            id.bytes[usize::from(id.len)] = byte;
            id.len += 1;
            if byte < 0x80 {
                return Ok(id);
            }
        }
        Err(Violation::MessageId)
    }

    /// The bytes as they go over the wire; empty for [`NONE`](Self::NONE).
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether there is no id at all.
    pub const fn is_none(&self) -> bool {
        self.len == 0
    }

    /// The number that the bytes stand for; bits above the 64th fall off, as with every known peer.
    pub fn number(&self) -> u64 {
        let groups = self.as_bytes().iter().enumerate();
        groups.fold(0, |number, (at, byte)| number | u64::from(byte & 0x7f) << (7 * at))
    }
}

impl Default for MessageId {
    fn default() -> Self {
        Self::NONE
    }
}

impl core::fmt::Debug for MessageId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.is_none() {
            f.write_str("MessageId(none)")
        } else {
            write!(f, "MessageId({})", self.number())
        }
    }
}

/// One message as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is for.
    pub kind: MessageType,
    /// Its id; [`MessageId::NONE`] for notifies and pushes.
    pub id: MessageId,
    /// Its route, looked up if it came as a code; empty for responses.
    pub route: Bytes,
    /// Whether a response carries an error.
    pub error: bool,
    /// Whether the body is compressed; see [`inflate`](super::inflate).
    pub deflated: bool,
    /// What comes after the route.
    pub body: Bytes,
}

impl Message {
    /// Reads the body of a data package. Nothing is copied; a compressed body stays compressed.
    ///
    /// # Errors
    ///
    /// - [`Violation::MessageInvalid`]: shorter than its own fields, or of an unknown type.
    /// - [`Violation::MessageId`]: an id without a last byte within ten.
    /// - [`Violation::RouteCode`]: a code that is not in `dictionary`.
    pub fn decode(mut data: Bytes, dictionary: &Dictionary) -> Result<Self, Violation> {
        if data.len() < 2 {
            return Err(Violation::MessageInvalid);
        }
        let flag = data.get_u8();
        let kind = MessageType::from_flag(flag).ok_or(Violation::MessageInvalid)?;
        let mut id = MessageId::NONE;
        if kind.has_id() {
            id = MessageId::read(&data)?;
            data.advance(id.as_bytes().len());
        }
        let mut route = Bytes::new();
        if kind.has_route() {
            route =
                if flag & CODED == 0 { take_route(&mut data)? } else { take_code(&mut data, dictionary)? };
        }
        Ok(Self { kind, id, route, error: flag & ERROR != 0, deflated: flag & DEFLATED != 0, body: data })
    }
}

fn take_route(data: &mut Bytes) -> Result<Bytes, Violation> {
    let len = data.try_get_u8().map_err(|_| Violation::MessageInvalid)?;
    let len = usize::from(len);
    if data.len() < len {
        return Err(Violation::MessageInvalid);
    }
    Ok(data.split_to(len))
}

fn take_code(data: &mut Bytes, dictionary: &Dictionary) -> Result<Bytes, Violation> {
    let code = data.try_get_u16().map_err(|_| Violation::MessageInvalid)?;
    dictionary.route(code).cloned().ok_or(Violation::RouteCode)
}

/// Why something cannot be said on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A route is longer than its length byte can say.
    #[error("route of {len} bytes is too long: at most 255")]
    RouteTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Code 0 as a route: clients take it for no code.
    #[error("route code 0 cannot be sent")]
    RouteCode,
    /// A request or response without an id.
    #[error("message needs an id")]
    IdMissing,
    /// A package body is larger than the limit, or than its length field can say.
    #[error("package body of {len} bytes is too large: at most {max}")]
    BodyTooLarge {
        /// Its length in bytes.
        len: usize,
        /// How long it may be.
        max: u32,
    },
}

/// How a route is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteOut<'a> {
    /// In full; at most 255 bytes.
    Plain(&'a [u8]),
    /// As a code of a dictionary that the peer knows; not 0.
    Code(u16),
}

/// A response as a whole package; `max` bounds the package body.
///
/// # Errors
///
/// [`EncodeError::IdMissing`], [`EncodeError::BodyTooLarge`].
pub fn response(
    id: &MessageId,
    error: bool,
    deflated: bool,
    body: Bytes,
    max: u32,
) -> Result<Frame, EncodeError> {
    let flag = if error { ERROR } else { 0 };
    frame(MessageType::Response, flag, id, None, deflated, body, max)
}

/// A request as a whole package; `max` bounds the package body.
///
/// # Errors
///
/// Any [`EncodeError`].
pub fn request(
    id: &MessageId,
    route: RouteOut<'_>,
    deflated: bool,
    body: Bytes,
    max: u32,
) -> Result<Frame, EncodeError> {
    frame(MessageType::Request, 0, id, Some(route), deflated, body, max)
}

/// A notify as a whole package; `max` bounds the package body.
///
/// # Errors
///
/// Any [`EncodeError`] but [`EncodeError::IdMissing`].
pub fn notify(route: RouteOut<'_>, deflated: bool, body: Bytes, max: u32) -> Result<Frame, EncodeError> {
    frame(MessageType::Notify, 0, &MessageId::NONE, Some(route), deflated, body, max)
}

/// A push as a whole package; `max` bounds the package body.
///
/// # Errors
///
/// Any [`EncodeError`] but [`EncodeError::IdMissing`].
pub fn push(route: RouteOut<'_>, deflated: bool, body: Bytes, max: u32) -> Result<Frame, EncodeError> {
    frame(MessageType::Push, 0, &MessageId::NONE, Some(route), deflated, body, max)
}

/// Package header, flag, id and route in front of `body`; a response has no route, so its flag never says "coded".
fn frame(
    kind: MessageType,
    flag: u8,
    id: &MessageId,
    route: Option<RouteOut<'_>>,
    deflated: bool,
    body: Bytes,
    max: u32,
) -> Result<Frame, EncodeError> {
    if kind.has_id() && id.is_none() {
        return Err(EncodeError::IdMissing);
    }
    let mut flag = flag | (kind as u8) << 1 | if deflated { DEFLATED } else { 0 };
    let code;
    let (prefix, route): (&[u8], &[u8]) = match route {
        None => (&[], &[]),
        Some(RouteOut::Plain(route)) => {
            let len =
                u8::try_from(route.len()).map_err(|_| EncodeError::RouteTooLong { len: route.len() })?;
            code = [len, 0];
            (&code[..1], route)
        }
        Some(RouteOut::Code(0)) => return Err(EncodeError::RouteCode),
        Some(RouteOut::Code(number)) => {
            flag |= CODED;
            code = number.to_be_bytes();
            (&code, &[])
        }
    };
    let len = 1 + id.as_bytes().len() + prefix.len() + route.len() + body.len();
    if len > max as usize {
        return Err(EncodeError::BodyTooLarge { len, max });
    }
    let head = package_head(PackageType::Data, len)?;
    Ok(Frame::with_head(Opcode::Binary, &[&head, &[flag], id.as_bytes(), prefix, route], body))
}
