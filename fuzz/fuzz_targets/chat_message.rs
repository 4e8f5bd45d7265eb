//! Any bytes as a chat message, beside the plain rules.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| linkspan_tests::fuzz_chat::chat_message(data));
