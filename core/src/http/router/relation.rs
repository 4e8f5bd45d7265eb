//! How two patterns relate: which is more specific, and why they conflict if neither is.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use super::error::quote;
use super::pattern::{END, Pattern, Segment};

/// How what one pattern matches relates to what another matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// Both match the same.
    Equal,
    /// The first matches all that the second does, and more.
    General,
    /// The second matches all that the first does, and more.
    Specific,
    /// Nothing matches both.
    Disjoint,
    /// Something matches both, something only the first, something only the second.
    Overlapping,
}

impl Relation {
    /// The relation of two things that have two aspects each.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Disjoint, _) | (_, Self::Disjoint) => Self::Disjoint,
            (Self::Equal, same) | (same, Self::Equal) => same,
            (one, two) if one == two => one,
            _ => Self::Overlapping,
        }
    }
}

/// Why two patterns conflict; `None` if they do not.
pub(super) fn conflict(new: &Pattern, old: &Pattern) -> Option<Box<str>> {
    if new.host != old.host {
        return None;
    }
    let (methods, paths) = (compare_methods(new, old), compare_paths(new, old));
    let both = methods.and(paths);
    if !matches!(both, Relation::Equal | Relation::Overlapping) {
        return None;
    }
    let (a, b) = (&new.text, &old.text);
    let explanation = match (both, methods, paths) {
        (Relation::Equal, ..) => format!("{a} matches the same requests as {b}"),
        (_, Relation::General, Relation::Specific) => {
            format!("{a} matches more methods than {b}, but has a more specific path pattern")
        }
        (_, Relation::Specific, Relation::General) => {
            format!("{a} matches fewer methods than {b}, but has a more general path pattern")
        }
        _ => explain_overlap(new, old),
    };
    Some(explanation.into())
}

fn explain_overlap(new: &Pattern, old: &Pattern) -> String {
    let (a, b) = (&new.text, &old.text);
    let both = quote(&common_path(new, old));
    let (only_a, only_b) = (quote(&own_path(new, old)), quote(&own_path(old, new)));
    format!(
        "{a} and {b} both match some paths, like {both}.\nBut neither is more specific than the other.\n\
         {a} matches {only_a}, but {b} doesn't.\n{b} matches {only_b}, but {a} doesn't."
    )
}

fn compare_methods(a: &Pattern, b: &Pattern) -> Relation {
    match (a.method.as_deref(), b.method.as_deref()) {
        (one, two) if one == two => Relation::Equal,
        (None, _) | (Some("GET"), Some("HEAD")) => Relation::General,
        (_, None) | (Some("HEAD"), Some("GET")) => Relation::Specific,
        _ => Relation::Disjoint,
    }
}

fn compare_paths(a: &Pattern, b: &Pattern) -> Relation {
    let longer = match a.segments.len().cmp(&b.segments.len()) {
        core::cmp::Ordering::Equal => Relation::Equal,
        core::cmp::Ordering::Less if a.ends_in_rest() => Relation::General,
        core::cmp::Ordering::Greater if b.ends_in_rest() => Relation::Specific,
        _ => return Relation::Disjoint,
    };
    let pairs = a.segments.iter().zip(&b.segments);
    pairs.fold(longer, |relation, (one, two)| relation.and(compare_segments(one, two)))
}

fn compare_segments(a: &Segment, b: &Segment) -> Relation {
    match (a, b) {
        (Segment::Rest(_), Segment::Rest(_)) | (Segment::Single(_), Segment::Single(_)) => Relation::Equal,
        (Segment::Rest(_), _) => Relation::General,
        (_, Segment::Rest(_)) => Relation::Specific,
        (Segment::Single(_), Segment::Literal(literal)) if **literal == *END => Relation::Disjoint,
        (Segment::Literal(literal), Segment::Single(_)) if **literal == *END => Relation::Disjoint,
        (Segment::Single(_), Segment::Literal(_)) => Relation::General,
        (Segment::Literal(_), Segment::Single(_)) => Relation::Specific,
        (Segment::Literal(one), Segment::Literal(two)) if one == two => Relation::Equal,
        (Segment::Literal(_), Segment::Literal(_)) => Relation::Disjoint,
    }
}

/// A path in the middle of both patterns, in Go's words: where one pattern ends in a rest it is written as an empty one,
/// even if the other asks for a segment there.
fn common_path(a: &Pattern, b: &Pattern) -> String {
    let mut path = String::new();
    for (one, two) in a.segments.iter().zip(&b.segments) {
        write_segment(&mut path, if matches!(one, Segment::Literal(_)) { one } else { two });
    }
    write_tail(&mut path, a, b);
    path
}

/// A path that `a` matches and `b`, which overlaps with it, does not.
fn own_path(a: &Pattern, b: &Pattern) -> String {
    let mut path = String::new();
    for (one, two) in a.segments.iter().zip(&b.segments) {
        match (one, two) {
            (Segment::Rest(name), other) => {
                path.push('/');
                // Nothing after the slash is already something else, except if the other wants just that.
                if matches!(other, Segment::Literal(literal) if **literal == *END) {
                    path.push_str(name.as_deref().unwrap_or("x"));
                }
                return path;
            }
            (Segment::Single(name), Segment::Literal(literal)) if name.as_bytes() == &**literal => {
                path.push('/');
                path.push_str(name);
                path.push('x');
            }
            _ => write_segment(&mut path, one),
        }
    }
    write_tail(&mut path, a, b);
    path
}

/// The segments of the longer pattern that the shorter one does not have.
fn write_tail(path: &mut String, a: &Pattern, b: &Pattern) {
    let shorter = a.segments.len().min(b.segments.len());
    for segment in a.segments[shorter..].iter().chain(&b.segments[shorter..]) {
        write_segment(path, segment);
    }
}

/// A segment that this one matches.
fn write_segment(path: &mut String, segment: &Segment) {
    path.push('/');
    match segment {
        Segment::Literal(literal) if **literal == *END => {}
        Segment::Literal(literal) => path.push_str(&String::from_utf8_lossy(literal)),
        Segment::Single(name) => path.push_str(name),
        Segment::Rest(_) => {}
    }
}
