//! `cargo xtask test`: every step a change must pass, in the order of cheapest refusal first.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::command::{self, command, is_automatic, strong};
use crate::setup::{Need, oldest, provide};
use crate::{Error, fuzz, wasm};

/// The target without `std` that the core is built for: what compiles there cannot have named it.
const BARE_TARGET: &str = "thumbv7em-none-eabihf";

struct Step {
    name: &'static str,
    about: &'static str,
    needs: &'static [Need],
    run: fn() -> Result<(), Error>,
}

/// The step that takes minutes, and is left out unless it is asked for.
const LONG: &str = "long";

const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        about: "every file is formatted",
        needs: &[Need::Component("rustfmt")],
        run: || cargo(&["fmt", "--all", "--check"]),
    },
    Step {
        name: "clippy",
        about: "no warning of rustc or clippy in any target",
        needs: &[Need::Component("clippy")],
        run: || cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    },
    Step { name: "doc", about: "rustdoc has no warning", needs: &[], run: doc },
    Step {
        name: "test",
        about: "unit, law, vector, model, driver and tidy tests, and the examples in the documentation",
        needs: &[],
        run: || cargo(&["test", "--workspace", "--exclude", "linkspan-fuzz"]),
    },
    Step {
        name: LONG,
        about: "tunnels at full size: 256 MiB, 30 s, 1,000 agents (only if asked for: --long)",
        needs: &[],
        run: long,
    },
    Step {
        name: "no-std",
        about: "the core builds where there is no standard library",
        needs: &[Need::Target(BARE_TARGET)],
        run: || cargo(&["check", "-p", "linkspan-core", "--target", BARE_TARGET]),
    },
    Step {
        name: "wasm",
        about: "the core runs as a WebAssembly module that imports nothing",
        needs: &[Need::Target(wasm::TARGET)],
        run: wasm::check,
    },
    Step {
        name: "features",
        about: "the core has no warning with any set of its features, nor have its tests without drivers",
        needs: &[],
        run: features,
    },
    Step {
        name: "deny",
        about: "no dependency is banned, and licences and sources are those of deny.toml",
        needs: &[Need::CargoTool("cargo-deny", "0.20.2")],
        // Two versions of a crate are no error, and their trees are long.
        run: || cargo(&["deny", "--log-level", "error", "check", "licenses", "bans", "sources"]),
    },
    Step {
        name: "fuzz",
        about: "every fuzz target runs for some seconds, on the toolchain in use, and finds nothing",
        needs: &[],
        run: fuzz::smoke,
    },
    Step {
        name: "msrv",
        about: "the oldest supported Rust builds everything",
        needs: &[Need::OldestToolchain],
        run: msrv,
    },
    Step {
        name: "costs",
        about: "an input of eight times the length takes eight times the instructions, whatever its shape",
        needs: &[Need::Valgrind],
        run: costs,
    },
    Step {
        name: "interop-tokio",
        about: "real clients against the binary on Tokio",
        needs: &[Need::WebTools, Need::NpmPackages, Need::PythonClient],
        run: || interop("linkspan-tokio", "linkspan"),
    },
    Step {
        name: "interop-smol",
        about: "real clients against the binary on smol",
        needs: &[Need::WebTools, Need::NpmPackages, Need::PythonClient],
        run: || interop("linkspan-smol", "linkspan-smol"),
    },
];

/// Runs the task.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let Some(steps) = chosen(arguments)? else {
        list();
        return Ok(ExitCode::SUCCESS);
    };
    let mut done: Vec<(&str, Duration)> = Vec::new();
    for step in &steps {
        println!("\n{}", strong(&format!("== {}: {}", step.name, step.about)));
        let start = Instant::now();
        let result = step.needs.iter().try_for_each(|need| provide(*need)).and_then(|()| (step.run)());
        println!("== {} took {:.1} s", step.name, start.elapsed().as_secs_f64());
        if let Err(error) = result {
            println!("\n{}: {error}", strong(&format!("FAILED {}", step.name)));
            println!("again: cargo xtask test --only {}", step.name);
            println!("\n{} passed, 1 failed", done.len());
            return Ok(ExitCode::FAILURE);
        }
        done.push((step.name, start.elapsed()));
    }
    println!();
    for (name, time) in &done {
        println!("{name:<14} {:>6.1} s", time.as_secs_f64());
    }
    println!("\n{} passed, 0 failed", done.len());
    Ok(ExitCode::SUCCESS)
}

/// The steps that the arguments ask for; `None` if they ask for the list.
fn chosen(arguments: &[String]) -> Result<Option<Vec<&'static Step>>, Error> {
    let (mut only, mut skip, mut is_long): (Vec<&str>, Vec<&str>, bool) = (Vec::new(), Vec::new(), false);
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let list = match word {
            "--list" => return Ok(None),
            "--long" => {
                is_long = true;
                continue;
            }
            "--only" => &mut only,
            "--skip" => &mut skip,
            _ => return Err(format!("unknown argument {word}; see cargo xtask help").into()),
        };
        let step = words.next().ok_or_else(|| format!("{word} needs the name of a step"))?;
        if !STEPS.iter().any(|known| known.name == step) {
            return Err(format!("there is no step {step}; see cargo xtask test --list").into());
        }
        list.push(step);
    }
    let is_usual = |name| if name == LONG { is_long } else { only.is_empty() };
    let is_wanted =
        |step: &&Step| (is_usual(step.name) || only.contains(&step.name)) && !skip.contains(&step.name);
    Ok(Some(STEPS.iter().filter(is_wanted).collect()))
}

fn list() {
    for step in STEPS {
        println!("{:<14} {}", step.name, step.about);
    }
}

/// Runs cargo; on a machine that nobody watches the lock file must already be right.
fn cargo(words: &[&str]) -> Result<(), Error> {
    command::run(&mut cargo_command(words))
}

pub(crate) fn cargo_command(words: &[&str]) -> std::process::Command {
    let mut all = vec!["cargo"];
    all.extend(words.iter().take(1));
    if is_automatic() && words.first() != Some(&"fmt") {
        all.push("--locked");
    }
    all.extend(words.iter().skip(1));
    println!("$ {}", all.join(" "));
    command(&all)
}

fn doc() -> Result<(), Error> {
    let mut command = cargo_command(&["doc", "--workspace", "--no-deps", "--exclude", "linkspan-fuzz"]);
    command::run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// One after the other: each of them takes the whole machine.
fn long() -> Result<(), Error> {
    let words =
        ["test", "--release", "-p", "linkspan-tests", "--test", "tunnel_e2e", "--", "--test-threads=1"];
    command::run(cargo_command(&[&words[..], &["--nocapture"]].concat()).env("LINKSPAN_LONG", "1"))
}

fn costs() -> Result<(), Error> {
    cargo(&["run", "-p", "linkspan-tests", "--no-default-features", "--bin", "costs"])
}

fn features() -> Result<(), Error> {
    for features in ["", "arbitrary", "record", "arbitrary,record"] {
        let words = ["clippy", "-p", "linkspan-core", "--no-default-features", "--features", features];
        cargo(&[words.as_slice(), &["--", "-D", "warnings"]].concat())?;
    }
    let words = ["clippy", "-p", "linkspan-tests", "--no-default-features", "--all-targets"];
    cargo(&[words.as_slice(), &["--", "-D", "warnings"]].concat())
}

/// A folder of its own for what the old compiler builds, so that neither throws the other's work away.
fn msrv() -> Result<(), Error> {
    let toolchain = format!("+{}", oldest()?);
    let locked = if is_automatic() { vec!["--locked"] } else { vec![] };
    let mut words = vec!["cargo", &toolchain, "check"];
    words.extend(locked);
    words.extend([
        "--workspace",
        "--exclude",
        "linkspan-fuzz",
        "--all-targets",
        "--target-dir",
        "target/msrv",
    ]);
    println!("$ {}", words.join(" "));
    // The toolchain that runs this task is in the environment, and would win over the one that is asked for.
    command::run(command(&words).env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC").env_remove("RUSTDOC"))
}

fn interop(package: &str, binary: &str) -> Result<(), Error> {
    cargo(&["build", "--release", "-p", package])?;
    let binary = format!("target/release/{binary}");
    cargo(&["build", "-p", "linkspan-core", "--examples"])?;
    cargo(&["build", "-p", "linkspan-tests", "--no-default-features", "--bin", "pomelo-lines"])?;
    let (examples, lines) = ("target/debug/examples", "target/debug/pomelo-lines");
    println!("$ EXAMPLES={examples} POMELO_LINES={lines} bash tests/interop/run.sh {binary}");
    let script = &["bash", "tests/interop/run.sh", &binary];
    command::run(command(script).env("EXAMPLES", examples).env("POMELO_LINES", lines))
}
