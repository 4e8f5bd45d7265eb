//! The machines around connection and hub: gate, edge, back-off, drain and wheel.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod small_machines {
    mod backoff;
    mod drain;
    mod edge;
    mod ends;
    mod gate;
    mod limits;
    mod outbox;
    mod redial;
    mod time;
    mod wheel;
}
