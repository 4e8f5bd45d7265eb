//! `cargo xtask mutants`: small changes to the core, one at a time, and whether a test notices.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use crate::Error;
use crate::command::{command, run as run_command, strong};
use crate::setup::{Need, provide};

/// What is not mutated: codecs, whose every byte the recorded vectors and the fuzz targets hold.
const WIRE: &[&str] = &[
    "core/src/chat/message.rs",
    "core/src/im/envelope.rs",
    "core/src/im/query.rs",
    "core/src/json/**",
    "core/src/pomelo/deflate.rs",
    "core/src/pomelo/dictionary.rs",
    "core/src/pomelo/handshake.rs",
    "core/src/pomelo/message.rs",
    "core/src/pomelo/package.rs",
    "core/src/pomelo/text.rs",
    "core/src/tunnel/message.rs",
    "core/src/tunnel/varint.rs",
];

/// Which tests look at a part of the core, by the beginning of its path: the first that fits. Whole runs of all tests
/// for each of thousands of mutants would take days.
const LOOKED_AT_BY: &[(&str, &[&str])] = &[
    ("core/src/hub/directory", &["tunnel_directory"]),
    ("core/src/hub", &["hub", "identity"]),
    ("core/src/http/pool", &["http_pool"]),
    ("core/src/http/router", &["http_router"]),
    ("core/src/http", &["http_path"]),
    ("core/src/connection", &["laws", "pomelo_server", "chat_connection"]),
    ("core/src/dialect", &["laws", "pomelo_server", "chat_connection"]),
    ("core/src/pending", &["pomelo_server", "im_dialect"]),
    ("core/src/pomelo", &["laws", "pomelo_server", "pomelo_client"]),
    ("core/src/chat", &["chat_connection", "chat_laws", "chat_vectors"]),
    ("core/src/im", &["im_dialect"]),
    ("core/src/tunnel/policy", &["tunnel_policy"]),
    ("core/src/tunnel", &["tunnel_session", "tunnel_pair", "tunnel_codec"]),
    ("core/src/services", &["services"]),
    ("core/src/record", &["recorder"]),
    ("core/src", &["small_machines", "laws", "pomelo_server"]),
];

/// Files of one run, and the tests that they are run with.
type Run = (&'static [&'static str], Vec<String>);

/// Runs the task.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let mut files = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--file" => files.push(words.next().ok_or("--file needs a path or a pattern")?.clone()),
            other => return Err(format!("unknown argument {other}; see cargo xtask help").into()),
        }
    }
    provide(Need::CargoTool("cargo-mutants"))?;
    let mut total = Score::default();
    for (tests, files) in runs(files) {
        println!("{}", strong(&format!("== {} with {}", files.join(", "), tests.join(", "))));
        let score = mutate(tests, &files)?;
        println!("{}", score.line());
        total.add(score);
    }
    println!("\n{}", strong(&total.line()));
    for survivor in &total.survivors {
        println!("survived: {survivor}");
    }
    Ok(if total.survivors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The given files, or all of the core, by the tests that look at them.
fn runs(files: Vec<String>) -> Vec<Run> {
    let files = if files.is_empty() {
        LOOKED_AT_BY.iter().map(|(start, _)| format!("{start}**")).collect()
    } else {
        files
    };
    let mut runs: Vec<Run> = Vec::new();
    for file in files {
        let fits = LOOKED_AT_BY.iter().find(|(start, _)| file.starts_with(start));
        let tests = fits.map_or(["laws"].as_slice(), |(_, tests)| tests);
        match runs.iter_mut().find(|(known, _)| *known == tests) {
            Some((_, files)) => files.push(file),
            None => runs.push((tests, vec![file])),
        }
    }
    runs
}

fn mutate(tests: &[&str], files: &[String]) -> Result<Score, Error> {
    let folder = "target/mutants";
    std::fs::create_dir_all(folder)?;
    let mut words =
        vec!["cargo", "mutants", "--package", "linkspan-core", "--test-package", "linkspan-tests"];
    words.extend(["--output", folder, "--timeout", "120", "--build-timeout", "600", "-j1", "--no-shuffle"]);
    words.extend(files.iter().flat_map(|file| ["--file", file]));
    words.extend(WIRE.iter().flat_map(|file| ["--exclude", file]));
    words.extend(["--no-default-features", "--"]);
    words.extend(tests.iter().flat_map(|test| ["--test", test]));
    let outcome = run_command(command(&words).env("PROPTEST_MAX_SHRINK_ITERS", "0"));
    let report = Path::new(folder).join("mutants.out/outcomes.json");
    match std::fs::read_to_string(&report) {
        // It fails when a mutant survives: that is told from the report.
        Ok(report) => Score::read(&serde_json::from_str(&report)?),
        Err(_) => outcome.and(Err("cargo mutants left no report".into())),
    }
}

/// What became of the mutants.
#[derive(Debug, Default, PartialEq, Eq)]
struct Score {
    caught: usize,
    survivors: Vec<String>,
    /// Those that do not compile count for nothing.
    unviable: usize,
}

impl Score {
    fn read(report: &Value) -> Result<Self, Error> {
        let mut score = Self::default();
        for outcome in report["outcomes"].as_array().ok_or("a report without outcomes")? {
            let Some(mutant) = outcome["scenario"]["Mutant"].as_object() else { continue };
            match outcome["summary"].as_str().unwrap_or_default() {
                "CaughtMutant" | "Timeout" => score.caught += 1,
                "MissedMutant" => {
                    score.survivors.push(mutant["name"].as_str().unwrap_or_default().to_owned());
                }
                _ => score.unviable += 1,
            }
        }
        Ok(score)
    }

    fn add(&mut self, other: Self) {
        self.caught += other.caught;
        self.unviable += other.unviable;
        self.survivors.extend(other.survivors);
    }

    fn line(&self) -> String {
        let all = self.caught + self.survivors.len();
        let share = if all == 0 { 100.0 } else { 100.0 * self.caught as f64 / all as f64 };
        format!("{} of {all} mutants caught, {share:.1} %; {} do not compile", self.caught, self.unviable)
    }
}

#[cfg(test)]
mod tests {
    use super::{Score, runs};

    #[test]
    fn files_find_their_tests() {
        let runs = runs(vec![
            "core/src/hub/mod.rs".into(),
            "core/src/gate.rs".into(),
            "core/src/hub/table.rs".into(),
        ]);
        let hub = ["core/src/hub/mod.rs".to_owned(), "core/src/hub/table.rs".to_owned()];
        assert_eq!(runs[0], (["hub", "identity"].as_slice(), hub.to_vec()));
        assert_eq!(runs[1].1, ["core/src/gate.rs"]);
        assert_eq!(runs.len(), 2);
    }

    #[test]
    fn reports_are_added_up() {
        let report = serde_json::json!({ "outcomes": [
            { "scenario": "Baseline", "summary": "Success" },
            { "scenario": { "Mutant": { "name": "a" } }, "summary": "CaughtMutant" },
            { "scenario": { "Mutant": { "name": "b" } }, "summary": "MissedMutant" },
            { "scenario": { "Mutant": { "name": "c" } }, "summary": "Unviable" },
            { "scenario": { "Mutant": { "name": "d" } }, "summary": "Timeout" },
        ] });
        let score = Score::read(&report).expect("a report");
        assert_eq!(score, Score { caught: 2, survivors: vec!["b".into()], unviable: 1 });
        assert_eq!(score.line(), "2 of 3 mutants caught, 66.7 %; 1 do not compile");
    }
}
