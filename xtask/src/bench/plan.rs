//! What is measured, of whom, and for how long.

use crate::Error;

use super::server::Server;

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Echo,
    Idle,
    Broadcast,
    Cycle,
}

pub(super) const ECHO: Part = Part::Echo;

/// One thing to measure.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) part: Part,
    pub(super) name: String,
    /// For the load generator.
    pub(super) arguments: Vec<String>,
}

/// Who is measured.
pub(super) struct Subject {
    pub(super) name: &'static str,
    /// The runtime, for `--only`; the floor of a runtime has the same.
    runtime: &'static str,
    binary: &'static str,
    placement: Option<&'static str>,
}

const FLOORS: [Subject; 2] = [
    Subject { name: "tokio floor", runtime: "tokio", binary: "floor-tokio", placement: None },
    Subject { name: "smol floor", runtime: "smol", binary: "floor-smol", placement: None },
];

const SERVERS: [Subject; 2] = [
    Subject { name: "tokio", runtime: "tokio", binary: "linkspan", placement: None },
    Subject { name: "smol", runtime: "smol", binary: "linkspan-smol", placement: None },
];

const PLACED: [Subject; 4] = [
    Subject {
        name: "tokio work-stealing",
        runtime: "tokio",
        binary: "linkspan",
        placement: Some("work-stealing"),
    },
    Subject { name: "tokio per-core", runtime: "tokio", binary: "linkspan", placement: Some("per-core") },
    Subject {
        name: "smol work-stealing",
        runtime: "smol",
        binary: "linkspan-smol",
        placement: Some("work-stealing"),
    },
    Subject { name: "smol per-core", runtime: "smol", binary: "linkspan-smol", placement: Some("per-core") },
];

impl Subject {
    pub(super) fn transports(&self) -> &'static [&'static str] {
        if self.binary.starts_with("floor") { &["floor"] } else { &["tcp", "ws"] }
    }

    /// Starts its server.
    pub(super) fn start(&self) -> Result<Server, Error> {
        let mut arguments = Vec::new();
        if !self.binary.starts_with("floor") {
            let listen =
                ["--pomelo-tcp", "127.0.0.1:0", "--pomelo-ws", "127.0.0.1:0", "--http", "127.0.0.1:0"];
            arguments.push("serve");
            arguments.extend(listen);
            arguments.push("--demo-services");
        }
        if let Some(placement) = self.placement {
            arguments.extend(["--placement", placement]);
        }
        Server::start(self.name, self.binary, &arguments, self.transports())
    }
}

/// What the person asked for.
#[derive(Debug, Default)]
pub(super) struct Options {
    quick: bool,
    pub(super) no_build: bool,
    only: Vec<String>,
    pub(super) placement: bool,
    pub(super) json: Option<String>,
}

impl Options {
    const WORDS: [&str; 8] = ["tokio", "smol", "tcp", "ws", "echo", "idle", "broadcast", "cycle"];

    pub(super) fn parse(arguments: &[String]) -> Result<Self, Error> {
        let mut options = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => options.quick = true,
                "--no-build" => options.no_build = true,
                "--placement" => options.placement = true,
                "--json" => options.json = Some(words.next().ok_or("--json needs a file")?.clone()),
                "--only" => {
                    let word = words.next().ok_or("--only needs a word")?;
                    if !Self::WORDS.contains(&word.as_str()) {
                        return Err(format!("--only takes one of: {}", Self::WORDS.join(", ")).into());
                    }
                    options.only.push(word.clone());
                }
                _ => return Err(format!("unknown argument {word}; see cargo xtask help").into()),
            }
        }
        Ok(options)
    }

    /// Rounds of each measurement; the median is shown.
    pub(super) fn rounds(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    pub(super) fn wants(&self, part: Part) -> bool {
        let name = match part {
            Part::Echo => "echo",
            Part::Idle => "idle",
            Part::Broadcast => "broadcast",
            Part::Cycle => "cycle",
        };
        self.among(&["echo", "idle", "broadcast", "cycle"], name)
    }

    pub(super) fn wants_transport(&self, transport: &str) -> bool {
        // Every figure is read beside the floor's.
        transport == "floor" || self.among(&["tcp", "ws"], transport)
    }

    pub(super) fn subjects(&self) -> Vec<Subject> {
        let servers: Vec<Subject> = if self.placement { PLACED.into() } else { SERVERS.into() };
        let all = FLOORS.into_iter().chain(servers);
        all.filter(|subject| self.among(&["tokio", "smol"], subject.runtime)).collect()
    }

    /// True if `word` was asked for, or none of its kind was.
    fn among(&self, kind: &[&str], word: &str) -> bool {
        let mut asked = self.only.iter().filter(|asked| kind.contains(&asked.as_str())).peekable();
        asked.peek().is_none() || asked.any(|asked| asked == word)
    }
}

fn case(part: Part, name: &str, arguments: &str) -> Case {
    Case { part, name: name.to_owned(), arguments: arguments.split(' ').map(str::to_owned).collect() }
}

pub(super) fn echo(options: &Options) -> Vec<Case> {
    let seconds = if options.quick { "0.5" } else { "1" };
    [(1, 1), (64, 1), (1_000, 1), (1, 16), (64, 16)]
        .into_iter()
        .map(|(connections, deep)| {
            let arguments = format!(
                "echo --connections {connections} --in-flight {deep} --payload 64 --seconds {seconds}"
            );
            case(Part::Echo, &format!("{connections} × {deep}"), &arguments)
        })
        .collect()
}

pub(super) fn broadcast(options: &Options) -> Vec<Case> {
    let seconds = if options.quick { 1 } else { 3 };
    [(1_000, 50), (200, 1_000)]
        .into_iter()
        .map(|(members, rate)| {
            let arguments = format!("broadcast --members {members} --rate {rate} --seconds {seconds}");
            case(Part::Broadcast, &format!("{members} members × {rate}/s"), &arguments)
        })
        .collect()
}

pub(super) fn idle(options: &Options) -> Case {
    let connections = if options.quick { 1_000 } else { 5_000 };
    case(Part::Idle, &format!("{connections} held"), &format!("idle --connections {connections} --seconds 1"))
}

pub(super) fn cycle(options: &Options) -> Case {
    let cycles = if options.quick { 2_000 } else { 6_000 };
    case(Part::Cycle, &format!("{cycles} cycles"), &format!("cycle --cycles {cycles}"))
}
