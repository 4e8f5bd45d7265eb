//! Plans as text: one line per setting, user, deed and fault, so that a failing world can be kept, read and edited.
//!
//! ```text
//! seed 0x2a
//! size lite
//! set window 200
//! user pomelo-tcp name=1 home=0 at=0.000000
//! op 1.500000 user=0 send 2 100
//! fault 2.000000 stall 0 for=12.000000 extra=0
//! ```

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::plan::{Fault, Harm, Kind, Op, Plan, Settings, Size, UserPlan, Verb};

struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {:#x}", self.seed)?;
        writeln!(f, "size {}", self.size.text())?;
        let usual = Settings::default().fields();
        for ((name, value), (_, default)) in self.settings.fields().into_iter().zip(usual) {
            if value != default {
                writeln!(f, "set {name} {value}")?;
            }
        }
        for UserPlan { kind, name, home, at } in &self.users {
            writeln!(f, "user {kind} name={name} home={home} at={}", Seconds(*at))?;
        }
        for Op { at, user, verb, a, b } in &self.ops {
            writeln!(f, "op {} user={user} {verb} {a} {b}", Seconds(*at))?;
        }
        for Fault { at, harm, whom, span, extra } in &self.faults {
            writeln!(f, "fault {} {harm} {whom} for={} extra={extra}", Seconds(*at), Seconds(*span))?;
        }
        Ok(())
    }
}

/// The words of one line, taken one by one.
struct Line<'a>(std::str::SplitWhitespace<'a>);

impl<'a> Line<'a> {
    fn word(&mut self) -> Result<&'a str, String> {
        self.0.next().ok_or_else(|| "a word is missing".to_owned())
    }

    fn number(&mut self) -> Result<u64, String> {
        number(self.word()?)
    }

    fn seconds(&mut self) -> Result<u64, String> {
        seconds(self.word()?)
    }

    /// The value behind `name=`.
    fn value(&mut self, name: &str) -> Result<&'a str, String> {
        let word = self.word()?;
        let value = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
        value.ok_or_else(|| format!("{word} is not {name}=…"))
    }
}

fn number(word: &str) -> Result<u64, String> {
    let parsed = match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => word.parse(),
    };
    parsed.map_err(|_| format!("{word} is not a number"))
}

fn seconds(word: &str) -> Result<u64, String> {
    let (whole, fraction) = word.split_once('.').unwrap_or((word, "0"));
    let micros = number(&format!("{fraction:0<6}")[..6])?;
    Ok(number(whole)? * 1_000_000 + micros)
}

impl Plan {
    fn read_line(&mut self, line: &mut Line<'_>) -> Result<(), String> {
        match line.word()? {
            "seed" => self.seed = line.number()?,
            "size" => self.size = Size::from_text(line.word()?).ok_or("no such size")?,
            "set" => {
                let name = line.word()?;
                if !self.settings.set(name, line.number()?) {
                    return Err(format!("there is no setting {name}"));
                }
            }
            "user" => {
                let kind = Kind::from_text(line.word()?).ok_or("no such kind of user")?;
                let name = number(line.value("name")?)?;
                let home = number(line.value("home")?)? as usize;
                self.users.push(UserPlan { kind, name, home, at: seconds(line.value("at")?)? });
            }
            "op" => {
                let at = line.seconds()?;
                let user = number(line.value("user")?)? as usize;
                let verb = Verb::from_text(line.word()?).ok_or("no such deed")?;
                self.ops.push(Op { at, user, verb, a: line.number()?, b: line.number()? });
            }
            "fault" => {
                let at = line.seconds()?;
                let harm = Harm::from_text(line.word()?).ok_or("no such fault")?;
                let whom = line.number()? as usize;
                let span = seconds(line.value("for")?)?;
                self.faults.push(Fault { at, harm, whom, span, extra: number(line.value("extra")?)? });
            }
            other => return Err(format!("no line begins with {other}")),
        }
        Ok(())
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut plan = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            if !line.trim().is_empty() {
                let read = plan.read_line(&mut Line(line.split_whitespace()));
                read.map_err(|error| format!("line {}: {error}", index + 1))?;
            }
        }
        Ok(plan)
    }
}

/// Every script of a folder with its name, in order.
///
/// # Errors
///
/// What cannot be read, and why.
pub fn read_folder(folder: &Path) -> Result<Vec<(String, Plan)>, String> {
    let fault = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut plans = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path.extension().is_some_and(|extension| extension == "world") {
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let text = std::fs::read_to_string(&path).map_err(fault)?;
            plans.push((name.clone(), text.parse().map_err(|error| format!("{name}: {error}"))?));
        }
    }
    plans.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(plans)
}

#[test]
fn a_plan_survives_being_written_down() {
    for seed in 0..50 {
        for size in [Size::Lite, Size::Cluster, Size::Long] {
            let plan = Plan::from_seed(seed, size);
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
    }
    assert_eq!("user nobody".parse::<Plan>(), Err("line 1: no such kind of user".into()));
}
