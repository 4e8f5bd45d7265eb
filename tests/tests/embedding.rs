//! The examples of drivers, as they stand, with real clients on real sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[allow(dead_code, unreachable_pub, reason = "an example has a `main` of its own")]
#[path = "../../core/examples/blocking.rs"]
mod blocking;
#[allow(dead_code, unreachable_pub, reason = "an example has a `main` of its own")]
#[path = "../../core/examples/blocking_chat.rs"]
mod blocking_chat;
#[allow(dead_code, unreachable_pub, reason = "an example has a `main` of its own")]
#[path = "../../core/examples/readiness.rs"]
mod readiness;

mod embedding {
    mod chat;
    mod pomelo;
}
