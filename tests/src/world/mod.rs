//! A simulated world: whole gateways and their users in one agenda, from one seed.
//!
//! Everything runs on one thread with one clock that is a number. The machines are those of the core, unchanged, driven
//! as the adapters drive them; the links between them keep what TCP keeps and nothing else. A [`Plan`] says who lives in
//! the world, what they do and what goes wrong; it is drawn from a seed or read from a script. A run has three stages:
//!
//! 1. *Safety*: the plan is under way. Every step of every machine is [checked](crate::harness::Checked), the hub is
//!    compared with a plain model, and a ledger follows every message.
//! 2. *Heal*: faults are over. Within a bound everything must have come to rest: requests have their end, messages have
//!    arrived or are counted as dropped, the dead are found out, whoever may be connected is.
//! 3. *Floor*: everybody leaves. Nothing may be left of them.
//!
//! The same plan gives the same run, on every machine: [`Report::digest`] is the proof.

mod accounts;
mod agenda;
mod bounds;
mod branch;
mod chat;
mod check;
pub mod cli;
mod dials;
mod drive;
mod end;
mod faults;
mod gateway;
mod generate;
mod im;
mod im_apps;
pub mod keep;
mod ledger;
mod link;
mod mesh;
mod original;
mod panics;
mod plan;
mod pomelo;
mod relay;
pub mod script;
pub mod shrink;
mod sim;
mod story;
mod trace;
mod tunnel;
mod users;
mod web;

use std::collections::BTreeMap;
use std::fmt;

use linkspan_core::Mark;

pub use self::branch::Branch;
pub use self::ledger::Counts;
pub use self::plan::{Fault, Harm, Kind, Op, Plan, Settings, Size, UserPlan, Verb};
use self::sim::Sim;
pub use self::sim::Stage;

/// What is wrong with a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In which stage it was found.
    pub stage: Stage,
    /// When, in microseconds of the world.
    pub at: u64,
    /// How many events had happened.
    pub event: u64,
    /// What.
    pub text: String,
    /// Where in the source that was found.
    pub place: String,
}

/// What, and where in the source.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nat {}", self.text.trim_end(), self.place)
    }
}

impl Failure {
    /// What is wrong, and the first of the details, if there are any.
    pub fn head(&self) -> [&str; 2] {
        let mut lines = self.text.lines().map(str::trim);
        let what = lines.next().unwrap_or_default();
        // What `assert_eq!` has compared is this case's alone.
        let detail = lines.next().filter(|line| !line.starts_with("left: "));
        [what, detail.unwrap_or_default()]
    }

    /// The invariant that is broken and the first thing that breaks it, without the numbers and texts of this case:
    /// two runs with the same one fail alike. A stuck stream is not an absent user, though both have not come to rest.
    pub fn checker(&self) -> String {
        let [what, detail] = self.head().map(kind);
        format!("{}: {what} {detail}", self.place)
    }
}

/// A line without what only this case has in it: numbers, quoted texts, lists and the fields of values.
fn kind(line: &str) -> String {
    let (mut kind, mut depth, mut is_quoted, mut is_escaped) = (String::new(), 0_usize, false, false);
    for letter in line.chars() {
        if is_quoted {
            is_quoted = letter != '"' || is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            continue;
        }
        match letter {
            '"' => is_quoted = true,
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            _ if letter.is_ascii_digit() && kind.ends_with('#') => {}
            _ if letter.is_ascii_digit() => kind.push('#'),
            _ => kind.push(letter),
        }
    }
    kind
}

/// What became of a world.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What is wrong, if anything is.
    pub failure: Option<Failure>,
    /// The fingerprint of everything that happened.
    pub digest: u64,
    /// How many events there were.
    pub events: u64,
    /// How much time has passed in the world, in microseconds.
    pub time: u64,
    /// How often each mark was counted.
    pub marks: BTreeMap<Mark, u64>,
    /// How often connections ended for which reason.
    pub reasons: BTreeMap<String, u64>,
    /// How often each branch was taken that only a fault leads to.
    pub branches: BTreeMap<Branch, u64>,
    /// What became of every message.
    pub counts: Counts,
    /// The story, if it was asked for.
    pub story: String,
}

/// Lets a world live.
pub fn run(plan: &Plan) -> Report {
    play(plan, false)
}

/// Lets a world live, and tells its story.
pub fn tell(plan: &Plan) -> Report {
    play(plan, true)
}

fn play(plan: &Plan, is_told: bool) -> Report {
    let mut sim = Sim::new(plan, is_told);
    let words = panics::caught(|| sim.play());
    let failure = words.map(|panics::Words { text, place }| Failure {
        stage: sim.stage,
        at: sim.now,
        event: sim.events,
        text,
        place,
    });
    Report {
        failure,
        digest: sim.trace.digest(),
        events: sim.events,
        time: sim.now,
        marks: std::mem::take(&mut sim.marks),
        reasons: std::mem::take(&mut sim.reasons),
        branches: std::mem::take(&mut sim.branches),
        counts: sim.ledger.counts,
        story: sim.trace.take_story(),
    }
}

#[test]
fn what_fails_alike_is_told_apart_from_what_does_not() {
    let failure = |text: &str| {
        let place = "tests/src/world/check.rs:116".to_owned();
        Failure { stage: Stage::Heal, at: 0, event: 0, text: text.to_owned(), place }.checker()
    };
    let rest =
        |detail: &str| failure(&format!("L: the world has not come to rest:\n{detail}\nwho waits for whom:"));
    let stuck = rest("end 5 has 3 streams, 0 tied: [Flow { id: 7, mode: Echo }]");
    assert_eq!(stuck, rest("end 17 has 12 streams, 1 tied: [Flow { id: 9, mode: Sink }, Flow { id: 1 }]"));
    let absent = rest("user 3 (chat) is not connected: Some(HandshakeRefused)");
    assert_ne!(stuck, absent, "a stuck stream is no absent user");
    assert_eq!(absent, rest("user 12 (chat) is not connected: Some(HandshakeRefused)"));
    assert_ne!(absent, rest("user 3 (im) is not connected: None"));
    // Quoted texts are the case's, and so is what an `assert_eq!` has compared.
    assert_eq!(failure(r#"B: was sent b"a \" b""#), failure(r#"B: was sent b"""#));
    assert_eq!(failure("A9: places\n  left: [1, 0]\n right: [0, 0]"), failure("A9: places\n  left: 2"));
    // The same words in two places are two faults.
    let overflow = "attempt to subtract with overflow";
    let [one, other] = ["core/src/gate.rs:1", "core/src/gate.rs:2"].map(|place| Failure {
        stage: Stage::Safety,
        at: 0,
        event: 0,
        text: overflow.to_owned(),
        place: place.to_owned(),
    });
    assert_ne!(one.checker(), other.checker());
    assert_eq!(one.to_string(), "attempt to subtract with overflow\nat core/src/gate.rs:1");
}
