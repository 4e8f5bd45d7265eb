//! Which requests are answered at all: those that every server would read alike.
//!
//! hyper refuses most of what is in doubt. What it lets pass, or makes plain without a word, is refused here, and the
//! connection ends with the answer: what follows may be part of what is in doubt (RFC 9112 §6.3, §11.2).

use hyper::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Request, StatusCode, Uri, Version};
use linkspan_core::http::forward::is_length;

use super::{Answer, empty, text};

/// The answer to a request that no handler sees.
pub(super) fn answer<B>(request: &Request<B>) -> Option<Answer> {
    let (version, headers) = (request.version(), request.headers());
    let fault = host(version, headers)
        .or_else(|| target(request.uri()))
        .or_else(|| framing(version, headers))
        .or_else(|| expectation(headers));
    if let Some((status, why)) = fault {
        return Some(refused(status, why));
    }
    // About the server as a whole: it lives.
    (request.uri().path() == "*" && request.method() == Method::OPTIONS).then(|| empty(StatusCode::OK))
}

/// Makes the host of an absolute target that of the request, whatever its field says (RFC 9112 §3.2.2).
pub(super) fn settle_host<B>(request: &mut Request<B>) {
    let host = target_host(request.uri()).and_then(|host| HeaderValue::from_str(host).ok());
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
}

/// The host that an absolute target names, with its port and without a user. The target of CONNECT is none.
fn target_host(uri: &Uri) -> Option<&str> {
    uri.scheme()?;
    uri.authority()?.as_str().rsplit('@').next()
}

/// The answer to a request whose body has a length and a transfer coding. hyper throws the length away before anybody
/// sees it, so [`Framing`](linkspan_core::http::framing::Framing) looks at the bytes.
pub(super) fn doubtful() -> Answer {
    refused(StatusCode::BAD_REQUEST, "A body has a length or a transfer coding, not both.")
}

fn refused(status: StatusCode, why: &str) -> Answer {
    tracing::debug!(%status, why, "HTTP request refused");
    let mut answer = text(status, format!("{why}\n"));
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

type Fault = Option<(StatusCode, &'static str)>;

fn host(version: Version, headers: &HeaderMap) -> Fault {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 => {
            Some((StatusCode::BAD_REQUEST, "The header Host is missing."))
        }
        (Some(_), Some(_)) => Some((StatusCode::BAD_REQUEST, "There is more than one Host.")),
        (Some(host), None) if !is_host(host.as_bytes()) => {
            Some((StatusCode::BAD_REQUEST, "The header Host is not a host."))
        }
        _ => None,
    }
}

fn target(uri: &Uri) -> Fault {
    let host = target_host(uri)?;
    (!is_host(host.as_bytes())).then_some((StatusCode::BAD_REQUEST, "The host of the target is not a host."))
}

fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=:[]%".contains(byte))
}

fn framing(version: Version, headers: &HeaderMap) -> Fault {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let is_chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
        if !is_chunked || version != Version::HTTP_11 {
            return Some((StatusCode::NOT_IMPLEMENTED, "The only transfer coding is one `chunked`."));
        }
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let is_plain =
        lengths.next().is_none_or(|length| is_length(length.as_bytes())) && lengths.next().is_none();
    (!is_plain).then_some((StatusCode::BAD_REQUEST, "Content-Length must be one plain number."))
}

fn expectation(headers: &HeaderMap) -> Fault {
    let mut expected = headers.get_all(EXPECT).iter();
    let is_met = expected.all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    (!is_met).then_some((StatusCode::EXPECTATION_FAILED, "Nothing but 100-continue can be expected."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(fields: &[(&'static str, &'static str)]) -> Option<u16> {
        let mut request = Request::post("/a").body(()).expect("it is one");
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        answer(&request).map(|answer| answer.status().as_u16())
    }

    #[test]
    fn doubtful_heads_are_refused() {
        let refused: &[(u16, &[(&str, &str)])] = &[
            (400, &[]),
            (400, &[("host", "a"), ("host", "a")]),
            (400, &[("host", "a b")]),
            (400, &[("host", "a/b")]),
            (400, &[("host", "a@b")]),
            (501, &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]),
            (501, &[("host", "a"), ("transfer-encoding", "gzip, chunked")]),
            (501, &[("host", "a"), ("transfer-encoding", ",chunked")]),
            (400, &[("host", "a"), ("content-length", "3"), ("content-length", "3")]),
            (400, &[("host", "a"), ("content-length", "3, 3")]),
            (400, &[("host", "a"), ("content-length", "+3")]),
            (417, &[("host", "a"), ("expect", "200-ok")]),
        ];
        for (expected, fields) in refused {
            assert_eq!(status(fields), Some(*expected), "{fields:?}");
        }
        assert_eq!(
            status(&[("host", ""), ("transfer-encoding", "Chunked"), ("expect", "100-Continue")]),
            None
        );
        assert_eq!(status(&[("host", "[::1]:80"), ("content-length", "003")]), None);
    }

    #[test]
    fn the_host_of_an_absolute_target_counts() {
        for (method, target, host) in [
            (Method::GET, "http://public.example/x", "public.example"),
            (Method::GET, "http://public.example:81", "public.example:81"),
            (Method::GET, "http://user@public.example/x", "public.example"),
            (Method::GET, "/x", "field"),
            (Method::OPTIONS, "*", "field"),
            (Method::CONNECT, "public.example:80", "field"),
        ] {
            let mut request = Request::builder()
                .method(method)
                .uri(target)
                .header(HOST, "field")
                .body(())
                .expect("it is one");
            settle_host(&mut request);
            assert_eq!(request.headers()[HOST], host, "{target}");
        }
    }
}
