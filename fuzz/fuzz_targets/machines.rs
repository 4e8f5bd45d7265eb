//! The machines that are no connection: services, directory, drain, door.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_machines::machines(data));
