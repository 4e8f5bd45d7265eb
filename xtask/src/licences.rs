//! Every dependency's licence against the list in `deny.toml`, with nothing to install.

use serde_json::Value;

use crate::Error;
use crate::command::{command, output};

/// Fails on a dependency whose licence is not on the list, or that comes from anywhere but the registry.
pub(crate) fn check() -> Result<(), Error> {
    let allowed = allowed(&std::fs::read_to_string("deny.toml")?);
    let words = ["cargo", "metadata", "--format-version", "1", "--all-features"];
    let metadata: Value = serde_json::from_str(&output(&mut command(&words))?)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let mut faults = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or_default();
        if !is_allowed(licence, &allowed) {
            faults.push(format!("{name}: licence {licence:?} is not on the list in deny.toml"));
        }
        if package["source"].as_str().is_some_and(|source| !source.starts_with("registry+")) {
            faults.push(format!("{name}: comes from {}, not from the registry", package["source"]));
        }
    }
    if faults.is_empty() {
        println!("{} packages, every licence is on the list", packages.len());
        return Ok(());
    }
    Err(faults.join("\n").into())
}

/// The strings of `allow = [ … ]` in the licence table.
fn allowed(deny: &str) -> Vec<String> {
    let table = deny.split("[licenses]").nth(1).unwrap_or_default();
    let list = table.split("allow = [").nth(1).unwrap_or_default().split(']').next().unwrap_or_default();
    let entries = list.lines().filter_map(|line| line.trim().strip_prefix('"'));
    entries.filter_map(|entry| entry.split('"').next()).map(str::to_owned).collect()
}

/// True if one alternative of an SPDX expression asks for nothing but what is allowed.
///
/// Expressions in the tree are a list of alternatives, or a list of conditions one of which may be such a list in brackets.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ");
    let is_listed = |licence: &str| {
        let licence = licence.trim_matches(|c| c == '(' || c == ')' || c == ' ');
        allowed.iter().any(|known| known == licence)
    };
    if expression.contains('(') {
        return expression.split(" AND ").all(|part| part.split(" OR ").any(is_listed));
    }
    expression.split(" OR ").any(|alternative| alternative.split(" AND ").all(is_listed))
}

#[cfg(test)]
mod tests {
    use super::{allowed, is_allowed};

    #[test]
    fn expressions() {
        let list = allowed(
            "[licenses]\nallow = [\n  \"MIT\",\n  # why\n  \"Apache-2.0\",\n \"NCSA\",\n]\nother = [\"X\"]",
        );
        assert_eq!(list, ["MIT", "Apache-2.0", "NCSA"]);
        assert!(is_allowed("MIT OR GPL-3.0", &list));
        assert!(is_allowed("MIT/GPL-3.0", &list));
        assert!(is_allowed("(MIT OR X) AND NCSA", &list));
        assert!(!is_allowed("(MIT OR X) AND Y", &list));
        assert!(!is_allowed("MIT AND X", &list));
        assert!(!is_allowed("", &list));
    }
}
