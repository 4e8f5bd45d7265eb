//! What a tunnel may dial, and a rule about it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_tunnel::tunnel_policy(data));
