//! Every recorded session of one server, against a whole gateway.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::player::play;
use super::wire::CARRIERS;
use super::{Carrier, Process};
use crate::transcripts::{Case, cases};

/// How many cases are played at once; most of their time they wait.
const TOGETHER: usize = 20;

/// Cases that a program cannot play, on which carriers, and why.
const EXCLUDED: &[(&str, &[Carrier], &str)] = &[
    (
        "nano_tcp_edge_cases/handshake_rejected",
        &CARRIERS,
        "who is refused is up to a hook of the application; the demo services have none",
    ),
    (
        "pitaya_tcp_edge_cases/handshake_rejected",
        &CARRIERS,
        "who is refused is up to a hook of the application; the demo services have none",
    ),
];

fn is_excluded(case: &Case, carrier: Carrier) -> bool {
    EXCLUDED.iter().any(|(name, carriers, _)| case.name == *name && carriers.contains(&carrier))
}

/// A difference between what the program must do and what it does.
fn fault(program: &str, case: &Case, carrier: Carrier) -> Option<String> {
    let heartbeat = format!("{}s", case.heartbeat.as_secs());
    let dictionary: Vec<_> = case.dictionary.iter().collect();
    let entry = |(route, code): &(&[u8], u16)| format!("{}={code}", String::from_utf8_lossy(route));
    let dictionary = dictionary.iter().map(entry).collect::<Vec<_>>().join(",");
    let mut flags = vec!["--heartbeat", &heartbeat, "--threads", "1"];
    if !dictionary.is_empty() {
        flags.extend(["--dictionary", &dictionary]);
    }
    let mut gateway = Process::serve(program, &flags);
    let expected = case.expected();
    let ours = play(case, &expected, gateway.address(carrier), carrier);
    assert!(gateway.lives(), "{}", case.name);
    (ours != expected).then(|| format!("{}\n    expected {expected:?}\n    ours     {ours:?}", case.name))
}

fn replay(program: &str, carrier: Carrier) {
    let mut cases = cases();
    cases.retain(|case| !is_excluded(case, carrier));
    assert!(cases.len() > 90, "{} cases", cases.len());
    // The longest first.
    cases.sort_by_key(|case| case.connections.iter().filter_map(|script| Some(script.last()?.0)).max());
    cases.reverse();
    let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(fault) = fault(program, case, carrier) {
                        faults.lock().expect("no test thread panics with it").push(fault);
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().expect("no test thread panics with it");
    assert!(faults.is_empty(), "{} cases:\n{}", faults.len(), faults.join("\n"));
}

/// Every recording, over TCP.
pub fn recordings_over_tcp(program: &str) {
    replay(program, Carrier::Tcp);
}

/// Every recording, over WebSocket.
pub fn recordings_over_websocket(program: &str) {
    replay(program, Carrier::WebSocket);
}

/// What is excluded exists and would fail.
pub fn every_exclusion_is_one(program: &str) {
    let cases = cases();
    for (name, carriers, why) in EXCLUDED {
        assert!(!why.is_empty());
        let case = cases.iter().find(|case| case.name == *name);
        let case = case.unwrap_or_else(|| panic!("{name} is no recording"));
        for carrier in *carriers {
            assert!(fault(program, case, *carrier).is_some(), "{name} can be played over {carrier:?}");
        }
    }
}
