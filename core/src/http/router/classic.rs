//! The classic multiplexer (Go ≤ 1.21): exact paths, and trees that end in a slash.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::{Found, Params, RegisterError, Request, RouteId};
use crate::http::path;

/// The patterns as a tree of the parts between their slashes, the host first; it is empty for those without one.
///
/// A request walks it once, so that a path of many slashes costs no more than a long name.
#[derive(Clone, Debug)]
pub(super) struct Classic {
    /// The first is the root; a node is named by its place.
    nodes: Vec<Node>,
    routes: usize,
}

#[derive(Clone, Debug, Default)]
struct Node {
    children: BTreeMap<Box<[u8]>, usize>,
    /// The pattern that is this path.
    exact: Option<RouteId>,
    /// The pattern that is this path and a slash: everything below.
    below: Option<RouteId>,
}

/// What is registered for one path.
struct Place {
    /// The pattern that is the path.
    exact: Option<RouteId>,
    /// The pattern that is the path and a slash.
    below: Option<RouteId>,
    /// The longest pattern that takes the path.
    longest: Option<RouteId>,
}

impl Default for Classic {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], routes: 0 }
    }
}

impl Classic {
    /// Adds a pattern; its place is how many there were.
    pub(super) fn register(&mut self, text: &str) -> Result<(), RegisterError> {
        if text.is_empty() {
            return Err(RegisterError::Empty);
        }
        let trunk = text.strip_suffix('/');
        let mut at = 0;
        for part in trunk.unwrap_or(text).split('/') {
            let next = self.nodes.len();
            at = *self.nodes[at].children.entry(part.as_bytes().into()).or_insert(next);
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        let node = &mut self.nodes[at];
        let slot = if trunk.is_some() { &mut node.below } else { &mut node.exact };
        if slot.is_some() {
            return Err(RegisterError::Duplicate(text.into()));
        }
        *slot = Some(RouteId(self.routes));
        self.routes += 1;
        Ok(())
    }

    /// Decides about a request. Everything happens on the decoded path: an escaped slash is a slash.
    pub(super) fn route(&self, request: &Request<'_>) -> Found<'_> {
        let Ok(decoded) = path::decode(request.path) else { return Found::BadRequest };
        // A CONNECT is taken as it stands, port and all; and for its slash Go looks at the host of the request line,
        // which has none where there is a path.
        let (host, slash_host, clean) = if request.method == "CONNECT" {
            (request.host, "", Cow::Borrowed(&*decoded))
        } else {
            let host = path::strip_port(request.host);
            (host, host, path::clean_bytes(&decoded))
        };
        if self.wants_slash(slash_host, &clean) {
            let slashed = [&*clean, b"/"].concat();
            return Found::Redirect { location: path::escape(&slashed), route: self.find(host, &slashed) };
        }
        let route = self.find(host, &clean);
        match (clean, route) {
            (Cow::Owned(clean), route) => Found::Redirect { location: path::escape(&clean), route },
            (_, Some(route)) => Found::Match { route, params: Params::default() },
            (_, None) => Found::Nothing,
        }
    }

    /// The pattern for a path: any with the host beats all without.
    fn find(&self, host: &str, path: &[u8]) -> Option<RouteId> {
        self.place(host, path).longest.or_else(|| self.place("", path).longest)
    }

    /// Whether the path is registered only with a slash at its end. Go looks at nothing else: a tree further up that
    /// would take the path counts for nothing.
    fn wants_slash(&self, host: &str, path: &[u8]) -> bool {
        // A path that starts with two slashes would, as a location, name another host.
        if path.is_empty() || path.ends_with(b"/") || path.starts_with(b"//") {
            return false;
        }
        let (own, any) = (self.place(host, path), self.place("", path));
        own.exact.or(any.exact).is_none() && own.below.or(any.below).is_some()
    }

    fn place(&self, host: &str, path: &[u8]) -> Place {
        let hosts = host.as_bytes().split(|byte| *byte == b'/');
        let mut parts = hosts.chain(path.split(|byte| *byte == b'/').skip(1)).peekable();
        let mut place = Place { exact: None, below: None, longest: None };
        let mut node = &self.nodes[0];
        while let Some(part) = parts.next() {
            let Some(next) = node.children.get(part) else { return place };
            node = &self.nodes[*next];
            if parts.peek().is_some() {
                place.longest = node.below.or(place.longest);
            }
        }
        Place { exact: node.exact, below: node.below, longest: node.exact.or(place.longest) }
    }
}
