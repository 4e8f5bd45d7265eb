//! `/metrics`: what the process counts, for programs on the same machine.

use std::fmt::Write as _;

use hyper::StatusCode;
use linkspan_core::Mark;
use linkspan_runtime::{Host, Runtime, Stats};

use super::{Answer, Asked, Reply, text, typed};

/// The text format of Prometheus 0.0.4.
const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is counted, for whoever asks from the machine itself: the numbers tell how the limits are set.
pub(super) fn answer<R: Runtime>(host: &Host, asked: &Asked<R>) -> Reply<R> {
    if !asked.visit.is_local() {
        return text(StatusCode::FORBIDDEN, "This page is for the machine itself.\n").into();
    }
    Reply::Answer(page(host.stats()))
}

fn page(stats: &Stats) -> Answer {
    typed(StatusCode::OK, KIND, rows(stats))
}

/// Every mark has its row from the start, so that none can be overlooked; reasons and marks come from closed sets.
fn rows(stats: &Stats) -> String {
    let mut rows = String::new();
    let traffic = stats.traffic();
    let plain = [
        ("connections_open", "gauge", stats.open()),
        ("connections_opened_total", "counter", stats.opened()),
        ("received_bytes_total", "counter", traffic.bytes_in),
        ("sent_bytes_total", "counter", traffic.bytes_out),
        ("received_messages_total", "counter", traffic.received),
        ("sent_messages_total", "counter", traffic.sent),
    ];
    // Writing to a string cannot fail.
    for (name, kind, value) in plain {
        let _ = writeln!(rows, "# TYPE linkspan_{name} {kind}\nlinkspan_{name} {value}");
    }
    let _ = writeln!(rows, "# TYPE linkspan_marks_total counter");
    let marks = stats.marks();
    for mark in Mark::ALL {
        let count = marks.iter().find(|(own, _)| own == mark).map_or(0, |(_, count)| *count);
        let _ = writeln!(rows, "linkspan_marks_total{{mark=\"{}\"}} {count}", mark.name());
    }
    let _ = writeln!(rows, "# TYPE linkspan_closes_total counter");
    for (reason, count) in stats.closes() {
        let _ = writeln!(rows, "linkspan_closes_total{{reason=\"{reason}\"}} {count}");
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_has_a_row() {
        let stats = Stats::default();
        stats.mark(Mark::DatagramDropped);
        let rows = rows(&stats);
        assert!(rows.contains("linkspan_marks_total{mark=\"datagram_dropped\"} 1\n"), "{rows}");
        let count = rows.matches("linkspan_marks_total{").count();
        assert_eq!(count, Mark::ALL.len());
        for line in rows.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            assert!(name.starts_with("linkspan_") && value.parse::<u64>().is_ok(), "{line}");
        }
    }
}
