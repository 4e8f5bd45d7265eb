//! Connect, shake hands, ask once, close: how fast, and whether anything stays behind in the server.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use crate::idle::ask_once;
use crate::link::{Link, Target};
use crate::process::Watched;
use crate::report::Faults;

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How many times in all
    #[arg(long, default_value_t = 10_000)]
    cycles: usize,
    /// How many at a time
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// After how many cycles the server's memory is first read
    #[arg(long, default_value_t = 1_000)]
    settled: usize,
}

/// How long one cycle may take.
const CYCLE_MAX: Duration = Duration::from_secs(20);
/// How long the server may take to forget the last connections.
const FORGET_MAX: Duration = Duration::from_secs(10);

struct Run {
    begun: Cell<usize>,
    ended: Cell<usize>,
    end: usize,
    faults: RefCell<Faults>,
}

pub(crate) async fn run(options: &Options, target: Target, server: Watched) -> (Value, bool) {
    LocalSet::new().run_until(all(options, target, server)).await
}

#[expect(clippy::cast_precision_loss, reason = "shown to a person")]
async fn all(options: &Options, target: Target, server: Watched) -> (Value, bool) {
    let files_before = server.open_files();
    let faults = Faults::default();
    let settled = options.settled.min(options.cycles);
    let (_, first) = cycles(settled, options.concurrency, target).await;
    let resident_settled = server.resident_kib();
    let cpu = server.cpu();
    let start = Instant::now();
    let (count, second) = cycles(options.cycles - settled, options.concurrency, target).await;
    let time = start.elapsed();
    let spent = server.cpu() - cpu;
    let left = left_open(server, files_before).await;
    let resident_end = server.resident_kib();
    let mut all = faults;
    all.add(first);
    all.add(second);
    let mut report = json!({
        "mode": "cycle",
        "target": target.name(),
        "cycles": count,
        "seconds": time.as_secs_f64(),
        "cycles_per_second": count as f64 / time.as_secs_f64(),
        "server_cpu_us_per_cycle": spent.as_secs_f64() * 1e6 / count.max(1) as f64,
        "server_kib_settled": resident_settled,
        "server_kib_end": resident_end,
        "server_files_left": left,
    });
    all.put(&mut report);
    (report, all.is_clean() && left == 0)
}

/// Runs so many cycles and returns how many went well.
async fn cycles(count: usize, concurrency: usize, target: Target) -> (usize, Faults) {
    let run =
        Rc::new(Run { begun: Cell::new(0), ended: Cell::new(0), end: count, faults: RefCell::default() });
    let workers: Vec<_> = (0..concurrency.max(1))
        .map(|_| {
            let run = Rc::clone(&run);
            tokio::task::spawn_local(async move { work(&run, target).await })
        })
        .collect();
    for worker in workers {
        // A task that panicked has told so on the standard error output.
        let _ = worker.await;
    }
    let faults = run.faults.take();
    (run.ended.get(), faults)
}

async fn work(run: &Run, target: Target) {
    while run.begun.get() < run.end {
        let index = run.begun.replace(run.begun.get() + 1);
        match timeout(CYCLE_MAX, cycle(target, index)).await {
            Ok(Ok(())) => run.ended.set(run.ended.get() + 1),
            Ok(Err(error)) => run.faults.borrow_mut().error(&format!("cycle {index}: {error}")),
            Err(_) => run.faults.borrow_mut().lost += 1,
        }
        if run.faults.borrow().errors > 100 {
            return;
        }
    }
}

async fn cycle(target: Target, index: usize) -> std::io::Result<()> {
    let mut link = Link::open_session(target, index).await?;
    ask_once(&mut link).await?;
    link.close().await;
    Ok(())
}

/// How many files the server still has open that it did not have before, once it had time to forget.
async fn left_open(server: Watched, before: usize) -> usize {
    let end = Instant::now() + FORGET_MAX;
    loop {
        let left = server.open_files().saturating_sub(before);
        if left == 0 || Instant::now() > end {
            return left;
        }
        sleep(Duration::from_millis(50)).await;
    }
}
