//! Standard output: data only, and nobody has to read it.

use std::io::{self, Write};

/// Writes one line. A closed standard output is no reason to fail.
pub(super) fn line(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush());
}
