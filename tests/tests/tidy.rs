//! The house keeps itself: what a reviewer would otherwise have to look for in every change.

#[path = "tidy/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use self::source::{code_only, functions, without_comments, without_tests};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const ADAPTER_LINES_MAX: usize = 300;
const EXAMPLE_LINES_MAX: usize = 200;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is one level up").to_owned()
}

/// Every file below `folder` (relative to the root) that belongs to the project, as a path relative to the root.
fn files(folder: &str) -> Vec<PathBuf> {
    const FOREIGN: [&str; 6] = [".git", ".interop", "artifacts", "coverage", "node_modules", "target"];
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let entry = entry.expect("it can be listed");
            let name = entry.file_name();
            if FOREIGN.iter().any(|foreign| name == *foreign) {
                continue;
            }
            if entry.file_type().expect("it has a type").is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(root()).expect("it is below").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = files(folder);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files
}

/// The text of a file; `None` if it is not text.
fn read(path: impl AsRef<Path>) -> Option<String> {
    let path = root().join(path);
    String::from_utf8(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).ok()
}

fn text(path: impl AsRef<Path>) -> String {
    read(path.as_ref()).unwrap_or_else(|| panic!("{} is not text", path.as_ref().display()))
}

fn assert_none(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}:\n  {}", faults.join("\n  "));
}

#[test]
fn the_core_names_nothing_that_acts() {
    const NAMES: [&str; 17] = [
        "std::",
        "tokio",
        "smol",
        "async fn",
        "async move",
        ".await",
        "thread",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "SystemTime",
        "Mutex",
        "RwLock",
        "println!",
        "dbg!",
        "getrandom",
        "include_bytes!",
    ];
    let mut faults = Vec::new();
    for path in rust_files("core/src") {
        for (index, line) in code_only(&text(&path)).lines().enumerate() {
            for name in NAMES.iter().filter(|name| line.contains(*name)) {
                faults.push(format!("{}:{}: {name}", path.display(), index + 1));
            }
        }
    }
    assert_none("the core performs no I/O, has no clock, no threads, no std", &faults);
    assert!(text("core/src/lib.rs").contains("#![no_std]"));
}

#[test]
fn files_hold_one_concept() {
    let long = rust_files(".").into_iter().filter_map(|path| {
        let lines = text(&path).lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines", path.display()))
    });
    assert_none(&format!("files of more than {FILE_LINES_MAX} lines"), &long.collect::<Vec<_>>());
}

#[test]
fn functions_fit_on_a_screen() {
    let mut long = Vec::new();
    for path in rust_files(".") {
        for function in functions(&code_only(&text(&path))) {
            if function.lines > FUNCTION_LINES_MAX {
                long.push(format!(
                    "{}:{}: {} has {} lines",
                    path.display(),
                    function.at,
                    function.name,
                    function.lines
                ));
            }
        }
    }
    assert_none(&format!("functions of more than {FUNCTION_LINES_MAX} lines"), &long);
}

#[test]
fn adapters_are_short() {
    for adapter in ["runtime-tokio/src", "runtime-smol/src"] {
        let lines: usize =
            rust_files(adapter).iter().map(|path| without_tests(&text(path)).lines().count()).sum();
        assert!(lines < ADAPTER_LINES_MAX, "{adapter} has {lines} lines without tests");
        assert!(lines > 20, "{adapter} is not the adapter");
    }
}

/// They are there to be read and copied whole.
#[test]
fn drivers_to_copy_are_short() {
    let examples = rust_files("core/examples");
    assert!(examples.len() >= 4, "the examples are no longer found: {examples:?}");
    for path in examples {
        let lines = text(&path).lines().count();
        assert!(lines < EXAMPLE_LINES_MAX, "{} has {lines} lines", path.display());
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        assert!(
            text("docs/embedding.md").contains(&format!("**`{name}`.**")),
            "{name} is not walked through"
        );
    }
}

#[test]
fn arrows_point_down() {
    let below = [
        ("core", ["linkspan-runtime", "linkspan-gateway", "linkspan-tokio", "linkspan-smol"].as_slice()),
        ("runtime", &["linkspan-gateway", "linkspan-tokio", "linkspan-smol", "tokio", "smol", "hyper"]),
        ("gateway", &["linkspan-tokio", "linkspan-smol", "tokio", "smol"]),
        ("runtime-tokio", &["linkspan-smol", "smol"]),
        ("runtime-smol", &["linkspan-tokio", "tokio"]),
    ];
    let mut faults = Vec::new();
    for (krate, above) in below {
        let manifest = text(format!("{krate}/Cargo.toml"));
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for line in dependencies.lines() {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if above.contains(&name) {
                faults.push(format!("{krate} depends on {name}"));
            }
        }
    }
    assert_none("runtime-* → gateway → runtime → core", &faults);
}

#[test]
fn every_mark_is_reached_by_a_test() {
    let tests: String = rust_files("tests")
        .iter()
        .filter(|path| !path.starts_with("tests/tests/tidy") && !path.ends_with("tidy.rs"))
        .map(|path| code_only(&text(path)))
        .collect();
    let marks = text("core/src/mark.rs");
    let marks = marks.lines().filter_map(|line| line.split_once(" => \"")).map(|(mark, _)| mark.trim());
    let marks: Vec<&str> = marks.filter(|mark| mark.chars().all(char::is_alphanumeric)).collect();
    assert!(marks.len() > 10, "the marks are no longer found: {marks:?}");
    let unnamed: Vec<String> = marks
        .into_iter()
        .filter(|mark| !names(&tests, &format!("Mark::{mark}")))
        .map(|mark| format!("Mark::{mark}"))
        .collect();
    assert_none("marks that no test in tests/ names", &unnamed);
}

/// A bound that no test sets, as a field or by its flag, is a bound that nobody has seen kept.
#[test]
fn every_limit_is_set_by_a_test() {
    let is_generator =
        |path: &Path| path.ends_with("world/bounds.rs") || path.ends_with("small_machines/limits.rs");
    let mut tests = rust_files("tests");
    tests.retain(|path| {
        !path.starts_with("tests/tests/tidy") && !path.ends_with("tidy.rs") && !is_generator(path)
    });
    // What a comment or a message says sets nothing; a flag is a text, though.
    let code: String = tests.iter().map(|path| code_only(&text(path))).collect();
    let tests: String = tests.iter().map(|path| without_comments(&text(path))).collect();
    let limits = text("core/src/limits.rs");
    let limits = limits.split("pub struct Limits {").nth(1).expect("the limits").split("\n}").next().unwrap();
    let fields = limits.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'));
    let fields: Vec<&str> = fields.map(|(field, _)| field).collect();
    assert!(fields.len() > 40, "the limits are no longer found: {fields:?}");
    let is_set = |field: &str| {
        let flag = format!("\"--{}\"", field.replace('_', "-"));
        sets(&code, field) || tests.contains(&flag)
    };
    let faults = fields.into_iter().filter(|field| !is_set(field)).map(str::to_owned);
    assert_none("limits that no test sets", &faults.collect::<Vec<_>>());
}

/// True if `text` gives a field of this name a value.
fn sets(text: &str, field: &str) -> bool {
    text.match_indices(field).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + field.len()..].trim_start();
        let assigned = after.starts_with(':') || after.starts_with('=') && !after.starts_with("==");
        assigned && before.is_none_or(|c| !c.is_alphanumeric() && c != '_')
    })
}

/// The lint is the compiler's; what is left to see is that nobody has turned it off.
#[test]
fn no_public_item_is_without_documentation() {
    let manifest = text("Cargo.toml");
    assert!(manifest.contains("missing_docs = \"warn\""), "clippy and rustdoc run with warnings denied");
    for path in rust_files(".") {
        let allowed = code_only(&text(&path)).contains("allow(missing_docs");
        assert!(!allowed, "{} allows what has no documentation", path.display());
    }
}

/// True if `text` has `name`, and not just as the beginning of a longer one.
fn names(text: &str, name: &str) -> bool {
    text.match_indices(name)
        .any(|(at, _)| !text[at + name.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[test]
fn no_crate_may_be_unsafe() {
    let mut faults = Vec::new();
    for path in files(".") {
        let is_root = path.ends_with("src/lib.rs")
            || path.ends_with("src/main.rs")
            || path.parent().is_some_and(|parent| parent.ends_with("src/bin"))
            || path.components().any(|part| part.as_os_str() == "bin") && path.ends_with("main.rs");
        if is_root && !text(&path).contains("#![forbid(unsafe_code)]") {
            faults.push(format!("{} does not say #![forbid(unsafe_code)]", path.display()));
        }
        let is_member = path.ends_with("Cargo.toml") && path.components().count() == 2;
        if is_member && !text(&path).contains("[lints]\nworkspace = true") {
            faults.push(format!("{} does not take the workspace's lints", path.display()));
        }
    }
    assert_none("unsafe code is forbidden in every crate", &faults);
}

#[test]
fn nothing_tells_of_the_machine_it_was_written_on() {
    // In two halves, so that this file does not name them either.
    let words = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/tm", "p/"),
        concat!(".lib", "rary"),
        concat!("registry.npm", "js"),
        concat!("static.cr", "ates.io"),
        concat!("index.cr", "ates.io"),
        concat!("files.python", "hosted"),
        concat!("deb.deb", "ian"),
        concat!("Co-Auth", "ored-By"),
    ];
    let mut faults = Vec::new();
    for path in files(".") {
        let Some(text) = read(&path) else { continue };
        for (index, line) in text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(*word)) {
                faults.push(format!("{}:{}: {word}", path.display(), index + 1));
            }
        }
    }
    assert_none("machine paths and hosts of registries", &faults);
    let locked = text("tests/interop/package-lock.json");
    assert!(!locked.contains("\"resolved\": \"http"), "package-lock.json must hold no download addresses");
}

#[test]
fn the_readme_names_every_command() {
    let readme = text("README.md");
    let arguments = text("gateway/src/cli/args/mod.rs");
    let commands =
        arguments.split("enum Command {").nth(1).expect("the commands").split("\n}").next().unwrap();
    let names =
        commands.lines().filter_map(|line| line.trim().split_once('(')).map(|(name, _)| name.to_lowercase());
    let names: Vec<String> = names.filter(|name| name.chars().all(char::is_alphanumeric)).collect();
    assert!(names.len() >= 3, "the commands are no longer found: {names:?}");
    let missing = names
        .into_iter()
        .filter(|name| !readme.contains(&format!("`{name}`")) && !readme.contains(&format!(" {name}")));
    assert_none("commands that README.md does not name", &missing.collect::<Vec<_>>());
    for command in ["cargo run --release -p linkspan-tokio -- demo", "cargo xtask test"] {
        assert!(readme.contains(command), "README.md does not say `{command}`");
    }
}

#[test]
fn the_oldest_rust_is_one_number() {
    let manifest = text("Cargo.toml");
    let version = manifest.split("rust-version = \"").nth(1).unwrap().split('"').next().unwrap();
    for file in ["clippy.toml", "core/clippy.toml"] {
        assert!(
            text(file).contains(&format!("msrv = \"{version}.0\"")),
            "{file} has another oldest Rust than {version}"
        );
    }
}
