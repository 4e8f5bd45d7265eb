//! The committed corpus of each fuzz target, run on stable.

use std::fs;

use linkspan_tests::{fuzz, vectors};

fn replay(target: &str, body: fn(&[u8])) {
    let folder = vectors::path("corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut count = 0;
    for file in files {
        let path = file.expect("a file").path();
        println!("{}", path.display());
        body(&fs::read(&path).expect("readable"));
        count += 1;
    }
    assert!(count >= 10, "{target} has a corpus of {count} files");
}

#[test]
fn pomelo_packages() {
    replay("pomelo_packages", fuzz::pomelo_packages);
}

#[test]
fn pomelo_message() {
    replay("pomelo_message", fuzz::pomelo_message);
}

#[test]
fn inflate() {
    replay("inflate", fuzz::inflate);
}
