//! `cargo xtask fuzz`: every fuzz target for a while, stopping at the first that finds something.

use std::io::{BufRead as _, BufReader};
use std::process::{ExitCode, Stdio};

use crate::Error;
use crate::command::{command, strong};
use crate::setup::{Need, provide};

/// What the fuzzer tells when it ends.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stats {
    executions: u64,
    new_inputs: u64,
    /// Branches of the code that were reached.
    coverage: u64,
}

impl Stats {
    /// Takes over what one line of the fuzzer tells.
    fn read(&mut self, line: &str) {
        let number = |text: &str| text.trim().parse().unwrap_or_default();
        if let Some(rest) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = number(rest);
        } else if let Some(rest) = line.strip_prefix("stat::new_units_added:") {
            self.new_inputs = number(rest);
        } else if let Some(rest) = line.split(" cov: ").nth(1) {
            self.coverage = number(rest.split(' ').next().unwrap_or_default());
        }
    }
}

/// Runs one target; what it says is shown only if it finds something.
fn fuzz(name: &str, seconds: u64) -> Result<Stats, Error> {
    // New inputs go where git does not look; the committed corpus is only read.
    let found = format!("target/fuzz/corpus/{name}");
    std::fs::create_dir_all(&found)?;
    let (committed, limit) = (format!("tests/corpus/{name}"), format!("-max_total_time={seconds}"));
    // The crates forbid unsafe code: without the address sanitizer the same time tries three times as much.
    let words = ["cargo", "+nightly", "fuzz", "run", "-s", "none", name, &found, &committed, "--"];
    let mut fuzzer = command(&[words.as_slice(), &[&limit, "-timeout=10", "-print_final_stats=1"]].concat());
    // Optimising over all crates takes ten times as long to build, for some executions more.
    fuzzer.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    fuzzer.env_remove("RUSTUP_TOOLCHAIN").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = fuzzer.spawn().map_err(|error| format!("cargo cannot be started: {error}"))?;
    let (mut stats, mut said) = (Stats::default(), Vec::new());
    for line in BufReader::new(child.stderr.take().ok_or("no pipe")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        stats.read(&line);
        said.push(line);
    }
    if child.wait()?.success() {
        return Ok(stats);
    }
    let tail = said.split_off(said.len().saturating_sub(60));
    Err(format!("{}\n{name} has found something, or was not built", tail.join("\n")).into())
}

/// Reads the arguments and runs the task.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let (mut chosen, mut seconds) = (Vec::new(), 60);
    let known = targets()?;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seconds" => seconds = words.next().ok_or("--seconds needs a number")?.parse()?,
            name if known.iter().any(|known| known == name) => chosen.push(name.to_owned()),
            other => return Err(format!("no such target: {other}; there are {}", known.join(", ")).into()),
        }
    }
    provide(Need::CargoTool("cargo-fuzz"))?;
    provide(Need::Nightly)?;
    let mut rows = Vec::new();
    for name in known.iter().filter(|name| chosen.is_empty() || chosen.contains(name)) {
        println!("{}", strong(&format!("== {name} for {seconds} s")));
        let stats = fuzz(name, seconds)?;
        println!("{} executions, {} new inputs", stats.executions, stats.new_inputs);
        rows.push((name, stats));
    }
    println!(
        "\n| target | executions | per second | new inputs | coverage |\n| --- | --- | --- | --- | --- |"
    );
    for (name, Stats { executions, new_inputs, coverage }) in &rows {
        println!("| {name} | {executions} | {} | {new_inputs} | {coverage} |", executions / seconds.max(1));
    }
    let total: u64 = rows.iter().map(|(_, stats)| stats.executions).sum();
    println!("\n{} targets, {total} executions, nothing found", rows.len());
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

#[cfg(test)]
mod tests {
    use super::Stats;

    #[test]
    fn what_the_fuzzer_says_is_read() {
        let mut stats = Stats::default();
        for line in [
            "#2048\tpulse  cov: 312 ft: 900 corp: 12/300b exec/s: 1024 rss: 40Mb",
            "#4096\tDONE   cov: 313 ft: 901 corp: 13/310b",
            "stat::number_of_executed_units: 4096",
            "stat::new_units_added:          7",
            "something else",
        ] {
            stats.read(line);
        }
        assert_eq!(stats, Stats { executions: 4096, new_inputs: 7, coverage: 313 });
    }
}
