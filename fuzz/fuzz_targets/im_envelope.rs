//! Any bytes as everything that an IM client may send.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_im::im_envelope(data));
