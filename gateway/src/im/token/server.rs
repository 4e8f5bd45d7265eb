//! A server that knows whose a token is, asked as OpenIM's own gateway asks its API server.

use std::fmt;
use std::io;

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::FutureExt;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, StatusCode};
use linkspan_core::hub::Platform;
use linkspan_core::im::{Proof, parse_platform, platform_by_name};
use linkspan_runtime::Runtime;
use serde::Deserialize;
use serde_json::{Value, json};

use super::jwt::Claims;
use crate::http::HyperIo;
use crate::resolve::resolve;
use crate::tls::{Tls, TrustError};

/// A server that is asked with a POST of `{"operationID"}` and the token in the header `token`. A token is valid if the
/// answer's `errCode` is 0.
///
/// Its user is `userID` in the answer's `data`; where the answer does not say it, as that of v2 servers, it is what the
/// token, whose signature the server has checked, says about itself.
#[derive(Clone)]
pub struct TokenServer {
    /// For `https`.
    tls: Option<Tls>,
    host: Box<str>,
    port: u16,
    authority: Box<str>,
    path: Box<str>,
}

/// Why the server cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenServerError {
    /// Not an address that we know.
    #[error("`{0}` is not http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH")]
    Malformed(String),
    /// No server could prove who it is.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// It cannot be reached.
    #[error("the token server cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    /// The exchange was cut short.
    #[error("the token server failed: {0}")]
    Http(#[from] hyper::Error),
    /// It gives no answer that can be read.
    #[error("the token server's answer cannot be read: {0}")]
    Unreadable(String),
    /// It takes too long.
    #[error("the token server does not answer in time")]
    TimedOut,
}

/// The largest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 * 1024;

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "errCode")]
    code: i64,
    #[serde(default)]
    data: Value,
}

impl TokenServer {
    /// Reads `http://host:port/path` or `https://host:port/path`; with the latter the server must prove who it is to the
    /// authorities that this system trusts. Names are looked up for every check.
    ///
    /// # Errors
    ///
    /// [`TokenServerError::Malformed`] and [`TokenServerError::Trust`].
    pub fn parse(url: &str) -> Result<Self, TokenServerError> {
        let malformed = || TokenServerError::Malformed(url.into());
        let (is_tls, rest) = match url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(malformed()),
        };
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let is_odd = |c: char| c.is_ascii_control() || c == ' ' || !c.is_ascii();
        if authority.contains('@') || url.contains(is_odd) {
            return Err(malformed());
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| malformed())?),
            _ => (authority, if is_tls { 443 } else { 80 }),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(malformed());
        }
        let tls = is_tls.then(|| Tls::new(None)).transpose()?;
        Ok(Self { tls, host: host.into(), port, authority: authority.into(), path: path.into() })
    }

    /// Has an `https` server prove who it is to other authorities than the system's.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls: self.tls.and(Some(tls)), ..self }
    }

    /// Asks about one token; `None` is a token that is not valid.
    pub(super) async fn ask<R: Runtime>(
        &self,
        runtime: &R,
        token: &str,
        operation: &str,
    ) -> Result<Option<Proof>, TokenServerError> {
        // What no header can carry is no token.
        let Ok(header) = HeaderValue::from_str(token) else { return Ok(None) };
        let body = json!({"operationID": operation}).to_string();
        let request = Request::post(&*self.path)
            .header(HOST, &*self.authority)
            .header(CONTENT_TYPE, "application/json")
            .header("token", header)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| TokenServerError::Unreadable(error.to_string()))?;
        let stream = self.connect(runtime).await?;
        let answer = match &self.tls {
            None => exchange(stream, request).await?,
            Some(tls) => exchange(tls.connect(&self.host, stream).await?, request).await?,
        };
        read(answer.0, &answer.1, token)
    }

    /// A connection to the first of its addresses that takes one.
    async fn connect<R: Runtime>(&self, runtime: &R) -> io::Result<R::Stream> {
        let mut outcome = Err(io::ErrorKind::NotFound.into());
        for address in resolve(&self.host, self.port).await? {
            outcome = runtime.connect(address).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

/// One request and its answer, on a connection that is used for nothing else.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), TokenServerError> {
    let (mut sender, connection) = http1::handshake(HyperIo::new(stream)).await?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| TokenServerError::Unreadable(error.to_string()))?;
        Ok((status, body.to_bytes()))
    };
    let pump = async {
        match connection.await {
            Err(error) => Err(error.into()),
            // The answer, if there is one, is with the other half.
            Ok(()) => futures_lite::future::pending().await,
        }
    };
    exchange.or(pump).await
}

/// What an answer says about `token`.
fn read(status: StatusCode, body: &[u8], token: &str) -> Result<Option<Proof>, TokenServerError> {
    let unreadable = |why: String| TokenServerError::Unreadable(format!("status {status}: {why}"));
    let answer: Answer = serde_json::from_slice(body).map_err(|error| unreadable(error.to_string()))?;
    if answer.code != 0 {
        return Ok(None);
    }
    if status != StatusCode::OK {
        return Err(unreadable("errCode 0 with a status that is no success".into()));
    }
    let own = Claims::unproven(token);
    let own = own.as_ref();
    let text = |name: &str| answer.data.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let user = text("userID").map(str::to_owned).or_else(|| own.map(|claims: &Claims| claims.user.clone()));
    let Some(user) = user else {
        return Err(unreadable(
            "it does not name the user in data.userID, and neither does the token".into(),
        ));
    };
    let number = answer.data.get("platformID").and_then(Value::as_i64);
    let platform: Option<Platform> = number
        .map(|number| parse_platform(&number.to_string()))
        .or_else(|| text("platform").map(platform_by_name))
        .or_else(|| own.and_then(Claims::platform));
    let seconds = answer.data.get("expireTimeSeconds").and_then(Value::as_u64);
    Ok(Some(Proof { user, platform, lifetime: seconds.map(std::time::Duration::from_secs) }))
}

impl fmt::Debug for TokenServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "TokenServer({scheme}://{}{})", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"UID":"u1","Platform":"Web"}` with a signature that nobody looks at.
    const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJVSUQiOiJ1MSIsIlBsYXRmb3JtIjoiV2ViIn0.y";

    #[test]
    fn addresses() {
        for (url, host, port) in [
            ("http://127.0.0.1:8080/auth/parse_token", "127.0.0.1", 8080),
            ("http://api.example", "api.example", 80),
            ("http://[::1]:8080/", "::1", 8080),
            ("http://[::1]/", "::1", 80),
        ] {
            let server = TokenServer::parse(url).expect(url);
            assert_eq!((&*server.host, server.port), (host, port));
        }
        for url in [
            "",
            "127.0.0.1",
            "ftp://h/",
            "http:///x",
            "http://:80/",
            "http://h:x/",
            "http://u:p@h/",
            "http://h/a b",
        ] {
            assert!(TokenServer::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn the_answer_says_whose_the_token_is() {
        let ok = StatusCode::OK;
        let user =
            |body: &str, token: &str| read(ok, body.as_bytes(), token).map(|proof| proof.map(|one| one.user));
        assert_eq!(
            user(r#"{"errCode":0,"data":{"userID":"u2","platformID":5}}"#, "t").ok(),
            Some(Some("u2".into()))
        );
        assert_eq!(
            user(r#"{"errCode":0,"data":{"expireTimeSeconds":9}}"#, TOKEN).ok(),
            Some(Some("u1".into()))
        );
        assert_eq!(user(r#"{"errCode":701,"errMsg":"expired"}"#, TOKEN).ok(), Some(None));
        for (body, token) in
            [("", TOKEN), ("{}", TOKEN), (r#"{"errCode":"0"}"#, TOKEN), (r#"{"errCode":0}"#, "t")]
        {
            assert!(user(body, token).is_err(), "{body}");
        }
        let proof = read(ok, br#"{"errCode":0}"#, TOKEN).expect("it is readable").expect("it is valid");
        assert_eq!((proof.platform, proof.lifetime), (Some(Platform::WEB), None));
        assert!(read(StatusCode::BAD_GATEWAY, br#"{"errCode":0}"#, TOKEN).is_err(), "a contradiction");
    }
}
