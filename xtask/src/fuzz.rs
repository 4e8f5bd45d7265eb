//! `cargo xtask fuzz`: every fuzz target for a while, stopping at the first that finds something.

use std::process::ExitCode;

use crate::Error;
use crate::command::{self, command, exists, strong};

fn run_targets(target: Option<&str>, seconds: u64) -> Result<(), Error> {
    if !exists("cargo-fuzz") {
        return Err("cargo-fuzz is missing: cargo install cargo-fuzz".into());
    }
    for name in targets()?.iter().filter(|name| target.is_none_or(|target| target == *name)) {
        println!("{}", strong(&format!("== {name} for {seconds} s")));
        // The crates forbid unsafe code: without the address sanitizer the same time tries three times as much.
        let limit = format!("-max_total_time={seconds}");
        let words = ["cargo", "+nightly", "fuzz", "run", "-s", "none", name, "--", &limit, "-timeout=10"];
        command::run(command(&words).env_remove("RUSTUP_TOOLCHAIN"))?;
    }
    Ok(())
}

/// Reads the arguments and runs the task.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let (mut target, mut seconds) = (None, 60);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seconds" => seconds = words.next().ok_or("--seconds needs a number")?.parse()?,
            name if targets()?.iter().any(|known| known == name) => target = Some(name),
            other => {
                return Err(format!("no such target: {other}; there are {}", targets()?.join(", ")).into());
            }
        }
    }
    run_targets(target, seconds)?;
    Ok(ExitCode::SUCCESS)
}

/// The names of the fuzz targets: one file each.
fn targets() -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for file in std::fs::read_dir("fuzz/fuzz_targets")? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}
