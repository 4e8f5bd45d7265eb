//! Any bytes as a compressed body.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz::inflate(data));
