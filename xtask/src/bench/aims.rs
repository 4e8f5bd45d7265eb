//! What was aimed at, and what was reached.

use super::Measured;
use super::table::floor_of;

/// Prints each aim with the figure that was measured for it.
pub(super) fn print(results: &[Measured]) {
    println!("### Aims\n");
    for measured in results.iter().filter(|measured| measured.transport != "floor") {
        for (aim, reached, at_most) in aims(measured, results) {
            let verdict = if reached <= at_most { "reached" } else { "MISSED" };
            let Measured { subject, transport, .. } = measured;
            println!("- {subject} {transport}: {aim}: {reached:.2}, at most {at_most} aimed at: {verdict}");
        }
    }
}

/// The aims that this measurement speaks to: what, how much it was, how much it may be.
fn aims(measured: &Measured, results: &[Measured]) -> Vec<(&'static str, f64, f64)> {
    const CPU: &str = "server_cpu_us_per_answer";
    const MEMORY: &str = "server_kib_per_connection";
    let mut aims = Vec::new();
    match (measured.case.name.as_str(), measured.transport) {
        ("64 × 1", "tcp") => {
            if let Some(floor) = floor_of(measured, results) {
                aims.push((
                    "CPU per answer at 64 connections, in floors",
                    measured.median(CPU) / floor.median(CPU),
                    1.5,
                ));
            }
        }
        ("1 × 16", _) => {
            aims.push(("CPU µs per answer, 16 deep on one connection", measured.median(CPU), 2.0));
        }
        ("64 × 16", _) => {
            aims.push(("CPU µs per answer, 16 deep on 64 connections", measured.median(CPU), 2.0));
        }
        ("5000 held", "tcp") => aims.push(("KiB per idle connection", measured.median(MEMORY), 6.0)),
        ("5000 held", "ws") => aims.push(("KiB per idle connection", measured.median(MEMORY), 11.0)),
        ("200 members × 1000/s", _) => {
            aims.push((
                "pushes lost of a room of 200 at 1,000 messages/s",
                f64::from(u32::try_from(measured.sum("lost")).unwrap_or(u32::MAX)),
                0.0,
            ));
        }
        _ => {}
    }
    aims
}
