//! The committed corpus of every fuzz target, run on stable.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use linkspan_tests::fuzz::TARGETS;
use linkspan_tests::vectors;

/// What a corpus may weigh: it is there to be replayed by every `cargo test`.
const BYTES_MAX: u64 = 64 * 1024;

fn names(folder: impl AsRef<Path>) -> BTreeSet<String> {
    let folder = vectors::path(folder);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let stem = |path: &Path| path.file_stem().map(|name| name.to_string_lossy().into_owned());
    files.filter_map(|file| stem(&file.expect("a file").path())).collect()
}

#[test]
fn every_target_has_a_body_a_line_and_a_corpus() {
    let bodies: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(
        bodies,
        names("../fuzz/fuzz_targets"),
        "bodies in fuzz::TARGETS, and files in fuzz/fuzz_targets"
    );
    assert_eq!(bodies, names("corpus"), "bodies in fuzz::TARGETS, and folders in tests/corpus");
    let manifest = fs::read_to_string(vectors::path("../fuzz/Cargo.toml")).expect("the manifest");
    for name in bodies {
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
    }
}

#[test]
fn every_corpus_runs_through_its_target() {
    for (target, body) in TARGETS {
        let (mut count, mut bytes) = (0, 0);
        for file in fs::read_dir(vectors::path("corpus").join(target)).expect("a corpus") {
            let path = file.expect("a file").path();
            let data = fs::read(&path).expect("readable");
            // Seen only if it fails.
            println!("{}", path.display());
            body(&data);
            (count, bytes) = (count + 1, bytes + data.len() as u64);
        }
        assert!(count >= 8, "{target} has a corpus of {count} files");
        assert!(bytes <= BYTES_MAX, "the corpus of {target} has {bytes} bytes: minimise it");
    }
}
