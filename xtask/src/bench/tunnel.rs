//! Tunnels: big and small downloads through a forwarded port and through the proxy, and what idle agents and readers
//! that never read cost; beside the same without a tunnel, and beside rathole and bore.

use std::rc::Rc;

use crate::Error;

use super::options::Options;
use super::rivals::{Rathole, tools, wait_until_ready};
use super::server::{Process, Server, binary};
use super::table::{Aim, Table, figure, print_aim, ratio};
use super::{Case, Measured, Subject, Suite};

const WAYS: &[&str] = &["direct", "forward", "proxy"];
const THROUGH: &[&str] = &["forward", "proxy"];
const YARDSTICK: &str = "rathole websocket";
const SPEED: &str = "megabytes_per_second";
const CPU_GB: &str = "server_cpu_s_per_gb";
const RATE: &str = "answers_per_second";
const CPU: &str = "server_cpu_us_per_answer";
const MEMORY: &str = "server_kib_per_connection";

/// Everything that is measured.
pub(super) fn suite(options: &Options) -> Result<Suite, Error> {
    let tools = tools(options.tools.as_deref())?;
    let origin = Rc::new(Process::start("target/release/linkspan-load", &["origin"], &["web"])?);
    let at = origin.address("web")?.to_owned();
    let mut subjects = vec![direct(&origin)?];
    for (name, server, agent) in
        [("tokio", "tokio", "tokio"), ("smol", "smol", "smol"), ("tokio, smol agent", "tokio", "smol")]
    {
        let at = at.clone();
        let start = Box::new(move || ours(name, server, agent, &at));
        let family = if server == agent { server } else { "mixed" };
        subjects.push(Subject { name, family, transports: &["forward", "proxy", "connect"], start });
    }
    for (name, transport) in [("rathole tcp", Rathole::Tcp), (YARDSTICK, Rathole::WebSocket)] {
        let (tools, at) = (tools.clone(), at.clone());
        let start = Box::new(move || tools.rathole(name, transport, &at));
        subjects.push(Subject { name, family: "rathole", transports: &["forward"], start });
    }
    let start = Box::new(move || tools.bore("bore", &at));
    subjects.push(Subject { name: "bore", family: "bore", transports: &["forward"], start });
    Ok(Suite { subjects, cases: cases(options), print })
}

/// No tunnel at all.
fn direct(origin: &Rc<Process>) -> Result<Subject, Error> {
    let (origin, at) = (Rc::clone(origin), origin.address("web")?.to_owned());
    let start = Box::new(move || {
        // It belongs to all of them, and stays as long as anyone can be started.
        let _ = &origin;
        Ok(Server::new("no tunnel", Vec::new()).with_web("direct", at.clone()))
    });
    Ok(Subject { name: "no tunnel", family: "direct", transports: &["direct"], start })
}

/// A server with a forwarded port, and one agent.
fn ours(name: &'static str, server: &str, agent: &str, origin: &str) -> Result<Server, Error> {
    let forward = format!("127.0.0.1:0=foo/tcp/{origin}");
    let words = ["serve", "--http", "127.0.0.1:0", "--tunnel", "--forward", &forward];
    let server = Process::start(binary(server), &words, &["http", "forward"])?;
    let (http, forward) = (server.address("http")?.to_owned(), server.address("forward")?.to_owned());
    let url = format!("ws://{http}/connect");
    let agent = Process::start(binary(agent), &["agent", "--connect", &url, "--id", "foo"], &[])?;
    wait_until_ready(&forward, "")?;
    let prefix = format!("/client/foo/http/{origin}");
    wait_until_ready(&http, &prefix)?;
    Ok(Server::new(name, vec![server, agent])
        .with_web("forward", forward)
        .with_web("proxy", format!("{http}{prefix}"))
        .with_web("connect", http))
}

fn cases(options: &Options) -> Vec<Case> {
    let (long, short) = if options.quick { ("1", "1") } else { ("3", "2") };
    let mut cases = Vec::new();
    for streams in [1, 16] {
        let words = format!("download --streams {streams} --seconds {long}");
        cases.push(Case::new("bulk", &format!("{streams} streams"), WAYS, &words));
    }
    for connections in [1, 64] {
        let words = format!("get --connections {connections} --seconds {short}");
        cases.push(Case::new("get", &format!("{connections} connections"), WAYS, &words));
    }
    let words = format!("download --streams 16 --never-read --seconds {long}");
    cases.push(Case::new("unread", "16 never read", THROUGH, &words).fresh());
    let words = "idle --connections 1000 --seconds 6";
    cases.push(Case::new("idle", "1000 agents", &["connect"], words).fresh());
    cases
}

fn print(results: &[Measured]) {
    Table {
        part: "bulk",
        title: "Downloads of 256 MiB, again and again",
        heads: &["MB/s", "× rathole ws", "tunnel CPU s/GB", "server MiB", "agent MiB"],
    }
    .print(results, |measured| {
        vec![
            figure(measured, SPEED, 0),
            ratio(measured, yardstick(measured, results), SPEED),
            tunnel_figure(measured, CPU_GB, 2),
            mebibytes(measured, "first_kib_peak"),
            mebibytes(measured, "second_kib_peak"),
        ]
    });
    Table {
        part: "get",
        title: "Downloads of 12 bytes, one after another on each connection",
        heads: &["requests/s", "× rathole ws", "p50 µs", "p99 µs", "tunnel CPU µs/request"],
    }
    .print(results, |measured| {
        vec![
            figure(measured, RATE, 0),
            ratio(measured, yardstick(measured, results), RATE),
            figure(measured, "p50_us", 0),
            figure(measured, "p99_us", 0),
            tunnel_figure(measured, CPU, 1),
        ]
    });
    Table {
        part: "unread",
        title: "Readers of 256 MiB who never read",
        heads: &["server MiB before", "most", "agent MiB before", "most"],
    }
    .print(results, |measured| {
        ["first_kib_before", "first_kib_peak", "second_kib_before", "second_kib_peak"]
            .map(|name| mebibytes(measured, name))
            .to_vec()
    });
    Table {
        part: "idle",
        title: "Idle agents, each with a ping every 5 seconds",
        heads: &["KiB/agent", "server KiB", "server CPU %"],
    }
    .print(results, |measured| {
        let share = measured.median("server_cpu_share") * 100.0;
        vec![figure(measured, MEMORY, 2), figure(measured, "server_kib_after", 0), format!("{share:.2}")]
    });
    println!("### Aims\n");
    let is_ours = |measured: &&Measured| ["tokio", "smol"].contains(&measured.family);
    for measured in results.iter().filter(is_ours) {
        print_aims(measured, results);
    }
}

/// A figure of the tunnel's processes, where there is a tunnel.
fn tunnel_figure(measured: &Measured, name: &str, decimals: usize) -> String {
    if measured.transport == "direct" { "–".to_owned() } else { figure(measured, name, decimals) }
}

fn mebibytes(measured: &Measured, name: &str) -> String {
    let kib = measured.median(name);
    if kib.is_nan() { "–".to_owned() } else { format!("{:.1}", kib / 1024.0) }
}

/// rathole over WebSocket, in the same case.
fn yardstick<'a>(measured: &Measured, results: &'a [Measured]) -> Option<&'a Measured> {
    results.iter().find(|other| other.subject == YARDSTICK && other.case.name == measured.case.name)
}

fn print_aims(measured: &Measured, results: &[Measured]) {
    let (figure, ratio_aim) = match measured.case.part {
        "bulk" => {
            print_aim(measured, "tunnel CPU s per GB", measured.median(CPU_GB), Aim::AtMost(2.2));
            (SPEED, if measured.case.name == "1 streams" { 1.0 } else { 0.9 })
        }
        "get" => (RATE, 0.9),
        "idle" => {
            return print_aim(measured, "KiB per idle agent", measured.median(MEMORY), Aim::AtMost(16.0));
        }
        _ => return,
    };
    let aim = match (measured.case.name.as_str(), measured.transport) {
        ("1 streams", _) => Some(("MB/s", 600.0)),
        ("16 streams", _) => Some(("MB/s", 800.0)),
        ("64 connections", "forward") => Some(("requests/s", 33_000.0)),
        ("64 connections", _) => Some(("requests/s", 20_000.0)),
        _ => None,
    };
    if let Some((what, least)) = aim {
        print_aim(measured, what, measured.median(figure), Aim::AtLeast(least));
    }
    if let Some(other) = yardstick(measured, results) {
        let reached = measured.median(figure) / other.median(figure);
        print_aim(measured, "× rathole websocket", reached, Aim::AtLeast(ratio_aim));
    }
}
