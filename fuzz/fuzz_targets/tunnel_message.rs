//! Any bytes as one message of a tunnel.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_tunnel::tunnel_message(data));
