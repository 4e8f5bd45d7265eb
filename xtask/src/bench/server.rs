//! The processes: servers on ports that they chose themselves, and the load generator against them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Error;

/// How long a server may take to say where it listens.
const START_MAX: Duration = Duration::from_secs(20);
/// How long one run of the load generator may take.
const RUN_MAX: Duration = Duration::from_secs(90);

/// The binary on a runtime.
pub(super) fn binary(family: &str) -> &'static str {
    if family == "smol" { "target/release/linkspan-smol" } else { "target/release/linkspan" }
}

/// A process that runs until this is dropped.
pub(super) struct Process {
    child: Child,
    /// Where it said that it listens.
    addresses: BTreeMap<String, String>,
}

impl Process {
    /// Starts a program and waits until it said where each of these listeners is: `listening NAME ADDRESS`.
    pub(super) fn start(program: &str, words: &[&str], listeners: &[&str]) -> Result<Self, Error> {
        let mut child = Command::new(program)
            .args(words)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{program} cannot be started: {error}"))?;
        let (told, lines) = mpsc::channel();
        let output = child.stdout.take().ok_or("no standard output")?;
        // Reads to the end, so that a server that says more never waits for us.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody listens any more once all addresses are known.
                let _ = told.send(line);
            }
        });
        let mut process = Self { child, addresses: BTreeMap::new() };
        let end = Instant::now() + START_MAX;
        while !listeners.iter().all(|name| process.addresses.contains_key(*name)) {
            let left = end.saturating_duration_since(Instant::now());
            let line =
                lines.recv_timeout(left).map_err(|_| format!("{program} did not say where it listens"))?;
            let mut words = line.split_whitespace();
            if let (Some("listening"), Some(name), Some(address)) = (words.next(), words.next(), words.next())
            {
                process.addresses.insert(name.to_owned(), address.to_owned());
            }
        }
        Ok(process)
    }

    /// Where one of its listeners is.
    pub(super) fn address(&self, listener: &str) -> Result<&str, Error> {
        Ok(self.addresses.get(listener).ok_or_else(|| format!("no listener {listener}"))?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running server, of one process or several.
pub(super) struct Server {
    pub(super) name: &'static str,
    /// Those whose work is measured, the server's own first.
    processes: Vec<Process>,
    /// The flag and the address for the load generator, by transport.
    ways: BTreeMap<&'static str, (&'static str, String)>,
}

impl Server {
    /// A server of these processes; nothing says yet how it is reached.
    pub(super) fn new(name: &'static str, processes: Vec<Process>) -> Self {
        Self { name, processes, ways: BTreeMap::new() }
    }

    /// A server of one process that says where it listens for every transport.
    pub(super) fn start(
        name: &'static str,
        program: &str,
        words: &[&str],
        transports: &[&'static str],
    ) -> Result<Self, Error> {
        let listeners: Vec<&str> = transports.iter().map(|transport| way(transport).1).collect();
        let process = Process::start(program, words, &listeners)?;
        let mut server = Self::new(name, Vec::new());
        for transport in transports {
            let (flag, listener) = way(transport);
            server.ways.insert(transport, (flag, process.address(listener)?.to_owned()));
        }
        server.processes.push(process);
        Ok(server)
    }

    /// The same, reached as a web server at this address.
    pub(super) fn with_web(mut self, transport: &'static str, address: String) -> Self {
        self.ways.insert(transport, ("--web", address));
        self
    }
}

/// The load generator's flag for a transport, and the listener's name.
fn way(transport: &str) -> (&'static str, &'static str) {
    match transport {
        "tcp" => ("--tcp", "pomelo-tcp"),
        "ws" => ("--ws", "pomelo-ws"),
        "chat" => ("--chat", "http"),
        "im" => ("--im", "im"),
        _ => ("--floor", "floor"),
    }
}

/// Runs the load generator and returns its report, or one that says how it failed.
pub(super) fn load(server: &Server, transport: &str, arguments: &[String]) -> Value {
    try_load(server, transport, arguments).unwrap_or_else(|error| json!({ "failed": error.to_string() }))
}

fn try_load(server: &Server, transport: &str, arguments: &[String]) -> Result<Value, Error> {
    let (flag, address) = server.ways.get(transport).ok_or("no such listener")?;
    let mut command = Command::new("target/release/linkspan-load");
    command.args(arguments).args([flag, address.as_str()]);
    for process in &server.processes {
        command.args(["--server-pid", &process.child.id().to_string()]);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let end = Instant::now() + RUN_MAX;
    while child.try_wait()?.is_none() {
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Err(format!("the load generator took longer than {} s", RUN_MAX.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut output = String::new();
    child.stdout.take().ok_or("no standard output")?.read_to_string(&mut output)?;
    Ok(serde_json::from_str(output.lines().last().ok_or("the load generator reported nothing")?)?)
}
