//! Services: what an author of a server writes.
//!
//! ```
//! use linkspan_gateway::services::{Json, Service, Services};
//! use linkspan_gateway::session::{PushError, Session};
//! use bytes::Bytes;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Add { a: i64, b: i64 }
//! #[derive(Serialize)]
//! struct Sum { sum: i64 }
//!
//! async fn add(Json(Add { a, b }): Json<Add>) -> Json<Sum> {
//!     Json(Sum { sum: a.saturating_add(b) })
//! }
//!
//! async fn shout(session: Session, text: Bytes) -> Result<(), PushError> {
//!     session.push("onShout", text.to_ascii_uppercase())
//! }
//!
//! let services = Services::new().service(Service::new("Math").request("Add", add).notify("Shout", shout));
//! ```
//!
//! The handlers of one session run one after the other, in the order in which its messages came; those of different
//! sessions run in parallel. A handler is a part of its connection's task: it must not block the thread, and it is dropped
//! at its next `await` when the connection ends, or when the caller has waited for too long. What must outlive that belongs
//! into a task of its own. A panic costs its own request only.

mod error;
mod extract;
mod handler;
mod hooks;
mod table;

use std::future::Future;
use std::sync::Arc;

use linkspan_core::CloseReason;

pub use self::error::CallError;
pub use self::extract::{Call, FromCall, IntoAnswer, Json, Outcome};
pub(crate) use self::handler::BoxFuture;
pub use self::handler::{Handler, Plain, Reply, plain};
pub(crate) use self::hooks::Hooks;
pub use self::hooks::{Accept, Handshake, Refuse, Verdict};
pub use self::table::ServicesError;
pub(crate) use self::table::{Entry, Table};
use crate::im::ImService;
use crate::session::Session;

/// Which kind of message a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Notify,
}

/// One named set of routes: `Name.Method`.
pub struct Service {
    pub(crate) name: Box<str>,
    pub(crate) methods: Vec<(Box<str>, Kind, handler::Erased)>,
}

impl Service {
    /// A service without methods.
    pub fn new(name: impl Into<Box<str>>) -> Self {
        Self { name: name.into(), methods: Vec::new() }
    }

    /// Adds a route that answers. A notification to it runs it and drops the answer.
    #[must_use]
    pub fn request<Args: 'static>(self, method: impl Into<Box<str>>, handler: impl Handler<Args>) -> Self {
        self.method(method.into(), Kind::Request, handler::erase(handler))
    }

    /// Adds a route that does not answer. A request to it is answered with `PIT-400`.
    #[must_use]
    pub fn notify<Args: 'static>(self, method: impl Into<Box<str>>, handler: impl Handler<Args>) -> Self {
        self.method(method.into(), Kind::Notify, handler::erase(handler))
    }

    fn method(mut self, method: Box<str>, kind: Kind, handler: handler::Erased) -> Self {
        self.methods.push((method, kind, handler));
        self
    }
}

/// All services of a gateway, and what runs around them.
#[derive(Default)]
pub struct Services {
    pub(crate) services: Vec<Service>,
    pub(crate) hooks: Hooks,
    pub(crate) panic_text: bool,
    pub(crate) im: ImService,
}

impl Services {
    /// No services, no hooks: every handshake is accepted, every route unknown.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service.
    #[must_use]
    pub fn service(mut self, service: Service) -> Self {
        self.services.push(service);
        self
    }

    /// Decides on every handshake. Nothing else of the client is looked at before.
    #[must_use]
    pub fn handshake<Fut>(mut self, validator: impl Fn(Handshake) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = Verdict> + Send + 'static,
    {
        self.hooks.handshake = Some(hooks::boxed(validator));
        self
    }

    /// Runs when a session has begun, before its first message.
    #[must_use]
    pub fn opened<Fut>(mut self, hook: impl Fn(Session) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.hooks.opened.push(hooks::boxed(hook));
        self
    }

    /// Runs when a connection whose handshake was accepted has ended. Must not block.
    #[must_use]
    pub fn closed(mut self, hook: impl Fn(&Session, CloseReason) + Send + Sync + 'static) -> Self {
        self.hooks.closed.push(Arc::new(hook));
        self
    }

    /// Runs before every handler; may change the call, or end it with an error.
    #[must_use]
    pub fn before<Fut>(mut self, hook: impl Fn(Call) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = Result<Call, CallError>> + Send + 'static,
    {
        self.hooks.before.push(hooks::boxed(hook));
        self
    }

    /// Runs after every handler; may change the outcome.
    #[must_use]
    pub fn after<Fut>(mut self, hook: impl Fn(Call, Outcome) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        self.hooks.after.push(Arc::new(move |call, outcome| Box::pin(hook(call, outcome))));
        self
    }

    /// What IM clients may call. Without it they can log in, and nothing else.
    #[must_use]
    pub fn im(mut self, service: ImService) -> Self {
        self.im = service;
        self
    }

    /// Whether clients see the text of a panic. Off by default: it may tell more than they should know.
    #[must_use]
    pub fn panic_text(mut self, shown: bool) -> Self {
        self.panic_text = shown;
        self
    }
}
