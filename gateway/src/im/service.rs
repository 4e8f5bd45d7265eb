//! The open table of functions.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use linkspan_core::im::{Answer, Function, Functions};

use super::handler::{Erased, Handler, erase};
use super::{Call, Login};
use crate::services::BoxFuture;

type LoginHook = Box<dyn Fn(Login) -> BoxFuture<Answer> + Send + Sync>;
type EndedHook = Arc<dyn Fn(&str) + Send + Sync>;

/// What IM clients may call.
///
/// ```
/// use linkspan_core::im::Answer;
/// use linkspan_gateway::im::{Caller, ImService};
/// use linkspan_gateway::services::Json;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// #[serde(rename_all = "camelCase")]
/// struct Send { message: String, #[serde(rename = "recvID")] receiver: String }
///
/// async fn send(caller: Caller, Json(Send { message, receiver }): Json<Send>) -> Result<String, Answer> {
///     let to = linkspan_core::Key::new(&receiver).map_err(|_| Answer::failure(803, "args failed"))?;
///     caller.switchboard().push_to(&to, "OnRecvNewMessage", message.clone());
///     Ok(message)
/// }
///
/// #[derive(Serialize)]
/// struct Weather { degrees: i32 }
///
/// let service = ImService::new()
///     .function("SendMessage", send)
///     .function("GetWeather", async |city: String| Json(Weather { degrees: city.len() as i32 }));
/// ```
///
/// `Login`, `Logout`, `GetLoginStatus` and `GetLoginUser` are the session's own and always there. The functions of one
/// connection run one after the other, in the order in which they were called; those of different connections run in
/// parallel. A function is a part of its connection's task: it must not block the thread, and it is dropped at its next
/// `await` when the connection ends, or [`request_timeout`](linkspan_core::Limits::request_timeout) after the call has
/// come. A panic costs its own call only: the caller gets 1001.
#[derive(Default)]
pub struct ImService {
    table: Table,
    reserved: Option<Box<str>>,
}

/// What the functions come to: looked up by many connections at once, and never changed.
#[derive(Default)]
pub(super) struct Table {
    known: HashMap<Box<str>, (Function, Erased)>,
    login: Option<LoginHook>,
    ended: Vec<EndedHook>,
}

/// The functions that the session answers itself.
const OWN: [&str; 4] = [Functions::LOGIN, "Logout", "GetLoginStatus", "GetLoginUser"];

/// A function has a name that the session answers itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the IM function `{name}` is answered by the session itself: give yours another name")]
pub struct ReservedName {
    /// The name.
    pub name: Box<str>,
}

impl ImService {
    /// Nothing but what the session answers itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function, or replaces one. The arguments of one that v2 clients know are checked as the original does;
    /// another one takes any text.
    #[must_use]
    pub fn function<Args: 'static>(self, name: impl Into<Box<str>>, handler: impl Handler<Args>) -> Self {
        let name = name.into();
        let known = Functions::default().get(&name).cloned().unwrap_or_else(Function::raw);
        self.function_with(name, known, handler)
    }

    /// Adds a function, or replaces one, with arguments that are checked before it is called.
    #[must_use]
    pub fn function_with<Args: 'static>(
        mut self,
        name: impl Into<Box<str>>,
        arguments: Function,
        handler: impl Handler<Args>,
    ) -> Self {
        let name = name.into();
        if OWN.contains(&&*name) {
            self.reserved.get_or_insert(name);
        } else {
            self.table.known.insert(name, (arguments, erase(handler)));
        }
        self
    }

    /// Decides on every login whose token is valid: anything but code 0 refuses it.
    #[must_use]
    pub fn login<Fut>(mut self, hook: impl Fn(Login) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = Answer> + Send + 'static,
    {
        self.table.login = Some(Box::new(move |login| Box::pin(hook(login))));
        self
    }

    /// Runs with the user's name when a session that was logged in, or about to be, has ended. Must not block.
    #[must_use]
    pub fn ended(mut self, hook: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.table.ended.push(Arc::new(hook));
        self
    }

    pub(crate) fn check(&self) -> Result<(), ReservedName> {
        self.reserved.clone().map_or(Ok(()), |name| Err(ReservedName { name }))
    }

    pub(super) fn into_table(self) -> Table {
        self.table
    }
}

impl Table {
    /// What the dialect knows about the functions.
    pub(super) fn functions(&self) -> Functions {
        let mut functions = Functions::none();
        for name in &OWN[1..] {
            functions.register(*name, Function::raw());
        }
        for (name, (arguments, _)) in &self.known {
            functions.register(name.to_string(), arguments.clone());
        }
        functions
    }

    /// Starts a call. The dialect lets nobody call what is not there.
    pub(super) fn start(&self, call: &Call) -> Result<BoxFuture<Answer>, Answer> {
        match self.known.get(&call.function) {
            Some((_, handler)) => handler(call),
            None => Err(linkspan_core::im::Fault::Parameter.into()),
        }
    }

    /// What decides on a login beside its token.
    pub(super) async fn login(&self, login: Login) -> Answer {
        match &self.login {
            Some(hook) => hook(login).await,
            None => Answer::success(""),
        }
    }

    pub(super) fn ended(&self, user: &str) {
        for hook in &self.ended {
            hook(user);
        }
    }
}
