//! The recorded answers of Go's multiplexers, replayed.
//!
//! Every recorded request, registration and reply is replayed. What is different on purpose is listed with its reason,
//! and a listed difference that does not occur fails the test.

use std::collections::{BTreeMap, BTreeSet};

use linkspan_core::http::router::{Decision, RedirectStatus, Router, Style};
use serde::Deserialize;

#[derive(Deserialize)]
struct Sets {
    sets: Vec<Set>,
}

#[derive(Deserialize)]
struct Set {
    name: String,
    patterns: Vec<String>,
    registration: Vec<Registration>,
    results: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Registration {
    pattern: String,
    ok: bool,
    panic: Option<String>,
}

/// What Go answered.
#[derive(Deserialize)]
struct Recorded {
    method: String,
    target: String,
    host: String,
    kind: String,
    status: Option<u16>,
    pattern: String,
    location: Option<String>,
    allow: Option<String>,
    content_type: Option<String>,
    body: Option<String>,
    #[serde(default)]
    values: BTreeMap<String, String>,
}

/// What we answer, in the same words.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    kind: String,
    status: u16,
    pattern: String,
    location: Option<String>,
    allow: Option<String>,
    values: BTreeMap<String, String>,
}

/// A recorded answer that ours differs from: the set (any if empty), the request, our pattern, the reason.
struct Difference {
    set: &'static str,
    request: &'static str,
    ours: &'static str,
    reason: &'static str,
}

const CLASSIC_DIFFERENCES: &[Difference] = &[Difference {
    set: "host_subtree_no_generic",
    request: "GET h.com /a",
    ours: "h.com/a/",
    reason: "a redirect names the pattern that will answer; Go 1.19 names the path it redirects to",
}];

const PATTERNS_DIFFERENCES: &[Difference] = &[];

/// Requests that the HTTP parser refuses before there is anything to route.
const NO_REQUEST: &[&str] = &["GET example.org /a b"];

/// The target as an HTTP parser takes it apart: host, path, query.
fn take_apart(recorded: &Recorded) -> (&str, &str, Option<&str>) {
    let target = recorded.target.as_str();
    let (host, rest) = match target.strip_prefix("http://") {
        Some(rest) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
        None if recorded.method == "CONNECT" && !target.starts_with('/') && target != "*" => (target, ""),
        None => (recorded.host.as_str(), target),
    };
    match rest.split_once('?') {
        Some((path, query)) => (host, path, Some(query)),
        None => (host, rest, None),
    }
}

fn answer(decision: &Decision<'_, String>, method: &str) -> Answer {
    let status = decision.reply(method).map_or(200, |reply| reply.status);
    match decision {
        Decision::Match(found) => Answer {
            kind: "handler".into(),
            status,
            pattern: found.pattern.into(),
            values: found
                .params
                .iter()
                .map(|(name, value)| (name.into(), String::from_utf8_lossy(value).into()))
                .collect(),
            ..Answer::default()
        },
        Decision::Redirect(redirect) => Answer {
            kind: "redirect".into(),
            status,
            pattern: redirect.pattern.unwrap_or_default().into(),
            location: Some(redirect.location.clone()),
            ..Answer::default()
        },
        Decision::MethodNotAllowed { allow } => Answer {
            kind: "method_not_allowed".into(),
            status,
            allow: Some(allow.clone()),
            ..Answer::default()
        },
        Decision::NotFound => Answer { kind: "not_found".into(), status, ..Answer::default() },
        Decision::BadRequest => Answer { kind: "bad_request".into(), status, ..Answer::default() },
    }
}

/// Registers the patterns of a set; each must be taken or refused as recorded.
fn register(set: &Set, style: Style, status: RedirectStatus) -> Router<String> {
    let mut router = Router::new(style).with_redirect_status(status);
    assert_eq!(set.patterns.len(), set.registration.len(), "{}", set.name);
    for registration in &set.registration {
        let result = router.register(&registration.pattern, registration.pattern.clone());
        let message = result.as_ref().err().map(ToString::to_string);
        assert_eq!(result.is_ok(), registration.ok, "{}: {}", set.name, registration.pattern);
        assert_eq!(message, registration.panic, "{}: {}", set.name, registration.pattern);
    }
    router
}

fn check_reply(decision: &Decision<'_, String>, recorded: &Recorded, what: &str) {
    let Some(reply) = decision.reply(&recorded.method) else { return };
    if recorded.kind == "parse_error" {
        return;
    }
    assert_eq!(reply.location, recorded.location, "{what}");
    assert_eq!(reply.content_type, recorded.content_type.as_deref(), "{what}");
    assert_eq!(reply.body, recorded.body.as_deref().unwrap_or_default(), "{what}");
}

/// Replays one file; returns how many sets and requests it holds.
fn replay(file: &str, style: Style, status: RedirectStatus, differences: &[Difference]) -> (usize, usize) {
    let sets: Sets = serde_json::from_str(file).expect("recorded sets");
    let (mut requests, mut used, mut failures) = (0, BTreeSet::new(), Vec::new());
    for set in &sets.sets {
        let router = register(set, style, status);
        for recorded in &set.results {
            requests += 1;
            let request = format!("{} {} {}", recorded.method, recorded.host, recorded.target);
            if NO_REQUEST.contains(&&*request) {
                assert_eq!(recorded.kind, "parse_error", "{request}");
                continue;
            }
            let (host, path, query) = take_apart(recorded);
            let decision = router.route(&recorded.method, host, path, query);
            let ours = answer(&decision, &recorded.method);
            let mut theirs = Answer {
                // What Go's parser of the request line refuses, ours leaves to the router.
                kind: recorded.kind.replace("parse_error", "bad_request"),
                status: recorded.status.unwrap_or(400),
                pattern: recorded.pattern.clone(),
                location: recorded.location.clone(),
                allow: recorded.allow.clone(),
                values: recorded.values.clone(),
            };
            let listed = differences
                .iter()
                .position(|one| one.request == request && (one.set.is_empty() || one.set == set.name));
            if let Some(at) = listed {
                assert_ne!(ours, theirs, "{}: {request} is listed but equal", set.name);
                theirs.pattern = differences[at].ours.into();
                used.insert(at);
            }
            if ours != theirs {
                failures.push(format!("{}: {request}: ours {ours:?} theirs {theirs:?}", set.name));
            }
            check_reply(&decision, recorded, &format!("{}: {request}", set.name));
        }
    }
    for (at, difference) in differences.iter().enumerate() {
        assert!(used.contains(&at), "unused: {} ({})", difference.request, difference.reason);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    (sets.sets.len(), requests)
}

#[test]
fn classic_sets_are_answered_as_recorded() {
    let file = include_str!("../../vectors/http/servemux_classic.json");
    let counts = replay(file, Style::Classic, RedirectStatus::MovedPermanently, CLASSIC_DIFFERENCES);
    assert_eq!(counts, (10, 246), "sets and requests in the file");
}

#[test]
fn pattern_sets_are_answered_as_recorded() {
    let file = include_str!("../../vectors/http/servemux_122.json");
    let counts = replay(file, Style::Patterns, RedirectStatus::TemporaryRedirect, PATTERNS_DIFFERENCES);
    assert_eq!(counts, (18, 442), "sets and requests in the file");
}

#[derive(Deserialize)]
struct Parses {
    parse: Vec<Registration>,
    classic_1_19: Vec<Registration>,
}

#[test]
fn single_patterns_are_parsed_as_recorded() {
    let file: Parses =
        serde_json::from_str(include_str!("../../vectors/http/servemux_parse.json")).expect("patterns");
    assert_eq!((file.parse.len(), file.classic_1_19.len()), (37, 61), "patterns in the file");
    for (style, patterns) in [(Style::Patterns, file.parse), (Style::Classic, file.classic_1_19)] {
        for recorded in patterns {
            let result = Router::new(style).register(&recorded.pattern, ());
            assert_eq!(result.is_ok(), recorded.ok, "{:?}: {result:?}", recorded.pattern);
            assert_eq!(result.err().map(|error| error.to_string()), recorded.panic, "{:?}", recorded.pattern);
        }
    }
}

#[derive(Deserialize)]
struct Conflicts {
    pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    first: String,
    second: String,
    ok: bool,
    panic: Option<String>,
}

#[test]
fn pairs_conflict_as_recorded() {
    let file: Conflicts =
        serde_json::from_str(include_str!("../../vectors/http/servemux_conflicts.json")).expect("pairs");
    let mut refused = 0;
    for pair in &file.pairs {
        let mut router = Router::new(Style::Patterns);
        router.register(&pair.first, ()).expect("the first is fine alone");
        let result = router.register(&pair.second, ());
        refused += usize::from(result.is_err());
        assert_eq!(result.is_ok(), pair.ok, "{} then {}", pair.first, pair.second);
        assert_eq!(result.err().map(|error| error.to_string()), pair.panic);
    }
    assert_eq!((file.pairs.len(), refused), (602, 95), "pairs in the file");
}
