//! `cargo xtask bench`: what both binaries cost on this machine, beside something else that does the same work.
//!
//! Without a further word: pomelo, beside a plain TCP echo on the same runtime. `chat`: chat and IM, beside a relay on
//! npm's `ws`. `tunnel`: tunnels, beside no tunnel, rathole and bore.

mod chat;
mod machine;
mod options;
mod pomelo;
mod rivals;
mod server;
mod table;
mod tunnel;

use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};

use crate::Error;
use crate::command::{command, run as run_command, strong};

use self::options::Options;
use self::server::{Server, load};

/// Everything that is measured in one go.
struct Suite {
    subjects: Vec<Subject>,
    cases: Vec<Case>,
    /// Prints the tables, and what was reached of what was aimed at.
    print: fn(&[Measured]),
}

/// Who is measured.
struct Subject {
    name: &'static str,
    /// What `--only` calls it: the runtime, or what kind of rival it is.
    family: &'static str,
    /// The ways in which it is reached; `--only` knows them too.
    transports: &'static [&'static str],
    start: Box<dyn Fn() -> Result<Server, Error>>,
}

/// One thing to measure.
#[derive(Clone, Debug)]
struct Case {
    /// The table it stands in; `--only` knows it too.
    part: &'static str,
    name: String,
    /// Over which transports it is measured, of those that a subject has.
    transports: &'static [&'static str],
    /// True if it needs servers which have done nothing before: what they hold is compared with their beginning.
    is_fresh: bool,
    /// For the load generator.
    arguments: Vec<String>,
}

impl Case {
    /// A case for servers that have other cases before and after it.
    fn new(part: &'static str, name: &str, transports: &'static [&'static str], arguments: &str) -> Self {
        let arguments = arguments.split(' ').map(str::to_owned).collect();
        Self { part, name: name.to_owned(), transports, is_fresh: false, arguments }
    }

    /// The same with a server of its own.
    fn fresh(self) -> Self {
        Self { is_fresh: true, ..self }
    }
}

/// Everything one case measured for one subject over one transport: one report per round.
struct Measured {
    subject: &'static str,
    family: &'static str,
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
    let suite = options.suite()?;
    let mut results = steady(&options, &suite)?;
    results.extend(fresh(&options, &suite)?);
    eprintln!();
    (suite.print)(&results);
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

/// What is to be measured of the suite, with nothing measured yet.
fn wanted(options: &Options, suite: &Suite, is_fresh: bool) -> Vec<Measured> {
    let mut wanted = Vec::new();
    for case in suite.cases.iter().filter(|case| case.is_fresh == is_fresh) {
        for subject in &suite.subjects {
            for transport in subject.transports.iter().filter(|name| case.transports.contains(name)) {
                if options.wants(suite, subject, transport, case) {
                    let Subject { name, family, .. } = *subject;
                    let rounds = Vec::new();
                    wanted.push(Measured { subject: name, family, transport, case: case.clone(), rounds });
                }
            }
        }
    }
    wanted
}

/// Cases that share servers: every round goes through all subjects, so that what the machine does meanwhile hits all.
fn steady(options: &Options, suite: &Suite) -> Result<Vec<Measured>, Error> {
    let mut results = wanted(options, suite, false);
    let subjects = suite.subjects.iter();
    let subjects = subjects.filter(|subject| results.iter().any(|one| one.subject == subject.name));
    let servers: Vec<Server> = subjects.map(|subject| (subject.start)()).collect::<Result<_, _>>()?;
    for round in 1..=options.rounds() {
        for measured in &mut results {
            progress(round, measured);
            if let Some(server) = servers.iter().find(|server| server.name == measured.subject) {
                measured.rounds.push(load(server, measured.transport, &measured.case.arguments));
            }
        }
    }
    Ok(results)
}

/// Cases each of which gets a server of its own.
fn fresh(options: &Options, suite: &Suite) -> Result<Vec<Measured>, Error> {
    let mut results = wanted(options, suite, true);
    for measured in &mut results {
        let subject = suite.subjects.iter().find(|subject| subject.name == measured.subject);
        let Some(subject) = subject else { continue };
        for round in 1..=options.rounds() {
            progress(round, measured);
            let server = (subject.start)()?;
            measured.rounds.push(load(&server, measured.transport, &measured.case.arguments));
        }
    }
    Ok(results)
}

fn progress(round: usize, measured: &Measured) {
    let Measured { subject, transport, case, .. } = measured;
    eprintln!("{}", strong(&format!("round {round}: {subject} {transport} {}", case.name)));
}
