//! `cargo xtask mutants`: small changes to the core, one at a time, and whether a test notices.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use serde_json::Value;

use crate::Error;
use crate::command::{command, output, run as run_command, strong};
use crate::setup::{Need, provide};
use crate::tree::Tree;

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
    ("core/src/hub/directory", &["tunnel_directory", "footprints"]),
    ("core/src/hub", &["hub", "identity", "footprints"]),
    ("core/src/http/pool", &["http_pool"]),
    ("core/src/http/router", &["http_router"]),
    ("core/src/http", &["http_path", "http_forward"]),
    ("core/src/connection", &["laws", "pomelo_server", "chat_connection"]),
    ("core/src/dialect", &["laws", "pomelo_server", "chat_connection"]),
    ("core/src/pending", &["pomelo_server", "im_dialect"]),
    ("core/src/pomelo", &["laws", "pomelo_server", "pomelo_client"]),
    ("core/src/chat", &["chat_connection", "chat_laws", "chat_vectors"]),
    ("core/src/im", &["im_dialect"]),
    ("core/src/tunnel/policy", &["tunnel_policy"]),
    ("core/src/tunnel", &["tunnel_session", "tunnel_pair", "tunnel_codec", "footprints"]),
    ("core/src/services", &["services", "footprints"]),
    ("core/src/record", &["recorder"]),
    ("core/src", &["small_machines", "laws", "pomelo_server", "footprints"]),
];

/// All tests that run the core: what the ones above miss is tried with these.
const EVERY: &[&str] = &[
    "allocations",
    "chat_codec",
    "chat_connection",
    "chat_laws",
    "chat_vectors",
    "corpora",
    "costs",
    "footprints",
    "http_forward",
    "http_path",
    "http_pool",
    "http_router",
    "hub",
    "identity",
    "im_dialect",
    "laws",
    "pomelo_client",
    "pomelo_codec",
    "pomelo_regressions",
    "pomelo_server",
    "pomelo_transcripts",
    "recorder",
    "services",
    "small_machines",
    "tunnel_codec",
    "tunnel_directory",
    "tunnel_pair",
    "tunnel_policy",
    "tunnel_recordings",
    "tunnel_session",
    "world",
];

/// Mutants of one run, and the tests that they are run with.
type Run = (&'static [&'static str], Vec<Mutant>);

/// One change, as cargo-mutants lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mutant {
    file: String,
    name: String,
}

/// Which mutants are tried.
#[derive(Debug, Default, PartialEq, Eq)]
struct Choice {
    files: Vec<String>,
    sample: Option<usize>,
    seed: u64,
    /// Every so manieth, from this one.
    shard: Option<(usize, usize)>,
    is_list: bool,
}

impl Choice {
    fn read(arguments: &[String]) -> Result<Self, Error> {
        let mut choice = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value =
                || words.next().ok_or_else(|| format!("{word} needs a value; see cargo xtask help"));
            match word.as_str() {
                "--file" => choice.files.push(value()?.clone()),
                "--sample" => choice.sample = Some(value()?.parse()?),
                "--seed" => choice.seed = value()?.parse()?,
                "--shard" => {
                    let text = value()?;
                    let (one, of) = text.split_once('/').ok_or("--shard needs K/N, such as 0/8")?;
                    let (one, of) = (one.parse()?, of.parse()?);
                    if one >= of {
                        return Err(format!("--shard {text}: shards are counted from 0 to {of} - 1").into());
                    }
                    choice.shard = Some((one, of));
                }
                "--list" => choice.is_list = true,
                other => return Err(format!("unknown argument {other}; see cargo xtask help").into()),
            }
        }
        Ok(choice)
    }

    /// Of all mutants those that are to be tried, in the order in which they are listed.
    fn pick(&self, mut mutants: Vec<Mutant>) -> Vec<Mutant> {
        if let Some((one, of)) = self.shard {
            let mut at = 0..;
            mutants.retain(|_| at.next().is_some_and(|at: usize| at % of == one));
        }
        let Some(sample) = self.sample.filter(|sample| *sample < mutants.len()) else { return mutants };
        // Each gets a number that the seed decides; those with the smallest are drawn.
        let mut lots: Vec<(u64, usize)> =
            (0..mutants.len()).map(|at| (lot(self.seed, at as u64), at)).collect();
        lots.sort_unstable();
        let mut drawn: Vec<usize> = lots.into_iter().take(sample).map(|(_, at)| at).collect();
        drawn.sort_unstable();
        drawn.into_iter().map(|at| mutants[at].clone()).collect()
    }
}

/// One output of SplitMix64.
fn lot(seed: u64, at: u64) -> u64 {
    let value = seed.wrapping_add((at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Runs the task.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let choice = Choice::read(arguments)?;
    provide(Need::CargoTool("cargo-mutants", "27.1.0"))?;
    let mutants = list(&choice.files)?;
    let all = mutants.len();
    let mutants = choice.pick(mutants);
    println!("{} of {all} mutants", mutants.len());
    if choice.is_list {
        mutants.iter().for_each(|mutant| println!("{}", mutant.name));
        return Ok(ExitCode::SUCCESS);
    }
    let tree = Tree::copy("mutants")?;
    let mut total = Score::default();
    for (tests, mutants) in runs(mutants) {
        println!("{}", strong(&format!("== {} mutants with {}", mutants.len(), tests.join(", "))));
        let score = mutate(&tree, tests, &mutants)?;
        println!("{}", score.line());
        total.add(score);
    }
    if !total.survivors.is_empty() {
        let again: Vec<Mutant> = total.survivors.drain(..).collect();
        println!("{}", strong(&format!("== {} that survived, with every test of the core", again.len())));
        let score = mutate(&tree, EVERY, &again)?;
        if score.unviable > 0 {
            return Err(
                format!("{} mutants that had compiled do not compile any more", score.unviable).into()
            );
        }
        total.add(score);
    }
    println!("\n{}", strong(&total.line()));
    for survivor in &total.survivors {
        println!("survived: {}", survivor.name);
    }
    Ok(if total.survivors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The mutants of these files, or of all of the core but its codecs.
fn list(files: &[String]) -> Result<Vec<Mutant>, Error> {
    let mut words = vec!["cargo", "mutants", "--list", "--json", "--package", "linkspan-core"];
    words.extend(files.iter().flat_map(|file| ["--file", file]));
    words.extend(WIRE.iter().flat_map(|file| ["--exclude", file]));
    let listed: Value = serde_json::from_str(&output(&mut command(&words))?)?;
    let mutant = |one: &Value| {
        let text = |field: &str| one[field].as_str().map(str::to_owned);
        Some(Mutant { file: text("file")?, name: text("name")? })
    };
    let mutants = listed.as_array().ok_or("cargo mutants lists nothing")?.iter();
    mutants.map(|one| mutant(one).ok_or_else(|| "a mutant without a name".into())).collect()
}

/// Mutants by the tests that look at them.
fn runs(mutants: Vec<Mutant>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for mutant in mutants {
        let fits = LOOKED_AT_BY.iter().find(|(start, _)| mutant.file.starts_with(start));
        let tests = fits.map_or(["laws"].as_slice(), |(_, tests)| tests);
        match runs.iter_mut().find(|(known, _)| *known == tests) {
            Some((_, mutants)) => mutants.push(mutant),
            None => runs.push((tests, vec![mutant])),
        }
    }
    runs
}

/// The tests of a run as cargo's arguments: those of the core itself, and files of `tests/`.
fn targets(tests: &[&'static str]) -> Vec<&'static str> {
    ["--lib"].into_iter().chain(tests.iter().flat_map(|test| ["--test", test])).collect()
}

fn mutate(tree: &Tree, tests: &'static [&'static str], mutants: &[Mutant]) -> Result<Score, Error> {
    // A test that fails anyway catches nothing. This also builds what does not change from mutant to mutant.
    let mut words = vec!["test", "--quiet", "-p", "linkspan-core", "-p", "linkspan-tests"];
    words.push("--no-default-features");
    words.extend(targets(tests));
    run_command(&mut tree.cargo(&[&words[..], &["--no-run"]].concat()))?;
    let start = Instant::now();
    run_command(&mut tree.cargo(&words))?;
    // What takes five times as long hangs.
    let patience = (start.elapsed() * 5).as_secs().max(120).to_string();

    let folder = tree.root.with_file_name("report").to_string_lossy().into_owned();
    // A run that dies must not be taken for the one before it.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let names: Vec<String> = mutants.iter().map(|mutant| format!("^{}$", literal(&mutant.name))).collect();
    let mut words = vec!["mutants", "--in-place", "--package", "linkspan-core"];
    words.extend(["--test-package", "linkspan-core,linkspan-tests", "--baseline", "skip"]);
    words.extend(["--output", &folder, "--timeout", &patience, "--build-timeout", "1800", "--no-shuffle"]);
    // It tries deleted fields whatever the name is to be, but only in these files.
    words.extend(mutants.iter().flat_map(|mutant| ["--file", &mutant.file]));
    words.extend(names.iter().flat_map(|name| ["--re", name]));
    // For its building too, which would build all tests otherwise.
    let targets: Vec<String> = targets(tests).iter().map(|word| format!("--cargo-arg={word}")).collect();
    words.push("--no-default-features");
    words.extend(targets.iter().map(String::as_str));
    let outcome = run_command(&mut tree.cargo(&words));
    let report = Path::new(&folder).join("mutants.out/outcomes.json");
    match std::fs::read_to_string(&report) {
        // It fails when a mutant survives: that is told from the report.
        Ok(report) => Score::read(&serde_json::from_str(&report)?, mutants),
        Err(_) => outcome.and(Err("cargo mutants left no report".into())),
    }
}

/// A regular expression that fits this text alone.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() * 2);
    for character in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// What became of the mutants.
#[derive(Debug, Default, PartialEq, Eq)]
struct Score {
    caught: usize,
    survivors: Vec<Mutant>,
    /// Those that do not compile count for nothing.
    unviable: usize,
}

impl Score {
    /// What a report says of these mutants.
    fn read(report: &Value, asked: &[Mutant]) -> Result<Self, Error> {
        let mut score = Self::default();
        for outcome in report["outcomes"].as_array().ok_or("a report without outcomes")? {
            let name = outcome["scenario"]["Mutant"]["name"].as_str().unwrap_or_default();
            let Some(mutant) = asked.iter().find(|mutant| mutant.name == name) else { continue };
            match outcome["summary"].as_str().unwrap_or_default() {
                "CaughtMutant" | "Timeout" => score.caught += 1,
                "MissedMutant" => score.survivors.push(mutant.clone()),
                _ => score.unviable += 1,
            }
        }
        let told = score.caught + score.survivors.len() + score.unviable;
        if told == asked.len() {
            return Ok(score);
        }
        Err(format!("cargo mutants tells of {told} of {} mutants", asked.len()).into())
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
    use super::{Choice, Mutant, Score, literal, runs};

    fn mutants(files: &[&str]) -> Vec<Mutant> {
        let mutant =
            |(at, file): (usize, &&str)| Mutant { file: (*file).into(), name: format!("{file}:{at}") };
        files.iter().enumerate().map(mutant).collect()
    }

    #[test]
    fn mutants_find_their_tests() {
        let all = mutants(&["core/src/hub/mod.rs", "core/src/gate.rs", "core/src/hub/table.rs"]);
        let runs = runs(all.clone());
        assert_eq!(
            runs[0],
            (["hub", "identity", "footprints"].as_slice(), vec![all[0].clone(), all[2].clone()])
        );
        assert_eq!(runs[1].1, [all[1].clone()]);
        assert_eq!(runs.len(), 2);
    }

    #[test]
    fn a_sample_is_fair_and_the_same_for_the_same_seed() {
        let choice = |words: &str| {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            Choice::read(&words)
        };
        let all = mutants(&["core/src/gate.rs"; 100]);
        let (mut drawn, mut again) = (vec![0; 100], 0);
        for seed in 0..500 {
            let sample = choice(&format!("--sample 10 --seed {seed}")).expect("it can be read");
            let picked = sample.pick(all.clone());
            assert_eq!(picked.len(), 10);
            again += usize::from(picked == sample.pick(all.clone()));
            picked
                .iter()
                .for_each(|one| drawn[all.iter().position(|other| other == one).expect("known")] += 1);
        }
        assert_eq!(again, 500);
        assert!(drawn.iter().all(|count| (20..=85).contains(count)), "about 50 of 500 each: {drawn:?}");
        let shards: Vec<_> =
            (0..3).map(|one| choice(&format!("--shard {one}/3")).expect("it can be read")).collect();
        let sizes: Vec<_> = shards.iter().map(|shard| shard.pick(all.clone()).len()).collect();
        assert_eq!(sizes, [34, 33, 33]);
        for odd in ["--shard 3/3", "--shard 1", "--sample", "--sample x", "--what"] {
            assert!(choice(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn every_test_of_the_core_is_there() {
        let manifest = include_str!("../../tests/Cargo.toml");
        for entry in std::fs::read_dir("../tests/tests").expect("the tests") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            if path.extension().is_none() && !path.join("main.rs").exists() {
                continue;
            }
            // Those of the drivers are declared, for what they need.
            let is_declared = manifest.contains(&format!("name = \"{name}\""));
            let is_of_sources = ["tidy", "promises"].contains(&name.as_str());
            assert_eq!(super::EVERY.contains(&name.as_str()), !is_declared && !is_of_sources, "{name}");
        }
    }

    #[test]
    fn a_name_fits_itself_alone() {
        assert_eq!(
            literal("a.rs:1: replace |= with ^= in <impl X>::y"),
            r"a\.rs:1: replace \|= with \^= in <impl X>::y"
        );
    }

    #[test]
    fn reports_are_added_up() {
        let report = serde_json::json!({ "outcomes": [
            { "scenario": "Baseline", "summary": "Success" },
            { "scenario": { "Mutant": { "name": "a" } }, "summary": "CaughtMutant" },
            { "scenario": { "Mutant": { "name": "b" } }, "summary": "MissedMutant" },
            { "scenario": { "Mutant": { "name": "c" } }, "summary": "Unviable" },
            { "scenario": { "Mutant": { "name": "d" } }, "summary": "Timeout" },
            { "scenario": { "Mutant": { "name": "e" } }, "summary": "MissedMutant" },
        ] });
        let asked = ["a", "b", "c", "d"].map(|name| Mutant { file: String::new(), name: name.into() });
        let score = Score::read(&report, &asked).expect("a report");
        assert_eq!(score, Score { caught: 2, survivors: vec![asked[1].clone()], unviable: 1 });
        assert_eq!(score.line(), "2 of 3 mutants caught, 66.7 %; 1 do not compile");
    }
}
