//! Look-up among patterns (Go ≥ 1.22).

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::pattern::Pattern;
use super::relation;
use super::tree::{self, Tree};
use super::{Found, RegisterError, Request, RouteId};
use crate::http::path;

/// The patterns and where they stand.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    all: Vec<Pattern>,
    /// One tree per host; the patterns without one are under the empty name.
    hosts: BTreeMap<Box<str>, Tree>,
}

impl Patterns {
    /// Adds a pattern that conflicts with none; its place is how many there were.
    pub(super) fn register(&mut self, text: &str) -> Result<(), RegisterError> {
        let new = Pattern::parse(text)?;
        for old in &self.all {
            if let Some(explanation) = relation::conflict(&new, old) {
                let old = old.text.clone();
                return Err(RegisterError::Conflict { new: new.text, old, explanation });
            }
        }
        let tree = self.hosts.entry(new.host.clone()).or_default();
        tree.insert(&new.segments, RouteId(self.all.len()));
        self.all.push(new);
        Ok(())
    }

    /// Decides about a request whose path is well escaped.
    pub(super) fn route<'a>(&'a self, request: &Request<'a>) -> Found<'a> {
        let is_connect = request.method == "CONNECT";
        // A CONNECT names its target as it is, port included, and its path is not cleaned.
        let (host, clean) = if is_connect {
            (request.host, Cow::Borrowed(request.path))
        } else {
            (path::strip_port(request.host), path::clean(request.path))
        };
        let route = self.find(request.method, host, &clean);
        // Go looks at the host of the request line for the slash of a CONNECT, and a path has none there.
        let (slash_host, unslashed) =
            if is_connect { ("", self.find(request.method, "", &clean)) } else { (host, route) };
        if let Some(target) = self.find_with_slash(request.method, slash_host, &clean, unslashed) {
            let location = path::escape_again(&clean) + "/";
            return Found::Redirect { location, route: Some(target) };
        }
        if let Cow::Owned(clean) = &clean {
            return Found::Redirect { location: path::escape_again(clean), route };
        }
        let Some(route) = route else { return self.refuse(host, request.path) };
        match tree::params(&self.all[route.0].segments, request.path) {
            Ok(params) => Found::Match { route, params },
            Err(path::EscapeError) => Found::BadRequest,
        }
    }

    /// The most specific pattern for a request: any of the host beats all of those without.
    fn find(&self, method: &str, host: &str, path: &str) -> Option<RouteId> {
        let mut choose = |ends: &[RouteId]| self.choose(method, ends);
        self.trees(host).find_map(|tree| tree.search(path, &mut choose))
    }

    fn trees(&self, host: &str) -> impl Iterator<Item = &Tree> {
        let own = if host.is_empty() { None } else { self.hosts.get(host) };
        own.into_iter().chain(self.hosts.get(""))
    }

    /// Of patterns that differ only in the method: the method itself, then GET for HEAD, then all methods.
    fn choose(&self, method: &str, ends: &[RouteId]) -> Option<RouteId> {
        let serving = ends.iter().filter(|route| self.all[route.0].serves(method));
        serving.copied().max_by_key(|route| match self.all[route.0].method.as_deref() {
            Some(own) if own == method => 2,
            Some(_) => 1,
            None => 0,
        })
    }

    /// The pattern that takes the path with a slash at its end and nothing after it, if none takes it as exactly
    /// without.
    fn find_with_slash(
        &self,
        method: &str,
        host: &str,
        path: &str,
        unslashed: Option<RouteId>,
    ) -> Option<RouteId> {
        // A path that starts with two slashes would, as a location, name another host.
        let may = !path.is_empty() && !path.ends_with('/') && !path.starts_with("//");
        if !may || unslashed.is_some_and(|route| !self.all[route.0].ends_in_rest()) {
            return None;
        }
        let slashed = format!("{path}/");
        let slashes = slashed.bytes().filter(|byte| *byte == b'/').count();
        self.find(method, host, &slashed).filter(|route| {
            let pattern = &self.all[route.0];
            !pattern.ends_in_rest() || pattern.segments.len() == slashes
        })
    }

    /// Nothing takes the request: is it the method? A pattern for the path with a slash counts.
    fn refuse(&self, host: &str, path: &str) -> Found<'_> {
        let mut methods = BTreeSet::new();
        let mut collect = |ends: &[RouteId]| {
            methods.extend(ends.iter().filter_map(|route| self.all[route.0].method.as_deref()));
            None
        };
        let slashed = if path.ends_with('/') { None } else { Some(format!("{path}/")) };
        for tree in self.trees(host) {
            tree.search(path, &mut collect);
            if let Some(slashed) = &slashed {
                tree.search(slashed, &mut collect);
            }
        }
        if methods.contains("GET") {
            methods.insert("HEAD");
        }
        if methods.is_empty() { Found::Nothing } else { Found::MethodNotAllowed(join(&methods)) }
    }
}

fn join(methods: &BTreeSet<&str>) -> String {
    methods.iter().copied().collect::<Vec<_>>().join(", ")
}
