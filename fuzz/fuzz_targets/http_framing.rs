//! Any bytes as the requests of a connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_framing::http_framing(data));
