//! Tokens, which no log may show.

use alloc::string::String;
use core::fmt;

/// What proves a user. Its `Debug` form does not tell it.
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Token(String);

impl Token {
    /// The token itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn footprint(&self) -> usize {
        self.0.capacity()
    }
}

impl<T: Into<String>> From<T> for Token {
    fn from(token: T) -> Self {
        Self(token.into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
