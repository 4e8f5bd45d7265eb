//! Any text as the line of a flight recorder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_edge::record_line(data));
