//! `cargo xtask sim`: the simulated world, built with optimisation and with all checks.

use std::process::ExitCode;

use crate::Error;
use crate::command::{self, command};

/// Builds the program and hands the arguments on; its exit code is ours.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let build = [
        "cargo",
        "build",
        "--quiet",
        "--profile",
        "sim",
        "-p",
        "linkspan-tests",
        "--no-default-features",
        "--bin",
        "sim",
    ];
    command::run(&mut command(&build))?;
    let status = command(&["target/sim/sim"]).args(arguments).status()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
