//! Addresses, networks, origins and greetings of tunnels.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_edge::edge_and_hello(data));
