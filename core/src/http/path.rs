//! Paths as text: cleaning, decoding, escaping; and the host without its port.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// Resolves `.`, `..` and repeated slashes, and puts a slash in front.
///
/// `..` above the root stays at the root, and one slash at the end is kept if there was one. The empty path is `/`. A
/// clean path comes back as it is, so cleaning twice is cleaning once. Escapes are not looked into: `%2e%2e` is a name
/// like any other.
///
/// ```
/// use linkspan_core::http::path::clean;
///
/// assert_eq!(clean("/a/./b//../c/"), "/a/c/");
/// assert_eq!(clean("/../x"), "/x");
/// assert_eq!(clean("/a/."), "/a");
/// ```
pub fn clean(path: &str) -> Cow<'_, str> {
    match clean_bytes(path.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(path),
        Cow::Owned(cleaned) => {
            Cow::Owned(String::from_utf8(cleaned).expect("whole segments of a text are a text"))
        }
    }
}

/// [`clean`] for a path that was decoded, and so may be any bytes.
pub fn clean_bytes(path: &[u8]) -> Cow<'_, [u8]> {
    if is_clean(path) {
        return Cow::Borrowed(path);
    }
    let mut cleaned = Vec::with_capacity(path.len() + 1);
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => cleaned.truncate(cleaned.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            name => {
                cleaned.push(b'/');
                cleaned.extend_from_slice(name);
            }
        }
    }
    if path.ends_with(b"/") || cleaned.is_empty() {
        cleaned.push(b'/');
    }
    Cow::Owned(cleaned)
}

/// Whether cleaning would leave the path as it is.
fn is_clean(path: &[u8]) -> bool {
    let Some((b'/', rest)) = path.split_first() else { return false };
    let mut segments = rest.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if segment == b"." || segment == b".." || (segment.is_empty() && !is_last) {
            return false;
        }
    }
    true
}

/// The host of a `Host` header without its port; unchanged if it is not a host and a port.
///
/// Nothing else is normalised: case and a dot at the end count.
///
/// ```
/// use linkspan_core::http::path::strip_port;
///
/// assert_eq!(strip_port("h.com:8080"), "h.com");
/// assert_eq!(strip_port("[::1]:80"), "::1");
/// assert_eq!(strip_port("::1"), "::1");
/// ```
pub fn strip_port(host: &str) -> &str {
    let parts = match host.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").filter(|(_, port)| !port.contains(':')),
        None => host.split_once(':').filter(|(_, port)| !port.contains(':')),
    };
    match parts {
        Some((name, port)) if !name.contains(['[', ']']) && !port.contains(['[', ']']) => name,
        _ => host,
    }
}

/// A `%` that two hexadecimal digits do not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid escape in the path")]
pub struct EscapeError;

/// Replaces each `%` and two hexadecimal digits by the byte they stand for. `+` is a plus.
///
/// Used on one segment at a time, so that an escaped slash stays inside its segment.
///
/// # Errors
///
/// [`EscapeError`] if an escape is cut or not hexadecimal.
pub fn decode(escaped: &str) -> Result<Cow<'_, [u8]>, EscapeError> {
    let Some(first) = escaped.find('%') else { return Ok(Cow::Borrowed(escaped.as_bytes())) };
    let bytes = escaped.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    decoded.extend_from_slice(&bytes[..first]);
    let mut rest = &bytes[first..];
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            decoded.push(escape_value(rest).ok_or(EscapeError)?);
            rest = &rest[2..];
        } else {
            decoded.push(byte);
        }
    }
    Ok(Cow::Owned(decoded))
}

/// Whether [`decode`] would succeed.
pub fn is_escaped_well(escaped: &str) -> bool {
    let bytes = escaped.as_bytes();
    let mut percents = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    percents.all(|(at, _)| escape_value(&bytes[at + 1..]).is_some())
}

/// The byte that the two digits at the front stand for.
fn escape_value(digits: &[u8]) -> Option<u8> {
    let high = char::from(*digits.first()?).to_digit(16)?;
    let low = char::from(*digits.get(1)?).to_digit(16)?;
    u8::try_from(high << 4 | low).ok()
}

/// Escapes a decoded path for a `Location` header.
///
/// Only letters, digits, `-_.~` and `$&+,/:;=@` stay as they are.
pub fn escape(path: &[u8]) -> String {
    let mut escaped = String::with_capacity(path.len());
    for &byte in path {
        push(&mut escaped, byte, byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte));
    }
    escaped
}

/// Makes an escaped path fit for a `Location` header.
///
/// Its escapes stay; what may not stand in a path at all is escaped. Among that is the backslash, which browsers take
/// for a slash: `/\host` would lead to another host.
pub fn escape_again(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        let stays = byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,/:;=@[]%".contains(&byte);
        push(&mut escaped, byte, stays);
    }
    escaped
}

/// Makes a query fit for a `Location` header: what is not visible ASCII is escaped.
pub fn escape_query(query: &str) -> String {
    let mut escaped = String::with_capacity(query.len());
    for byte in query.bytes() {
        push(&mut escaped, byte, byte.is_ascii_graphic());
    }
    escaped
}

fn push(escaped: &mut String, byte: u8, stays: bool) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if stays {
        escaped.push(char::from(byte));
    } else {
        let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
        escaped.extend(['%', char::from(DIGITS[high]), char::from(DIGITS[low])]);
    }
}
