//! What runs around the handlers: handshake validator, session opened and closed, before and after a call.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use linkspan_core::CloseReason;
use linkspan_core::pomelo::RefuseCode;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::CallError;
use super::extract::{Call, Outcome};
use super::handler::BoxFuture;
use crate::session::Session;

/// What a client says first.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The session that is about to begin. Nothing can be pushed yet, but values can be stored.
    pub session: Session,
    /// The body as it came: JSON, or empty.
    pub body: Bytes,
}

#[derive(Deserialize)]
struct Parts {
    sys: Option<Box<RawValue>>,
    user: Option<Box<RawValue>>,
}

impl Handshake {
    /// What the client library says of itself (`sys`): `type`, `version`, `platform` and the like.
    ///
    /// # Errors
    ///
    /// If the body is not JSON, has no `sys`, or `sys` does not look like `T`.
    pub fn sys<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        Self::read(self.parts()?.sys.as_deref(), "sys")
    }

    /// What the application's own code in the client says (`user`): a token, a version.
    ///
    /// # Errors
    ///
    /// If the body is not JSON, has no `user`, or `user` does not look like `T`.
    pub fn user<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        Self::read(self.parts()?.user.as_deref(), "user")
    }

    fn parts(&self) -> Result<Parts, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    fn read<T: DeserializeOwned>(
        part: Option<&RawValue>,
        name: &'static str,
    ) -> Result<T, serde_json::Error> {
        let part =
            part.ok_or_else(|| serde_json::Error::custom(format_args!("the handshake has no `{name}`")))?;
        serde_json::from_str(part.get())
    }
}

/// The handshake is accepted.
#[derive(Clone, Debug, Default)]
pub struct Accept {
    pub(crate) user: Option<Bytes>,
}

impl Accept {
    /// Accepted, and nothing more to say.
    pub const fn new() -> Self {
        Self { user: None }
    }

    /// Adds what the application has to say: the `user` of the answer.
    ///
    /// # Errors
    ///
    /// If `user` has no form in JSON.
    pub fn user(user: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self { user: Some(Bytes::from(serde_json::to_vec(user)?)) })
    }
}

/// The handshake is refused; the client is told, then disconnected.
#[derive(Clone, Debug)]
pub struct Refuse {
    pub(crate) code: RefuseCode,
    pub(crate) user: Option<Bytes>,
}

impl Refuse {
    /// With this code.
    pub const fn new(code: RefuseCode) -> Self {
        Self { code, user: None }
    }

    /// Adds what the application has to say: the `user` of the answer. What has no form in JSON is left out.
    #[must_use]
    pub fn user(mut self, user: &impl Serialize) -> Self {
        self.user = serde_json::to_vec(user).ok().map(Bytes::from);
        self
    }
}

/// What a handshake validator decides.
pub type Verdict = Result<Accept, Refuse>;

/// A hook with its future on the heap.
pub(crate) type Hook<I, O> = Arc<dyn Fn(I) -> BoxFuture<O> + Send + Sync>;
type Closed = Arc<dyn Fn(&Session, CloseReason) + Send + Sync>;
type After = Arc<dyn Fn(Call, Outcome) -> BoxFuture<Outcome> + Send + Sync>;

/// All hooks, in the order in which they were added.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) handshake: Option<Hook<Handshake, Verdict>>,
    pub(crate) opened: Vec<Hook<Session, ()>>,
    pub(crate) closed: Vec<Closed>,
    pub(crate) before: Vec<Hook<Call, Result<Call, CallError>>>,
    pub(crate) after: Vec<After>,
}

/// Puts the future of a hook on the heap.
pub(crate) fn boxed<I, Fut>(hook: impl Fn(I) -> Fut + Send + Sync + 'static) -> Hook<I, Fut::Output>
where
    Fut: Future + Send + 'static,
{
    Arc::new(move |input| Box::pin(hook(input)))
}
