//! Any life of a chat client's connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_chat::chat_client(data));
