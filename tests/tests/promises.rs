//! `docs/promises.md` says which tests stand for which invariant, threat, overload and fault: every number is there, and
//! every test that is named is one, and is run.

use linkspan_tests::{fuzz, vectors};

/// One line of a table: its number, and what it names.
struct Row {
    number: String,
    backing: String,
}

/// How many there are of each letter, in the order of the tables.
const NUMBERS: [(char, usize); 11] = [
    ('A', 9),
    ('B', 9),
    ('C', 8),
    ('D', 12),
    ('E', 5),
    ('F', 5),
    ('G', 8),
    ('K', 4),
    ('T', 28),
    ('O', 10),
    ('N', 15),
];

/// What says so instead of a test.
const EXEMPT: &str = "Does not apply: ";

/// A file of the repository, or nothing.
fn read(file: &str) -> String {
    std::fs::read_to_string(vectors::path(format!("../{file}"))).unwrap_or_default()
}

fn rows() -> Vec<Row> {
    let text = read("docs/promises.md");
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let lines = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| No. "));
    let rows = lines.map(cells).filter(|cells| !cells[1].starts_with("---"));
    rows.map(|cells| {
        let [_, number, promise, backing, _] = &cells[..] else { panic!("five cells: {cells:?}") };
        assert!(promise.len() > 10, "{number} says nothing");
        Row { number: number.clone(), backing: backing.clone() }
    })
    .collect()
}

/// What stands between `open` and the next `close`, and what is behind it.
fn quoted(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    text.strip_prefix(open)?.split_once(close)
}

/// What a row names: a file and a test or a saying in it, or a fuzz target.
fn names(backing: &str) -> Vec<(String, String)> {
    let (mut file, mut found, mut rest) = (String::new(), Vec::new(), backing);
    while let Some(at) = rest.find(['`', '"']) {
        rest = &rest[at..];
        let (name, behind) = quoted(rest, '`', '`').or_else(|| quoted(rest, '"', '"')).expect("it is closed");
        match name {
            name if name.starts_with("fuzz:") => found.push((String::new(), name.to_owned())),
            name if name.ends_with(".rs") => name.clone_into(&mut file),
            name if rest.starts_with('"') => found.push((file.clone(), format!("\"{name}"))),
            name => found.push((file.clone(), name.to_owned())),
        }
        rest = behind;
    }
    found
}

/// Where the cases of a file are listed that are not tests by themselves, and below which module.
fn list_of(file: &str) -> Option<(String, String)> {
    let below = |root: &str| file.strip_prefix(root)?.strip_suffix(".rs").map(str::to_owned);
    if let Some(path) = below("tests/src/binary/") {
        // A module may name the cases of those below it as its own.
        let module = path.split('/').next().unwrap_or_default().to_owned();
        return Some(("tests/src/binary/mod.rs".to_owned(), module));
    }
    ["gateway", "runtime", "tunnel_e2e"].iter().find_map(|suite| {
        below(&format!("tests/tests/{suite}/")).map(|module| (format!("tests/tests/{suite}.rs"), module))
    })
}

/// Whether a file is a part of some program: a root, or named by the file above it.
fn is_compiled(file: &str) -> bool {
    let Some((folder, name)) = file.strip_suffix(".rs").and_then(|file| file.rsplit_once('/')) else {
        return false;
    };
    let line = format!("mod {name};");
    let is_named = |above: String| read(&above).lines().any(|one| one.trim().ends_with(&line));
    let above = ["/mod.rs", "/main.rs", "/lib.rs", ".rs"].map(|end| format!("{folder}{end}"));
    folder == "tests/tests" || ["lib", "main", "mod"].contains(&name) || above.into_iter().any(is_named)
}

/// What is wrong with a name, if anything is.
fn fault(file: &str, name: &str) -> Option<&'static str> {
    if let Some(target) = name.strip_prefix("fuzz:") {
        let is_known = fuzz::TARGETS.iter().any(|(known, _)| *known == target);
        return (!is_known).then_some("is no fuzz target");
    }
    if !is_compiled(file) {
        return Some("is in a file that is part of nothing");
    }
    let text = read(file);
    if let Some(saying) = name.strip_prefix('"') {
        return (!text.contains(&format!("\"{saying}"))).then_some("is said by no check");
    }
    let Some(marks) = marks(&text, name) else { return Some("is no function") };
    if let Some((list, module)) = list_of(file) {
        let (first, last) = (format!("{module}::"), format!("::{name},"));
        let is_case = |line: &str| line.starts_with(&first) && line.ends_with(&last);
        return (!read(&list).lines().any(|line| is_case(line.trim()))).then_some("is run by nobody");
    }
    if !marks.contains(&"#[test]") {
        return Some("is no test");
    }
    marks.iter().any(|mark| mark.starts_with("#[ignore")).then_some("is ignored")
}

/// The attributes and comments above a function, if it is there.
fn marks<'t>(text: &'t str, name: &str) -> Option<Vec<&'t str>> {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let heads = ["(", "<"].map(|behind| format!("fn {name}{behind}"));
    let at = lines.iter().position(|line| heads.iter().any(|head| line.contains(head.as_str())))?;
    Some(lines[..at].iter().rev().copied().take_while(|line| line.starts_with(['#', '/'])).collect())
}

#[test]
fn every_promise_has_its_number_once() {
    let numbers =
        NUMBERS.iter().flat_map(|(letter, most)| (1..=*most).map(move |at| format!("{letter}{at}")));
    let found: Vec<_> = rows().into_iter().map(|row| row.number).collect();
    assert_eq!(found, numbers.collect::<Vec<_>>());
}

#[test]
fn every_promise_has_tests_that_are_run() {
    let mut faults = Vec::new();
    for Row { number, backing } in rows() {
        let names = names(&backing);
        let is_exempt = backing.starts_with(EXEMPT) && backing.len() > EXEMPT.len() + 20;
        if names.is_empty() != is_exempt {
            faults.push(format!("{number}: either tests, or \"{EXEMPT}\" and why"));
        }
        for (file, name) in names {
            faults.extend(fault(&file, &name).map(|what| format!("{number}: {name} in {file} {what}")));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// A checker that finds nothing wrong proves nothing.
#[test]
fn what_is_not_there_or_not_run_is_found() {
    let own = "tests/tests/promises.rs";
    for (file, name, what) in [
        (own, "every_promise_has_its_number_once", None),
        (own, "nothing_of_that_name", Some("is no function")),
        ("tests/tests/nowhere.rs", "rows", Some("is no function")),
        ("tests/tests/laws/nowhere.rs", "rows", Some("is in a file that is part of nothing")),
        (own, "rows", Some("is no test")),
        ("tests/src/binary/edge.rs", "serve", Some("is run by nobody")),
        ("tests/src/binary/tunnel/secure.rs", "secured_doors", None),
        ("tests/src/binary/proxy/redirects.rs", "hostile_redirects", None),
        ("tests/tests/gateway/stop.rs", "probes_hear_of_it_first", None),
        ("", "fuzz:hub", None),
        ("", "fuzz:nothing", Some("is no fuzz target")),
        ("tests/src/harness/mod.rs", "\"acts after its end", None),
        ("tests/src/harness/mod.rs", "\"acts in its sleep", Some("is said by no check")),
    ] {
        assert_eq!(fault(file, name), what, "{file}: {name}");
    }
    let ignored = "#[test]\n#[ignore = \"it takes long\"]\nfn a() {}";
    assert_eq!(marks(ignored, "a").expect("it is there").len(), 2);
    assert_eq!(names("`a.rs`: `b`, \"c d\"; `fuzz:e`").len(), 3);
}
