//! Every recorded session against the core: as recorded, or as listed.

use linkspan_tests::transcripts::{DIFFERENCES, cases, replay};

#[test]
fn every_client_gets_what_it_got_or_what_is_listed() {
    let mut faults = Vec::new();
    for case in cases() {
        let (ours, expected) = (replay(&case), case.expected());
        if ours != expected {
            faults.push(format!("{}\n    expected {expected:?}\n    ours     {ours:?}", case.name));
        }
    }
    assert!(faults.is_empty(), "{} cases:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_listed_difference_is_one() {
    let cases = cases();
    let mut listed = Vec::new();
    for difference in DIFFERENCES {
        assert!(!difference.why.is_empty());
        for name in difference.cases {
            let case = cases.iter().find(|case| case.name == *name);
            let case = case.unwrap_or_else(|| panic!("{name} is no recording"));
            assert_ne!(case.recorded(), case.expected(), "{name} is as recorded");
            assert!(!listed.contains(name), "{name} is listed twice");
            listed.push(*name);
        }
    }
}

#[test]
fn all_recordings_of_one_server_are_played() {
    let cases = cases();
    assert_eq!(cases.len(), 2 * 44 + 11);
    let steps: usize = cases.iter().flat_map(|case| &case.connections).map(Vec::len).sum();
    assert!(steps > 1200, "{steps}");
}
