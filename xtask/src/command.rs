//! Child processes: said aloud, without a terminal where nobody sits at one.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::Error;

/// True where no person watches: no questions, no colours.
pub(crate) fn is_automatic() -> bool {
    std::env::var("CI").is_ok_and(|ci| !ci.is_empty() && ci != "false" && ci != "0")
}

/// A folder of programs that come before all others, for commands from here on.
static PREFERRED: OnceLock<PathBuf> = OnceLock::new();

/// Lets the programs in `folder` win over those on the path.
pub(crate) fn prefer(folder: PathBuf) {
    // Set once: there is one such folder.
    let _ = PREFERRED.set(folder);
}

/// A command from its words, with the environment every step shares.
pub(crate) fn command<S: AsRef<str>>(words: &[S]) -> Command {
    let mut words = words.iter().map(AsRef::as_ref);
    let mut command = Command::new(words.next().unwrap_or("true"));
    command.args(words);
    if let Some(folder) = PREFERRED.get() {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(folder.clone()).chain(std::env::split_paths(&path));
        if let Ok(path) = std::env::join_paths(folders) {
            command.env("PATH", path);
        }
    }
    if is_automatic() {
        command.stdin(Stdio::null());
        command.env("CARGO_TERM_COLOR", "never").env("NO_COLOR", "1").env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// Runs a command to its end; its output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<(), Error> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("{name} cannot be started: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name} ended with {status}").into()) }
}

/// Runs a command and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String, Error> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{name} cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name} ended with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// True if a program of this name is on the path.
pub(crate) fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Bold where a person reads it.
pub(crate) fn strong(text: &str) -> String {
    let plain = is_automatic() || std::env::var_os("NO_COLOR").is_some() || !std::io::stdout().is_terminal();
    if plain { text.to_owned() } else { format!("\u{1b}[1m{text}\u{1b}[0m") }
}
