//! A tunnel session with a hostile peer and a careless application.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_tunnel::tunnel_session(data));
