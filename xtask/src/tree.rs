//! A copy of the sources that a task may change, and what is built of it.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::command::{command, output, run};

/// A copy below `target`, with a folder of its own for what is built: to cargo a copy of a workspace is the workspace
/// itself.
pub(crate) struct Tree {
    /// The root of the copy.
    pub(crate) root: PathBuf,
    /// What `CARGO_TARGET_DIR` is to be.
    pub(crate) build: PathBuf,
}

impl Tree {
    /// Copies what git knows, as it is now; files that have not changed keep their age, so that little is built again.
    pub(crate) fn copy(name: &str) -> Result<Self, Error> {
        let folder = std::env::current_dir()?.join("target").join(name);
        let root = folder.join("tree");
        let words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"];
        let known = output(&mut command(&words))?;
        for path in known.lines().filter(|path| Path::new(path).is_file()) {
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
        Ok(Self { root, build: folder.join("build") })
    }
}
