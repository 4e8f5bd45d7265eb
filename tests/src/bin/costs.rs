#![forbid(unsafe_code)]
//! Counts instructions: an input of eight times the length takes what eight inputs take, whatever its shape (B4).
//!
//! Reading again what was read before would take eight times that. valgrind counts, so the figures are the same on a
//! machine that others share. `costs` runs itself under it; `costs --counted` is what valgrind runs.

use std::path::Path;
use std::process::{Command, ExitCode};

use linkspan_tests::costs::{READ_AGAIN, Shape, Work, shapes};

/// Bytes of the short input; the long one has [`TIMES`] as many.
const LEN: usize = 1 << 14;
const TIMES: usize = 8;

fn main() -> ExitCode {
    if std::env::args().any(|word| word == "--counted") {
        all()
            .into_iter()
            .for_each(|(_, make)| [LEN, TIMES * LEN].into_iter().for_each(|len| work_on(make(len))));
        return ExitCode::SUCCESS;
    }
    match counts() {
        Ok(counts) => judge(&counts),
        Err(error) => {
            eprintln!("costs: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The shapes, and behind them the one that must be found.
fn all() -> Vec<Shape> {
    let mut all = shapes();
    all.push(READ_AGAIN);
    all
}

/// What is set up once is set up before the count.
fn work_on(mut work: Work) {
    work();
    counted_work(&mut work);
}

/// valgrind knows this function by its name: it counts from the call to the return.
#[inline(never)]
fn counted_work(work: &mut Work) {
    work();
    // Nothing is left to be done by a jump.
    std::hint::black_box(work);
}

/// Instructions of each call of [`counted_work`], in order.
fn counts() -> Result<Vec<u64>, Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("linkspan-costs-{}", std::process::id()));
    // A new one: what an older run has left there is not this one's.
    std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let counts = count_into(&folder);
    std::fs::remove_dir_all(&folder)?;
    counts
}

fn count_into(folder: &Path) -> Result<Vec<u64>, Box<dyn std::error::Error>> {
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--toggle-collect=costs::counted_work",
            "--dump-after=costs::counted_work",
        ])
        .arg(format!("--callgrind-out-file={}", folder.join("part").display()))
        .arg(std::env::current_exe()?)
        .arg("--counted")
        .output()
        .map_err(|error| format!("valgrind cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(
            format!("valgrind: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into()
        );
    }
    // One file for each return, numbered from 1.
    (1..=2 * all().len()).map(|part| count_of(&folder.join(format!("part.{part}")))).collect()
}

fn count_of(part: &Path) -> Result<u64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(part).map_err(|error| format!("{}: {error}", part.display()))?;
    let count = text.lines().find_map(|line| line.strip_prefix("summary: "));
    Ok(count.ok_or_else(|| format!("{} has no sum", part.display()))?.trim().parse()?)
}

fn judge(counts: &[u64]) -> ExitCode {
    let mut is_good = true;
    println!("{:<40} {:>12} {:>12}  ratio", "instructions", format!("{LEN} B"), format!("{} B", TIMES * LEN));
    for ((what, _), count) in all().into_iter().zip(counts.chunks_exact(2)) {
        let is_linear = count[1] < count[0] * TIMES as u64 * 5 / 4;
        let is_planted = what == READ_AGAIN.0;
        let verdict = match (is_linear, is_planted) {
            (true, false) => "",
            (false, true) => "  planted, and found",
            (false, false) => "  MORE THAN ITS LENGTH",
            (true, true) => "  PLANTED, AND NOT FOUND",
        };
        println!(
            "{what:<40} {:>12} {:>12} {:>6.1}{verdict}",
            count[0],
            count[1],
            count[1] as f64 / count[0] as f64
        );
        is_good &= is_linear != is_planted;
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
