//! The program as a whole: processes, sockets, signals.

linkspan_tests::binary_tests!(env!("CARGO_BIN_EXE_linkspan"));
