//! `/client/{id}/{scheme}/{host}/{path…}` as the demo server of the original answers it.
//!
//! Whatever the method, a GET without the client's headers, query and body is made; redirects are followed behind the
//! same agent, each to a host that is checked like the first; a gzip body is unpacked; what fails is a 500 with the text
//! of Go's client. What is not imitated: user information in the host (refused), hop-by-hop headers of the reply
//! (removed), and replies that are cut and look complete.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::future::or;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, LOCATION, REFERER,
    TRAILER, USER_AGENT,
};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use linkspan_core::http::path::{clean, decode, escape, escape_query};
use linkspan_core::http::upstream::{Patience, Scheme, Upstream};
use linkspan_runtime::Runtime;

use super::Proxy;
use super::body::Passing;
use super::exchange::exchange;
use super::fault::Fault;
use super::gzip::Gunzip;
use super::headers::pass_reply;
use super::pool::Lease;
use crate::http::{Asked, Body, Reply, full, text};

/// How many redirects are followed.
const REDIRECTS_MAX: usize = 10;
/// How long an exchange may take unless the query says otherwise.
const USUAL: Duration = Duration::from_secs(15);

/// An absolute URL, as far as the original's client needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Url {
    scheme: String,
    authority: String,
    /// Escaped; empty or with a slash in front.
    path: String,
    query: Option<String>,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

impl Url {
    /// What stands behind `scheme://`: an authority, a path, a query; a fragment is dropped.
    fn parse(scheme: &str, rest: &str) -> Result<Self, String> {
        let whole = format!("{scheme}://{rest}");
        if rest.chars().any(|char| char.is_ascii_control()) {
            return Err(format!("parse {whole:?}: net/url: invalid control character in URL"));
        }
        let rest = rest.split('#').next().unwrap_or("");
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(escape_query(query))),
            None => (rest, None),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let path = escape_path(path).ok_or_else(|| format!("parse {whole:?}: invalid URL escape"))?;
        Ok(Self { scheme: scheme.to_ascii_lowercase(), authority: authority.to_owned(), path, query })
    }

    /// Where a `Location` leads from here.
    fn join(&self, location: &str) -> Result<Self, String> {
        if let Some((scheme, rest)) = location.split_once("://")
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return Self::parse(scheme, rest);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&self.scheme, rest);
        }
        let end = location.find(['?', '#']).unwrap_or(location.len());
        let (path, rest) = location.split_at(end);
        let path = match path {
            "" => self.path.clone(),
            path if path.starts_with('/') => clean(path).into_owned(),
            path => {
                let folder = self.path.rfind('/').map_or("/", |at| &self.path[..=at]);
                clean(&format!("{folder}{path}")).into_owned()
            }
        };
        Self::parse(&self.scheme, &format!("{}{path}{rest}", self.authority))
    }

    fn upstream(&self, client: &str) -> Result<Upstream, String> {
        let scheme = Scheme::parse(&self.scheme);
        let scheme = scheme.map_err(|_| format!("unsupported protocol scheme {:?}", self.scheme))?;
        Upstream::new(Some(client), scheme, &self.authority).map_err(|fault| fault.to_string())
    }

    /// The target of the request line.
    fn target(&self) -> String {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }
}

/// The path as Go writes it: as it is if that is a well escaped path, else escaped anew.
fn escape_path(path: &str) -> Option<String> {
    let decoded = decode(path).ok()?;
    let is_valid =
        path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@/[]%".contains(&byte));
    Some(if is_valid { path.to_owned() } else { escape(&decoded) })
}

impl<R: Runtime> Proxy<R> {
    /// Answers as the original does.
    pub(super) async fn imitate(&self, asked: Asked<R>) -> Reply<R> {
        let part = |name| String::from_utf8_lossy(asked.params.get(name).unwrap_or_default()).into_owned();
        let rest = match asked.params.get("path") {
            Some(path) => format!("{}/{}", part("host"), String::from_utf8_lossy(path)),
            None => part("host"),
        };
        let limit = match Patience::of(asked.request.uri().query()) {
            Patience::Usual => Some(USUAL),
            Patience::Whole(span) => Some(span),
            Patience::Endless => None,
        };
        let runtime = asked.visit.runtime.clone();
        let end = limit.map(|limit| Instant::now() + limit);
        let mut here = None;
        let client = part("id");
        let work = self.follow(&runtime, &client, (part("scheme"), rest), &mut here);
        let outcome = match end {
            None => work.await,
            Some(end) => {
                let late = async {
                    runtime.sleep_until(end).await;
                    Err("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".into())
                };
                or(work, late).await
            }
        };
        match outcome {
            Ok((reply, lease, reusable)) => {
                let deadline = end.map(|end| Box::pin(runtime.sleep_until(end)));
                copied(reply, |body| Passing::new(body, lease, reusable, deadline))
            }
            Err(why) => {
                let why = match here {
                    Some(url) => format!("Get \"{url}\": {why}"),
                    None => why,
                };
                text(StatusCode::INTERNAL_SERVER_ERROR, why).into()
            }
        }
    }

    /// Follows redirects to their end; `here` is where it has come.
    async fn follow(
        &self,
        runtime: &R,
        client: &str,
        (scheme, rest): (String, String),
        here: &mut Option<Url>,
    ) -> Result<(Response<Incoming>, Lease<R>, bool), String> {
        let mut url = Url::parse(&scheme, &rest)?;
        let mut from: Option<Url> = None;
        let mut redirects = 0;
        loop {
            *here = Some(url.clone());
            if redirects > REDIRECTS_MAX - 1 {
                return Err(format!("stopped after {REDIRECTS_MAX} redirects"));
            }
            let upstream = Arc::new(url.upstream(client)?);
            let (head, ()) = get(&url, &upstream, from.as_ref())?.into_parts();
            let exchanged = exchange(&self.pool, runtime, &upstream, head, full(Bytes::new())).await;
            let (reply, lease, reusable) = exchanged.map_err(|fault| words(&fault))?;
            let Some(location) = redirect(&reply) else { return Ok((reply, lease, reusable)) };
            let next = url.join(&location)?;
            from = Some(std::mem::replace(&mut url, next));
            redirects += 1;
        }
    }
}

/// What Go's client would say.
fn words(fault: &Fault) -> String {
    match fault {
        Fault::Ended => "EOF".into(),
        fault => fault.to_string(),
    }
}

/// Where a reply sends the client.
fn redirect(reply: &Response<Incoming>) -> Option<String> {
    let is_redirect = matches!(reply.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = reply.headers().get(LOCATION).filter(|_| is_redirect)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned()).filter(|location| !location.is_empty())
}

/// The request of the original's client.
fn get(url: &Url, upstream: &Upstream, from: Option<&Url>) -> Result<Request<()>, String> {
    let value = |text: String| HeaderValue::try_from(text).map_err(|error| error.to_string());
    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = Uri::try_from(url.target()).map_err(|error| error.to_string())?;
    let headers = request.headers_mut();
    headers.insert(HOST, value(upstream.authority())?);
    headers.insert(USER_AGENT, HeaderValue::from_static("Go-http-client/1.1"));
    if let Some(from) = from.filter(|from| from.scheme == url.scheme || url.scheme == "https") {
        headers.insert(REFERER, value(from.to_string())?);
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    Ok(request)
}

/// The reply as the original copies it.
fn copied<R: Runtime>(reply: Response<Incoming>, passing: impl FnOnce(Incoming) -> Passing<R>) -> Reply<R> {
    let (mut head, body) = reply.into_parts();
    let headers: &mut HeaderMap = &mut head.headers;
    pass_reply(headers, false);
    headers.remove(TRAILER);
    let packed =
        headers.get(CONTENT_ENCODING).is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"gzip"));
    let body = passing(body);
    let body: Body = if packed {
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LENGTH);
        Gunzip::new(body).boxed_unsync()
    } else {
        body.boxed_unsync()
    };
    head.version = Version::HTTP_11;
    Reply::Answer(Response::from_parts(head, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        let (scheme, rest) = text.split_once("://").expect("it has a scheme");
        Url::parse(scheme, rest).expect("it is one")
    }

    #[test]
    fn urls_are_read_as_go_reads_them() {
        for (text, target) in [
            ("http://h", "/"),
            ("http://h/a?x=1#f", "/a?x=1"),
            ("http://h/a b", "/a%20b"),
            ("http://h/a%41", "/a%41"),
            ("http://h/ä", "/%C3%A4"),
            ("http://h/a?x=a b", "/a?x=a%20b"),
        ] {
            assert_eq!(url(text).target(), target, "{text}");
        }
        for odd in ["h/a\r\nX: y", "h/\0", "h/%zz"] {
            assert!(Url::parse("http", odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn redirects_lead_where_a_browser_would_go() {
        let base = url("http://h:1/a/b?q");
        for (location, there) in [
            ("/x", "http://h:1/x"),
            ("x?y", "http://h:1/a/x?y"),
            ("../x", "http://h:1/x"),
            ("?z", "http://h:1/a/b?z"),
            ("//other/x", "http://other/x"),
            ("https://s/x", "https://s/x"),
        ] {
            assert_eq!(base.join(location).expect("it is one").to_string(), there, "{location}");
        }
    }
}
