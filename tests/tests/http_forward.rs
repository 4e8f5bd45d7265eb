//! What a proxy passes on, and where to: rules of headers, upstreams and times.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use linkspan_core::Instant;
use linkspan_core::http::forward::{PSEUDONYM, has_token, is_hop_by_hop, is_length, passes, tokens};
use linkspan_core::http::framing::Framing;
use linkspan_core::http::patience::{self, Outcome};
use linkspan_core::http::upstream::{Patience, Route, Scheme, Upstream, UpstreamFault, without_timeout};

#[test]
fn headers_of_one_connection_end_here() {
    for name in ["connection", "keep-alive", "te", "transfer-encoding", "upgrade", "proxy-authorization"] {
        assert!(is_hop_by_hop(name), "{name}");
    }
    for name in ["host", "trailer", "content-length", "cookie", "connections", ""] {
        assert!(!is_hop_by_hop(name), "{name}");
    }
}

#[test]
fn bodies_are_followed_however_their_lines_end() {
    let doubtful = "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    for end in ["\r\n", "\n"] {
        for body in [
            // The lines behind the last chunk end as the parser beside this wants them.
            "Transfer-Encoding: chunked||5|hello|1a;x=y|abcdefghijklmnopqrstuvwxyz|0|a: b\r\n\r\n",
            "Content-Length: 12||hello, world",
        ] {
            let first = format!("POST / HTTP/1.1|Host: a|{body}").replace('|', end);
            let bytes = [first.as_bytes(), doubtful.as_bytes()].concat();
            for cut in 0..bytes.len() {
                let mut framing = Framing::new();
                framing.handle_bytes(&bytes[..cut]);
                framing.handle_bytes(&bytes[cut..]);
                assert!(!framing.is_doubtful(1) && framing.is_doubtful(2), "{first:?} cut at {cut}");
            }
        }
    }
}

#[test]
fn lists_of_tokens() {
    let found: Vec<_> = tokens(" close ,\tUpgrade,, x-own\t").collect();
    assert_eq!(found, ["close", "Upgrade", "x-own"]);
    assert!(has_token("keep-alive, Upgrade", "upgrade") && has_token("CLOSE", "close"));
    assert!(!has_token("keep-alive-not", "keep-alive") && !has_token("", "close"));
    assert_eq!(passes(&format!("1.1 a, 1.1 {PSEUDONYM}, 1.0 {PSEUDONYM} (comment)")), 2);
    assert_eq!([passes(""), passes(PSEUDONYM), passes("1.1 linkspan2")], [0; 3]);
}

#[test]
fn a_length_is_digits_and_nothing_else() {
    for good in ["0", "00", "9999999999999999999"] {
        assert!(is_length(good.as_bytes()), "{good}");
    }
    for odd in ["", "+1", "-1", " 1", "1 ", "1,1", "0x1", "1.0", "\u{661}", "10000000000000000000000"] {
        assert!(!is_length(odd.as_bytes()), "{odd}");
    }
    assert!(!is_length(b"10000000000000000000"), "twenty digits may not fit");
}

#[test]
fn schemes_and_their_ports() {
    assert_eq!([Scheme::parse("HTTP"), Scheme::parse("https")], [Ok(Scheme::Http), Ok(Scheme::Https)]);
    assert_eq!(Scheme::parse("ws"), Err(UpstreamFault::Scheme));
    for (scheme, name, port) in [(Scheme::Http, "http", 80), (Scheme::Https, "https", 443)] {
        assert_eq!((scheme.name(), scheme.port()), (name, port));
        assert_eq!(Upstream::new(None, scheme, "a").unwrap().port(), port);
    }
}

#[test]
fn an_upstream_says_what_it_is() {
    let upstream = Upstream::new(Some("foo"), Scheme::Https, "[2001:DB8::1]:8443").unwrap();
    assert_eq!((upstream.client(), upstream.scheme()), (Some("foo"), Scheme::Https));
    assert_eq!((upstream.host(), upstream.port()), ("2001:db8::1", 8443));
    assert_eq!(upstream.to_string(), "https://[2001:db8::1]:8443 behind foo");
    let plain = Upstream::new(None, Scheme::Http, "Example.COM:80").unwrap();
    assert_eq!((plain.to_string(), plain.authority()), ("http://example.com".into(), "example.com".into()));
    for odd in ["", "a\u{7}b"] {
        assert_eq!(Upstream::new(Some(odd), Scheme::Http, "a"), Err(UpstreamFault::Client));
    }
}

#[test]
fn each_fault_of_an_authority_has_its_name() {
    let fault = |authority| Upstream::new(None, Scheme::Http, authority).unwrap_err();
    for port in ["a:", "a:0", "a:65536", "a:+1", "a:1:2", "[::1]:x"] {
        assert_eq!(fault(port), UpstreamFault::Port, "{port}");
    }
    let long = "a".repeat(254);
    for host in
        ["", ":80", "a b", "a@b", "[::1", "[::1]x", "[1.2.3.4]", "1.2.3", "0X7f.1", "1.2.3.4.", long.as_str()]
    {
        assert_eq!(fault(host), UpstreamFault::Host, "{host}");
    }
    assert!(Upstream::new(None, Scheme::Http, &"a".repeat(253)).is_ok());
    assert!(Upstream::new(None, Scheme::Http, "1.2.3.4.example").is_ok(), "a name may begin with digits");
    assert_eq!(Upstream::new(None, Scheme::Http, "a:65535").unwrap().port(), 65_535);
}

#[test]
fn a_route_replaces_the_fixed_beginning_of_its_pattern() {
    for (route, path, asked) in [
        ("/files/=http://h/public", "/files/a/b", "/public/a/b"),
        ("/files/=http://h/public/", "/files/a/b", "/public/a/b"),
        ("/files/=http://h/public", "/files/", "/public/"),
        ("/files/=http://h/", "/files/a", "/a"),
        ("/exact=http://h/other", "/exact", "/other"),
        ("/a/{name}/b=http://h/x", "/a/1/b", "/x/1/b"),
        ("/{any}=https://h", "/one%2Ftwo", "/one%2Ftwo"),
        ("example.com/a/=http://h/x", "/a/1", "/x/1"),
    ] {
        assert_eq!(Route::parse(route).unwrap().path(path), asked, "{route} {path}");
    }
    for (odd, fault) in [
        ("/a/", UpstreamFault::Form),
        ("=http://h", UpstreamFault::Form),
        ("/a/=tunnel://c", UpstreamFault::Form),
        ("/a/=tunnel://c/http", UpstreamFault::Form),
        ("/a/=tunnel://c/ws/h", UpstreamFault::Scheme),
        ("/a/=tunnel:///http/h", UpstreamFault::Client),
        ("/a/=http://h/%0a", UpstreamFault::Path),
        ("/a/=http://h/a?b", UpstreamFault::Path),
        ("/a/=http://h:0/", UpstreamFault::Port),
        ("/a/=http:///b", UpstreamFault::Host),
    ] {
        assert_eq!(Route::parse(odd).unwrap_err(), fault, "{odd}");
    }
}

#[test]
fn the_first_timeout_counts_and_is_not_passed_on() {
    for (query, patience) in [
        ("timeout=2", Patience::Whole(Duration::from_secs(2))),
        ("a=1&timeout=3&timeout=4", Patience::Whole(Duration::from_secs(3))),
        ("timeout=+5", Patience::Whole(Duration::from_secs(5))),
        ("timeout=++5", Patience::Endless),
        ("timeout=0", Patience::Endless),
        ("timeout=-1", Patience::Endless),
        ("timeout=x", Patience::Endless),
        ("timeout", Patience::Usual),
        ("timeout=", Patience::Usual),
        ("timeouts=3", Patience::Usual),
        ("", Patience::Usual),
    ] {
        assert_eq!(Patience::of(Some(query)), patience, "{query}");
    }
    assert_eq!(Patience::of(None), Patience::Usual);
    assert_eq!(without_timeout("a=1&timeout=2&b&timeout"), "a=1&b");
    assert_eq!([without_timeout("timeout=1"), without_timeout("")], ["", ""]);
    assert_eq!(without_timeout("timeouts=1&a"), "timeouts=1&a");
}

/// A stalled client is told before one that has gone, and each in its own time.
#[test]
fn a_client_is_borne_with_for_so_long() {
    let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
    let mut client = patience::Patience::new(Duration::from_secs(10), Duration::from_secs(20));
    client.handle_blocked(at(1));
    client.handle_ended(at(2));
    assert_eq!(client.next_timeout(), Some(at(11)));
    let just_before = Instant::from_micros(11_000_000 - 1);
    assert_eq!([client.outcome(just_before), client.outcome(at(11))], [Outcome::Waiting, Outcome::Stalled]);
    client.handle_written();
    client.handle_ended(at(15));
    assert_eq!(client.next_timeout(), Some(at(22)), "it has ended once");
    assert_eq!([client.outcome(at(21)), client.outcome(at(22))], [Outcome::Waiting, Outcome::Gone]);
}
