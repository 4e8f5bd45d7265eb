//! Hostile input from many connections, while an honest one must notice nothing.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::idle::ask_once;
use crate::link::{Link, Target, connect_tcp};
use crate::mutate::{self, Random};
use crate::process::Watched;
use crate::report::{Faults, Times};

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How long
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How many attackers at a time
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// The same seed makes the same attacks
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// How long an attacker waits for the server to end the connection.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long an honest answer may take while the machine is busy with attacks.
const ANSWER_MAX: Duration = Duration::from_secs(5);

struct Run {
    target: Target,
    end: Instant,
    attacks: Cell<u64>,
    /// How many of them the server ended within the attacker's patience; the rest were waiting for more, or honest.
    ended: Cell<u64>,
    honest: Cell<u64>,
    faults: RefCell<Faults>,
    times: RefCell<Times>,
}

pub(crate) async fn run(options: &Options, target: Target, server: Watched) -> (Value, bool) {
    LocalSet::new().run_until(all(options, target, server)).await
}

async fn all(options: &Options, target: Target, server: Watched) -> (Value, bool) {
    let run = Rc::new(Run {
        target,
        end: Instant::now() + Duration::from_secs_f64(options.seconds),
        attacks: Cell::new(0),
        ended: Cell::new(0),
        honest: Cell::new(0),
        faults: RefCell::default(),
        times: RefCell::new(Times::new()),
    });
    let before = server.resident_kib();
    let mut tasks: Vec<_> = (0..options.concurrency)
        .map(|index| {
            let run = Rc::clone(&run);
            let random = Random(options.seed.wrapping_add((index as u64) << 32));
            tokio::task::spawn_local(async move { attack(&run, index, random).await })
        })
        .collect();
    tasks.push(tokio::task::spawn_local({
        let run = Rc::clone(&run);
        async move { honest(&run).await }
    }));
    for task in tasks {
        // A task that panicked has told so on the standard error output.
        let _ = task.await;
    }
    let faults = run.faults.borrow();
    let times = run.times.borrow();
    let mut report = json!({
        "mode": "flood",
        "target": target.name(),
        "seed": options.seed,
        "attacks": run.attacks.get(),
        "ended_by_server": run.ended.get(),
        "honest_answers": run.honest.get(),
        "honest_p50_us": times.quantile_us(0.5),
        "honest_max_us": times.longest_us(),
        "server_kib_before": before,
        "server_kib_after": server.resident_kib(),
    });
    faults.put(&mut report);
    (report, faults.is_clean() && run.honest.get() > 0 && run.attacks.get() > 0)
}

/// Asks and checks, one request at a time, on one connection for as long as the attacks last; then once on a new one.
async fn honest(run: &Run) {
    let outcome = async {
        let mut link = Link::open_session(run.target, 0).await?;
        while Instant::now() < run.end {
            let asked = Instant::now();
            timeout(ANSWER_MAX, ask_once(&mut link))
                .await
                .map_err(|_| io::Error::other("no answer in time"))??;
            run.times.borrow_mut().add(asked.elapsed());
            run.honest.set(run.honest.get() + 1);
        }
        let mut link = Link::open_session(run.target, 0).await?;
        ask_once(&mut link).await
    };
    if let Err(error) = outcome.await {
        run.faults.borrow_mut().error(&format!("the honest connection: {error}"));
    }
}

async fn attack(run: &Run, index: usize, mut random: Random) {
    while Instant::now() < run.end {
        let raw_upgrade = matches!(run.target, Target::Ws(_)) && random.below(3) == 0;
        let ended = if raw_upgrade || matches!(run.target, Target::Tcp(_)) {
            stream_attack(run.target, index, &mut random).await
        } else {
            message_attack(run.target, index, &mut random).await
        };
        match ended {
            Ok(ended) => {
                run.attacks.set(run.attacks.get() + 1);
                run.ended.set(run.ended.get() + u64::from(ended));
            }
            Err(error) => run.faults.borrow_mut().error(&format!("the server is not to be reached: {error}")),
        }
        if run.faults.borrow().errors > 20 {
            return;
        }
    }
}

/// Sends bytes and reads until the server ends the connection, or patience does. Fails only if connecting did.
async fn stream_attack(target: Target, index: usize, random: &mut Random) -> io::Result<bool> {
    let mut stream = connect_tcp(target.address(), index).await?;
    let bytes = match target {
        Target::Ws(_) => mutate::upgrade(random),
        Target::Tcp(_) | Target::Floor(_) => mutate::attack(random).concat(),
    };
    // Any split of the stream must do: half of the attacks come in two pieces.
    let middle = if random.below(2) == 0 { random.below(bytes.len()) } else { bytes.len() };
    for piece in [&bytes[..middle], &bytes[middle..]] {
        if stream.write_all(piece).await.is_err() {
            return Ok(true);
        }
        tokio::task::yield_now().await;
    }
    let mut sink = [0; 4096];
    let ended =
        timeout(PATIENCE, async { while stream.read(&mut sink).await.is_ok_and(|length| length > 0) {} });
    Ok(ended.await.is_ok())
}

/// The same in WebSocket messages.
async fn message_attack(target: Target, index: usize, random: &mut Random) -> io::Result<bool> {
    let mut link = Link::open(target, index).await?;
    for package in mutate::attack(random) {
        link.queue(&package);
    }
    let ended = timeout(PATIENCE, async {
        while link.exchange().await.is_ok() {
            link.received.clear();
        }
    });
    Ok(ended.await.is_ok())
}
