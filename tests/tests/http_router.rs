//! The route table: recorded answers, rules one by one, and a brute-force reference.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod http_router {
    mod laws;
    mod machine;
    mod rules;
    mod vectors;
}
