//! Requests that are answered with the same bytes: what an answer costs, and whether every one of them is right.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use crate::link::{Link, Target};
use crate::process::Watched;
use crate::report::{Faults, Times};
use crate::wire::{self, Said};

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How many connections
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// How many requests each connection has waiting at a time
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// Bytes in each request
    #[arg(long, default_value_t = 64)]
    payload: usize,
    /// How long is measured
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Load before the measurement begins
    #[arg(long, default_value_t = 0.3)]
    warm_up: f64,
    /// Stop after so many requests of each connection instead of after a time
    #[arg(long)]
    requests: Option<u64>,
    /// The route
    #[arg(long, default_value = "Echo.Raw")]
    route: String,
}

/// How long a connection that waits for answers may hear nothing, before they count as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the connections of one run share; all of them live on one thread.
struct Run {
    options: Options,
    target: Target,
    answers: Cell<u64>,
    is_measuring: Cell<bool>,
    is_over: Cell<bool>,
    faults: RefCell<Faults>,
    times: RefCell<Times>,
}

pub(crate) async fn run(options: &Options, target: Target, server: Watched) -> (Value, bool) {
    let run = Rc::new(Run {
        options: options.clone(),
        target,
        answers: Cell::new(0),
        is_measuring: Cell::new(options.requests.is_some()),
        is_over: Cell::new(false),
        faults: RefCell::default(),
        times: RefCell::new(Times::new()),
    });
    let local = LocalSet::new();
    local.run_until(measure(&run, server)).await
}

async fn measure(run: &Rc<Run>, server: Watched) -> (Value, bool) {
    let mut links = Vec::new();
    for index in 0..run.options.connections {
        match open(run.target, index).await {
            Ok(link) => links.push(link),
            Err(error) => run.faults.borrow_mut().error(&format!("connection {index}: {error}")),
        }
    }
    let connections = links.len();
    let callers = links.into_iter().enumerate().map(|(index, link)| {
        let run = Rc::clone(run);
        tokio::task::spawn_local(async move { call(&run, index, link).await })
    });
    let (start, cpu);
    let (time, spent, answers);
    if run.options.requests.is_some() {
        (start, cpu) = (Instant::now(), server.cpu());
        for caller in callers.collect::<Vec<_>>() {
            // A task that panicked has told so on the standard error output.
            let _ = caller.await;
        }
        (time, spent, answers) = (start.elapsed(), server.cpu() - cpu, run.answers.get());
    } else {
        let callers: Vec<_> = callers.collect();
        sleep(Duration::from_secs_f64(run.options.warm_up)).await;
        run.is_measuring.set(true);
        let before = run.answers.get();
        (start, cpu) = (Instant::now(), server.cpu());
        sleep(Duration::from_secs_f64(run.options.seconds)).await;
        (time, spent, answers) = (start.elapsed(), server.cpu() - cpu, run.answers.get() - before);
        run.is_measuring.set(false);
        run.is_over.set(true);
        for caller in callers {
            let _ = caller.await;
        }
    }
    report(run, connections, answers, time, spent)
}

#[expect(clippy::cast_precision_loss, reason = "shown to a person")]
fn report(run: &Run, connections: usize, answers: u64, time: Duration, spent: Duration) -> (Value, bool) {
    let (faults, times) = (run.faults.borrow(), run.times.borrow());
    let mut report = json!({
        "mode": "echo",
        "target": run.target.name(),
        "connections": connections,
        "in_flight": run.options.in_flight,
        "payload": run.options.payload,
        "seconds": time.as_secs_f64(),
        "answers": answers,
        "answers_per_second": answers as f64 / time.as_secs_f64(),
        "p50_us": times.quantile_us(0.5),
        "p99_us": times.quantile_us(0.99),
        "max_us": times.longest_us(),
        "server_cpu_us_per_answer": spent.as_secs_f64() * 1e6 / answers.max(1) as f64,
        "server_cpu_share": spent.as_secs_f64() / time.as_secs_f64(),
    });
    faults.put(&mut report);
    (report, faults.is_clean() && answers > 0)
}

async fn open(target: Target, index: usize) -> io::Result<Link> {
    match target {
        Target::Floor(_) => Link::open(target, index).await,
        Target::Tcp(_) | Target::Ws(_) => Link::open_session(target, index).await,
    }
}

/// One connection's requests, to the end of the run and until the last answer is in.
async fn call(run: &Run, index: usize, mut link: Link) {
    let mut caller = Caller::new(&run.options, index);
    while !caller.is_done(run) {
        caller.ask(run, &mut link);
        if !caller.hear(run, index, &mut link).await {
            break;
        }
    }
    while !caller.waiting.is_empty() && caller.hear(run, index, &mut link).await {}
    caller.faults.lost += caller.waiting.len() as u64;
    caller.faults.wrong += link.misframed;
    run.faults.borrow_mut().add(caller.faults);
    run.times.borrow_mut().merge(&caller.times);
    link.close().await;
}

/// One connection: what it sends, and what it waits for.
pub(crate) struct Caller {
    /// The id and the time of each request that waits for its answer.
    waiting: VecDeque<(u64, Instant)>,
    sent: u64,
    /// The request as it was last sent; only its id, and the number in its payload, differ from one to the next.
    payload: Vec<u8>,
    pub(crate) faults: Faults,
    pub(crate) times: Times,
}

impl Caller {
    /// Ids go round in this range: they are of one to three bytes.
    const ID_MAX: u64 = 100_000;
    /// The payload begins with the connection's number and the request's.
    const NUMBERS: usize = 16;

    pub(crate) fn new(options: &Options, index: usize) -> Self {
        let mut payload: Vec<u8> =
            (0..options.payload.max(Self::NUMBERS)).map(|at| (at * 7 + index).to_le_bytes()[0]).collect();
        payload[..8].copy_from_slice(&(index as u64).to_le_bytes());
        Self { waiting: VecDeque::new(), sent: 0, payload, faults: Faults::default(), times: Times::new() }
    }

    fn is_done(&self, run: &Run) -> bool {
        run.is_over.get()
            || run.options.requests.is_some_and(|all| self.sent >= all && self.waiting.is_empty())
    }

    /// Queues requests until as many wait as shall.
    fn ask(&mut self, run: &Run, link: &mut Link) {
        let now = Instant::now();
        while self.waiting.len() < run.options.in_flight
            && run.options.requests.is_none_or(|all| self.sent < all)
        {
            match run.target {
                Target::Floor(_) => link.queue(self.number()),
                Target::Tcp(_) | Target::Ws(_) => {
                    let id = self.next_id();
                    let request =
                        wire::message(wire::REQUEST, id, run.options.route.as_bytes(), self.number());
                    link.queue(&request);
                }
            }
            self.waiting.push_back((self.next_id(), now));
            self.sent += 1;
        }
    }

    /// Waits until something is received and looks at it; false if nothing comes any more.
    async fn hear(&mut self, run: &Run, index: usize, link: &mut Link) -> bool {
        if self.faults.errors > 0 {
            return false;
        }
        match timeout(PATIENCE, link.exchange()).await {
            Ok(Ok(())) => {
                self.look(run, link);
                true
            }
            Ok(Err(error)) => {
                self.faults.error(&format!("connection {index}: {error}"));
                false
            }
            Err(_) => false,
        }
    }

    fn next_id(&self) -> u64 {
        1 + self.sent % Self::ID_MAX
    }

    /// The payload of the next request.
    fn number(&mut self) -> &[u8] {
        self.payload[8..16].copy_from_slice(&self.sent.to_le_bytes());
        &self.payload
    }

    /// Looks at everything that was received.
    fn look(&mut self, run: &Run, link: &mut Link) {
        let now = Instant::now();
        if matches!(run.target, Target::Floor(_)) {
            while link.received.len() >= self.payload.len() {
                let answer = link.received.split_to(self.payload.len()).freeze();
                let id = self.waiting.front().map_or(0, |(id, _)| *id);
                self.answered(run, id, &answer, now);
            }
            return;
        }
        while let Some((kind, body)) = wire::take_package(&mut link.received) {
            match (kind, wire::parse_message(body)) {
                (wire::DATA, Some(Said::Answer { id, is_error: false, body })) => {
                    self.answered(run, id, &body, now);
                }
                (wire::HEARTBEAT, _) => {
                    let mut beat = Vec::new();
                    wire::put_package(&mut beat, wire::HEARTBEAT, &[]);
                    link.queue(&beat);
                }
                (kind, said) => {
                    self.faults.wrong += 1;
                    self.faults.error(&format!("unexpected package {kind}: {said:?}"));
                    return;
                }
            }
        }
    }

    /// Checks one answer against the request it names.
    fn answered(&mut self, run: &Run, id: u64, body: &[u8], now: Instant) {
        let Some(place) = self.waiting.iter().position(|(waiting, _)| *waiting == id) else {
            self.faults.wrong += 1;
            return;
        };
        self.faults.reordered += u64::from(place != 0);
        let first_waiting = self.sent - self.waiting.len() as u64;
        let Some((_, asked)) = self.waiting.remove(place) else { return };
        // After a reordering the numbers of the others are no longer known by their place.
        let is_its_own = |number: &[u8]| self.faults.reordered > 0 || *number == first_waiting.to_le_bytes();
        let is_right = body.len() == self.payload.len()
            && body[..8] == self.payload[..8]
            && is_its_own(&body[8..Self::NUMBERS])
            && body[Self::NUMBERS..] == self.payload[Self::NUMBERS..];
        self.faults.wrong += u64::from(!is_right);
        run.answers.set(run.answers.get() + 1);
        if run.is_measuring.get() {
            self.times.add(now - asked);
        }
    }
}
