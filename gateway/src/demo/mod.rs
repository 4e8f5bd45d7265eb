//! Services to try a gateway with: an echo in many forms, and a chat room.

pub(crate) mod agent;
mod echo;
pub(crate) mod origin;
mod room;

use linkspan_runtime::Runtime;

use crate::services::Services;

/// The services of `demo` and `serve --demo-services`: `Echo.*` and `room.*`.
pub fn services<R: Runtime>(runtime: &R) -> Services {
    room::add(Services::new().service(echo::service(runtime)))
}
