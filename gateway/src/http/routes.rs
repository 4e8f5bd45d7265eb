//! The site of the HTTP address: a table of patterns, and a handler for each.

use std::future::Future;
use std::pin::Pin;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION};
use hyper::{Request, StatusCode};
use linkspan_core::drain::Phase;
use linkspan_core::http::router::{Decision, RedirectStatus, RegisterError, Reply as Refusal, Router, Style};
use linkspan_runtime::Runtime;

use super::{Answer, Reply, Site, Visit, full, text};

/// A request that a pattern matches, and where it comes from.
pub(crate) struct Asked<R> {
    /// The request; its body is still to be read.
    pub(crate) request: Request<Incoming>,
    /// What the wildcards of the pattern stand for.
    pub(crate) params: Params,
    /// The connection.
    pub(crate) visit: Visit<R>,
}

/// What the wildcards of a pattern stand for, decoded, in the order of the pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Params(Vec<(Box<str>, Vec<u8>)>);

impl Params {
    /// The value of one wildcard; any bytes, as escapes may stand for anything.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(own, _)| **own == *name).map(|(_, value)| &**value)
    }

    /// The value of one wildcard, if it is text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }
}

type Answering<R> = Pin<Box<dyn Future<Output = Reply<R>> + Send>>;
type Handler<R> = Box<dyn Fn(Asked<R>) -> Answering<R> + Send + Sync>;

/// A table of patterns by the rules of [`linkspan_core::http::router`], each with what answers it.
pub(crate) struct Routes<R: Runtime> {
    table: Router<Handler<R>>,
}

impl<R: Runtime> Routes<R> {
    /// An empty table.
    pub(crate) fn new() -> Self {
        Self { table: Router::new(Style::Patterns) }
    }

    /// Registers what answers the requests that match `pattern`: `[METHOD ][HOST]/PATH`. The handler's future is
    /// dropped when the client is gone.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] if the pattern is not valid or conflicts with another.
    pub(crate) fn add<T>(
        &mut self,
        pattern: &str,
        handler: impl Fn(Asked<R>) -> T + Send + Sync + 'static,
    ) -> Result<(), RegisterError>
    where
        T: Future<Output = Reply<R>> + Send + 'static,
    {
        self.table.register(pattern, Box::new(move |asked| Box::pin(handler(asked))))
    }

    /// As [`add`](Self::add), for what only GET can ask for and was always redirected to with 301.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub(crate) fn add_moved<T>(
        &mut self,
        pattern: &str,
        handler: impl Fn(Asked<R>) -> T + Send + Sync + 'static,
    ) -> Result<(), RegisterError>
    where
        T: Future<Output = Reply<R>> + Send + 'static,
    {
        let handler: Handler<R> = Box::new(move |asked| Box::pin(handler(asked)));
        self.table.register_redirected(pattern, handler, RedirectStatus::MovedPermanently)
    }

    fn start(&self, mut request: Request<Incoming>, visit: &Visit<R>) -> Result<Answering<R>, Answer> {
        if let Some(answer) = super::heads::answer(&request) {
            return Err(answer);
        }
        super::heads::settle_host(&mut request);
        // Counted references: the request itself goes to the handler.
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let host = request.headers().get(HOST).cloned();
        let host = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
        let decision = self.table.route(method.as_str(), host, uri.path(), uri.query());
        if let Decision::Match(found) = decision {
            let params = found.params.iter().map(|(name, value)| (name.into(), value.to_vec())).collect();
            return Ok((found.handler)(Asked { request, params: Params(params), visit: visit.clone() }));
        }
        Err(match decision.reply(method.as_str()) {
            Some(refusal) => refuse(refusal),
            None => text(StatusCode::INTERNAL_SERVER_ERROR, ""),
        })
    }
}

impl<R: Runtime> Site<R> for Routes<R> {
    async fn answer(&self, request: Request<Incoming>, visit: &Visit<R>) -> Reply<R> {
        let mut reply = match self.start(request, visit) {
            Ok(answering) => answering.await,
            Err(refusal) => refusal.into(),
        };
        if let Reply::Answer(answer) = &mut reply
            && visit.host.phase() != Phase::Running
        {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }
}

/// What the table itself answers.
fn refuse(refusal: Refusal) -> Answer {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = match status {
        StatusCode::NOT_FOUND => text(status, "There is nothing here. Try /, /healthz or /readyz.\n"),
        StatusCode::BAD_REQUEST => text(status, "The target of the request is not a path.\n"),
        _ if refusal.content_type == Some(Refusal::PLAIN) => text(status, refusal.body),
        _ => {
            let mut answer = Answer::new(full(refusal.body));
            *answer.status_mut() = status;
            if let Some(kind) = refusal.content_type {
                answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            }
            answer
        }
    };
    let mut set = |name: HeaderName, value: Option<String>| {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            answer.headers_mut().insert(name, value);
        }
    };
    set(LOCATION, refusal.location);
    set(ALLOW, refusal.allow);
    set(CONNECTION, refusal.close.then(|| "close".into()));
    answer
}
