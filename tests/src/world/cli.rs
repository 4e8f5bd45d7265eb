//! The commands of `cargo xtask sim`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use linkspan_core::Mark;

use super::keep::{self, Source};
use super::{Branch, Plan, Report, Size, run, tell};

const HELP: &str = "\
Simulated worlds: whole gateways and their users, from one seed.

  sim run SEED|SCRIPT [--size lite|cluster|crowd|long] [--trace] [--only TEXT]
      Lets one world live; with --trace tells its story, or the lines of it that have TEXT in them.
  sim many [--seeds N | --for 10m] [--from SEED] [--size SIZE|both|all] [--jobs N] [--keep N] [--no-shrink]
      Searches, prints what fails with the command that replays it, and stops after --keep failures (default 10).
      Makes each as small as it gets and keeps it as tests/regressions/SEED-SIZE.world; with --no-shrink it does not.
  sim shrink SEED|SCRIPT [--size SIZE] [--out FILE]
      Makes a failing world as small as it gets, and writes it to FILE, or prints it and keeps it in tests/regressions/.
  sim digest [--seeds N] [--from SEED] [--size SIZE]
      One fingerprint per seed: equal on every machine and in every build.
  sim marks [--seeds N] [--from SEED] [--size SIZE]
      How often each mark, each branch and each reason was reached.
  sim script SEED [--size SIZE]
      The plan of a seed as a script.
  sim replay [FOLDER]
      Runs every script of a folder (default tests/regressions).

Exit codes: 0 all is well, 1 something is wrong, 2 the command is.
";

/// What the words of a command say.
#[derive(Debug)]
struct Options {
    subject: Option<String>,
    sizes: Vec<Size>,
    seeds: u64,
    span: Option<Duration>,
    from: u64,
    jobs: u64,
    keep: usize,
    shrinks: bool,
    trace: bool,
    only: Option<String>,
    out: Option<String>,
}

impl Options {
    fn parse(words: &[String]) -> Result<Self, String> {
        let mut options = Self {
            subject: None,
            sizes: vec![Size::Lite],
            seeds: 1000,
            span: None,
            from: 0,
            jobs: 1,
            keep: 10,
            shrinks: true,
            trace: false,
            only: None,
            out: None,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--size" => options.sizes = sizes(value()?)?,
                "--seeds" => options.seeds = number(value()?)?,
                "--for" => options.span = Some(span(value()?)?),
                "--from" => options.from = number(value()?)?,
                "--jobs" => options.jobs = number(value()?)?.clamp(1, 64),
                "--keep" => options.keep = number(value()?)?.max(1) as usize,
                "--no-shrink" => options.shrinks = false,
                "--trace" => options.trace = true,
                "--only" => options.only = Some(value()?.clone()),
                "--out" => options.out = Some(value()?.clone()),
                other if other.starts_with("--") => return Err(format!("there is no option {other}")),
                subject => options.subject = Some(subject.to_owned()),
            }
        }
        Ok(options)
    }

    /// The world that is named, and how: by a seed, or by a file.
    fn plan(&self) -> Result<(Source, Plan), String> {
        let subject = self.subject.as_deref().ok_or("a seed or a script is missing")?;
        if let Ok(seed) = number(subject) {
            let size = self.sizes[0];
            return Ok((Source::Seed(seed, size), Plan::from_seed(seed, size)));
        }
        let text = std::fs::read_to_string(subject).map_err(|error| format!("{subject}: {error}"))?;
        let plan = text.parse::<Plan>().map_err(|error| format!("{subject}: {error}"))?;
        Ok((Source::Script(subject.to_owned()), plan))
    }
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text} is not a number"))
}

fn span(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.len() - usize::from(!text.is_empty()));
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("{text} is not a time such as 30s, 10m or 2h")),
    };
    Ok(Duration::from_secs(number(digits)? * factor))
}

fn sizes(text: &str) -> Result<Vec<Size>, String> {
    match text {
        "both" => Ok(vec![Size::Lite, Size::Cluster]),
        "all" => Ok(Size::ALL.to_vec()),
        _ => Size::from_text(text).map(|size| vec![size]).ok_or_else(|| format!("there is no size {text}")),
    }
}

/// Runs one command.
pub fn main(arguments: &[String]) -> ExitCode {
    let (command, rest) = arguments.split_first().map_or(("help", &[][..]), |(first, rest)| (first, rest));
    let outcome = Options::parse(rest).and_then(|options| match command {
        "run" => run_one(&options),
        "many" => search(&options),
        "shrink" => shrink(&options),
        "digest" => digest(&options),
        "marks" => marks(&options),
        "script" => options.plan().map(|(_, plan)| {
            print!("{plan}");
            true
        }),
        "replay" => replay(&options),
        "help" => {
            print!("{HELP}");
            Ok(true)
        }
        _ => Err(HELP.to_owned()),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// What is wrong, and how to see it again.
fn explain(source: &Source, plan: &Plan, report: &Report) -> String {
    let Some(failure) = &report.failure else { return String::new() };
    let (seed, size) = (plan.seed, plan.size.text());
    let at = failure.at as f64 / 1e6;
    format!(
        "FAIL seed={seed:#x} size={size} stage={:?} t={at:.6} event={}\n     {}\nreplay: {}\n",
        failure.stage,
        failure.event,
        failure.to_string().replace('\n', "\n     "),
        source.replay(),
    )
}

fn run_one(options: &Options) -> Result<bool, String> {
    let (source, plan) = options.plan()?;
    let report = if options.trace { tell(&plan) } else { run(&plan) };
    let is_wanted = |line: &&str| options.only.as_ref().is_none_or(|only| line.contains(only));
    let mut out = std::io::stdout().lock();
    for line in report.story.lines().filter(is_wanted) {
        // Whoever closes the pipe has read enough.
        if writeln!(out, "{line}").is_err() {
            break;
        }
    }
    print!("{}", explain(&source, &plan, &report));
    println!(
        "digest {:016x}, {} events, {} s of the world, {:?}",
        report.digest,
        report.events,
        report.time / 1_000_000,
        report.counts
    );
    Ok(report.failure.is_none())
}

/// What a search has found.
#[derive(Debug, Default)]
struct Sum {
    worlds: u64,
    events: u64,
    seconds: u64,
    failures: u64,
    marks: BTreeMap<Mark, u64>,
    reasons: BTreeMap<String, u64>,
    branches: BTreeMap<Branch, u64>,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.worlds += 1;
        self.events += report.events;
        self.seconds += report.time / 1_000_000;
        for (mark, count) in &report.marks {
            *self.marks.entry(*mark).or_default() += count;
        }
        for (reason, count) in &report.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
        for (branch, count) in &report.branches {
            *self.branches.entry(*branch).or_default() += count;
        }
        self.failures += u64::from(report.failure.is_some());
    }

    fn merge(&mut self, other: Self) {
        self.worlds += other.worlds;
        self.events += other.events;
        self.seconds += other.seconds;
        self.failures += other.failures;
        other.marks.into_iter().for_each(|(mark, count)| *self.marks.entry(mark).or_default() += count);
        other
            .branches
            .into_iter()
            .for_each(|(branch, count)| *self.branches.entry(branch).or_default() += count);
        other.reasons.into_iter().for_each(|(why, count)| *self.reasons.entry(why).or_default() += count);
    }
}

/// Lets many worlds live, on several threads; makes those that fail small and keeps them, if asked to.
fn survey(options: &Options, shrinks: bool) -> (Sum, Duration) {
    let start = Instant::now();
    let next = AtomicU64::new(0);
    let failed = AtomicU64::new(0);
    let live = || {
        let mut sum = Sum::default();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let is_over = match options.span {
                Some(span) => start.elapsed() >= span,
                None => at >= options.seeds * options.sizes.len() as u64,
            };
            if is_over || failed.load(Ordering::Relaxed) >= options.keep as u64 {
                return sum;
            }
            let size = options.sizes[at as usize % options.sizes.len()];
            let seed = options.from + at / options.sizes.len() as u64;
            let (source, plan) = (Source::Seed(seed, size), Plan::from_seed(seed, size));
            let report = run(&plan);
            if report.failure.is_some() {
                failed.fetch_add(1, Ordering::Relaxed);
                let tries = if shrinks { keep::tries(size) } else { 0 };
                eprint!("{}", explain(&source, &plan, &report));
                eprint!("{}", keep::keep(Path::new(""), keep::REGRESSIONS, &source, &plan, tries));
            }
            sum.add(&report);
        }
    };
    let mut total = Sum::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.jobs).map(|_| scope.spawn(live)).collect();
        for thread in threads {
            total.merge(thread.join().expect("a search does not panic"));
        }
    });
    (total, start.elapsed())
}

fn search(options: &Options) -> Result<bool, String> {
    let (sum, took) = survey(options, options.shrinks);
    let wall = took.as_secs_f64().max(1e-3);
    println!(
        "{{\"worlds\":{},\"worlds_per_s\":{:.0},\"events\":{},\"events_per_s\":{:.0},\"world_seconds\":{},\"failures\":{},\
         \"marks\":{},\"marks_known\":{},\"branches\":{},\"branches_known\":{},\"reasons\":{},\"wall_s\":{wall:.1}}}",
        sum.worlds,
        sum.worlds as f64 / wall,
        sum.events,
        sum.events as f64 / wall,
        sum.seconds,
        sum.failures,
        sum.marks.len(),
        Mark::ALL.len(),
        sum.branches.len(),
        Branch::ALL.len(),
        sum.reasons.len(),
    );
    Ok(sum.failures == 0)
}

fn marks(options: &Options) -> Result<bool, String> {
    let (sum, _) = survey(options, false);
    for mark in Mark::ALL {
        println!("{:>10}  {}", sum.marks.get(mark).copied().unwrap_or_default(), mark.name());
    }
    println!();
    for branch in Branch::ALL {
        println!("{:>10}  {branch}", sum.branches.get(branch).copied().unwrap_or_default());
    }
    println!();
    for (reason, count) in &sum.reasons {
        println!("{count:>10}  {reason}");
    }
    Ok(sum.failures == 0)
}

fn digest(options: &Options) -> Result<bool, String> {
    let mut all_well = true;
    println!(
        "# Seed, size, fingerprint and number of events of some worlds: the same on every machine and in every build."
    );
    let size = match options.sizes[..] {
        [size] => size.text(),
        [_, _] => "both",
        _ => "all",
    };
    println!(
        "# cargo xtask sim digest --seeds {}{} --size {size} > tests/regressions/digests.txt",
        options.seeds,
        if options.from > 0 { format!(" --from {}", options.from) } else { String::new() },
    );
    for seed in options.from..options.from + options.seeds {
        for size in &options.sizes {
            let plan = Plan::from_seed(seed, *size);
            let report = run(&plan);
            eprint!("{}", explain(&Source::Seed(seed, *size), &plan, &report));
            all_well &= report.failure.is_none();
            println!("{seed:#x} {} {:016x} {}", size.text(), report.digest, report.events);
        }
    }
    Ok(all_well)
}

fn shrink(options: &Options) -> Result<bool, String> {
    let (source, plan) = options.plan()?;
    let Some((smallest, failure)) = super::shrink::shrink(&plan, 2_000) else {
        println!("nothing is wrong with this world");
        return Ok(true);
    };
    let script = keep::script(&smallest, &failure);
    let file = options.out.clone().unwrap_or_else(|| {
        print!("{script}");
        source.smallest(keep::REGRESSIONS)
    });
    keep::write(Path::new(&file), &script).map_err(|error| format!("{file}: {error}"))?;
    // Not among what is printed, so that only the script goes where that goes.
    eprint!("{}", keep::told(&Source::Script(file), &smallest));
    Ok(false)
}

fn replay(options: &Options) -> Result<bool, String> {
    let folder = options.subject.as_deref().unwrap_or(keep::REGRESSIONS);
    let mut all_well = true;
    for (name, plan) in super::script::read_folder(std::path::Path::new(folder))? {
        let report = run(&plan);
        let verdict = if report.failure.is_none() { "passes" } else { "FAILS" };
        println!("{verdict} {name}");
        print!("{}", explain(&Source::Script(format!("{folder}/{name}.world")), &plan, &report));
        all_well &= report.failure.is_none();
    }
    Ok(all_well)
}
