//! The simulated world, over a fixed set of seeds: what it finds is kept as a script in `regressions/`.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use linkspan_core::Mark;
use linkspan_tests::world::{Plan, Report, Size, run, script, shrink};

/// What the fixed set reaches.
type Reached = BTreeMap<Mark, u64>;

/// Lets all worlds of a size live; their marks.
fn live(seeds: u64, size: Size) -> Reached {
    let next = AtomicU64::new(0);
    let reached = Mutex::new(Reached::new());
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            let plan = Plan::from_seed(seed, size);
            let report = run(&plan);
            assert_well(&format!("{size:?} {seed:#x}"), &plan, &report);
            let mut reached = reached.lock().unwrap();
            report.marks.iter().for_each(|(mark, count)| *reached.entry(*mark).or_default() += count);
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(worker))));
    reached.into_inner().unwrap()
}

/// Fails with the smallest script that shows what is wrong.
fn assert_well(name: &str, plan: &Plan, report: &Report) {
    if let Some(failure) = &report.failure {
        let smallest = shrink::shrink(plan, 200).map(|(plan, _)| plan.to_string()).unwrap_or_default();
        panic!("world {name}: {}\nkeep this as tests/regressions/NAME.world:\n{smallest}", failure.text);
    }
}

/// Marks that no world reaches, and the tests that do.
const ELSEWHERE: &[(Mark, &str)] = &[
    (Mark::ProxyHeaderInvalid, "tests/gateway/edge.rs"),
    (Mark::RefusalSilent, "tests/gateway/edge.rs"),
    (Mark::DatagramDropped, "src/binary/tunnel/flags.rs"),
    (Mark::SendersFull, "src/binary/tunnel/flags.rs"),
];

#[test]
fn the_fixed_worlds_end_well_and_reach_every_limit() {
    let mut reached = live(2_000, Size::Lite);
    live(400, Size::Cluster).into_iter().for_each(|(mark, count)| *reached.entry(mark).or_default() += count);
    // What is seldom has a script of its own.
    for (_, plan) in script::read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions")).unwrap()
    {
        run(&plan).marks.into_iter().for_each(|(mark, count)| *reached.entry(mark).or_default() += count);
    }
    let mut faults = Vec::new();
    for mark in Mark::ALL {
        let elsewhere = ELSEWHERE.iter().find(|(other, _)| other == mark);
        match (reached.contains_key(mark), elsewhere) {
            (false, None) => {
                faults.push(format!("{mark:?} is reached by no world and no other test is named"));
            }
            (true, Some(_)) => faults.push(format!("{mark:?} is reached: take it off the list")),
            (false, Some((_, file))) => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                if !text.contains(&format!("Mark::{mark:?}")) {
                    faults.push(format!("{file} does not name Mark::{mark:?}"));
                }
            }
            (true, None) => {}
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_script_of_the_past_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let scripts = script::read_folder(&folder).unwrap();
    assert!(!scripts.is_empty());
    for (name, plan) in scripts {
        assert_well(&name, &plan, &run(&plan));
    }
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
        let mut plan = Plan::from_seed(1, size);
        plan.users.truncate(1_000);
        plan.ops.retain(|op| op.user < plan.users.len());
        assert_well(&format!("{size:?}"), &plan, &run(&plan));
    }
}

/// The fingerprints were written by another build on another machine.
#[test]
fn the_same_seed_is_the_same_world_everywhere() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions/digests.txt");
    let text = std::fs::read_to_string(path).unwrap();
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
