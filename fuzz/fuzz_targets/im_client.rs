//! Any life of an IM client's connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_im::im_client(data));
