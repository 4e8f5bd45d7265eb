//! `cargo xtask fuzz`: every fuzz target for a while, stopping at the first that finds something. And for some seconds,
//! as a step of `cargo xtask test`.

use std::io::{BufRead as _, BufReader};
use std::num::NonZeroU64;
use std::process::{ExitCode, Stdio};
use std::sync::Mutex;

use crate::Error;
use crate::command::{self, command, output, strong};
use crate::setup::{Need, provide};
use crate::test::cargo_command;

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

/// What makes the compiler count the branches that are taken, as cargo-fuzz asks for it. Stable can do that, too; only
/// sanitizers need nightly.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0";

/// Where [`smoke`] builds, and keeps what it finds.
const SMOKE: &str = "target/fuzz-smoke";
/// For how long and for how many inputs each target runs there, and what it draws from. A gate should say the same of
/// the same tree: what is quick has had its inputs long before its time is over. Chance is for `cargo xtask fuzz`.
const SMOKE_LIMITS: [&str; 4] = ["-max_total_time=3", "-runs=20000", "-seed=1", "-timeout=10"];
/// How many run at once.
const SMOKE_LANES: usize = 2;

/// Every target for some seconds, with the toolchain in use and without cargo-fuzz: whether it starts, and finds
/// nothing at once.
pub(crate) fn smoke() -> Result<(), Error> {
    let about = output(&mut command(&["rustc", "-vV"]))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc names no host")?;
    // With a target, even the host's own, the flags are not those of build scripts and macros, which no fuzzer runs.
    let words =
        ["build", "--release", "-p", "linkspan-fuzz", "--bins", "--target", host, "--target-dir", SMOKE];
    let mut build = cargo_command(&words);
    build.env("RUSTFLAGS", COVERAGE).env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    build.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    build.env("CARGO_PROFILE_RELEASE_DEBUG", "0").env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
    command::run(build.env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true"))?;
    let (names, folder) = (targets()?, format!("{SMOKE}/{host}/release"));
    let (next, stopped) = (Mutex::new(names.iter()), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..SMOKE_LANES {
            scope.spawn(|| {
                let take = || next.lock().ok().and_then(|mut names| names.next());
                while let Some(name) = take() {
                    let text = match smoke_one(&folder, name) {
                        Ok(executions) => {
                            println!("{name:<20} {executions:>9} executions");
                            continue;
                        }
                        Err(error) => error.to_string(),
                    };
                    if let Ok(mut stopped) = stopped.lock() {
                        stopped.get_or_insert(text);
                    }
                    // Whoever finds something leaves nothing for the others.
                    while take().is_some() {}
                }
            });
        }
    });
    stopped.into_inner()?.map_or(Ok(()), |text| Err(text.into()))
}

/// Runs one target that is built; gives how much it tried.
fn smoke_one(folder: &str, name: &str) -> Result<u64, Error> {
    let (program, committed) = (format!("{folder}/{name}"), format!("tests/corpus/{name}"));
    let (corpus, found) = (format!("{SMOKE}/corpus/{name}"), format!("{SMOKE}/found/{name}-"));
    // What an earlier run has kept would change what this one draws.
    let _ = std::fs::remove_dir_all(&corpus);
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(format!("{SMOKE}/found"))?;
    let prefix = format!("-artifact_prefix={found}");
    let words =
        [&[&*program, &corpus, &committed, &prefix, "-print_final_stats=1"], &SMOKE_LIMITS[..]].concat();
    let result = command(&words).stdin(Stdio::null()).stdout(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&result.stderr);
    let mut stats = Stats::default();
    said.lines().for_each(|line| stats.read(line));
    if result.status.success() {
        return Ok(stats.executions);
    }
    let kept = said.lines().find_map(|line| line.split("Test unit written to ").nth(1)).unwrap_or(&committed);
    let lines: Vec<&str> = said.lines().collect();
    let tail = lines[lines.len().saturating_sub(40)..].join("\n");
    Err(format!(
        "{tail}\n{name} has found something. Once more: {program} {kept}\n\
         or put that file into {committed}, and: cargo test -p linkspan-tests --no-default-features --test corpora"
    )
    .into())
}

/// Reads the arguments and runs the task.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let (mut chosen, mut seconds) = (Vec::new(), 60);
    let known = targets()?;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            // For the fuzzer nothing means no limit.
            "--seconds" => {
                let number = words.next().ok_or("--seconds needs a number")?;
                seconds = number.parse::<NonZeroU64>().map_err(|_| "--seconds needs a number above 0")?.get();
            }
            name if known.iter().any(|known| known == name) => chosen.push(name.to_owned()),
            other => return Err(format!("no such target: {other}; there are {}", known.join(", ")).into()),
        }
    }
    provide(Need::CargoTool("cargo-fuzz", "0.13.2"))?;
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
        println!("| {name} | {executions} | {} | {new_inputs} | {coverage} |", executions / seconds);
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
