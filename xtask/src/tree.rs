//! A copy of the sources that a task may change, and what is built of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;
use crate::command::{command, output, run};

/// A copy below `target`, with a folder of its own for what is built: to cargo a copy of a workspace is the workspace
/// itself.
pub(crate) struct Tree {
    /// The root of the copy.
    pub(crate) root: PathBuf,
    /// What `CARGO_TARGET_DIR` is to be.
    build: PathBuf,
}

impl Tree {
    /// Copies what git knows, as it is now; files that have not changed keep their age, so that little is built again.
    pub(crate) fn copy(name: &str) -> Result<Self, Error> {
        let folder = std::env::current_dir()?.join("target").join(name);
        let root = folder.join("tree");
        let words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"];
        let known = output(&mut command(&words))?;
        let known: BTreeSet<&str> = known.lines().filter(|path| Path::new(path).is_file()).collect();
        for path in &known {
            let (from, to) = (std::fs::read(path)?, root.join(path));
            if std::fs::read(&to).is_ok_and(|there| there == from) {
                continue;
            }
            std::fs::create_dir_all(to.parent().unwrap_or(&root))?;
            std::fs::write(to, from)?;
        }
        // A tree within a repository is that repository to git, unless it is one itself.
        if !root.join(".git").exists() {
            run(command(&["git", "init", "-q"]).current_dir(&root))?;
        }
        // What was there last time and no longer is: a test that is gone, or what a test has written.
        let there = output(command(&["git", "ls-files", "--others"]).current_dir(&root))?;
        for path in there.lines().filter(|path| !known.contains(path)) {
            std::fs::remove_file(root.join(path))?;
        }
        Ok(Self { root, build: folder.join("build") })
    }

    /// Cargo in the copy, with what makes building one small change after another cheap.
    pub(crate) fn cargo(&self, words: &[&str]) -> Command {
        let mut cargo = command(&[&["cargo"], words].concat());
        cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.build);
        cargo.env("CARGO_INCREMENTAL", "1").env("CARGO_PROFILE_DEV_DEBUG", "false");
        for (name, value) in Self::TESTS {
            cargo.env(name, value);
        }
        cargo
    }

    /// What tests are run with: a find is not shrunk, as nobody will read it, and not kept, or the next run would be told
    /// of it.
    pub(crate) const TESTS: [(&str, &str); 2] =
        [("PROPTEST_MAX_SHRINK_ITERS", "0"), ("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true")];
}
