//! Any bytes as a message.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz::pomelo_message(data));
