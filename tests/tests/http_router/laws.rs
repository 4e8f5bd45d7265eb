//! The laws of the route table, against the brute-force reference.

use linkspan_core::http::router::{Decision, RegisterError, Router, Style};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use linkspan_tests::models::router::{METHODS, Plain, Verdict, decide, paths};

pub(super) const HOSTS: [&str; 3] = ["", "h", "g"];

/// A pattern of few names, so that many overlap.
pub(super) fn pattern() -> impl Strategy<Value = String> {
    let method = select(vec!["", "", "GET ", "HEAD ", "POST "]);
    let host = select(vec!["", "", "h"]);
    let segments = vec(select(vec!["/a", "/b", "/{}"]), 0..3);
    let end = select(vec!["", "/", "/{$}", "/{r...}"]);
    (method, host, segments, end).prop_map(|(method, host, segments, end)| {
        let named = segments.iter().enumerate();
        let path: String = named.map(|(at, segment)| segment.replace("{}", &format!("{{x{at}}}"))).collect();
        let end = if path.is_empty() && end.is_empty() { "/" } else { end };
        format!("{method}{host}{path}{end}")
    })
}

/// A table of those patterns that may stand together, and the reference for it.
fn table(patterns: &[String]) -> (Router<usize>, Vec<Plain>) {
    let (mut router, mut plain) = (Router::new(Style::Patterns), Vec::new());
    for text in patterns {
        let new = Plain::new(text);
        let expected = plain.iter().find(|old: &&Plain| new.conflicts(old));
        match (router.register(text, plain.len()), expected) {
            (Ok(()), None) => plain.push(new),
            (Err(RegisterError::Conflict { old, .. }), Some(expected)) => assert_eq!(*old, expected.text),
            (result, expected) => panic!("{text}: {result:?}, but the reference: {expected:?}"),
        }
    }
    (router, plain)
}

pub(super) fn verdict(decision: &Decision<'_, usize>, path: &str) -> Verdict {
    match decision {
        Decision::Match(found) => Verdict::Match(found.pattern.into()),
        Decision::Redirect(redirect) => {
            assert_eq!(redirect.location, format!("{path}/"));
            Verdict::Redirect(redirect.pattern.unwrap().into())
        }
        Decision::MethodNotAllowed { allow } => {
            Verdict::Methods(allow.split(", ").map(ToOwned::to_owned).collect())
        }
        Decision::NotFound => Verdict::Nothing,
        Decision::BadRequest => panic!("{path} is fine"),
    }
}

/// A path as a hostile client writes it.
fn wild_path() -> impl Strategy<Value = String> {
    let piece =
        vec!["/", "/", "/", "a", "b", "z", ".", "..", "%2F", "%61", "%2e", "\\", "\u{e9}", "%", ";", "#"];
    vec(select(piece), 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// Follows a redirect once: it must lead to an answer that is none, on this host.
fn follow(router: &Router<usize>, method: &str, host: &str, path: &str) {
    let Decision::Redirect(redirect) = router.route(method, host, path, Some("q=/../\r\n")) else { return };
    let location = redirect.location;
    assert!(location.starts_with('/') && !location.starts_with("//"), "{location}");
    assert!(location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{location}");
    let (target, query) = location.split_once('?').unwrap();
    assert_eq!(query, "q=/../%0D%0A");
    match router.route(method, host, target, Some(query)) {
        Decision::Redirect(again) => panic!("{path} leads to {location}, that to {}", again.location),
        Decision::Match(found) if method != "CONNECT" => assert_eq!(Some(found.pattern), redirect.pattern),
        Decision::Match(_) => {}
        _ => assert_eq!(redirect.pattern, None),
    }
}

/// A quarter of the usual cases: each looks at hundreds of requests.
fn long_cases() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.div_ceil(4), ..usual }
}

proptest! {
    #![proptest_config(long_cases())]

    #[test]
    fn every_decision_is_that_of_the_reference(patterns in vec(pattern(), 0..8)) {
        let (router, plain) = table(&patterns);
        for path in paths() {
            for (method, host) in METHODS.iter().flat_map(|method| HOSTS.map(|host| (*method, host))) {
                let decision = router.route(method, host, &path, None);
                let ours = verdict(&decision, &path);
                prop_assert_eq!(ours, decide(&plain, method, host, &path), "{} {}{}", method, host, &path);
            }
        }
    }

    #[test]
    fn the_order_of_registration_changes_nothing(
        patterns in vec(pattern(), 0..8),
        order in vec(any::<prop::sample::Index>(), 8),
    ) {
        let (router, mut plain) = table(&patterns);
        for (at, other) in order.iter().enumerate().take(plain.len()) {
            let other = other.index(plain.len());
            plain.swap(at, other);
        }
        let mut shuffled = Router::new(Style::Patterns);
        for (at, plain) in plain.iter().enumerate() {
            prop_assert_eq!(shuffled.register(&plain.text, at), Ok(()));
        }
        for path in paths() {
            for (method, host) in METHODS.iter().flat_map(|method| HOSTS.map(|host| (*method, host))) {
                let one = verdict(&router.route(method, host, &path, None), &path);
                prop_assert_eq!(one, verdict(&shuffled.route(method, host, &path, None), &path));
            }
        }
    }

}

proptest! {
    #[test]
    fn a_redirect_never_leads_to_a_redirect(
        patterns in vec(pattern(), 0..8),
        paths in vec(wild_path(), 32),
        method in select(vec!["GET", "POST", "CONNECT"]),
    ) {
        let (router, _) = table(&patterns);
        for (path, host) in paths.iter().flat_map(|path| HOSTS.map(|host| (path, host))) {
            follow(&router, method, host, path);
        }
    }

    #[test]
    fn classic_redirects_and_order(
        patterns in prop::collection::btree_set("(h|)(/[ab]?|/\\.\\.){1,3}/?", 0..8),
        paths in vec(wild_path(), 32),
        method in select(vec!["GET", "POST", "CONNECT"]),
    ) {
        let (mut router, mut reversed) = (Router::new(Style::Classic), Router::new(Style::Classic));
        for (at, text) in patterns.iter().enumerate() {
            prop_assert_eq!(router.register(text, at), Ok(()));
        }
        for (at, text) in patterns.iter().enumerate().rev() {
            prop_assert_eq!(reversed.register(text, at), Ok(()));
        }
        for (path, host) in paths.iter().flat_map(|path| HOSTS.map(|host| (path, host))) {
            follow(&router, method, host, path);
            let decision = router.route(method, host, path, None);
            prop_assert_eq!(&decision, &reversed.route(method, host, path, None));
            if let Decision::Match(found) = decision {
                prop_assert_eq!(found.pattern, classic(&patterns, host, path));
            }
        }
    }

    #[test]
    fn nothing_panics(pattern in "\\PC{0,24}", method in "\\PC{0,8}", host in "\\PC{0,8}", path in "\\PC{0,24}") {
        for style in [Style::Classic, Style::Patterns] {
            let mut router = Router::new(style);
            if let Err(error) = router.register(&pattern, ()) {
                prop_assert!(!error.to_string().is_empty());
            }
            router.register("/{a}/{b...}", ()).ok();
            for path in [&path, &format!("/{path}")] {
                router.route(&method, &host, path, Some(&pattern));
            }
        }
    }
}

/// The longest classic pattern that takes a path, the host's before all others.
fn classic<'a>(patterns: &'a std::collections::BTreeSet<String>, host: &str, path: &str) -> &'a str {
    let path = linkspan_core::http::path::decode(path).unwrap();
    let path = String::from_utf8_lossy(&path);
    let taking = |key: &str| {
        let taking =
            patterns.iter().filter(|text| *text == key || (text.ends_with('/') && key.starts_with(&***text)));
        taking.max_by_key(|text| text.len())
    };
    taking(&format!("{host}{path}")).or_else(|| taking(&path)).unwrap()
}
