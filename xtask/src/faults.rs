//! `cargo xtask faults`: ten faults, put into a copy of the tree one at a time, and which tests catch each.
//!
//! A test that finds nothing planted proves nothing. The patches are in `xtask/faults`; the tests are those of the core,
//! which build without the runtimes. Tests that take much longer than they do without a fault have caught it too.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Error;
use crate::command::{command, output, run as run_command, strong};
use crate::tree::Tree;

/// Each patch, and what it does.
const FAULTS: [(&str, &str); 10] = [
    ("window-off-by-one", "the send queue takes one byte more than its mark"),
    ("missing-unregister", "a connection that ends leaves its keys and groups behind"),
    ("act-after-close", "registrations are undone behind the close"),
    ("lost-resume", "a tunnel that paused its peer never resumes it"),
    ("stale-generation", "the end of an old connection removes the newer session"),
    ("timer-that-spins", "the next heartbeat is due at once"),
    ("wrong-shard", "a key is given up at another shard than it was registered at"),
    ("held-back-flush", "a dialect is not told that the queue has moved"),
    ("unbounded-reserve", "a body's announced length is reserved before it comes"),
    ("reorder", "a member that leaves lets the last one jump the line"),
];

/// The tests that every fault must pass by, cheapest first.
const GATES: &[&str] = &[
    "pomelo_codec",
    "laws",
    "hub",
    "identity",
    "pomelo_server",
    "chat_connection",
    "small_machines",
    "services",
    "http_pool",
    "tunnel_session",
    "tunnel_pair",
    "corpora",
];

/// How long one file of tests may run without a fault, and at least with one.
const PATIENCE: Duration = Duration::from_secs(1800);
const PATIENCE_LEAST: Duration = Duration::from_secs(120);
/// How many times as long as without a fault it may run with one.
const PATIENCE_TIMES: u32 = 5;

/// How much memory one file of tests may ask for.
const MEMORY_KIB: u64 = 6 << 20;

/// Runs the task.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let mut chosen: Vec<&str> = Vec::new();
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let name =
            if word == "--only" { words.next().ok_or("--only needs the name of a fault")? } else { word };
        let known = FAULTS.iter().find(|(known, _)| *known == name);
        chosen.push(known.ok_or_else(|| format!("there is no fault {name}; there are {}", names()))?.0);
    }
    let tree = Tree::copy("faults")?;
    println!("{}", strong("== without a fault"));
    let usual = test(&tree, |_| PATIENCE)?;
    if !usual.failed.is_empty() {
        return Err(format!("these tests fail without a fault: {}", list(&usual.failed, usize::MAX)).into());
    }
    let patience = |gate: &str| {
        let took = usual.took.get(gate).map_or(PATIENCE, |took| *took * PATIENCE_TIMES);
        took.max(PATIENCE_LEAST)
    };
    let mut rows = Vec::new();
    for (name, about) in FAULTS.iter().filter(|(name, _)| chosen.is_empty() || chosen.contains(name)) {
        println!("{}", strong(&format!("== {name}: {about}")));
        let patch = std::env::current_dir()?.join(patch(name));
        let patch = patch.to_string_lossy();
        run_command(command(&["git", "apply", &patch]).current_dir(&tree.root))?;
        let outcome = test(&tree, patience);
        run_command(command(&["git", "apply", "--reverse", &patch]).current_dir(&tree.root))?;
        let Outcome { failed, took } = outcome?;
        println!("{} tests caught it: {}", failed.len(), list(&failed, 3));
        rows.push((*name, *about, failed, took.values().sum::<Duration>()));
    }
    println!("\n| Fault | What it does | Caught by | s |\n| --- | --- | --- | --- |");
    for (name, about, failed, took) in &rows {
        let (count, seconds) = (failed.len(), took.as_secs());
        println!("| `{name}` | {about} | {count}: {} | {seconds} |", list(failed, 4));
    }
    let missed = rows.iter().filter(|(_, _, failed, _)| failed.is_empty()).count();
    println!("\n{} caught, {missed} not", rows.len() - missed);
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn names() -> String {
    FAULTS.map(|(name, _)| name).join(", ")
}

fn patch(name: &str) -> PathBuf {
    Path::new("xtask/faults").join(name).with_extension("patch")
}

fn list(tests: &BTreeSet<String>, most: usize) -> String {
    let shown: Vec<&str> = tests.iter().map(String::as_str).take(most).collect();
    let more = tests.len().saturating_sub(most);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    if shown.is_empty() { "**none**".into() } else { format!("`{}`{more}", shown.join("`, `")) }
}

/// What the gates have said.
#[derive(Default)]
struct Outcome {
    failed: BTreeSet<String>,
    /// How long each gate has run.
    took: BTreeMap<String, Duration>,
}

/// Builds the gates in `tree` and runs them, each for as long as `patience` says.
fn test(tree: &Tree, patience: impl Fn(&str) -> Duration) -> Result<Outcome, Error> {
    let mut outcome = Outcome::default();
    for (gate, program) in build(tree)? {
        let start = Instant::now();
        let failed = run_gate(&tree.root, &program, patience(&gate))?;
        outcome.failed.extend(failed.into_iter().map(|test| format!("{gate}: {test}")));
        outcome.took.insert(gate, start.elapsed());
    }
    Ok(outcome)
}

/// The program of each gate.
fn build(tree: &Tree) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut words = vec!["test", "-p", "linkspan-tests", "--no-default-features", "--no-run"];
    words.extend(["--message-format", "json-render-diagnostics"]);
    words.extend(GATES.iter().flat_map(|gate| ["--test", gate]));
    let messages = output(&mut tree.cargo(&words))?;
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program = |message: Value| {
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, PathBuf::from(message["executable"].as_str()?)))
    };
    // The library and its programs have tests too, none of them about the core.
    let mut programs: Vec<_> = messages.filter_map(program).collect();
    programs.retain(|(name, _)| GATES.contains(&name.as_str()));
    programs.sort_by_key(|(name, _)| GATES.iter().position(|gate| gate == name));
    if programs.len() == GATES.len() {
        return Ok(programs);
    }
    Err(format!("{} programs for {} gates", programs.len(), GATES.len()).into())
}

/// The tests of one program that fail; if it does not end, that is what failed.
fn run_gate(tree: &Path, program: &Path, patience: Duration) -> Result<Vec<String>, Error> {
    // A fault may ask for memory without end.
    let limited = format!("ulimit -v {MEMORY_KIB}; exec \"$0\"");
    let program = program.to_string_lossy();
    let mut tests = command(&["sh", "-c", &limited, &program]);
    tests.envs(Tree::TESTS).env("RUST_BACKTRACE", "0");
    let mut child =
        tests.current_dir(tree.join("tests")).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut said = child.stdout.take().ok_or("no pipe")?;
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        // What is no text tells of no test.
        let _ = said.read_to_string(&mut text);
        text
    });
    let start = Instant::now();
    let mut hangs = false;
    while child.try_wait()?.is_none() {
        if start.elapsed() > patience {
            hangs = true;
            child.kill()?;
            child.wait()?;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = reader.join().map_err(|_| "the reader failed")?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    let mut failed: Vec<String> = lines.map(str::to_owned).collect();
    if hangs || (failed.is_empty() && !child.wait()?.success()) {
        failed.push(if hangs { "does not end" } else { "ends without a verdict" }.into());
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::{FAULTS, patch};
    use crate::command::{command, run};

    /// The code moves on; a patch that no longer applies would prove nothing.
    #[test]
    fn every_patch_applies() {
        for (name, _) in FAULTS {
            let path = crate::root().join(patch(name));
            let words = ["git", "apply", "--check", &path.to_string_lossy()];
            run(command(&words).current_dir(crate::root())).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let patches = std::fs::read_dir(crate::root().join("xtask/faults")).expect("the patches");
        assert_eq!(patches.count(), FAULTS.len());
    }
}
