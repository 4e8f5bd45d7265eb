//! Text as JavaScript clients really send it.

use alloc::borrow::Cow;
use alloc::string::String;

/// Reads UTF-8, and also CESU-8, in which the JavaScript clients write every character beyond the basic plane: two
/// surrogates of three bytes each. What is neither becomes U+FFFD, as in Go's JSON.
///
/// ```
/// use linkspan_core::pomelo::decode_text;
///
/// assert_eq!(decode_text(b"\xed\xa0\xbd\xed\xb8\x80"), "\u{1f600}");
/// ```
pub fn decode_text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = core::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        if let Some(character) = surrogate_pair(rest) {
            text.push(character);
            rest = &rest[6..];
            continue;
        }
        let valid = rest.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        // A pair may begin inside what is valid so far only if the chunk ends there, so the chunk is taken whole.
        text.push_str(valid);
        rest = &rest[valid.len()..];
        if !rest.is_empty() && surrogate_pair(rest).is_none() {
            let invalid = rest.utf8_chunks().next().map_or(1, |chunk| chunk.invalid().len().max(1));
            text.push(char::REPLACEMENT_CHARACTER);
            rest = &rest[invalid..];
        }
    }
    Cow::Owned(text)
}

/// The character that the first six bytes say as a CESU-8 pair.
fn surrogate_pair(bytes: &[u8]) -> Option<char> {
    let [
        0xed,
        high @ 0xa0..=0xaf,
        high_low @ 0x80..=0xbf,
        0xed,
        low @ 0xb0..=0xbf,
        low_low @ 0x80..=0xbf,
        ..,
    ] = *bytes
    else {
        return None;
    };
    let high = (u32::from(high & 0x0f) << 6) | u32::from(high_low & 0x3f);
    let low = (u32::from(low & 0x0f) << 6) | u32::from(low_low & 0x3f);
    char::from_u32(0x1_0000 + (high << 10) + low)
}
