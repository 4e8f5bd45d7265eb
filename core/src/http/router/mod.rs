//! The route table: which registered pattern answers a request, by the rules of Go's `ServeMux`.
//!
//! A pattern is `[METHOD ][HOST]/PATH`. Segments of the path are literal, `{name}` for one segment, `{name...}` for
//! all that follows and `{$}` for the end; a slash at the end is a rest without a name. Where several patterns match a
//! request the most specific one answers, whatever the order they were registered in, and patterns of which neither is
//! more specific are refused. [`Style::Classic`] is the multiplexer before Go 1.22: exact paths, and trees that end in
//! a slash.
//!
//! Look-up is a pure function. It looks at each segment of the path once and at each node of the table once at most,
//! never deeper than the longest pattern, and holds no more than that.
//!
//! ```
//! use linkspan_core::http::router::{Decision, Router, Style};
//!
//! let mut router = Router::new(Style::Patterns);
//! router.register("GET /client/{id}/{path...}", "proxy")?;
//! router.register("api.example.com/v1/", "upstream")?;
//!
//! let Decision::Match(found) = router.route("GET", "gateway", "/client/foo/a/b", None) else { panic!() };
//! assert_eq!((*found.handler, found.params.get("id"), found.params.get("path")),
//!            ("proxy", Some(&b"foo"[..]), Some(&b"a/b"[..])));
//!
//! let Decision::Redirect(redirect) = router.route("GET", "api.example.com:80", "/v1", Some("q=1")) else { panic!() };
//! assert_eq!((redirect.status.code(), &*redirect.location), (307, "/v1/?q=1"));
//!
//! let Decision::MethodNotAllowed { allow } = router.route("PUT", "", "/client/foo/", None) else { panic!() };
//! assert_eq!(allow, "GET, HEAD");
//! # Ok::<(), linkspan_core::http::router::RegisterError>(())
//! ```
//!
//! # Where it differs from Go
//!
//! - A redirect names the pattern that will answer; Go names the path for the slash redirect of the classic style.
//! - `{name}` never stands for an empty segment, also for CONNECT, whose paths are not cleaned.
//! - A `Location` never starts with two slashes and holds no backslash, so that no request leads a browser to another
//!   host.

mod classic;
mod error;
mod lookup;
mod pattern;
mod relation;
mod reply;
mod tree;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

pub use self::error::{PatternFault, RegisterError};
pub use self::reply::Reply;
use super::path;

/// Which rules a router follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Style {
    /// Go ≤ 1.21: `[HOST]/PATH`, exact or a tree that ends in a slash; look-up on the decoded path.
    Classic,
    /// Go ≥ 1.22: methods and wildcards; look-up on the escaped path, each segment decoded.
    #[default]
    Patterns,
}

/// The status of redirects to a clean path or to a slash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RedirectStatus {
    /// 301, as Go up to 1.25: clients turn a POST into a GET.
    MovedPermanently,
    /// 307, as Go from 1.26: method and body stay.
    #[default]
    TemporaryRedirect,
    /// 308: method and body stay, and clients may remember it.
    PermanentRedirect,
}

impl RedirectStatus {
    /// The status code.
    pub const fn code(self) -> u16 {
        match self {
            Self::MovedPermanently => 301,
            Self::TemporaryRedirect => 307,
            Self::PermanentRedirect => 308,
        }
    }

    /// The reason phrase.
    pub const fn text(self) -> &'static str {
        match self {
            Self::MovedPermanently => "Moved Permanently",
            Self::TemporaryRedirect => "Temporary Redirect",
            Self::PermanentRedirect => "Permanent Redirect",
        }
    }
}

/// A table of patterns, each with a handler of the caller's kind.
#[derive(Clone, Debug)]
pub struct Router<H> {
    rules: Rules,
    redirect_status: RedirectStatus,
    /// In the order of registration.
    routes: Vec<Route<H>>,
}

#[derive(Clone, Debug)]
struct Route<H> {
    pattern: Box<str>,
    handler: H,
    /// Unless it is the table's.
    redirect_status: Option<RedirectStatus>,
}

#[derive(Clone, Debug)]
enum Rules {
    Classic(classic::Classic),
    Patterns(lookup::Patterns),
}

/// The place of a pattern in the order of registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RouteId(usize);

/// A request, as the rules look at it.
struct Request<'a> {
    method: &'a str,
    host: &'a str,
    path: &'a str,
}

/// What the rules found.
enum Found<'a> {
    Match { route: RouteId, params: Params<'a> },
    Redirect { location: String, route: Option<RouteId> },
    MethodNotAllowed(String),
    Nothing,
    BadRequest,
}

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'a, H> {
    /// A handler answers it.
    Match(Match<'a, H>),
    /// The client is to ask elsewhere. Where it is sent to never redirects again.
    Redirect(Redirect<'a>),
    /// Patterns match all of it but the method.
    MethodNotAllowed {
        /// The methods they are for, sorted, for the `Allow` header.
        allow: String,
    },
    /// No pattern matches.
    NotFound,
    /// The target is no path, or an escape in it is broken; the connection is to be closed after the answer.
    BadRequest,
}

/// The handler of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match<'a, H> {
    /// The pattern as it was registered.
    pub pattern: &'a str,
    /// What it was registered with.
    pub handler: &'a H,
    /// What its wildcards stand for.
    pub params: Params<'a>,
}

/// A redirect of the router itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect<'a> {
    /// Its status.
    pub status: RedirectStatus,
    /// The `Location` header: a path and the query of the request, visible ASCII only.
    pub location: String,
    /// The pattern that will answer there, if one will.
    pub pattern: Option<&'a str>,
}

/// What the wildcards of a pattern stand for in one request, in the order of the pattern; decoded, so any bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(Vec<(&'a str, Cow<'a, [u8]>)>);

impl Params<'_> {
    /// The value of one wildcard.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// All of them with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (*name, &**value))
    }
}

impl<H> Router<H> {
    /// An empty table.
    pub fn new(style: Style) -> Self {
        let rules = match style {
            Style::Classic => Rules::Classic(classic::Classic::default()),
            Style::Patterns => Rules::Patterns(lookup::Patterns::default()),
        };
        Self { rules, redirect_status: RedirectStatus::default(), routes: Vec::new() }
    }

    /// Redirects with another status.
    #[must_use]
    pub fn with_redirect_status(self, redirect_status: RedirectStatus) -> Self {
        Self { redirect_status, ..self }
    }

    /// Registers a pattern.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] if the pattern is not valid or conflicts with another; nothing is registered then.
    pub fn register(&mut self, pattern: &str, handler: H) -> Result<(), RegisterError> {
        self.add(pattern, handler, None)
    }

    /// As [`register`](Self::register); whoever is redirected to it is so with this status, whatever the table's is.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub fn register_redirected(
        &mut self,
        pattern: &str,
        handler: H,
        status: RedirectStatus,
    ) -> Result<(), RegisterError> {
        self.add(pattern, handler, Some(status))
    }

    fn add(
        &mut self,
        pattern: &str,
        handler: H,
        redirect_status: Option<RedirectStatus>,
    ) -> Result<(), RegisterError> {
        match &mut self.rules {
            Rules::Classic(classic) => classic.register(pattern)?,
            Rules::Patterns(patterns) => patterns.register(pattern)?,
        }
        self.routes.push(Route { pattern: pattern.into(), handler, redirect_status });
        Ok(())
    }

    /// All patterns and their handlers, in the order of registration.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &H)> {
        self.routes.iter().map(|route| (&*route.pattern, &route.handler))
    }

    /// Decides about a request.
    ///
    /// `host` is the `Host` header as it came, empty if there is none. `path` is the escaped path of the target
    /// without its query: empty for the authority form of CONNECT, `*` for the asterisk form.
    pub fn route<'a>(
        &'a self,
        method: &'a str,
        host: &'a str,
        path: &'a str,
        query: Option<&str>,
    ) -> Decision<'a, H> {
        let is_path = path.is_empty() || path.starts_with('/');
        if !is_path || !path::is_escaped_well(path) {
            return Decision::BadRequest;
        }
        let request = Request { method, host, path };
        let found = match &self.rules {
            Rules::Classic(classic) => classic.route(&request),
            Rules::Patterns(patterns) => patterns.route(&request),
        };
        match found {
            Found::Match { route, params } => {
                let Route { pattern, handler, .. } = &self.routes[route.0];
                Decision::Match(Match { pattern, handler, params })
            }
            Found::Redirect { mut location, route } => {
                if let Some(query) = query.filter(|query| !query.is_empty()) {
                    location.push('?');
                    location.push_str(&path::escape_query(query));
                }
                let route = route.map(|route| &self.routes[route.0]);
                let status = route.and_then(|route| route.redirect_status).unwrap_or(self.redirect_status);
                Decision::Redirect(Redirect { status, location, pattern: route.map(|route| &*route.pattern) })
            }
            Found::MethodNotAllowed(allow) => Decision::MethodNotAllowed { allow },
            Found::Nothing => Decision::NotFound,
            Found::BadRequest => Decision::BadRequest,
        }
    }
}
