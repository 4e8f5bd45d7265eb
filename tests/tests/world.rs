//! The simulated world, over a fixed set of seeds: what it finds is kept as a script in `regressions/`.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use linkspan_core::Mark;
use linkspan_tests::world::keep::{self, Source};
use linkspan_tests::world::{Branch, Plan, Report, Size, run, script};

/// What the fixed set reaches.
#[derive(Default)]
struct Reached {
    marks: BTreeMap<Mark, u64>,
    branches: BTreeMap<Branch, u64>,
    reasons: BTreeMap<String, u64>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Where a script of the past lies.
fn regression(name: &str) -> Source {
    Source::Script(format!("tests/regressions/{name}.world"))
}

/// Prints what was measured, also when the test passes.
fn print_figures(what: &str, worlds: u64, events: u64, start: Instant) {
    let took = start.elapsed().as_secs_f64();
    let line = format!("world: {worlds} {what}, {events} events, {took:.1} s\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

impl Reached {
    fn add(&mut self, report: Report) {
        report.marks.into_iter().for_each(|(mark, count)| *self.marks.entry(mark).or_default() += count);
        report.branches.into_iter().for_each(|(one, count)| *self.branches.entry(one).or_default() += count);
        report.reasons.into_iter().for_each(|(one, count)| *self.reasons.entry(one).or_default() += count);
    }
}

/// Lets all worlds of a size live.
fn live(seeds: u64, size: Size, reached: &Mutex<Reached>) {
    let start = Instant::now();
    let [next, events] = [0; 2].map(AtomicU64::new);
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            let plan = Plan::from_seed(seed, size);
            let report = run(&plan);
            assert_well(&Source::Seed(seed, size), &plan, &report);
            events.fetch_add(report.events, Ordering::Relaxed);
            reached.lock().unwrap().add(report);
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(worker))));
    print_figures(size.text(), seeds, events.into_inner(), start);
}

/// Fails with the command that replays it, and with the smallest script that shows what is wrong.
fn assert_well(source: &Source, plan: &Plan, report: &Report) {
    if let Some(failure) = &report.failure {
        let told = format!("world {source}: {failure}\nreplay: {}\n", source.replay());
        // Making it small takes its time: what is known is told before.
        std::io::stderr().write_all(told.as_bytes()).unwrap();
        let smallest = keep::keep(&root(), keep::FOUND, source, plan, keep::tries(plan.size).min(200));
        panic!("{told}{smallest}");
    }
}

/// What no world reaches, and the tests that do: file and function.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("Mark::ProxyHeaderInvalid", "tests/gateway/edge.rs", "what_is_no_proxy_header_is_counted"),
    ("Mark::RefusalSilent", "tests/gateway/edge.rs", "refusals_without_a_word_are_counted"),
    ("Mark::DatagramDropped", "src/binary/tunnel/flags.rs", "lost_datagrams_are_counted"),
    ("Mark::SendersFull", "src/binary/tunnel/flags.rs", "lost_datagrams_are_counted"),
    (
        "Violation::MessageId",
        "tests/pomelo_server/states.rs",
        "broken_messages_end_the_connection_with_what_is_wrong",
    ),
    ("Violation::InflatedTooLarge", "tests/pomelo_server/limits.rs", "inflate_max"),
    (
        "Violation::PackageBoundary",
        "tests/pomelo_server/states.rs",
        "strict_boundaries_want_one_package_per_websocket_message",
    ),
];

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// What the enumeration of that name in that file has: the variants without fields.
fn variants(file: &str, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path(file)).unwrap();
    let body = text.split(&format!("pub enum {name} {{")).nth(1).unwrap().split("\n}").next().unwrap();
    let names = body.lines().filter_map(|line| line.trim().strip_suffix(','));
    let names = names.filter(|name| name.chars().all(char::is_alphanumeric));
    names.map(|variant| format!("{name}::{variant}")).collect()
}

/// Every reason for which a connection may end.
fn reasons() -> Vec<String> {
    let [mut reasons, violations] =
        ["CloseReason", "Violation"].map(|name| variants("../core/src/close.rs", name));
    assert!(reasons.len() > 15 && violations.len() > 10, "{reasons:?} {violations:?}");
    reasons.extend(violations);
    reasons
}

/// Whether a test does name something, in words that do something.
fn is_named(name: &str, file: &str, test: &str) -> bool {
    let text = std::fs::read_to_string(path(file)).unwrap_or_default();
    let heads = [format!("fn {test}("), format!("fn {test}<")];
    let Some(at) = heads.iter().find_map(|head| text.find(head)) else { return false };
    let body = text[at..].split("\n}").next().unwrap_or_default();
    let code: String = body.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    code.match_indices(name).any(|(at, _)| !code[at + name.len()..].starts_with(char::is_alphanumeric))
}

/// What is wrong with one name: nobody reaches it, or who is said to do so does not.
fn fault(name: &str, is_reached: bool) -> Option<String> {
    let elsewhere = ELSEWHERE.iter().find(|(other, ..)| *other == name);
    match (is_reached, elsewhere) {
        (false, None) => Some(format!("{name} is reached by no world and no other test is named")),
        (true, Some(_)) => Some(format!("{name} is reached: take it off the list")),
        (false, Some((_, file, test))) if !is_named(name, file, test) => {
            Some(format!("{file} has no test {test} that names {name}"))
        }
        _ => None,
    }
}

#[test]
fn the_fixed_worlds_end_well_and_reach_every_limit() {
    let reached = Mutex::new(Reached::default());
    live(2_000, Size::Lite, &reached);
    live(400, Size::Cluster, &reached);
    let mut reached = reached.into_inner().unwrap();
    // What is seldom has a script of its own.
    for (_, plan) in script::read_folder(&path("regressions")).unwrap() {
        reached.add(run(&plan));
    }
    let marks = Mark::ALL.iter().map(|mark| (format!("Mark::{mark:?}"), reached.marks.contains_key(mark)));
    let branches =
        Branch::ALL.iter().map(|one| (format!("Branch::{one:?}"), reached.branches.contains_key(one)));
    let reasons = reasons().into_iter().map(|name| {
        let (kind, variant) = name.split_once("::").unwrap();
        let told = if kind == "Violation" { format!("Violation({variant})") } else { variant.to_owned() };
        (name, reached.reasons.contains_key(&told))
    });
    let all: Vec<(String, bool)> = marks.chain(branches).chain(reasons).collect();
    let faults: Vec<String> = all.iter().filter_map(|(name, is_reached)| fault(name, *is_reached)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_script_of_the_past_passes() {
    let start = Instant::now();
    let scripts = script::read_folder(&path("regressions")).unwrap();
    assert!(!scripts.is_empty());
    let (worlds, mut events) = (scripts.len() as u64, 0);
    for (name, plan) in scripts {
        let report = run(&plan);
        assert_well(&regression(&name), &plan, &report);
        events += report.events;
    }
    print_figures("scripts", worlds, events, start);
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 0..40 {
        let size = if seed % 8 == 0 { Size::Cluster } else { Size::Lite };
        let plan = Plan::from_seed(seed, size);
        let [one, other] = [run(&plan), run(&plan.to_string().parse().unwrap())];
        assert_eq!((one.digest, one.events), (other.digest, other.events), "{seed:#x}");
    }
}

#[test]
fn a_crowd_and_a_week_end_well() {
    for size in [Size::Crowd, Size::Long] {
        let start = Instant::now();
        let mut plan = Plan::from_seed(1, size);
        plan.users.truncate(1_000);
        plan.ops.retain(|op| op.user < plan.users.len());
        let report = run(&plan);
        // Shortened, it is not the world of its seed any more.
        let file = format!("{}/shortened-{}.world", keep::FOUND, size.text());
        if report.failure.is_some() {
            keep::write(&root().join(&file), &plan.to_string()).unwrap();
        }
        assert_well(&Source::Script(file), &plan, &report);
        print_figures(size.text(), 1, report.events, start);
    }
}

/// The fingerprints were written by another build on another machine.
#[test]
fn the_same_seed_is_the_same_world_everywhere() {
    let text = std::fs::read_to_string(path("regressions/digests.txt")).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() >= 40, "{} fingerprints", lines.len());
    for line in lines {
        let [seed, size, ..] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let seed = u64::from_str_radix(seed.trim_start_matches("0x"), 16).unwrap();
        let report = run(&Plan::from_seed(seed, Size::from_text(size).unwrap()));
        let found = format!("{seed:#x} {size} {:016x} {}", report.digest, report.events);
        assert_eq!(found, line, "if worlds were to change, write the file anew as its first lines say");
    }
}

/// A world that cannot be: its only user is the link of a gateway that there is not.
const BROKEN: &str = "seed 0x5\nuser peer name=9 home=0 at=0.000000\nuser chat name=1 home=0 at=0.000000\n\
                      op 1.000000 user=1 send 1 10\nfault 2.000000 cut 1 for=0.000000 extra=0\n";

#[test]
fn a_failing_script_is_told_with_its_place_and_its_own_command() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("world");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("broken.world"), BROKEN).unwrap();
    let sim = |words: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_sim")).args(words).current_dir(&folder).output().unwrap();
        let [out, error] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert_eq!(output.status.code(), Some(1), "{out}{error}");
        (out, error)
    };
    let (told, error) = sim(&["run", "broken.world"]);
    assert_eq!(error, "");
    assert!(
        told.contains("index out of bounds: the len is 1 but the index is 9\n     at tests/src/world/"),
        "{told}"
    );
    assert!(told.contains("\nreplay: cargo xtask sim run broken.world --trace\n"), "{told}");
    let (told, _) = sim(&["replay", "."]);
    assert!(told.contains("\nreplay: cargo xtask sim run ./broken.world --trace\n"), "{told}");

    let (script, told) = sim(&["shrink", "broken.world"]);
    let smallest = "tests/regressions/broken-small.world";
    let replay = format!("smallest: cargo xtask sim run {smallest} --trace  (users 1, deeds 0, faults 0)\n");
    assert!(told.starts_with(&replay), "{told}");
    assert!(told.contains("it is a regression test now"), "{told}");
    assert_eq!(std::fs::read_to_string(folder.join(smallest)).unwrap(), script);
    let [what, place] = [0, 1].map(|line| script.lines().nth(line).unwrap());
    assert!(
        what.starts_with("# index out of bounds") && place.starts_with("# at tests/src/world/"),
        "{script}"
    );
    // What was kept fails as the whole did.
    let failure = |text: &str| run(&text.parse().unwrap()).failure.unwrap().checker();
    assert_eq!(failure(&script), failure(BROKEN));
}
