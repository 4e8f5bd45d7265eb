//! A route table beside its reference, and any text as patterns.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_http::http_router(data));
