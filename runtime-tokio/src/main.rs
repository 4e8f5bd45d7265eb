#![forbid(unsafe_code)]
//! The gateway on Tokio.

use std::process::ExitCode;

fn main() -> ExitCode {
    linkspan_gateway::main::<linkspan_tokio::Tokio>()
}
