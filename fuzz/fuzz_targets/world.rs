//! Whole worlds: gateways, users, deeds and faults.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_world::world(data));
