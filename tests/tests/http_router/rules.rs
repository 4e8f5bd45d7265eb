//! Rules of the route table that the recorded sets do not hold, one by one.

use linkspan_core::http::router::{Decision, RedirectStatus, RegisterError, Reply, Router, Style};

fn router(patterns: &[&'static str]) -> Router<&'static str> {
    let mut router = Router::new(Style::Patterns);
    for pattern in patterns {
        router.register(pattern, *pattern).unwrap();
    }
    router
}

fn matched<'a>(decision: &Decision<'a, &'static str>) -> Option<&'a str> {
    if let Decision::Match(found) = decision { Some(found.pattern) } else { None }
}

#[test]
fn the_gateways_own_routes() {
    let routes = router(&[
        "/connect",
        "/client/{id}/{scheme}/{host}/{path...}",
        "/client/{id}/healthz",
        "/healthz",
        "/ws/{id}",
    ]);
    let Decision::Match(found) =
        routes.route("PUT", "gw:8123", "/client/foo/http/127.0.0.1:8125/a%2Fb/c", None)
    else {
        panic!("the proxy takes any method")
    };
    let params: Vec<_> = found.params.iter().collect();
    let expected: [(&str, &[u8]); 4] =
        [("id", b"foo"), ("scheme", b"http"), ("host", b"127.0.0.1:8125"), ("path", b"a/b/c")];
    assert_eq!(params, expected);
    assert_eq!(found.params.get("nothing"), None);
    assert_eq!(matched(&routes.route("GET", "", "/client/foo/healthz", None)), Some("/client/{id}/healthz"));
    assert_eq!(matched(&routes.route("GET", "", "/ws/1/", None)), None);
    assert_eq!(routes.iter().count(), 5);
}

#[test]
fn only_the_method_is_wrong() {
    let routes = router(&["GET /a/{x}", "PUT /a/{x}", "DELETE h/a/b", "POST /s/", "/t"]);
    let allowed = |host, path| match routes.route("PATCH", host, path, None) {
        Decision::MethodNotAllowed { allow } => Some(allow),
        _ => None,
    };
    assert_eq!(allowed("", "/a/b").as_deref(), Some("GET, HEAD, PUT"));
    assert_eq!(allowed("h:1", "/a/b").as_deref(), Some("DELETE, GET, HEAD, PUT"));
    assert_eq!(allowed("", "/s").as_deref(), Some("POST"));
    assert_eq!(allowed("", "/s/x").as_deref(), Some("POST"));
    assert_eq!(allowed("", "/t"), None);
    let reply = routes.route("PATCH", "", "/s", None).reply("PATCH").unwrap();
    assert_eq!((reply.status, reply.allow.as_deref()), (405, Some("POST")));
    assert_eq!((reply.content_type, &*reply.body), (Some(Reply::PLAIN), "Method Not Allowed\n"));
}

#[test]
fn get_serves_head_until_head_has_its_own() {
    let mut routes = router(&["GET /a", "/b"]);
    assert_eq!(matched(&routes.route("HEAD", "", "/a", None)), Some("GET /a"));
    assert_eq!(matched(&routes.route("head", "", "/a", None)), None);
    routes.register("HEAD /a", "HEAD /a").unwrap();
    assert_eq!(matched(&routes.route("HEAD", "", "/a", None)), Some("HEAD /a"));
    assert_eq!(matched(&routes.route("GET", "", "/a", None)), Some("GET /a"));
}

#[test]
fn a_host_that_has_not_the_method_leaves_it_to_the_others() {
    let routes = router(&["GET h/a/", "/a/{x}"]);
    assert_eq!(matched(&routes.route("GET", "h", "/a/b", None)), Some("GET h/a/"));
    assert_eq!(matched(&routes.route("POST", "h", "/a/b", None)), Some("/a/{x}"));
    assert_eq!(matched(&routes.route("GET", "H", "/a/b", None)), Some("/a/{x}"));
}

#[test]
fn connect_is_taken_as_it_stands() {
    let routes = router(&["/", "h:443/p", "CONNECT /a//b", "/s", "/s/t/", "/a/{y}/z"]);
    assert_eq!(routes.route("CONNECT", "h:443", "", None), Decision::NotFound);
    assert_eq!(matched(&routes.route("CONNECT", "h:443", "/p", None)), Some("h:443/p"));
    assert_eq!(matched(&routes.route("GET", "h:443", "/p", None)), Some("/"));
    assert_eq!(matched(&routes.route("CONNECT", "h", "/a//b", None)), Some("CONNECT /a//b"));
    assert_eq!(matched(&routes.route("CONNECT", "h", "/a//z", None)), Some("/"), "no empty wildcard");
    assert!(matches!(routes.route("CONNECT", "h", "/s/t", None), Decision::Redirect(_)));
}

#[test]
fn a_redirect_never_names_another_host() {
    let routes = router(&["/", "/{x}/{y}/", "/{x}/", "CONNECT //evil.com/"]);
    assert_eq!(matched(&routes.route("CONNECT", "h", "//evil.com", None)), Some("/"));
    for (method, path) in [("GET", "//evil.com/x"), ("CONNECT", "//evil.com"), ("GET", "/\\evil.com")] {
        if let Decision::Redirect(redirect) = routes.route(method, "h", path, None) {
            assert!(!redirect.location.starts_with("//"), "{}", redirect.location);
            assert!(!redirect.location.contains('\\'), "{}", redirect.location);
        }
    }
    let Decision::Redirect(redirect) = routes.route("GET", "h", "//a%2F%5c\u{e9}/..//b%25", None) else {
        panic!()
    };
    assert_eq!(redirect.location, "/b%25/");
}

#[test]
fn a_redirect_keeps_the_escapes_of_its_path() {
    let routes = router(&["/"]);
    let Decision::Redirect(redirect) = routes.route("GET", "", "//a%2Fb%20c", Some("x y")) else { panic!() };
    assert_eq!(redirect.location, "/a%2Fb%20c?x%20y");
}

#[test]
fn the_status_of_redirects_is_a_choice() {
    for (status, code) in [
        (RedirectStatus::MovedPermanently, 301),
        (RedirectStatus::TemporaryRedirect, 307),
        (RedirectStatus::PermanentRedirect, 308),
    ] {
        let mut router = Router::new(Style::Patterns).with_redirect_status(status);
        router.register("/a/", ()).unwrap();
        let reply = router.route("GET", "", "/a", Some("q='<\">&")).reply("GET").unwrap();
        assert_eq!(reply.status, code);
        let text = status.text();
        assert_eq!(reply.body, format!("<a href=\"/a/?q=&#39;&lt;&#34;&gt;&amp;\">{text}</a>.\n\n"));
        assert_eq!(
            router.route("HEAD", "", "/a", None).reply("HEAD").unwrap().content_type,
            Some(Reply::HTML)
        );
    }
}

#[test]
fn one_route_may_have_a_status_of_its_own() {
    for style in [Style::Classic, Style::Patterns] {
        let mut router = Router::new(style);
        router.register("/a/", ()).unwrap();
        router.register_redirected("/b/", (), RedirectStatus::MovedPermanently).unwrap();
        assert!(router.register_redirected("/b/", (), RedirectStatus::MovedPermanently).is_err());
        let status = |path| router.route("GET", "", path, None).reply("GET").unwrap().status;
        assert_eq!((status("/a"), status("/b")), (307, 301));
    }
}

#[test]
fn targets_that_are_no_path() {
    for style in [Style::Classic, Style::Patterns] {
        let mut router = Router::new(style);
        router.register("/", ()).unwrap();
        for target in ["*", "a", "/%", "/a%2", "/a/%zz/../b"] {
            let decision = router.route("GET", "", target, None);
            assert_eq!(decision, Decision::BadRequest, "{target}");
            assert!(decision.reply("GET").unwrap().close);
        }
    }
}

#[test]
fn a_rest_is_decoded_as_a_whole_and_may_be_any_bytes() {
    let routes = router(&["/f/{p...}", "/o/{x}"]);
    let Decision::Match(found) = routes.route("GET", "", "/f/a%2fb/%ff/", None) else { panic!() };
    assert_eq!(found.params.get("p"), Some(&b"a/b/\xff/"[..]));
    let Decision::Match(found) = routes.route("GET", "", "/o/%ff", None) else { panic!() };
    assert_eq!(found.params.get("x"), Some(&b"\xff"[..]));
    assert_eq!(routes.route("GET", "", "/o/%2F", None), Decision::NotFound, "as Go: taken for the end");
}

#[test]
fn errors_quote_what_cannot_be_printed() {
    let mut routes = router(&[]);
    let error = routes.register("G\u{7}\"\\\u{1}\u{85}\u{8}\u{c}\u{b}\r\n /", "").unwrap_err();
    let quoted = r#""G\a\"\\\x01\u0085\b\f\v\r\n""#;
    assert!(error.to_string().ends_with(&format!("at offset 0: invalid method {quoted}")), "{error}");
    assert_eq!(routes.register("", "").unwrap_err(), RegisterError::Empty);
}

#[test]
fn faults_are_told_with_their_place() {
    for (pattern, message) in [
        ("GET  h{x}/", "at offset 5: host contains '{' (missing initial '/'?)"),
        ("/{a}/{a}", "at offset 5: duplicate wildcard name \"a\""),
        ("/{a}/b/{a...}", "at offset 7: duplicate wildcard name \"a\""),
        ("/{$}/", "at offset 1: {$} not at end"),
        ("/{a b}", "at offset 0: invalid method \"/{a\""),
        ("/x/{_9\u{e9}}y", "at offset 3: bad wildcard segment (must end with '}')"),
        ("POST h/a/./b", "at offset 6: non-CONNECT pattern with unclean path can never match"),
    ] {
        let error = router(&[]).register(pattern, "").unwrap_err().to_string();
        assert!(error.ends_with(message), "{pattern}: {error}");
    }
}

/// All ways of literal and wildcard lead on here, each to another end: the most back-tracking there can be.
#[test]
fn a_long_path_costs_no_more_than_its_length_and_the_table() {
    let mut routes = Router::new(Style::Patterns);
    for bits in 0..256_u32 {
        let steps = (0..8).map(|at| if bits >> at & 1 == 1 { "/a".into() } else { format!("/{{x{at}}}") });
        routes.register(&format!("{}/{bits}", steps.collect::<String>()), bits).unwrap();
    }
    let trunk = "/a".repeat(8);
    for bits in 0..256 {
        let path = format!("{trunk}/{bits}");
        let Decision::Match(found) = routes.route("GET", "", &path, None) else { panic!("{path}") };
        assert_eq!(*found.handler, bits);
    }
    let path = "/a".repeat(1 << 20);
    for _ in 0..10 {
        assert_eq!(routes.route("GET", "", &path, None), Decision::NotFound);
    }
}
