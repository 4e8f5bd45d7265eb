#![forbid(unsafe_code)]
//! Feeds random and mutated inputs to decoders and connections: `mutate [COUNT [SEED]]`, ten million by default.

use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use linkspan_tests::fuzz_connection::{Outcomes, mutated_inputs};

/// A panic is reported with the input's number; this many inputs are one unit of work.
const BATCH: u64 = 50_000;

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|text| text.replace('_', "").parse::<u64>());
    let (Some(Ok(count)), Some(Ok(seed))) =
        (numbers.next().or(Some(Ok(10_000_000))), numbers.next().or(Some(Ok(2026))))
    else {
        eprintln!("usage: mutate [COUNT [SEED]]");
        return ExitCode::from(2);
    };
    let workers = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let started = Instant::now();
    let share = |worker| {
        let batches = (0..count.div_ceil(BATCH)).filter(move |batch| batch % workers == worker);
        thread::spawn(move || batches.map(|batch| run(seed, batch, count)).collect::<Vec<_>>())
    };
    let shares: Vec<_> = (0..workers).map(share).collect();
    let mut total = Outcomes::default();
    for share in shares {
        let Ok(outcomes) = share.join() else { return ExitCode::FAILURE };
        for one in outcomes {
            total.decoded += one.decoded;
            total.violations += one.violations;
            total.survivors += one.survivors;
            total.lives += one.lives;
        }
    }
    println!("{count} inputs, seed {seed}, {:.1} s: {total:?}", started.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn run(seed: u64, batch: u64, count: u64) -> Outcomes {
    // Each batch has numbers of its own.
    let seed = seed ^ batch.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mutated_inputs(seed, BATCH.min(count - batch * BATCH))
}
