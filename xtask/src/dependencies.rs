//! Every dependency against `deny.toml`: licences, bans and sources, with nothing to install.
//!
//! The same file is cargo-deny's, which knows more (texts of licences, yanked versions, advisories): `cargo deny check
//! licenses bans sources` is for those who have it. It would have to be compiled on every machine first, for three lists.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Error;
use crate::command::{command, output};

/// Fails on a dependency whose licence is not on the list, that is banned, that may be any version, or that comes from
/// anywhere but the one registry.
pub(crate) fn check() -> Result<(), Error> {
    let deny = std::fs::read_to_string("deny.toml")?;
    let words = ["cargo", "metadata", "--format-version", "1", "--all-features"];
    let metadata: Value = serde_json::from_str(&output(&mut command(&words))?)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let rules = Rules::read(&deny)?;
    let faults = rules.faults(packages);
    if faults.is_empty() {
        let (licences, banned) = (rules.licences.len(), rules.banned.len());
        println!("{} packages: {licences} licences, {banned} bans, one registry", packages.len());
        return Ok(());
    }
    Err(faults.join("\n").into())
}

/// What `deny.toml` says.
struct Rules {
    licences: Vec<String>,
    banned: Vec<String>,
}

impl Rules {
    fn read(deny: &str) -> Result<Self, Error> {
        let rules = Self {
            licences: strings(list(deny, "[licenses]", "allow"), "\""),
            banned: strings(list(deny, "[bans]", "deny"), "crate = \""),
        };
        // A file that can no longer be read must not allow everything.
        if rules.licences.is_empty() || rules.banned.is_empty() {
            return Err("deny.toml has no list of licences, or none of bans".into());
        }
        Ok(rules)
    }

    fn faults(&self, packages: &[Value]) -> Vec<String> {
        let (mut faults, mut registries) = (Vec::new(), BTreeSet::new());
        for package in packages {
            let name = package["name"].as_str().unwrap_or_default();
            let licence = package["license"].as_str().unwrap_or_default();
            if !is_allowed(licence, &self.licences) {
                faults.push(format!("{name}: licence {licence:?} is not on the list in deny.toml"));
            }
            if self.banned.iter().any(|banned| banned == name) {
                faults.push(format!("{name}: is banned in deny.toml"));
            }
            match package["source"].as_str() {
                Some(source) if source.starts_with("registry+") || source.starts_with("sparse+") => {
                    registries.insert(source);
                }
                Some(source) => faults.push(format!("{name}: comes from {source}, not from the registry")),
                None => faults.extend(wildcards(name, package)),
            }
        }
        if registries.len() > 1 {
            faults.push(format!("there is more than one registry: {registries:?}"));
        }
        faults
    }
}

/// The dependencies of a package of ours that may be any version; those in the workspace are named by path.
fn wildcards<'p>(name: &'p str, package: &'p Value) -> impl Iterator<Item = String> + 'p {
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let any = dependencies.filter(|one| one["req"] == "*" && one["path"].is_null());
    any.map(move |one| format!("{name}: any version of {} will do", one["name"]))
}

/// The lines of `key = [ … ]` in a table.
fn list<'d>(deny: &'d str, table: &str, key: &str) -> &'d str {
    let table = deny.split(table).nth(1).unwrap_or_default();
    let start = format!("\n{key} = [");
    table.split(start.as_str()).nth(1).unwrap_or_default().split("\n]").next().unwrap_or_default()
}

/// What stands in quotes after `start` in each line that is no comment.
fn strings(list: &str, start: &str) -> Vec<String> {
    let lines = list.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let entries = lines.filter_map(|line| line.split_once(start)?.1.split('"').next());
    entries.map(str::to_owned).collect()
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
    use serde_json::json;

    use super::{Rules, is_allowed};

    const DENY: &str = "\
[licenses]
confidence-threshold = 0.9
allow = [
    \"MIT\",
    # why
    \"Apache-2.0\",
    \"NCSA\",
]

[bans]
deny = [
    # gone
    { crate = \"old\", reason = \"new is better\" },
]
";

    #[test]
    fn expressions() {
        let list = Rules::read(DENY).expect("it can be read").licences;
        assert_eq!(list, ["MIT", "Apache-2.0", "NCSA"]);
        assert!(is_allowed("MIT OR GPL-3.0", &list));
        assert!(is_allowed("MIT/GPL-3.0", &list));
        assert!(is_allowed("(MIT OR X) AND NCSA", &list));
        assert!(!is_allowed("(MIT OR X) AND Y", &list));
        assert!(!is_allowed("MIT AND X", &list));
        assert!(!is_allowed("", &list));
    }

    #[test]
    fn each_fault_is_named() {
        let rules = Rules::read(DENY).expect("it can be read");
        let good = json!({ "name": "good", "license": "MIT", "source": "registry+https://one.example" });
        let own = json!({ "name": "own", "license": "MIT", "source": null, "dependencies": [
            { "name": "good", "req": "^1" },
            { "name": "sister", "req": "*", "path": "sister" },
        ] });
        assert_eq!(rules.faults(&[good.clone(), own]), Vec::<String>::new());
        for (package, fault) in [
            (json!({ "name": "a", "license": "X", "source": null }), "a: licence"),
            (
                json!({ "name": "old", "license": "MIT", "source": "registry+https://one.example" }),
                "old: is banned",
            ),
            (json!({ "name": "b", "license": "MIT", "source": "git+https://one.example" }), "b: comes from"),
            (
                json!({ "name": "c", "license": "MIT", "source": "registry+https://two.example" }),
                "there is more",
            ),
            (
                json!({ "name": "d", "license": "MIT", "source": null, "dependencies": [{ "name": "e", "req": "*" }] }),
                "d: any version",
            ),
        ] {
            let faults = rules.faults(&[good.clone(), package]);
            assert!(faults.len() == 1 && faults[0].starts_with(fault), "{faults:?}");
        }
        assert!(Rules::read("[licenses]\nallow = [\n]\n").is_err(), "nothing is not everything");
    }
}
