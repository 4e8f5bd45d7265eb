//! Strings: reading and writing escapes.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// The text that stands between the quotes of a valid string.
pub(super) fn unescape(escaped: &str) -> Cow<'_, str> {
    let Some(first) = escaped.find('\\') else { return Cow::Borrowed(escaped) };
    let mut text = String::with_capacity(escaped.len());
    let (plain, mut rest) = escaped.split_at(first);
    text.push_str(plain);
    while let Some(escape) = rest.strip_prefix('\\') {
        let (character, behind) = read_escape(escape);
        text.push(character);
        let next = behind.find('\\').unwrap_or(behind.len());
        let (plain, again) = behind.split_at(next);
        text.push_str(plain);
        rest = again;
    }
    Cow::Owned(text)
}

/// The character that an escape says, and what stands behind it; the backslash is already taken.
fn read_escape(escape: &str) -> (char, &str) {
    let mut characters = escape.chars();
    let character = match characters.next() {
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => return read_unicode(characters.as_str()),
        Some(other) => other,
        None => char::REPLACEMENT_CHARACTER,
    };
    (character, characters.as_str())
}

/// Four hex digits, or a pair of them: half a pair alone is a replacement character.
fn read_unicode(digits: &str) -> (char, &str) {
    let (unit, rest) = read_unit(digits);
    if let 0xd800..=0xdbff = unit
        && let Some(second) = rest.strip_prefix("\\u")
        && let (low @ 0xdc00..=0xdfff, behind) = read_unit(second)
    {
        let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), behind);
    }
    (char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), rest)
}

fn read_unit(digits: &str) -> (u32, &str) {
    let (unit, rest) = digits.split_at_checked(4).unwrap_or((digits, ""));
    (u32::from_str_radix(unit, 16).unwrap_or(0xfffd), rest)
}

/// Appends `text` as a string, escaped as Go does it: what HTML and JavaScript would trip over, too.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (at, byte) in bytes.iter().copied().enumerate() {
        // U+2028 and U+2029 end a line in JavaScript.
        let line_end = byte == 0xe2 && matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9]));
        if !line_end && !matches!(byte, ..0x20 | b'"' | b'\\' | b'<' | b'>' | b'&') {
            continue;
        }
        out.extend_from_slice(&bytes[plain_from..at]);
        plain_from = at + if line_end { 3 } else { 1 };
        match byte {
            _ if line_end => out.extend_from_slice(&[b'\\', b'u', b'2', b'0', b'2', bytes[at + 2] - 0x70]),
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0x0f)]];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digits[0], digits[1]]);
            }
        }
    }
    out.extend_from_slice(&bytes[plain_from..]);
    out.push(b'"');
}
