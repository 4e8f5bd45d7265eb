//! Small downloads, one after another on each connection: what one of them costs, and how long it takes.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use crate::link::connect_tcp;
use crate::origin::SMALL;
use crate::process::Watched;
use crate::report::{Faults, Times};
use crate::web::{self, Web};

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How many connections
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// How long is measured
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Load before the measurement begins
    #[arg(long, default_value_t = 0.3)]
    warm_up: f64,
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the connections of one run share; all of them live on one thread.
#[derive(Default)]
struct Run {
    answers: Cell<u64>,
    is_measuring: Cell<bool>,
    is_over: Cell<bool>,
    faults: RefCell<Faults>,
}

pub(crate) async fn run(options: &Options, web: &Web, server: Watched) -> (Value, bool) {
    LocalSet::new().run_until(measure(options, web, server)).await
}

#[expect(clippy::cast_precision_loss, reason = "shown to a person")]
async fn measure(options: &Options, web: &Web, server: Watched) -> (Value, bool) {
    let run = Rc::new(Run::default());
    let mut tasks = Vec::new();
    for index in 0..options.connections {
        let (run, web) = (Rc::clone(&run), web.clone());
        tasks.push(tokio::task::spawn_local(async move {
            let mut times = Times::new();
            if let Err(error) = ask(&run, &web, index, &mut times).await {
                run.faults.borrow_mut().error(&format!("connection {index}: {error}"));
            }
            times
        }));
    }
    sleep(Duration::from_secs_f64(options.warm_up)).await;
    run.is_measuring.set(true);
    let before = run.answers.get();
    let (start, cpu) = (Instant::now(), server.cpu());
    sleep(Duration::from_secs_f64(options.seconds)).await;
    let (time, spent) = (start.elapsed(), server.cpu() - cpu);
    let answers = run.answers.get() - before;
    run.is_measuring.set(false);
    run.is_over.set(true);
    let mut times = Times::new();
    for task in tasks {
        // A task that panicked has told so on the standard error output.
        if let Ok(those) = task.await {
            times.merge(&those);
        }
    }
    let faults = run.faults.borrow();
    let mut report = json!({
        "mode": "get",
        "connections": options.connections,
        "seconds": time.as_secs_f64(),
        "answers": answers,
        "answers_per_second": answers as f64 / time.as_secs_f64(),
        "p50_us": times.quantile_us(0.5),
        "p99_us": times.quantile_us(0.99),
        "server_cpu_us_per_answer": spent.as_secs_f64() * 1e6 / answers.max(1) as f64,
        "server_cpu_share": spent.as_secs_f64() / time.as_secs_f64(),
    });
    faults.put(&mut report);
    (report, faults.is_clean() && answers > 0)
}

/// Asks again and again, until the run is over.
async fn ask(run: &Run, web: &Web, index: usize, times: &mut Times) -> io::Result<()> {
    let mut stream = connect_tcp(web.address, index).await?;
    let request = web.request("/small");
    let mut received = Vec::with_capacity(1024);
    while !run.is_over.get() {
        let asked = Instant::now();
        stream.write_all(&request).await?;
        received.clear();
        let body = loop {
            match timeout(PATIENCE, stream.read_buf(&mut received)).await {
                Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(outcome) => outcome?,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            };
            if let Some(head) = web::head(&received)?
                && received.len() as u64 >= head.size as u64 + head.body
            {
                break head.size..;
            }
        };
        if received[body] != SMALL[..] {
            run.faults.borrow_mut().wrong += 1;
            return Err(io::Error::other("another body than the file's"));
        }
        run.answers.set(run.answers.get() + 1);
        if run.is_measuring.get() {
            times.add(asked.elapsed());
        }
    }
    Ok(())
}
