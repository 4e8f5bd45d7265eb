//! Where the figures come from: without it they say nothing.

use serde_json::{Value, json};

use crate::command::{command, output};

/// The machine, the compiler and the commit.
pub(super) fn describe() -> Value {
    let said = |words: &[&str]| output(&mut command(words)).unwrap_or_default().trim().to_owned();
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let is_dirty = !said(&["git", "status", "--porcelain", "--untracked-files=no"]).is_empty();
    let commit = said(&["git", "rev-parse", "--short", "HEAD"]);
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "model": model.trim_matches(|c: char| c == ':' || c.is_whitespace()),
        "kernel": std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "rustc": said(&["rustc", "--version"]),
        "commit": if is_dirty { format!("{commit} with changes") } else { commit },
        "load_average": load_average(),
    })
}

/// One line for people.
pub(super) fn text(machine: &Value) -> String {
    let word = |name: &str| machine[name].to_string().trim_matches('"').to_owned();
    format!(
        "{} cores of {} (server and generator share them, perhaps with others), Linux {}, {}, commit {}, load average {}\n\
         Loopback. Server CPU µs are the stable figure; compare what stands beside each other in one run only.",
        word("cores"),
        word("model"),
        word("kernel"),
        word("rustc"),
        word("commit"),
        word("load_average"),
    )
}

/// The load of the last minute.
pub(super) fn load_average() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}
