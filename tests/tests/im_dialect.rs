//! The IM dialect: recorded scripts, every step of door, connection and session, and what an attacker may try.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod im_dialect {
    mod checks;
    mod door;
    mod envelope;
    mod functions;
    mod laws;
    mod removal;
    mod server;
    mod threats;
    mod user;
    mod vectors;
    mod world;
}
