//! What handlers take and what they return.

use bytes::Bytes;
use linkspan_core::pomelo::decode_text;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CallError;
use crate::session::Session;

/// One message of a client, on its way to a handler.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose message it is.
    pub session: Session,
    /// The full route, `Service.Method`.
    pub route: Bytes,
    /// The payload.
    pub body: Bytes,
}

/// How a call ends: with the answer's payload, or with the error that the client gets.
pub type Outcome = Result<Bytes, CallError>;

/// What a handler may take as an argument.
pub trait FromCall: Sized {
    /// Takes the argument out of a call.
    ///
    /// # Errors
    ///
    /// What the client is answered if the argument is not there.
    fn from_call(call: &Call) -> Result<Self, CallError>;
}

impl FromCall for Session {
    fn from_call(call: &Call) -> Result<Self, CallError> {
        Ok(call.session.clone())
    }
}

/// The raw payload; shared with the read buffer, not copied.
impl FromCall for Bytes {
    fn from_call(call: &Call) -> Result<Self, CallError> {
        Ok(call.body.clone())
    }
}

impl FromCall for Call {
    fn from_call(call: &Call) -> Result<Self, CallError> {
        Ok(call.clone())
    }
}

/// A payload as JSON.
///
/// As an argument it reads the payload; what cannot be read is answered with `PIT-400`. Surrogate pairs encoded one by
/// one (CESU-8, as JavaScript clients of the pomelo family do) become the characters they mean. As an answer it writes
/// the payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(
    /// The value.
    pub T,
);

impl<T: DeserializeOwned> Json<T> {
    /// Reads `body`.
    ///
    /// # Errors
    ///
    /// Where the JSON is wrong.
    pub fn from_bytes(body: &[u8]) -> Result<Self, serde_json::Error> {
        // Nearly all text is UTF-8 already: repair only what the parser refused.
        serde_json::from_slice(body).or_else(|_| serde_json::from_str(&decode_text(body))).map(Self)
    }
}

impl<T: Serialize> Json<T> {
    /// Writes the value.
    ///
    /// # Errors
    ///
    /// If the value has no form in JSON.
    pub fn to_bytes(&self) -> Result<Bytes, serde_json::Error> {
        serde_json::to_vec(&self.0).map(Bytes::from)
    }
}

impl<T: DeserializeOwned> FromCall for Json<T> {
    fn from_call(call: &Call) -> Result<Self, CallError> {
        Self::from_bytes(&call.body)
            .map_err(|error| CallError::bad_request(format!("cannot read the argument: {error}")))
    }
}

/// What a handler may return.
pub trait IntoAnswer {
    /// The answer's payload or the error.
    ///
    /// # Errors
    ///
    /// What the client is answered instead.
    fn into_answer(self) -> Outcome;
}

impl IntoAnswer for () {
    fn into_answer(self) -> Outcome {
        Ok(Bytes::new())
    }
}

macro_rules! raw_answers {
    ($($raw:ty),*) => {
        $(impl IntoAnswer for $raw {
            fn into_answer(self) -> Outcome {
                Ok(Bytes::from(self))
            }
        })*
    };
}

raw_answers!(Bytes, Vec<u8>, String, &'static str, &'static [u8]);

impl<T: Serialize> IntoAnswer for Json<T> {
    fn into_answer(self) -> Outcome {
        self.to_bytes()
            .map_err(|error| CallError::internal(format!("the answer cannot be written as JSON: {error}")))
    }
}

impl<T: IntoAnswer, E: Into<CallError>> IntoAnswer for Result<T, E> {
    fn into_answer(self) -> Outcome {
        self.map_err(Into::into).and_then(T::into_answer)
    }
}
