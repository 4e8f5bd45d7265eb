//! JSON as Go programs read and write it.
//!
//! The peers of the JSON dialects were written against Go's `encoding/json`, whose rules differ from what a derived
//! decoder does. Reading, all of these hold:
//!
//! - Names match without regard to ASCII case; of several members with one name the last wins; unknown members are
//!   ignored.
//! - `null` stands for any value and changes nothing.
//! - Integers are digits: no point, no exponent, no quotes, nothing beyond the type.
//! - A lone surrogate in an escape is read as U+FFFD.
//! - The whole input is one value; anything behind it is an error, and so is text that is not UTF-8.
//!
//! Stricter than Go: nothing nests deeper than [`DEPTH_MAX`].
//!
//! ```
//! use linkspan_core::json;
//!
//! let mut age = 0;
//! json::members(br#"{"AGE": 41, "age": 42, "age": null, "x": [1, 2]}"#, |name, value| {
//!     if name.eq_ignore_ascii_case("age") {
//!         age = value.unsigned()?.unwrap_or(age);
//!     }
//!     Ok(())
//! })?;
//! assert_eq!(age, 42);
//! # Ok::<(), json::Invalid>(())
//! ```

mod text;

use alloc::borrow::Cow;
use core::fmt;

use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

pub use self::text::push_text;
use self::text::unescape;

/// How deep values may nest, the outermost one included.
pub const DEPTH_MAX: u32 = 64;

/// The input is not JSON, or not the JSON that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSON")]
pub struct Invalid;

impl From<serde_json::Error> for Invalid {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

/// One value, as the text that says it; the syntax of the text is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Literal<'a>(&'a str);

impl<'a> Literal<'a> {
    /// The text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// An integer of 64 bits without sign; `None` for `null`.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if it is anything else.
    pub fn unsigned(self) -> Result<Option<u64>, Invalid> {
        self.unless_null(|text| text.parse().map_err(|_| Invalid))
    }

    /// An integer of 64 bits; `None` for `null`.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if it is anything else.
    pub fn signed(self) -> Result<Option<i64>, Invalid> {
        self.unless_null(|text| text.parse().map_err(|_| Invalid))
    }

    /// A string; `None` for `null`.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if it is anything else.
    pub fn text(self) -> Result<Option<Cow<'a, str>>, Invalid> {
        self.unless_null(|text| quoted(text).map(unescape).ok_or(Invalid))
    }

    /// The string itself, quotes and escapes included; `None` for `null`.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if it is anything else.
    pub fn quoted_text(self) -> Result<Option<&'a str>, Invalid> {
        self.unless_null(|text| quoted(text).map(|_| text).ok_or(Invalid))
    }

    fn unless_null<T>(self, read: impl FnOnce(&'a str) -> Result<T, Invalid>) -> Result<Option<T>, Invalid> {
        if self.0 == "null" { Ok(None) } else { read(self.0).map(Some) }
    }

    /// Whether it nests at most so deep, itself included.
    fn nests_within(self, depth_max: u32) -> bool {
        if !self.0.starts_with(['{', '[']) {
            return depth_max > 0;
        }
        let (mut depth, mut in_text, mut escaped) = (0_u32, false, false);
        for byte in self.0.bytes() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = in_text,
                b'"' => in_text = !in_text,
                b'{' | b'[' if !in_text => {
                    depth += 1;
                    if depth > depth_max {
                        return false;
                    }
                }
                b'}' | b']' if !in_text => depth -= 1,
                _ => {}
            }
        }
        true
    }
}

/// The text of a string that stands in its quotes and is valid.
pub(crate) fn unquote(literal: &str) -> Cow<'_, str> {
    quoted(literal).map(unescape).unwrap_or_default()
}

/// What stands between the quotes.
fn quoted(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

/// Reads one object, or `null`, which has no members; `each` sees every member, in order, with its name unescaped.
///
/// # Errors
///
/// [`Invalid`] if the whole input is not that, or if `each` says so.
pub fn members<'a>(
    input: &'a [u8],
    each: impl FnMut(&str, Literal<'a>) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    let text = core::str::from_utf8(input).map_err(|_| Invalid)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.deserialize_any(Members(each))?;
    reader.end()?;
    Ok(())
}

struct Members<F>(F);

impl<'a, F> Visitor<'a> for Members<F>
where
    F: FnMut(&str, Literal<'a>) -> Result<(), Invalid>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        // Raw, because a name too may hold a lone surrogate, at which reading it as text would fail.
        while let Some((name, value)) = map.next_entry::<&'a RawValue, &'a RawValue>()? {
            let value = Literal(value.get());
            let name = unquote(name.get());
            if !value.nests_within(DEPTH_MAX - 1) {
                return Err(A::Error::custom("too deep"));
            }
            (self.0)(&name, value).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
