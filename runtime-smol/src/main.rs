#![forbid(unsafe_code)]
//! The gateway on smol.

use std::process::ExitCode;

fn main() -> ExitCode {
    linkspan_gateway::main::<linkspan_smol::Smol>()
}
