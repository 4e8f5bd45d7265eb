//! Why a pattern is refused, in the words operators know from Go.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt::{self, Write as _};

/// Why a pattern was not registered. The router is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The pattern is empty.
    #[error("http: invalid pattern")]
    Empty,
    /// Classic: the same pattern is there already.
    #[error("http: multiple registrations for {0}")]
    Duplicate(Box<str>),
    /// The pattern does not follow the syntax.
    #[error("parsing {}: at offset {offset}: {fault}", Quoted(pattern))]
    Malformed {
        /// The pattern.
        pattern: Box<str>,
        /// The byte of the pattern where the fault is.
        offset: usize,
        /// What is wrong there.
        fault: PatternFault,
    },
    /// Some request matches both patterns, and neither is more specific than the other.
    #[error("pattern {} conflicts with pattern {}:\n{explanation}", Quoted(new), Quoted(old))]
    Conflict {
        /// The pattern that was refused.
        new: Box<str>,
        /// The pattern it conflicts with: the one that was registered first, if there are several.
        old: Box<str>,
        /// Why, with requests that tell the two apart.
        explanation: Box<str>,
    },
}

/// What is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternFault {
    /// What stands before the first blank is no method.
    #[error("invalid method {}", Quoted(.0))]
    Method(Box<str>),
    /// There is no path.
    #[error("host/path missing /")]
    NoPath,
    /// The host contains a brace.
    #[error("host contains '{{' (missing initial '/'?)")]
    HostWildcard,
    /// The path is not clean, but paths of requests are cleaned.
    #[error("non-CONNECT pattern with unclean path can never match")]
    Unclean,
    /// A brace opens in the middle of a segment.
    #[error("bad wildcard segment (must start with '{{')")]
    WildcardStart,
    /// A brace is not closed at the end of its segment.
    #[error("bad wildcard segment (must end with '}}')")]
    WildcardEnd,
    /// `{$}` is not the last segment.
    #[error("{{$}} not at end")]
    DollarNotLast,
    /// `{name...}` is not the last segment.
    #[error("{{...}} wildcard not at end")]
    RestNotLast,
    /// A wildcard has no name.
    #[error("empty wildcard")]
    NoName,
    /// The name of a wildcard is not an identifier.
    #[error("bad wildcard name {}", Quoted(.0))]
    Name(Box<str>),
    /// Two wildcards have the same name.
    #[error("duplicate wildcard name {}", Quoted(.0))]
    DuplicateName(Box<str>),
}

/// A text in double quotes, escaped as Go's `%q` does.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for char in self.0.chars() {
            match char {
                '"' | '\\' => write!(f, "\\{char}")?,
                '\u{7}' => f.write_str("\\a")?,
                '\u{8}' => f.write_str("\\b")?,
                '\u{c}' => f.write_str("\\f")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\u{b}' => f.write_str("\\v")?,
                char if char.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(char))?,
                char if char.is_control() => write!(f, "\\u{:04x}", u32::from(char))?,
                char => f.write_char(char)?,
            }
        }
        f.write_char('"')
    }
}

/// The text in double quotes.
pub(super) fn quote(text: &str) -> String {
    format!("{}", Quoted(text))
}
