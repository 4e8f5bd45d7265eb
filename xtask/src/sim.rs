//! `cargo xtask sim`: the simulated world, built with optimisation.

use std::process::ExitCode;

use crate::Error;
use crate::command::{self, command};

/// Builds the program and hands the arguments on; its exit code is ours.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let build = [
        "cargo",
        "build",
        "--quiet",
        "--release",
        "-p",
        "linkspan-tests",
        "--no-default-features",
        "--bin",
        "sim",
    ];
    command::run(&mut command(&build))?;
    let status = command(&["target/release/sim"]).args(arguments).status()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
