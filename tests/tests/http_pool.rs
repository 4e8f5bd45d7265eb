//! The connection pool: recorded scripts, rules one by one, and a model.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod http_pool {
    mod laws;
    mod machine;
    mod rules;
    mod scripts;
}
