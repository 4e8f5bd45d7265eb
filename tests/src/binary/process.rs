//! A program that runs, and what it says.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Carrier, PATIENCE};

/// Lines, and whether there will be no more.
type Output = (Vec<String>, bool);

/// What a program wrote to one of its outputs.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<(Mutex<Output>, Condvar)>);

impl Lines {
    fn of(output: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let shared = lines.clone();
        thread::spawn(move || {
            let (state, changed) = &*shared.0;
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                state.lock().unwrap_or_else(PoisonError::into_inner).0.push(line);
                changed.notify_all();
            }
            state.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
            changed.notify_all();
        });
        lines
    }

    /// All lines up to one that `wanted` takes, or to the end of the output.
    pub(super) fn until(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let (state, changed) = &*self.0;
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, _) = changed
            .wait_timeout_while(state, PATIENCE, |(lines, ended)| {
                !*ended && !lines.iter().any(|line| wanted(line))
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.0.clone()
    }

    /// The first line that has `text` in it.
    pub(super) fn line(&self, text: &str) -> String {
        let lines = self.until(|line| line.contains(text));
        let found = lines.iter().find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("no {text:?} in {lines:#?}")).clone()
    }

    /// Everything, once the program has closed it.
    pub(super) fn all(&self) -> Vec<String> {
        self.until(|_| false)
    }
}

/// A running program; it ends with this value.
pub(super) struct Process {
    child: Child,
    pub(super) stdout: Lines,
    pub(super) stderr: Lines,
}

impl Process {
    /// Runs `program`.
    pub(super) fn start(program: &str, arguments: &[&str]) -> Self {
        Self::start_with(program, arguments, "")
    }

    /// Runs `program` with something to read.
    pub(super) fn start_with(program: &str, arguments: &[&str], input: &str) -> Self {
        Self::spawn(Command::new(program).args(arguments), input)
    }

    fn spawn(command: &mut Command, input: &str) -> Self {
        command.env_remove("RUST_LOG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        // One that reads nothing has closed it.
        let _ = stdin.write_all(input.as_bytes());
        let stdout = Lines::of(child.stdout.take().expect("it is piped"));
        let stderr = Lines::of(child.stderr.take().expect("it is piped"));
        Self { child, stdout, stderr }
    }

    /// Runs a gateway with the demo services on free ports, for TCP and WebSocket.
    pub(super) fn serve(program: &str, more: &[&str]) -> Self {
        let plain = ["serve", "--pomelo-tcp", "127.0.0.1:0", "--pomelo-ws", "127.0.0.1:0", "--demo-services"];
        Self::start(program, &[&plain, more].concat())
    }

    /// Runs a gateway whose outputs nobody reads once it listens.
    pub(super) fn serve_unread(program: &str) -> (Self, SocketAddr) {
        let mut command = Command::new(program);
        command.args(["serve", "--pomelo-tcp", "127.0.0.1:0", "--demo-services"]).env("RUST_LOG", "debug");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut first = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut first).expect("it says where it listens");
        drop(child.stderr.take());
        let address = first.trim().rsplit(' ').next().and_then(|text| text.parse().ok());
        let process = Self { child, stdout: Lines::default(), stderr: Lines::default() };
        (process, address.unwrap_or_else(|| panic!("no address: {first:?}")))
    }

    /// Where it listens for `name`, as it says.
    pub(super) fn listening(&self, name: &str) -> SocketAddr {
        let line = self.stdout.line(&format!("listening {name} "));
        let address = line.rsplit(' ').next().expect("there is a last word");
        address.parse().unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Where it listens for what `carrier` carries.
    pub(super) fn address(&self, carrier: Carrier) -> SocketAddr {
        self.listening(match carrier {
            Carrier::Tcp => "pomelo-tcp",
            Carrier::WebSocket => "pomelo-ws",
        })
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, name: &str) {
        let order = format!("kill -{name} {}", self.child.id());
        let done = Command::new("sh").args(["-c", &order]).status().expect("there is a shell");
        assert!(done.success(), "{order}");
    }

    /// Whether it still runs.
    pub(super) fn lives(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Its end.
    pub(super) fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "it still runs: {:#?}", self.stderr.until(|_| true));
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops it gracefully; it must end well.
    pub(super) fn stop(&mut self) {
        self.signal("TERM");
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{status} {:#?}", self.stderr.all());
    }

    /// How many files it has open.
    pub(super) fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it lives").count()
    }

    /// How many sockets of the network it has open. What a runtime opens for itself, some of it late, is none of them.
    pub(super) fn sockets(&self) -> usize {
        let process = format!("/proc/{}", self.child.id());
        // A reset socket is in no table of TCP's any more, so what is local is left out instead.
        let table = fs::read_to_string(format!("{process}/net/unix")).expect("it lives");
        let local: HashSet<String> = table
            .lines()
            .filter_map(|row| Some(format!("socket:[{}]", row.split_whitespace().nth(6)?)))
            .collect();
        let files = fs::read_dir(format!("{process}/fd")).expect("it lives");
        let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        let names = links.filter_map(|link| link.into_os_string().into_string().ok());
        names.filter(|name| name.starts_with("socket:") && !local.contains(name)).count()
    }

    /// Its resident memory in KiB.
    pub(super) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it lives");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("there is such a line");
        line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
