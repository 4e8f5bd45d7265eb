//! Any life of an IM server's connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_im::im_server(data));
