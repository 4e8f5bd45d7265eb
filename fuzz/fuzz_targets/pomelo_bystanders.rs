//! Two servers' connections that share all they may share.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_connection::pomelo_bystanders(data));
