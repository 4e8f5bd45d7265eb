//! `cargo xtask bench`: what both binaries cost on this machine, beside a plain TCP echo on the same runtime.

mod aims;
mod machine;
mod plan;
mod server;
mod table;

use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};

use crate::Error;
use crate::command::{command, run as run_command, strong};

use self::plan::{Case, ECHO, Options, Part, Subject};
use self::server::{Server, load};

/// Everything one case measured for one subject over one transport: one report per round.
struct Measured {
    subject: &'static str,
    transport: &'static str,
    case: Case,
    rounds: Vec<Value>,
}

impl Measured {
    /// The median over the rounds of one figure.
    fn median(&self, figure: &str) -> f64 {
        let mut values: Vec<f64> = self.rounds.iter().filter_map(|round| round[figure].as_f64()).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// A count, added up over the rounds.
    fn sum(&self, figure: &str) -> u64 {
        self.rounds.iter().filter_map(|round| round[figure].as_u64()).sum()
    }

    /// How many answers were wrong, lost or reordered, and how many connections failed.
    fn faults(&self) -> u64 {
        let failed = self.rounds.iter().filter(|round| round.get("failed").is_some()).count() as u64;
        failed
            + ["wrong", "lost", "reordered", "errors", "server_files_left"]
                .iter()
                .map(|name| self.sum(name))
                .sum::<u64>()
    }
}

/// Runs the task.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let options = Options::parse(arguments)?;
    if !options.no_build {
        build()?;
    }
    let machine = machine::describe();
    println!("\n{}\n", machine::text(&machine));
    let start = Instant::now();
    let subjects = options.subjects();
    let mut results = Vec::new();
    if options.wants(Part::Echo) {
        results.extend(steady(&options, &subjects, &plan::echo(&options))?);
    }
    if options.wants(Part::Broadcast) {
        results.extend(steady(&options, &subjects, &plan::broadcast(&options))?);
    }
    if options.wants(Part::Idle) {
        results.extend(fresh(&options, &subjects, &plan::idle(&options), true)?);
    }
    if options.wants(Part::Cycle) {
        results.extend(fresh(&options, &subjects, &plan::cycle(&options), false)?);
    }
    eprintln!();
    table::print(&results);
    if !options.placement {
        aims::print(&results);
    }
    println!("\n{:.0} s, load average now {}", start.elapsed().as_secs_f64(), machine::load_average());
    if let Some(file) = &options.json {
        let runs: Vec<Value> = results.iter().map(to_json).collect();
        std::fs::write(file, serde_json::to_string_pretty(&json!({ "machine": machine, "runs": runs }))?)?;
        println!("written to {file}");
    }
    Ok(verdict(&results))
}

/// Says which runs had faults; a figure with faults counts for nothing.
fn verdict(results: &[Measured]) -> ExitCode {
    let faulty: Vec<&Measured> = results.iter().filter(|measured| measured.faults() > 0).collect();
    for measured in &faulty {
        let reasons: Vec<&Value> =
            measured.rounds.iter().flat_map(|round| [&round["reasons"], &round["failed"]]).collect();
        let Measured { subject, transport, case, .. } = measured;
        println!("FAULTS {subject} {transport} {}: {} {}", case.name, measured.faults(), json!(reasons));
    }
    println!("{} passed, {} failed", results.len() - faulty.len(), faulty.len());
    if faulty.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn to_json(measured: &Measured) -> Value {
    json!({
        "subject": measured.subject,
        "transport": measured.transport,
        "case": measured.case.name,
        "arguments": measured.case.arguments,
        "rounds": measured.rounds,
    })
}

fn build() -> Result<(), Error> {
    let words = [
        "cargo",
        "build",
        "--release",
        "-p",
        "linkspan-tokio",
        "-p",
        "linkspan-smol",
        "-p",
        "linkspan-tests",
        "--bins",
    ];
    println!("$ {}", words.join(" "));
    run_command(&mut command(&words))
}

/// Cases that share servers: every round goes through all subjects, so that what the machine does meanwhile hits all.
fn steady(options: &Options, subjects: &[Subject], cases: &[Case]) -> Result<Vec<Measured>, Error> {
    let servers: Vec<Server> = subjects.iter().map(Subject::start).collect::<Result<_, _>>()?;
    let mut results: Vec<Measured> = Vec::new();
    for case in cases {
        for (subject, transport) in pairs(options, subjects, case.part == ECHO) {
            results.push(Measured {
                subject: subject.name,
                transport,
                case: case.clone(),
                rounds: Vec::new(),
            });
        }
    }
    for round in 1..=options.rounds() {
        for measured in &mut results {
            progress(round, measured);
            let server = servers
                .iter()
                .find(|server| server.name == measured.subject && server.serves(measured.transport));
            let Some(server) = server else { continue };
            measured.rounds.push(load(server, measured.transport, &measured.case.arguments));
        }
    }
    Ok(results)
}

/// Cases that need a server which has done nothing before: what it holds is compared with its beginning.
fn fresh(
    options: &Options,
    subjects: &[Subject],
    case: &Case,
    with_floor: bool,
) -> Result<Vec<Measured>, Error> {
    let mut results = Vec::new();
    for (subject, transport) in pairs(options, subjects, with_floor) {
        let mut measured =
            Measured { subject: subject.name, transport, case: case.clone(), rounds: Vec::new() };
        for round in 1..=options.rounds() {
            progress(round, &measured);
            let server = subject.start()?;
            measured.rounds.push(load(&server, transport, &case.arguments));
        }
        results.push(measured);
    }
    Ok(results)
}

/// Every subject with every transport that is asked for.
fn pairs<'a>(
    options: &Options,
    subjects: &'a [Subject],
    with_floor: bool,
) -> Vec<(&'a Subject, &'static str)> {
    let mut pairs = Vec::new();
    for subject in subjects {
        for transport in subject.transports() {
            if (*transport != "floor" || with_floor) && options.wants_transport(transport) {
                pairs.push((subject, *transport));
            }
        }
    }
    pairs
}

fn progress(round: usize, measured: &Measured) {
    eprintln!(
        "{}",
        strong(&format!("round {round}: {} {} {}", measured.subject, measured.transport, measured.case.name))
    );
}
