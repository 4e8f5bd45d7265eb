//! Why a call fails, as the client is told.

use std::borrow::Cow;
use std::fmt;

use linkspan_core::pomelo::ErrorBody;

use crate::session::{BindError, PushError};

/// Why a call fails: a code, a text, optional metadata.
///
/// Errors of your own become one with `impl From<YourError> for CallError`, so that handlers can use `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError(Box<ErrorBody>);

impl CallError {
    /// An error with a code of your own.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(ErrorBody::new(code, message)))
    }

    /// `PIT-400`: the route or the argument cannot be understood.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorBody::BAD_REQUEST, message)
    }

    /// `PIT-404`: there is no such thing.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorBody::NOT_FOUND, message)
    }

    /// `PIT-500`: the server failed.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorBody::INTERNAL, message)
    }

    /// `PIT-000`: something that has no code.
    pub fn unknown(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorBody::UNKNOWN, message)
    }

    /// Adds one value by name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.metadata.insert(name.into(), value.into());
        self
    }

    /// What goes over the wire.
    pub fn body(&self) -> &ErrorBody {
        &self.0
    }

    pub(crate) fn into_body(self) -> ErrorBody {
        *self.0
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)
    }
}

impl std::error::Error for CallError {}

impl From<ErrorBody> for CallError {
    fn from(body: ErrorBody) -> Self {
        Self(Box::new(body))
    }
}

impl From<PushError> for CallError {
    fn from(error: PushError) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<BindError> for CallError {
    fn from(error: BindError) -> Self {
        match error {
            BindError::Name(_) => Self::bad_request(error.to_string()),
            // The code that pitaya gives it.
            _ => Self::unknown(error.to_string()),
        }
    }
}
