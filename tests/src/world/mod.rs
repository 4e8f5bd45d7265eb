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

mod agenda;
mod bounds;
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
mod ledger;
mod link;
mod mesh;
mod original;
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
use std::panic::{AssertUnwindSafe, catch_unwind};

use linkspan_core::Mark;

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
}

impl Failure {
    /// The invariant that is broken, without the numbers of this case: two runs with the same one fail alike.
    pub fn checker(&self) -> String {
        let first = self.text.lines().next().unwrap_or_default();
        let head = first.split(": ").take(2).collect::<Vec<_>>().join(": ");
        head.chars().filter(|letter| !letter.is_ascii_digit()).collect()
    }
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
    let outcome = catch_unwind(AssertUnwindSafe(|| sim.play()));
    let failure = outcome.err().map(|panic| Failure {
        stage: sim.stage,
        at: sim.now,
        event: sim.events,
        text: panic_text(&*panic),
    });
    Report {
        failure,
        digest: sim.trace.digest(),
        events: sim.events,
        time: sim.now,
        marks: std::mem::take(&mut sim.marks),
        reasons: std::mem::take(&mut sim.reasons),
        counts: sim.ledger.counts,
        story: sim.trace.take_story(),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}
