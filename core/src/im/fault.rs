//! What a call is answered with.

use alloc::borrow::Cow;

/// What is wrong with a request, by the codes that IM clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Fault {
    /// 100: the frame is not a request.
    Undecodable,
    /// 1001: no such function, somebody else's user id, an argument of a wrong type, or a failure inside the function.
    Parameter,
    /// 1001: the arguments are not a JSON object.
    NotAnObject,
    /// 1001: an argument is missing.
    KeyMissing,
    /// 1002: the user is being logged in.
    LoginPending,
    /// 1003: the user is not logged in.
    NotLoggedIn,
    /// 1004: the user is not logged in yet, or the function did not answer in time.
    NotLoaded,
}

impl Fault {
    /// The number on the wire.
    pub const fn code(self) -> i32 {
        match self {
            Self::Undecodable => 100,
            Self::Parameter | Self::NotAnObject | Self::KeyMissing => 1001,
            Self::LoginPending => 1002,
            Self::NotLoggedIn => 1003,
            Self::NotLoaded => 1004,
        }
    }

    /// The words on the wire.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Undecodable => "Unmarshal failed",
            Self::Parameter => "Request Parameter Error",
            Self::NotAnObject => "unmarshal failed",
            Self::KeyMissing => "key not in",
            Self::LoginPending => "Login Pending, Try after 5 seconds",
            Self::NotLoggedIn => "No Login, first Login",
            Self::NotLoaded => "resource loading is not completed",
        }
    }
}

/// What a call is answered with; the event name and the operation id are the call's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Answer {
    /// 0 is success.
    pub code: i32,
    /// What went wrong.
    pub message: Cow<'static, str>,
    /// The result, mostly JSON.
    pub data: Cow<'static, str>,
}

impl Answer {
    /// A success.
    pub fn success(data: impl Into<Cow<'static, str>>) -> Self {
        Self { code: 0, message: Cow::Borrowed(""), data: data.into() }
    }

    /// A failure by a code of the backend's own, such as 701 "token is timed out, please log in again".
    pub fn failure(code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), data: Cow::Borrowed("") }
    }
}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        Self::failure(fault.code(), fault.text())
    }
}
