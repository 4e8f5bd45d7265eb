//! Any bytes as a stream of packages, cut in any way.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz::pomelo_packages(data));
