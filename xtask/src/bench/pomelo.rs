//! Pomelo: requests, rooms, idle connections and cycles, beside a plain TCP echo on the same runtime.

use super::options::Options;
use super::server::Server;
use super::table::{Aim, Table, figure, print_aim, ratio};
use super::{Case, Measured, Subject, Suite};

const ALL: &[&str] = &["floor", "tcp", "ws"];
const SERVERS: &[&str] = &["tcp", "ws"];
const CPU: &str = "server_cpu_us_per_answer";
const MEMORY: &str = "server_kib_per_connection";

/// Everything that is measured.
pub(super) fn suite(options: &Options) -> Suite {
    let mut subjects = vec![floor("tokio floor", "tokio"), floor("smol floor", "smol")];
    if options.placement {
        subjects.extend([
            server("tokio work-stealing", "tokio", Some("work-stealing")),
            server("tokio per-core", "tokio", Some("per-core")),
            server("smol work-stealing", "smol", Some("work-stealing")),
            server("smol per-core", "smol", Some("per-core")),
        ]);
    } else {
        subjects.extend([server("tokio", "tokio", None), server("smol", "smol", None)]);
    }
    let print = if options.placement { print_tables } else { print_all };
    Suite { subjects, cases: cases(options), print }
}

fn floor(name: &'static str, family: &'static str) -> Subject {
    let start = move || Server::start(name, &format!("target/release/floor-{family}"), &[], &["floor"]);
    Subject { name, family, transports: &["floor"], start: Box::new(start) }
}

fn server(name: &'static str, family: &'static str, placement: Option<&'static str>) -> Subject {
    let start = move || {
        let mut words = vec!["serve", "--pomelo-tcp", "127.0.0.1:0", "--pomelo-ws", "127.0.0.1:0"];
        words.extend(["--http", "127.0.0.1:0", "--demo-services"]);
        words.extend(placement.iter().flat_map(|placement| ["--placement", placement]));
        Server::start(name, super::server::binary(family), &words, SERVERS)
    };
    Subject { name, family, transports: SERVERS, start: Box::new(start) }
}

fn cases(options: &Options) -> Vec<Case> {
    let seconds = if options.quick { "0.5" } else { "1" };
    let mut cases = Vec::new();
    for (connections, deep) in [(1, 1), (64, 1), (1_000, 1), (1, 16), (64, 16)] {
        let words =
            format!("echo --connections {connections} --in-flight {deep} --payload 64 --seconds {seconds}");
        cases.push(Case::new("echo", &format!("{connections} × {deep}"), ALL, &words));
    }
    let seconds = if options.quick { 1 } else { 3 };
    for (members, rate) in [(1_000, 50), (200, 1_000)] {
        let words = format!("broadcast --members {members} --rate {rate} --seconds {seconds}");
        cases.push(Case::new("broadcast", &format!("{members} members × {rate}/s"), SERVERS, &words));
    }
    let connections = if options.quick { 1_000 } else { 5_000 };
    let words = format!("idle --connections {connections} --seconds 1");
    cases.push(Case::new("idle", &format!("{connections} held"), ALL, &words).fresh());
    let cycles = if options.quick { 2_000 } else { 6_000 };
    let words = format!("cycle --cycles {cycles}");
    cases.push(Case::new("cycle", &format!("{cycles} cycles"), SERVERS, &words).fresh());
    cases
}

fn print_all(results: &[Measured]) {
    print_tables(results);
    println!("### Aims\n");
    for measured in results.iter().filter(|measured| measured.transport != "floor") {
        print_aims(measured, results);
    }
}

fn print_tables(results: &[Measured]) {
    Table {
        part: "echo",
        title: "Requests answered with the same 64 bytes (connections × in flight)",
        heads: &["CPU µs/answer", "× floor", "answers/s", "p50 µs", "p99 µs", "answers"],
    }
    .print(results, |measured| {
        vec![
            figure(measured, CPU, 2),
            ratio(measured, floor_of(measured, results), CPU),
            figure(measured, "answers_per_second", 0),
            figure(measured, "p50_us", 0),
            figure(measured, "p99_us", 0),
            measured.sum("answers").to_string(),
        ]
    });
    Table {
        part: "idle",
        title: "Idle connections, each of which asked once",
        heads: &["KiB/connection", "server KiB"],
    }
    .print(results, |measured| vec![figure(measured, MEMORY, 2), figure(measured, "server_kib_after", 0)]);
    Table {
        part: "broadcast",
        title: "Room messages of 64 bytes to every member",
        heads: &["CPU µs/push", "delivered", "expected", "pushes/s", "p50 µs", "p99 µs"],
    }
    .print(results, |measured| {
        vec![
            figure(measured, "server_cpu_us_per_push", 2),
            measured.sum("delivered").to_string(),
            measured.sum("expected").to_string(),
            figure(measured, "delivered_per_second", 0),
            figure(measured, "p50_us", 0),
            figure(measured, "p99_us", 0),
        ]
    });
    Table {
        part: "cycle",
        title: "Connect, shake hands, ask once, close",
        heads: &["cycles/s", "CPU µs/cycle", "KiB after 1,000", "KiB at the end", "left open"],
    }
    .print(results, |measured| {
        vec![
            figure(measured, "cycles_per_second", 0),
            figure(measured, "server_cpu_us_per_cycle", 1),
            figure(measured, "server_kib_settled", 0),
            figure(measured, "server_kib_end", 0),
            measured.sum("server_files_left").to_string(),
        ]
    });
}

/// The plain echo on the same runtime, in the same case.
fn floor_of<'a>(measured: &Measured, results: &'a [Measured]) -> Option<&'a Measured> {
    results.iter().find(|other| {
        other.transport == "floor" && other.family == measured.family && other.case.name == measured.case.name
    })
}

/// Says of each aim that this measurement speaks to whether it was reached.
fn print_aims(measured: &Measured, results: &[Measured]) {
    match (measured.case.name.as_str(), measured.transport) {
        ("64 × 1", "tcp") => {
            if let Some(floor) = floor_of(measured, results) {
                let floors = measured.median(CPU) / floor.median(CPU);
                print_aim(measured, "CPU per answer, in floors", floors, Aim::AtMost(1.5));
            }
        }
        ("1 × 16" | "64 × 16", _) => {
            print_aim(measured, "CPU µs per answer", measured.median(CPU), Aim::AtMost(2.0));
        }
        ("5000 held", "tcp") => {
            print_aim(measured, "KiB per connection", measured.median(MEMORY), Aim::AtMost(6.0));
        }
        ("5000 held", "ws") => {
            print_aim(measured, "KiB per connection", measured.median(MEMORY), Aim::AtMost(11.0));
        }
        ("200 members × 1000/s", _) => {
            let lost = f64::from(u32::try_from(measured.sum("lost")).unwrap_or(u32::MAX));
            print_aim(measured, "pushes lost", lost, Aim::AtMost(0.0));
        }
        _ => {}
    }
}
