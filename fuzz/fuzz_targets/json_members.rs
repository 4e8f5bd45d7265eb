//! Any bytes as JSON, beside the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_http::json_members(data));
