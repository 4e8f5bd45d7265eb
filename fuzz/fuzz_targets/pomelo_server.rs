//! A server's connection: its configuration and everything that happens to it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_connection::pomelo_server(data));
