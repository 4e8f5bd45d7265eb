#![forbid(unsafe_code)]
//! `cargo xtask`: the tasks of the repository, with nothing to install first.

mod bench;
mod command;
mod faults;
mod fuzz;
mod mutants;
mod setup;
mod sim;
mod test;
mod tree;
mod wasm;

use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
The tasks of the Linkspan repository.

  cargo xtask test [--list] [--long] [--only STEP]... [--skip STEP]...
      Everything a change must pass. Installs what is missing (Rust targets, the oldest supported toolchain, Debian
      packages, npm packages), and says so.

  cargo xtask bench [chat|tunnel] [--quick] [--json FILE] [--only WORD]... [--tools DIR] [--placement] [--no-build]
      Measures both binaries: pomelo beside a plain TCP echo on the same runtime; chat and IM beside a relay on npm's
      ws; tunnels beside no tunnel, rathole and bore (found in DIR, in LINKSPAN_BENCH__TOOLS or on the path, or
      installed into target/tools). --only takes a runtime (tokio, smol), a transport (tcp, chat, forward ...) or a
      part (echo, relay, bulk ...); a wrong word lists them. --placement compares the two placements for pomelo;
      --no-build takes the binaries as they are.

  cargo xtask fuzz [TARGET] [--seconds N]
      Runs the fuzz targets, each for N seconds (default 60), and prints how much each has tried. Needs a nightly
      toolchain and cargo-fuzz, and installs them where they are missing.

  cargo xtask faults [--only FAULT]...
      Puts ten faults into a copy of the tree, one at a time, and tells which tests of the core catch each.

  cargo xtask mutants [--file PATH]... [--sample N] [--seed S] [--shard K/N] [--list]
      Changes the core a little, one place at a time, and tells which changes no test notices. Installs cargo-mutants
      where it is missing. Without --file all of the core but its codecs, which takes a day: --sample draws N of them,
      fairly and the same ones for the same seed (default 0), --shard takes every Nth from the Kth (from 0).
      --list names them and tries none.

  cargo xtask sim run|many|shrink|digest|marks|script|replay …
      Simulated worlds from seeds: runs one, searches for one that fails, shrinks it to a script. `cargo xtask sim help`
      says more, and so does docs/simulator.md.
";

/// What a task may fail with; it is shown to the person who ran it, and to nobody else.
type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next();
    let rest: Vec<String> = arguments.collect();
    if let Err(error) = std::env::set_current_dir(root()) {
        eprintln!("cannot enter {}: {error}", root().display());
        return ExitCode::FAILURE;
    }
    let result = match task.as_deref() {
        Some("test") => test::run(&rest),
        Some("bench") => bench::run(&rest),
        Some("fuzz") => fuzz::run(&rest),
        Some("faults") => faults::run(&rest),
        Some("mutants") => mutants::run(&rest),
        Some("sim") => sim::run(&rest),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprint!("{HELP}");
            Ok(ExitCode::from(2))
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// The root of the workspace.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}
