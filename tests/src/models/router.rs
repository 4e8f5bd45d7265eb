//! A router by brute force: patterns as text, sets of requests written out, no tree and no relation.

use std::collections::BTreeSet;

/// The methods requests are drawn from; no pattern is for the last one.
pub const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "PUT"];

/// A pattern as text, cut only where its syntax says so.
#[derive(Clone, Debug)]
pub struct Plain {
    /// As it was written.
    pub text: String,
    method: String,
    host: String,
    path: String,
    /// Which of [`universe`] it matches, its host left aside.
    matched: Requests,
}

/// What the reference decides about a clean path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This pattern answers.
    Match(String),
    /// This pattern would answer with a slash at the end.
    Redirect(String),
    /// Only these methods are answered.
    Methods(Vec<String>),
    /// Nobody answers.
    Nothing,
}

/// All clean paths of up to three segments, one more than the patterns have; no pattern has the literal `z`.
pub fn paths() -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut from = 0;
    for _ in 0..3 {
        let to = paths.len();
        for at in from..to {
            for name in ["a", "b", "z"] {
                paths.push(format!("{}/{name}", paths[at]));
            }
        }
        from = to;
    }
    let slashed: Vec<_> = paths.iter().map(|path| format!("{path}/")).collect();
    paths.remove(0);
    paths.extend(slashed);
    paths
}

/// All methods with all paths.
fn universe() -> impl Iterator<Item = (&'static str, String)> {
    METHODS.into_iter().flat_map(|method| paths().into_iter().map(move |path| (method, path)))
}

/// A set of requests, each at its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Requests(Vec<bool>);

impl Requests {
    fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(one, two)| *two || !one)
    }

    fn is_disjoint(&self, other: &Self) -> bool {
        !self.0.iter().zip(&other.0).any(|(one, two)| *one && *two)
    }

    fn len(&self) -> usize {
        self.0.iter().filter(|one| **one).count()
    }
}

impl Plain {
    /// Cuts a pattern that is known to be good.
    ///
    /// # Panics
    ///
    /// If it has no path.
    pub fn new(text: &str) -> Self {
        let (method, rest) = text.split_once(' ').unwrap_or(("", text));
        let (host, path) = rest.split_at(rest.find('/').expect("a pattern has a path"));
        let mut plain = Self {
            text: text.into(),
            method: method.into(),
            host: host.into(),
            path: path.into(),
            matched: Requests::default(),
        };
        plain.matched = Requests(universe().map(|(method, path)| plain.takes(method, &path)).collect());
        plain
    }

    fn takes(&self, method: &str, path: &str) -> bool {
        let serves =
            self.method.is_empty() || self.method == method || (self.method == "GET" && method == "HEAD");
        serves && takes_path(&self.path, path)
    }

    /// Whether the end of the path is what the pattern asks for, not one of many things below it.
    fn takes_exactly(&self, method: &str, path: &str) -> bool {
        let without_rest = match self.path.rfind('/').map(|at| self.path.split_at(at)) {
            Some((trunk, "/")) => format!("{trunk}/{{$}}"),
            Some((trunk, last)) if last.ends_with("...}") => format!("{trunk}/{{$}}"),
            _ => self.path.clone(),
        };
        self.takes(method, path) && takes_path(&without_rest, path)
    }

    /// Whether two patterns must not stand in one table.
    pub fn conflicts(&self, other: &Self) -> bool {
        let (one, two) = (&self.matched, &other.matched);
        let nested = one != two && (one.is_subset(two) || two.is_subset(one));
        self.host == other.host && !one.is_disjoint(two) && !nested
    }
}

/// Whether a pattern's path takes a path, one segment after the other.
fn takes_path(pattern: &str, path: &str) -> bool {
    let (Some(pattern), Some(path)) = (pattern.strip_prefix('/'), path.strip_prefix('/')) else {
        return pattern.is_empty() && path.is_empty();
    };
    if pattern.is_empty() || (pattern.starts_with('{') && pattern.ends_with("...}") && !pattern.contains('/'))
    {
        return true;
    }
    if pattern == "{$}" {
        return path.is_empty();
    }
    let (wanted, more) = pattern.split_at(pattern.find('/').unwrap_or(pattern.len()));
    let (segment, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    let fits = if wanted.starts_with('{') { !segment.is_empty() } else { wanted == segment };
    fits && takes_path(more, rest)
}

/// The pattern that answers: of the host before all others, and the smallest set of requests.
fn best<'a>(patterns: &'a [Plain], method: &str, host: &str, path: &str) -> Option<&'a Plain> {
    let taking = |wanted: &str| -> Vec<&Plain> {
        patterns.iter().filter(|plain| plain.host == wanted && plain.takes(method, path)).collect()
    };
    let own = if host.is_empty() { Vec::new() } else { taking(host) };
    let candidates = if own.is_empty() { taking("") } else { own };
    let best = candidates.iter().min_by_key(|plain| plain.matched.len()).copied()?;
    assert!(candidates.iter().all(|plain| best.matched.is_subset(&plain.matched)), "no most specific one");
    Some(best)
}

/// What is to happen with a request for a clean path.
///
/// # Panics
///
/// If two patterns are in force that must not stand together.
pub fn decide(patterns: &[Plain], method: &str, host: &str, path: &str) -> Verdict {
    let found = best(patterns, method, host, path);
    let exact = found.is_some_and(|plain| plain.takes_exactly(method, path));
    let slashed = format!("{path}/");
    if !exact
        && !path.ends_with('/')
        && let Some(plain) = best(patterns, method, host, &slashed)
        && plain.takes_exactly(method, &slashed)
    {
        return Verdict::Redirect(plain.text.clone());
    }
    if let Some(plain) = found {
        return Verdict::Match(plain.text.clone());
    }
    let near = patterns.iter().filter(|plain| plain.host.is_empty() || plain.host == host);
    let near = near.filter(|plain| {
        takes_path(&plain.path, path) || (!path.ends_with('/') && takes_path(&plain.path, &slashed))
    });
    let mut methods: BTreeSet<_> = near.map(|plain| plain.method.clone()).collect();
    methods.remove("");
    if methods.contains("GET") {
        methods.insert("HEAD".into());
    }
    if methods.is_empty() { Verdict::Nothing } else { Verdict::Methods(methods.into_iter().collect()) }
}
