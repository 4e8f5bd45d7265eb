//! Failing worlds: where they come from, how they are kept, and the command that lets them live again.

use std::fmt;
use std::path::Path;

use super::plan::{Plan, Size};
use super::{Failure, shrink};

/// Where searches put worlds that have failed, from the root of the repository on: the tests run every script there.
pub const REGRESSIONS: &str = "tests/regressions";

/// Where tests put them: their seeds are tried again anyway, and no test may change what another one reads.
pub const FOUND: &str = "target/sim";

/// Where a world comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was drawn.
    Seed(u64, Size),
    /// It was read from this file.
    Script(String),
}

/// As commands name it.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+".contains(letter);
        match self {
            Self::Seed(seed, size) => write!(f, "{seed:#x} --size {}", size.text()),
            Self::Script(file) if file.chars().all(is_plain) => f.write_str(file),
            Self::Script(file) => write!(f, "'{}'", file.replace('\'', r"'\''")),
        }
    }
}

impl Source {
    /// The command that lets this world live again, and tells its story.
    pub fn replay(&self) -> String {
        format!("cargo xtask sim run {self} --trace")
    }

    /// The file for the smallest world that fails as this one does: never the one that it was read from.
    pub fn smallest(&self, folder: &str) -> String {
        match self {
            Self::Seed(seed, size) => format!("{folder}/{seed:#x}-{}.world", size.text()),
            Self::Script(file) => {
                let stem = Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
                format!("{folder}/{stem}-small.world")
            }
        }
    }
}

/// A failing world as a script, with what is wrong as comments in front of it.
pub fn script(plan: &Plan, failure: &Failure) -> String {
    let [what, detail] = failure.head();
    let mut script = format!("# {what}\n");
    if !detail.is_empty() {
        script += &format!("# {detail}\n");
    }
    script + &format!("# at {}\n{plan}", failure.place)
}

/// How often a world is tried again to make it smaller, where nobody waits for just this one.
pub const fn tries(size: Size) -> usize {
    match size {
        Size::Lite | Size::Cluster => 1_000,
        // Each of these lives takes seconds.
        Size::Crowd | Size::Long => 50,
    }
}

/// Makes a failing world small with at most `tries` runs, and keeps it in `folder`, which is named from `root`, the root
/// of the repository, on. What to do with it; nothing if it does not fail, or is not to be tried.
pub fn keep(root: &Path, folder: &str, source: &Source, plan: &Plan, tries: usize) -> String {
    if tries == 0 {
        return String::new();
    }
    let Some((plan, failure)) = shrink::shrink(plan, tries) else { return String::new() };
    let file = source.smallest(folder);
    match write(&root.join(&file), &script(&plan, &failure)) {
        Ok(()) => told(&Source::Script(file), &plan),
        Err(error) => format!("{file}: {error}\n{}", script(&plan, &failure)),
    }
}

/// Writes a file, and the folders that it lies in.
///
/// # Errors
///
/// Those of the file system.
pub fn write(file: &Path, text: &str) -> std::io::Result<()> {
    file.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::write(file, text)
}

/// What to do with a script that was made small.
pub fn told(script: &Source, plan: &Plan) -> String {
    let (users, deeds, faults) = (plan.users.len(), plan.ops.len(), plan.faults.len());
    let next = match script {
        Source::Script(file) if Path::new(file).starts_with(REGRESSIONS) => {
            "it is a regression test now: give it a name that says what was wrong".to_owned()
        }
        _ => format!("to keep it: mv {script} {REGRESSIONS}/NAME.world"),
    };
    format!("smallest: {}  (users {users}, deeds {deeds}, faults {faults})\n{next}\n", script.replay())
}

#[test]
fn a_command_names_what_has_failed() {
    let seed = Source::Seed(42, Size::Cluster);
    assert_eq!(seed.replay(), "cargo xtask sim run 0x2a --size cluster --trace");
    assert_eq!(seed.smallest(REGRESSIONS), "tests/regressions/0x2a-cluster.world");
    let script = Source::Script("found/lost.world".into());
    assert_eq!(script.replay(), "cargo xtask sim run found/lost.world --trace");
    assert_eq!(script.smallest(FOUND), "target/sim/lost-small.world");
    let odd = Source::Script("it's lost.world".into());
    assert_eq!(odd.replay(), r"cargo xtask sim run 'it'\''s lost.world' --trace");
}
