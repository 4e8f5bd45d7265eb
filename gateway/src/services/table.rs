//! Which handler serves a route.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use linkspan_core::services::{Config, Event, Target};
use linkspan_core::{Actions, ConnId, Instant, Machine, ServiceName};

use super::handler::{Erased, Reply};
use super::hooks::Hooks;
use super::{Call, CallError, Kind, Services};

/// One route's handler.
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    handler: Erased,
}

impl Entry {
    pub(crate) fn start(&self, call: &Call) -> Reply {
        (self.handler)(call)
    }
}

/// What the services of a gateway come to: looked up by many connections at once, and never changed.
pub(crate) struct Table {
    routes: HashMap<Box<[u8]>, Entry>,
    /// What is not in `routes` is asked of the core's table, which also knows other nodes.
    routing: Mutex<linkspan_core::services::Services>,
    pub(crate) hooks: Hooks,
    pub(crate) panic_text: bool,
}

impl Table {
    /// The longest route a message can carry.
    const ROUTE_MAX: usize = 255;

    pub(crate) fn new(services: Services) -> Result<Self, ServicesError> {
        let mut routes = HashMap::new();
        let mut routing = linkspan_core::services::Services::new(Config::default());
        for service in services.services {
            let name = ServiceName::new(service.name.as_bytes())
                .map_err(|_| ServicesError::Malformed { route: format!("{}.", service.name) })?;
            routing.handle_event(Instant::ORIGIN, Event::LocalAdded(name), &mut Actions::new());
            for (method, kind, handler) in service.methods {
                let route = format!("{}.{method}", service.name);
                // A route is split at its last dot, so a service's name may have dots and a method's may not.
                if method.is_empty() || method.contains('.') {
                    return Err(ServicesError::Malformed { route });
                }
                if route.len() > Self::ROUTE_MAX {
                    return Err(ServicesError::TooLong { route });
                }
                let entry = Entry { kind, handler };
                if routes.insert(route.clone().into_bytes().into_boxed_slice(), entry).is_some() {
                    return Err(ServicesError::Twice { route });
                }
            }
        }
        Ok(Self {
            routes,
            routing: Mutex::new(routing),
            hooks: services.hooks,
            panic_text: services.panic_text,
        })
    }

    /// The handler of `route`.
    pub(crate) fn resolve(&self, conn: ConnId, route: &[u8]) -> Result<&Entry, CallError> {
        self.routes.get(route).ok_or_else(|| self.miss(conn, route))
    }

    /// Why `route` has no handler here.
    fn miss(&self, conn: ConnId, route: &[u8]) -> CallError {
        let shown = route.escape_ascii();
        match self.routing.lock().unwrap_or_else(PoisonError::into_inner).resolve(conn, route) {
            Target::Malformed => CallError::bad_request(format!("route is not `Service.Method`: {shown}")),
            Target::Local { .. } | Target::Remote { .. } | Target::Unknown => {
                CallError::not_found(format!("route not found: {shown}"))
            }
        }
    }
}

/// What is wrong with a set of services.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServicesError {
    /// A service or a method without a name, or a method with a dot in it.
    #[error("`{route}` is not a route: it must be `Service.Method`, and a method has no dot")]
    Malformed {
        /// The route.
        route: String,
    },
    /// A route that no message can carry.
    #[error("route `{route}` is longer than 255 bytes")]
    TooLong {
        /// The route.
        route: String,
    },
    /// Two handlers for one route.
    #[error("route `{route}` is there twice")]
    Twice {
        /// The route.
        route: String,
    },
}
