//! Users, their devices and their presence in the hub: against a naive model and a ledger, policy by policy, and
//! through the shell of a connection.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod identity {
    mod common;
    mod limits;
    mod machine;
    mod model;
    mod policies;
    mod presence;
    mod schedules;
    mod shell;
    mod storms;
    mod world;
}
