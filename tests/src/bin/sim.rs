#![forbid(unsafe_code)]
//! The simulated world from the command line: `cargo xtask sim`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    linkspan_tests::world::cli::main(&arguments)
}
