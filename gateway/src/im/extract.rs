//! What functions take and what they return.

use linkspan_core::im::{Answer, Fault};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Call, Caller};
use crate::services::Json;

/// What a function may take as an argument.
pub trait FromCall: Sized {
    /// Takes the argument out of a call.
    ///
    /// # Errors
    ///
    /// What the client is answered if the argument is not there.
    fn from_call(call: &Call) -> Result<Self, Answer>;
}

impl FromCall for Call {
    fn from_call(call: &Call) -> Result<Self, Answer> {
        Ok(call.clone())
    }
}

impl FromCall for Caller {
    fn from_call(call: &Call) -> Result<Self, Answer> {
        Ok(call.caller.clone())
    }
}

/// The arguments as they came.
impl FromCall for String {
    fn from_call(call: &Call) -> Result<Self, Answer> {
        Ok(call.data.clone())
    }
}

/// The arguments as JSON; what cannot be read is answered with 1001.
impl<T: DeserializeOwned> FromCall for Json<T> {
    fn from_call(call: &Call) -> Result<Self, Answer> {
        serde_json::from_str(&call.data).map(Json).map_err(|error| {
            tracing::debug!(%error, "the arguments cannot be read");
            Fault::Parameter.into()
        })
    }
}

/// What a function may return.
pub trait IntoAnswer {
    /// What the client is answered.
    fn into_answer(self) -> Answer;
}

impl IntoAnswer for Answer {
    fn into_answer(self) -> Answer {
        self
    }
}

impl IntoAnswer for () {
    fn into_answer(self) -> Answer {
        Answer::success("")
    }
}

impl IntoAnswer for String {
    fn into_answer(self) -> Answer {
        Answer::success(self)
    }
}

impl IntoAnswer for &'static str {
    fn into_answer(self) -> Answer {
        Answer::success(self)
    }
}

impl<T: Serialize> IntoAnswer for Json<T> {
    fn into_answer(self) -> Answer {
        serde_json::to_string(&self.0).map_or_else(
            |error| {
                tracing::error!(%error, "an answer cannot be written as JSON");
                Fault::Parameter.into()
            },
            Answer::success,
        )
    }
}

impl<T: IntoAnswer, E: Into<Answer>> IntoAnswer for Result<T, E> {
    fn into_answer(self) -> Answer {
        self.map_or_else(Into::into, T::into_answer)
    }
}
