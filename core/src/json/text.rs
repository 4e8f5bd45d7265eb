//! Strings: reading and writing escapes.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// The text that stands between the quotes of a valid string.
pub(super) fn unescape(escaped: &str) -> Cow<'_, str> {
    let bytes = escaped.as_bytes();
    let next = |from: usize| bytes[from..].iter().position(|byte| *byte == b'\\').map(|at| from + at);
    let Some(mut at) = next(0) else { return Cow::Borrowed(escaped) };
    let mut text = String::with_capacity(escaped.len());
    let mut from = 0;
    loop {
        text.push_str(&escaped[from..at]);
        from = match bytes.get(at + 1) {
            // JSON in a string is full of these.
            Some(byte @ (b'"' | b'\\' | b'/')) => {
                text.push(char::from(*byte));
                at + 2
            }
            _ => {
                let (character, behind) = read_escape(&escaped[at + 1..]);
                text.push(character);
                escaped.len() - behind.len()
            }
        };
        match next(from) {
            Some(next) => at = next,
            None => break,
        }
    }
    text.push_str(&escaped[from..]);
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

/// Which bytes may not stand in a string as they are, or begin something that may not.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < special.len() {
        // U+2028 and U+2029, which end a line in JavaScript, begin with the last of these.
        special[byte] = matches!(byte as u8, ..0x20 | b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2);
        byte += 1;
    }
    special
};

/// Appends `text` as a string, escaped as Go does it: what HTML and JavaScript would trip over, too.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let (mut plain_from, mut from) = (0, 0);
    while let Some(at) = bytes[from..].iter().position(|byte| SPECIAL[usize::from(*byte)]) {
        let at = from + at;
        let line_end = matches!(bytes.get(at..at + 3), Some([0xe2, 0x80, 0xa8 | 0xa9]));
        from = at + if line_end { 3 } else { 1 };
        if bytes[at] == 0xe2 && !line_end {
            continue;
        }
        out.extend_from_slice(&bytes[plain_from..at]);
        plain_from = from;
        match bytes[at] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => push_escape(out, byte, bytes[from - 1]),
        }
    }
    out.extend_from_slice(&bytes[plain_from..]);
    out.push(b'"');
}

/// The escape of what begins with the byte `first` and ends with `last`.
fn push_escape(out: &mut Vec<u8>, first: u8, last: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match first {
        0xe2 => out.extend_from_slice(&[b'\\', b'u', b'2', b'0', b'2', last - 0x70]),
        0x08 => out.extend_from_slice(b"\\b"),
        0x0c => out.extend_from_slice(b"\\f"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            let digits = [HEX[usize::from(first >> 4)], HEX[usize::from(first & 0x0f)]];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digits[0], digits[1]]);
        }
    }
}
