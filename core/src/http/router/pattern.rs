//! Patterns: `[METHOD ][HOST]/PATH`, taken apart.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::error::{PatternFault, RegisterError};
use crate::http::path;

/// What stands in the place of a segment after the last slash of a path: nothing follows.
///
/// A segment that is an escaped slash and nothing else decodes to the same byte and is taken for the end, as in Go: no
/// single wildcard matches it.
pub(super) const END: &[u8] = b"/";

/// One segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// Exactly this, decoded; [`END`] for `{$}`.
    Literal(Box<[u8]>),
    /// `{name}`: one segment that is not empty.
    Single(Box<str>),
    /// `{name...}`, or a slash at the end if there is no name: all that follows, also nothing.
    Rest(Option<Box<str>>),
}

/// A pattern, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// As it was registered.
    pub(super) text: Box<str>,
    /// The one method it is for; `None` for all.
    pub(super) method: Option<Box<str>>,
    /// The one host it is for; empty for all.
    pub(super) host: Box<str>,
    pub(super) segments: Vec<Segment>,
}

impl Pattern {
    /// Takes a pattern apart.
    pub(super) fn parse(text: &str) -> Result<Self, RegisterError> {
        if text.is_empty() {
            return Err(RegisterError::Empty);
        }
        parse(text).map_err(|(offset, fault)| RegisterError::Malformed {
            pattern: text.into(),
            offset,
            fault,
        })
    }

    /// Whether it ends in `{name...}` or a slash.
    pub(super) fn ends_in_rest(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::Rest(_)))
    }

    /// Whether requests with this method are for it: GET also serves HEAD.
    pub(super) fn serves(&self, method: &str) -> bool {
        match self.method.as_deref() {
            None => true,
            Some("GET") => method == "GET" || method == "HEAD",
            Some(own) => own == method,
        }
    }
}

/// Where the fault is, and what it is.
type Fault = (usize, PatternFault);

fn parse(text: &str) -> Result<Pattern, Fault> {
    let (method, rest) = match text.split_once([' ', '\t']) {
        Some((method, rest)) => (method, rest.trim_start_matches([' ', '\t'])),
        None => ("", text),
    };
    if !method.bytes().all(is_token) {
        return Err((0, PatternFault::Method(method.into())));
    }
    // As Go counts: one blank, however many there are.
    let start = if rest.len() == text.len() { 0 } else { method.len() + 1 };
    let slash = rest.find('/').ok_or((start, PatternFault::NoPath))?;
    let (host, route) = rest.split_at(slash);
    if let Some(brace) = host.find('{') {
        return Err((start + brace, PatternFault::HostWildcard));
    }
    if !method.is_empty() && method != "CONNECT" && matches!(path::clean(route), Cow::Owned(_)) {
        return Err((start + slash, PatternFault::Unclean));
    }
    Ok(Pattern {
        text: text.into(),
        method: (!method.is_empty()).then(|| method.into()),
        host: host.into(),
        segments: parse_path(text, route)?,
    })
}

/// The segments of `route`, which is the end of `text` and starts with a slash.
fn parse_path(text: &str, route: &str) -> Result<Vec<Segment>, Fault> {
    let mut segments = Vec::new();
    let mut left = route;
    while let Some(rest) = left.strip_prefix('/') {
        let offset = text.len() - rest.len();
        let (segment, after) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        left = after;
        let segment = if rest.is_empty() {
            Segment::Rest(None)
        } else if segment.contains('{') {
            parse_wildcard(segment, after.is_empty(), &segments).map_err(|fault| (offset, fault))?
        } else {
            // An escape that is none is taken as it stands, as in Go: no request can match it.
            let literal = path::decode(segment).unwrap_or(Cow::Borrowed(segment.as_bytes()));
            Segment::Literal(literal.into_owned().into())
        };
        segments.push(segment);
    }
    Ok(segments)
}

fn parse_wildcard(segment: &str, is_last: bool, before: &[Segment]) -> Result<Segment, PatternFault> {
    let inner = segment.strip_prefix('{').ok_or(PatternFault::WildcardStart)?;
    let inner = inner.strip_suffix('}').ok_or(PatternFault::WildcardEnd)?;
    if inner == "$" {
        return if is_last { Ok(Segment::Literal(END.into())) } else { Err(PatternFault::DollarNotLast) };
    }
    let rest = inner.strip_suffix("...");
    if rest.is_some() && !is_last {
        return Err(PatternFault::RestNotLast);
    }
    let name = rest.unwrap_or(inner);
    if name.is_empty() {
        return Err(PatternFault::NoName);
    }
    if !is_identifier(name) {
        return Err(PatternFault::Name(name.into()));
    }
    if before.iter().any(|segment| matches!(segment, Segment::Single(other) if **other == *name)) {
        return Err(PatternFault::DuplicateName(name.into()));
    }
    Ok(if rest.is_some() { Segment::Rest(Some(name.into())) } else { Segment::Single(name.into()) })
}

/// Letters, digits and underscores, not with a digit first.
fn is_identifier(name: &str) -> bool {
    let starts = name.starts_with(|char: char| char == '_' || char.is_alphabetic());
    starts && name.chars().all(|char| char == '_' || char.is_alphanumeric())
}

/// Whether a byte may stand in a method (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
