//! The figures as tables that can be pasted into a document.

use super::Measured;
use super::plan::Part;

/// Prints every part that was measured.
pub(super) fn print(results: &[Measured]) {
    print_part(
        results,
        Part::Echo,
        "Requests answered with the same 64 bytes (connections × in flight)",
        &["CPU µs/answer", "× floor", "answers/s", "p50 µs", "p99 µs", "answers", "faults"],
        |measured| {
            vec![
                format!("{:.2}", measured.median("server_cpu_us_per_answer")),
                ratio(measured, results, "server_cpu_us_per_answer"),
                format!("{:.0}", measured.median("answers_per_second")),
                format!("{:.0}", measured.median("p50_us")),
                format!("{:.0}", measured.median("p99_us")),
                measured.sum("answers").to_string(),
                measured.faults().to_string(),
            ]
        },
    );
    print_part(
        results,
        Part::Idle,
        "Idle connections, each of which asked once",
        &["KiB/connection", "server KiB", "faults"],
        |measured| {
            vec![
                format!("{:.2}", measured.median("server_kib_per_connection")),
                format!("{:.0}", measured.median("server_kib_after")),
                measured.faults().to_string(),
            ]
        },
    );
    print_part(
        results,
        Part::Broadcast,
        "Room messages of 64 bytes to every member",
        &["CPU µs/push", "delivered", "expected", "pushes/s", "p50 µs", "p99 µs", "faults"],
        |measured| {
            vec![
                format!("{:.2}", measured.median("server_cpu_us_per_push")),
                measured.sum("delivered").to_string(),
                measured.sum("expected").to_string(),
                format!("{:.0}", measured.median("delivered_per_second")),
                format!("{:.0}", measured.median("p50_us")),
                format!("{:.0}", measured.median("p99_us")),
                measured.faults().to_string(),
            ]
        },
    );
    print_part(
        results,
        Part::Cycle,
        "Connect, shake hands, ask once, close",
        &["cycles/s", "CPU µs/cycle", "KiB after 1,000", "KiB at the end", "left open", "faults"],
        |measured| {
            vec![
                format!("{:.0}", measured.median("cycles_per_second")),
                format!("{:.1}", measured.median("server_cpu_us_per_cycle")),
                format!("{:.0}", measured.median("server_kib_settled")),
                format!("{:.0}", measured.median("server_kib_end")),
                measured.sum("server_files_left").to_string(),
                measured.faults().to_string(),
            ]
        },
    );
}

/// A figure beside that of the floor on the same runtime.
fn ratio(measured: &Measured, results: &[Measured], figure: &str) -> String {
    floor_of(measured, results).map_or_else(
        || "–".to_owned(),
        |floor| format!("{:.2}", measured.median(figure) / floor.median(figure)),
    )
}

/// The plain echo on the same runtime, in the same case.
pub(super) fn floor_of<'a>(measured: &Measured, results: &'a [Measured]) -> Option<&'a Measured> {
    let runtime = measured.subject.split(' ').next()?;
    results.iter().find(|other| {
        other.transport == "floor"
            && other.subject.starts_with(runtime)
            && other.case.name == measured.case.name
    })
}

fn print_part(
    results: &[Measured],
    part: Part,
    title: &str,
    heads: &[&str],
    figures: impl Fn(&Measured) -> Vec<String>,
) {
    let of_part: Vec<&Measured> = results.iter().filter(|measured| measured.case.part == part).collect();
    if of_part.is_empty() {
        return;
    }
    let mut rows =
        vec![["server", "transport", "case"].iter().chain(heads).map(|head| (*head).to_owned()).collect()];
    for measured in of_part {
        let mut row =
            vec![measured.subject.to_owned(), measured.transport.to_owned(), measured.case.name.clone()];
        row.extend(figures(measured));
        rows.push(row);
    }
    println!("### {title}\n");
    print_rows(&rows);
    println!();
}

/// A table in Markdown whose columns stand below each other.
fn print_rows(rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("| {} |", cells.join(" | "));
        if index == 0 {
            let lines: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            println!("| {} |", lines.join(" | "));
        }
    }
}
