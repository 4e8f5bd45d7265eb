//! Chat and IM: relayed messages, requests and idle connections, beside a relay of the chat protocol on npm's `ws`.

use crate::Error;
use crate::setup::{Need, provide};

use super::options::Options;
use super::server::{Server, binary};
use super::table::{Aim, Table, figure, print_aim, ratio};
use super::{Case, Measured, Subject, Suite};

const CHAT: &[&str] = &["chat"];
const IM: &[&str] = &["im"];
const BOTH: &[&str] = &["chat", "im"];
const CPU: &str = "server_cpu_us_per_message";
const MEMORY: &str = "server_kib_per_connection";

/// Everything that is measured.
pub(super) fn suite(options: &Options) -> Result<Suite, Error> {
    provide(Need::NpmPackages)?;
    let rival = Subject {
        name: "npm ws",
        family: "rival",
        transports: CHAT,
        start: Box::new(|| Server::start("npm ws", "node", &["tests/bench/ws-relay.js"], CHAT)),
    };
    let subjects = vec![server("tokio"), server("smol"), rival];
    Ok(Suite { subjects, cases: cases(options), print })
}

fn server(family: &'static str) -> Subject {
    let start = move || {
        let words = ["serve", "--http", "127.0.0.1:0", "--chat", "--im", "127.0.0.1:0", "--im-token", "none"];
        Server::start(family, binary(family), &words, BOTH)
    };
    Subject { name: family, family, transports: BOTH, start: Box::new(start) }
}

fn cases(options: &Options) -> Vec<Case> {
    let seconds = if options.quick { "0.7" } else { "2" };
    let mut cases = Vec::new();
    for (pairs, window) in [(1, 1), (1, 64), (100, 1), (100, 16)] {
        let words = format!("relay --pairs {pairs} --window {window} --payload 131 --seconds {seconds}");
        cases.push(Case::new("relay", &format!("{pairs} × {window}"), CHAT, &words));
    }
    for (kind, name) in [("request", "requests"), ("send", "messages")] {
        for (pairs, window) in [(1, 1), (1, 64), (100, 1), (100, 16)] {
            let words = format!("relay --kind {kind} --pairs {pairs} --window {window} --seconds {seconds}");
            cases.push(Case::new("im-relay", &format!("{name} {pairs} × {window}"), IM, &words));
        }
    }
    let connections = if options.quick { 1_000 } else { 5_000 };
    let words = format!("idle --connections {connections} --seconds 1");
    cases.push(Case::new("idle", &format!("{connections} held"), BOTH, &words).fresh());
    cases
}

fn print(results: &[Measured]) {
    let heads = ["CPU µs/message", "× npm ws", "messages/s", "p50 µs", "p99 µs", "messages"];
    let row = |measured: &Measured| {
        vec![
            figure(measured, CPU, 2),
            ratio(measured, rival_of(measured, results), CPU),
            figure(measured, "messages_per_second", 0),
            figure(measured, "p50_us", 0),
            figure(measured, "p99_us", 0),
            measured.sum("messages").to_string(),
        ]
    };
    let title = "Chat messages of 131 bytes from one user to another (pairs × on their way)";
    Table { part: "relay", title, heads: &heads }.print(results, row);
    let title = "IM: requests and their answers; messages to another user, each with its answer and its push";
    Table { part: "im-relay", title, heads: &heads }.print(results, row);
    Table {
        part: "idle",
        title: "Idle connections, each of which said something once",
        heads: &["KiB/connection", "server KiB"],
    }
    .print(results, |measured| vec![figure(measured, MEMORY, 2), figure(measured, "server_kib_after", 0)]);
    println!("### Aims\n");
    for measured in results.iter().filter(|measured| measured.family != "rival") {
        print_aims(measured);
    }
}

/// The rival in the same case.
fn rival_of<'a>(measured: &Measured, results: &'a [Measured]) -> Option<&'a Measured> {
    results.iter().find(|other| {
        other.family == "rival"
            && other.transport == measured.transport
            && other.case.name == measured.case.name
    })
}

fn print_aims(measured: &Measured) {
    match (measured.case.name.as_str(), measured.transport) {
        ("1 × 64" | "100 × 16", "chat") => {
            print_aim(measured, "CPU µs per relayed message", measured.median(CPU), Aim::AtMost(2.5));
        }
        ("requests 1 × 64" | "requests 100 × 16" | "messages 1 × 64" | "messages 100 × 16", "im") => {
            print_aim(measured, "CPU µs per message", measured.median(CPU), Aim::AtMost(12.0));
        }
        (_, _) if measured.case.part == "idle" => {
            print_aim(measured, "KiB per connection", measured.median(MEMORY), Aim::AtMost(11.0));
        }
        _ => {}
    }
}
