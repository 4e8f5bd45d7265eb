//! The processes: a server on ports that it chose itself, and the load generator against it.

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

/// A running server; it is ended when this is dropped.
pub(super) struct Server {
    pub(super) name: &'static str,
    child: Child,
    addresses: BTreeMap<String, String>,
}

impl Server {
    /// Starts a server and waits until it said where it listens for every transport.
    pub(super) fn start(
        name: &'static str,
        binary: &str,
        arguments: &[&str],
        transports: &[&str],
    ) -> Result<Self, Error> {
        let mut child = Command::new(format!("target/release/{binary}"))
            .args(arguments)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{binary} cannot be started: {error}"))?;
        let (told, lines) = mpsc::channel();
        let output = child.stdout.take().ok_or("no standard output")?;
        // Reads to the end, so that a server that says more never waits for us.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody listens any more once all addresses are known.
                let _ = told.send(line);
            }
        });
        let mut server = Self { name, child, addresses: BTreeMap::new() };
        let end = Instant::now() + START_MAX;
        while !transports.iter().all(|transport| server.serves(transport)) {
            let left = end.saturating_duration_since(Instant::now());
            let line =
                lines.recv_timeout(left).map_err(|_| format!("{binary} did not say where it listens"))?;
            let mut words = line.split_whitespace();
            if let (Some("listening"), Some(what), Some(address)) = (words.next(), words.next(), words.next())
            {
                let transport = what.trim_start_matches("pomelo-");
                server.addresses.insert(transport.to_owned(), address.to_owned());
            }
        }
        Ok(server)
    }

    pub(super) fn serves(&self, transport: &str) -> bool {
        self.addresses.contains_key(transport)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the load generator and returns its report, or one that says how it failed.
pub(super) fn load(server: &Server, transport: &str, arguments: &[String]) -> Value {
    try_load(server, transport, arguments).unwrap_or_else(|error| json!({ "failed": error.to_string() }))
}

fn try_load(server: &Server, transport: &str, arguments: &[String]) -> Result<Value, Error> {
    let address = server.addresses.get(transport).ok_or("no such listener")?;
    let mut child = Command::new("target/release/linkspan-load")
        .args(arguments)
        .args([&format!("--{transport}"), address, "--server-pid", &server.child.id().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
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
