//! Patterns as a tree of segments, so that the most specific one is found without sorting.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::pattern::{END, Segment};
use super::{Params, RouteId};
use crate::http::path::{self, EscapeError};

/// All patterns of one host.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    /// The first is the root; a node is named by its place.
    nodes: Vec<Node>,
    /// The segments of the longest pattern.
    depth: usize,
}

#[derive(Clone, Debug, Default)]
struct Node {
    literals: BTreeMap<Box<[u8]>, usize>,
    single: Option<usize>,
    /// Patterns that end here, one per method.
    leaf: Vec<RouteId>,
    /// Patterns that end here with a rest, one per method.
    rest: Vec<RouteId>,
}

/// What a search still has to look at.
enum Step {
    Node(usize, usize),
    Rest(usize),
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], depth: 0 }
    }
}

impl Tree {
    /// Adds a pattern.
    pub(super) fn insert(&mut self, segments: &[Segment], route: RouteId) {
        self.depth = self.depth.max(segments.len());
        let mut at = 0;
        for segment in segments {
            let next = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match segment {
                Segment::Literal(literal) => *node.literals.entry(literal.clone()).or_insert(next),
                Segment::Single(_) => *node.single.get_or_insert(next),
                Segment::Rest(_) => {
                    node.rest.push(route);
                    return;
                }
            };
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        self.nodes[at].leaf.push(route);
    }

    /// Shows `choose` the patterns whose path matches, the most specific first, those that differ only in the method
    /// together, until it takes one.
    ///
    /// Each node is looked at once at most, and none deeper than the longest pattern, however long the path is.
    pub(super) fn search(
        &self,
        path: &str,
        mut choose: impl FnMut(&[RouteId]) -> Option<RouteId>,
    ) -> Option<RouteId> {
        let segments = split(path, self.depth + 1).ok()?;
        let mut steps = vec![Step::Node(0, 0)];
        while let Some(step) = steps.pop() {
            let ends = match step {
                Step::Rest(node) => &self.nodes[node].rest,
                Step::Node(node, depth) => match segments.get(depth) {
                    None => &self.nodes[node].leaf,
                    Some(segment) => {
                        self.descend(node, depth, segment, &mut steps);
                        continue;
                    }
                },
            };
            if !ends.is_empty()
                && let Some(route) = choose(ends)
            {
                return Some(route);
            }
        }
        None
    }

    /// Puts the ways on from a node on the stack, the most specific on top.
    fn descend(&self, at: usize, depth: usize, segment: &[u8], steps: &mut Vec<Step>) {
        let node = &self.nodes[at];
        if !node.rest.is_empty() {
            steps.push(Step::Rest(at));
        }
        if let Some(single) = node.single
            && !segment.is_empty()
            && segment != END
        {
            steps.push(Step::Node(single, depth + 1));
        }
        if let Some(literal) = node.literals.get(segment) {
            steps.push(Step::Node(*literal, depth + 1));
        }
    }
}

/// The first segments of a path that starts with a slash, decoded; [`END`] after a slash at the end.
fn split(path: &str, most: usize) -> Result<Vec<Cow<'_, [u8]>>, EscapeError> {
    let Some(rest) = path.strip_prefix('/') else { return Err(EscapeError) };
    let mut segments = rest.split('/').peekable();
    let mut decoded = Vec::new();
    while decoded.len() < most
        && let Some(segment) = segments.next()
    {
        let is_end = segment.is_empty() && segments.peek().is_none();
        decoded.push(if is_end { Cow::Borrowed(END) } else { path::decode(segment)? });
    }
    Ok(decoded)
}

/// What the wildcards of a pattern stand for in a path that it matches, the rest decoded as a whole.
pub(super) fn params<'a>(segments: &'a [Segment], path: &'a str) -> Result<Params<'a>, EscapeError> {
    let mut params = Vec::new();
    let mut left = path;
    for segment in segments {
        let rest = left.strip_prefix('/').unwrap_or(left);
        let (value, after) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        left = after;
        match segment {
            Segment::Single(name) => params.push((&**name, path::decode(value)?)),
            Segment::Rest(Some(name)) => params.push((&**name, path::decode(rest)?)),
            Segment::Rest(None) | Segment::Literal(_) => {}
        }
    }
    Ok(Params(params))
}
