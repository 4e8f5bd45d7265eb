//! Routes of a proxy, its queries and its headers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_edge::http_upstream(data));
