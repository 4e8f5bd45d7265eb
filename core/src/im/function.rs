//! Which functions there are, and what arguments they take.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::Fault;
use super::builtin::BUILTIN;
use crate::json::{self, Invalid, Literal};

/// The JSON type of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Anything but nothing.
    Any,
    /// `true` or `false`.
    Bool,
    /// A number.
    Number,
    /// A string; lists and messages too are JSON inside of one.
    String,
}

impl Kind {
    fn fits(self, value: Literal<'_>) -> bool {
        let text = value.as_str();
        match self {
            Self::Any => true,
            Self::Bool => matches!(text, "true" | "false"),
            Self::Number => text.starts_with(|first: char| first == '-' || first.is_ascii_digit()),
            Self::String => text.starts_with('"'),
        }
    }
}

/// How a function of the original answers. Ours answers all in the same way, at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Style {
    /// Before it returns.
    Direct,
    /// Some time later.
    Callback,
}

/// One argument: its name, and its type.
type Argument = (Cow<'static, str>, Kind);

/// What stands in `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// Any text; the function looks at it.
    Raw,
    /// A JSON object.
    Object {
        /// What must be in it. A name is case-sensitive here.
        required: Vec<Argument>,
        /// What is read without asking whether it is there: a wrong type is as bad as none.
        read: Vec<Argument>,
    },
}

/// What is known about a function before it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// How it answers.
    pub style: Style,
    /// What it takes.
    pub input: Input,
}

impl Function {
    /// A function that looks at the text in `data` by itself.
    pub const fn raw() -> Self {
        Self { style: Style::Callback, input: Input::Raw }
    }

    /// A function whose `data` is an object with these members.
    pub fn object<N: Into<Cow<'static, str>>>(required: impl IntoIterator<Item = (N, Kind)>) -> Self {
        let required = required.into_iter().map(|(name, kind)| (name.into(), kind)).collect();
        Self { style: Style::Callback, input: Input::Object { required, read: Vec::new() } }
    }

    /// Looks at the arguments, in the original's order: the object, the names, and, once the user is logged in, the
    /// types.
    fn check(&self, data: &str) -> Check {
        let Input::Object { required, read } = &self.input else { return Check::Passed };
        // Of each argument, once it was seen, whether it is of its type.
        let mut fits: Vec<Option<bool>> = alloc::vec![None; required.len() + read.len()];
        let outcome = object(data, |name, value| {
            for ((known, kind), fits) in required.iter().chain(read).zip(&mut fits) {
                if *known == name {
                    *fits = Some(kind.fits(value));
                }
            }
        });
        if outcome.is_err() {
            return Check::Shape(Fault::NotAnObject);
        }
        if fits[..required.len()].contains(&None) {
            return Check::Shape(Fault::KeyMissing);
        }
        if fits.iter().all(|fits| *fits == Some(true)) { Check::Passed } else { Check::Types }
    }
}

/// What was found out about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The function exists and its arguments are right.
    Passed,
    /// There is no such function.
    Unknown,
    /// The arguments are not an object, or one is missing.
    Shape(Fault),
    /// An argument is of a wrong type.
    Types,
}

/// The functions that clients may call; everything else is unknown.
#[derive(Clone, Debug)]
pub struct Functions(BTreeMap<Cow<'static, str>, Function>);

impl Default for Functions {
    /// All functions of the v2 clients.
    fn default() -> Self {
        Self(BUILTIN.iter().map(|one| (Cow::Borrowed(one.name), one.function())).collect())
    }
}

impl Functions {
    /// The function that logs a user in; it is no entry of the table.
    pub const LOGIN: &'static str = "Login";

    /// No function at all.
    pub const fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a function, or replaces what is known about it.
    pub fn register(&mut self, name: impl Into<Cow<'static, str>>, function: Function) {
        self.0.insert(name.into(), function);
    }

    /// What is known about a function.
    pub fn get(&self, name: &str) -> Option<&Function> {
        self.0.get(name)
    }

    /// Every function, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Function)> {
        self.0.iter().map(|(name, function)| (&**name, function))
    }

    /// Looks at a call before anybody else does.
    pub fn check(&self, name: &str, data: &str) -> Check {
        self.get(name).map_or(Check::Unknown, |function| function.check(data))
    }
}

/// Reads the members of a JSON object, by exact name; the last one of a name counts.
fn object<'a>(data: &'a str, mut each: impl FnMut(&str, Literal<'a>)) -> Result<(), Invalid> {
    json::members(data.as_bytes(), |name, value| {
        let is_number = Kind::Number.fits(value);
        // What no number can hold is no number.
        if is_number && !value.as_str().parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(Invalid);
        }
        each(name, value);
        Ok(())
    })
}

/// The two strings of a login.
pub(super) fn credentials(data: &str) -> Result<(String, String), Fault> {
    let (mut user, mut token) = (None, None);
    let outcome = object(data, |name, value| match name {
        "userID" => user = Some(value),
        "token" => token = Some(value),
        _ => {}
    });
    outcome.map_err(|_| Fault::NotAnObject)?;
    let [user, token] = [user.ok_or(Fault::KeyMissing)?, token.ok_or(Fault::KeyMissing)?];
    let text = |value: Literal<'_>| value.text().ok().flatten().map(Cow::into_owned).ok_or(Fault::Parameter);
    Ok((text(user)?, text(token)?))
}

/// A row of the built-in table.
pub(super) struct Builtin {
    name: &'static str,
    style: Style,
    /// `None` is raw.
    required: Option<&'static [(&'static str, Kind)]>,
    read: &'static [(&'static str, Kind)],
}

impl Builtin {
    pub(super) const fn raw(name: &'static str, style: Style) -> Self {
        Self { name, style, required: None, read: &[] }
    }

    pub(super) const fn object(
        name: &'static str,
        style: Style,
        required: &'static [(&'static str, Kind)],
    ) -> Self {
        Self { name, style, required: Some(required), read: &[] }
    }

    pub(super) const fn reads(mut self, read: &'static [(&'static str, Kind)]) -> Self {
        self.read = read;
        self
    }

    fn function(&self) -> Function {
        let owned = |arguments: &[(&'static str, Kind)]| {
            arguments.iter().map(|(name, kind)| (Cow::Borrowed(*name), *kind)).collect()
        };
        let input = match self.required {
            None => Input::Raw,
            Some(required) => Input::Object { required: owned(required), read: owned(self.read) },
        };
        Function { style: self.style, input }
    }
}
