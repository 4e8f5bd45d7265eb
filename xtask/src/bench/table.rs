//! The figures as tables that can be pasted into a document, and the aims beside what was reached.

use super::Measured;

/// One table: the figures of one part.
pub(super) struct Table<'a> {
    pub(super) part: &'a str,
    pub(super) title: &'a str,
    pub(super) heads: &'a [&'a str],
}

impl Table<'_> {
    /// Prints a row for everything that was measured of the part.
    pub(super) fn print(&self, results: &[Measured], figures: impl Fn(&Measured) -> Vec<String>) {
        let of_part: Vec<&Measured> =
            results.iter().filter(|measured| measured.case.part == self.part).collect();
        if of_part.is_empty() {
            return;
        }
        let heads = ["server", "transport", "case"].iter().chain(self.heads).chain(&["faults"]);
        let mut rows = vec![heads.map(|head| (*head).to_owned()).collect()];
        for measured in of_part {
            let mut row =
                vec![measured.subject.to_owned(), measured.transport.to_owned(), measured.case.name.clone()];
            row.extend(figures(measured));
            row.push(measured.faults().to_string());
            rows.push(row);
        }
        println!("### {}\n", self.title);
        print_rows(&rows);
        println!();
    }
}

/// The median of a figure with so many decimals.
pub(super) fn figure(measured: &Measured, name: &str, decimals: usize) -> String {
    let value = measured.median(name);
    if value.is_nan() { "–".to_owned() } else { format!("{value:.decimals$}") }
}

/// One figure beside another, if there is one to stand beside.
pub(super) fn ratio(measured: &Measured, other: Option<&Measured>, name: &str) -> String {
    other.map_or_else(|| "–".to_owned(), |other| format!("{:.2}", measured.median(name) / other.median(name)))
}

/// What was aimed at.
#[derive(Clone, Copy)]
pub(super) enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

/// Says whether an aim was reached.
pub(super) fn print_aim(measured: &Measured, what: &str, reached: f64, aim: Aim) {
    let (bound, word, is_reached) = match aim {
        Aim::AtMost(bound) => (bound, "at most", reached <= bound),
        Aim::AtLeast(bound) => (bound, "at least", reached >= bound),
    };
    let verdict = if is_reached { "reached" } else { "MISSED" };
    let Measured { subject, transport, case, .. } = measured;
    println!(
        "- {subject} {transport} {}: {what}: {reached:.2}, {word} {bound} aimed at: {verdict}",
        case.name
    );
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
