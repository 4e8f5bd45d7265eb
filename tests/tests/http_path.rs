//! Paths: the recorded pairs of Go, and the laws of cleaning, decoding and escaping.

use linkspan_core::http::path::{
    clean, clean_bytes, decode, escape, escape_again, escape_query, is_escaped_well, strip_port,
};
use linkspan_tests::fuzz_http::clean_naively;
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    clean_path: Vec<Pair>,
    strip_host_port: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    r#in: String,
    out: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../vectors/http/clean_path.json")).expect("recorded pairs")
}

#[test]
fn paths_are_cleaned_as_recorded() {
    let pairs = vectors().clean_path;
    assert!(pairs.len() >= 42, "{} pairs", pairs.len());
    for pair in pairs {
        assert_eq!(clean(&pair.r#in), pair.out, "clean {:?}", pair.r#in);
    }
}

#[test]
fn ports_are_stripped_as_recorded() {
    let pairs = vectors().strip_host_port;
    assert!(pairs.len() >= 16, "{} pairs", pairs.len());
    for pair in pairs {
        assert_eq!(strip_port(&pair.r#in), pair.out, "strip {:?}", pair.r#in);
    }
}

#[test]
fn hosts_that_are_no_host_and_port_stay() {
    for host in ["[::1]", "[a]b:80", "[::1]:80:90", "a[b:80", "a]b:80", "a:[b", "[a[b]:80", "[::1]:8]0"] {
        assert_eq!(strip_port(host), host);
    }
}

#[test]
fn escapes_must_be_two_digits() {
    assert_eq!(decode("a%2Fb%c3%A9+%00").expect("valid").as_ref(), b"a/b\xc3\xa9+\0");
    for broken in ["%", "a%2", "%zz", "%+1", "%2", "%%41"] {
        assert!(decode(broken).is_err(), "{broken}");
        assert!(!is_escaped_well(broken), "{broken}");
    }
}

#[test]
fn locations_hold_nothing_that_leads_elsewhere() {
    assert_eq!(escape(b"/a b/\xff\\?#[x]!"), "/a%20b/%FF%5C%3F%23%5Bx%5D%21");
    assert_eq!(escape_again("/a%2Fb\\\r\n\"<>\u{e9}#?[x]!"), "/a%2Fb%5C%0D%0A%22%3C%3E%C3%A9%23%3F[x]!");
    assert_eq!(escape_query("a=b&c=%2F\r\nX: y\u{e9}"), "a=b&c=%2F%0D%0AX:%20y%C3%A9");
}

/// A path of the pieces that matter to cleaning.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec!["/", "/", ".", "..", "a", "b", "%2F", "%2e", "\u{e9}"]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn cleaning_is_idempotent_and_as_the_naive_way(path in pieces()) {
        let cleaned = clean(&path);
        prop_assert_eq!(&*cleaned, clean_naively(&path));
        prop_assert_eq!(clean(&cleaned), cleaned.clone());
        prop_assert_eq!(clean_bytes(path.as_bytes()), cleaned.as_bytes());
    }

    #[test]
    fn decoding_undoes_escaping(path in prop::collection::vec(any::<u8>(), 0..64)) {
        let escaped = escape(&path);
        prop_assert!(escaped.bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert_eq!(decode(&escaped), Ok(path.into()));
    }

    #[test]
    fn escaping_again_changes_no_meaning(path in "[/a-z%2F\\\\ \u{e9}\"#]{0,32}") {
        let again = escape_again(&path);
        prop_assert_eq!(is_escaped_well(&again), is_escaped_well(&path));
        prop_assert_eq!(escape_again(&again), again.clone());
        if let (Ok(before), Ok(after)) = (decode(&path), decode(&again)) {
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn anything_has_a_host(host in "[a\\[\\]:0-9.]{0,12}") {
        prop_assert!(host.contains(strip_port(&host)));
    }
}
