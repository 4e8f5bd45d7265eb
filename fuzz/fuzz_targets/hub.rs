//! A hub beside its model and a ledger.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_hub::hub(data));
