//! Messages from one user to another: what one relayed message costs, and whether every one arrives as it should.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use crate::process::Watched;
use crate::report::{Faults, Times};
use crate::script::{Heard, Kind, Script, ask_once, enter};
use crate::socket::Socket;

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How many pairs of users; one speaks, the other listens
    #[arg(long, default_value_t = 1)]
    pairs: usize,
    /// How many messages of a pair are on their way at a time
    #[arg(long, default_value_t = 1)]
    window: usize,
    /// Bytes in each chat message
    #[arg(long, default_value_t = 131)]
    payload: usize,
    /// What is said (IM)
    #[arg(long, value_enum, default_value = "send")]
    kind: Kind,
    /// How long is measured
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Load before the measurement begins
    #[arg(long, default_value_t = 0.3)]
    warm_up: f64,
}

/// The protocol of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Chat,
    Im,
}

/// How long a pair may hear nothing before what is on its way counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the pairs of one run share; all of them live on one thread.
struct Run {
    window: usize,
    arrived: Cell<u64>,
    is_measuring: Cell<bool>,
    is_over: Cell<bool>,
    faults: RefCell<Faults>,
    times: RefCell<Times>,
}

pub(crate) async fn run(
    options: &Options,
    address: SocketAddr,
    protocol: Protocol,
    server: Watched,
) -> (Value, bool) {
    LocalSet::new().run_until(measure(options, address, protocol, server)).await
}

#[expect(clippy::cast_precision_loss, reason = "shown to a person")]
async fn measure(
    options: &Options,
    address: SocketAddr,
    protocol: Protocol,
    server: Watched,
) -> (Value, bool) {
    let run = Rc::new(Run {
        window: options.window.max(1),
        arrived: Cell::new(0),
        is_measuring: Cell::new(false),
        is_over: Cell::new(false),
        faults: RefCell::default(),
        times: RefCell::new(Times::new()),
    });
    let mut tasks = Vec::new();
    for index in 0..options.pairs {
        match Pair::open(options, address, protocol, index).await {
            Ok(pair) => {
                let run = Rc::clone(&run);
                tasks.push(tokio::task::spawn_local(async move { pair.talk(&run, index).await }));
            }
            Err(error) => run.faults.borrow_mut().error(&format!("pair {index}: {error}")),
        }
    }
    sleep(Duration::from_secs_f64(options.warm_up)).await;
    run.is_measuring.set(true);
    let before = run.arrived.get();
    let (start, cpu) = (Instant::now(), server.cpu());
    sleep(Duration::from_secs_f64(options.seconds)).await;
    let (time, spent) = (start.elapsed(), server.cpu() - cpu);
    let arrived = run.arrived.get() - before;
    run.is_measuring.set(false);
    run.is_over.set(true);
    for task in tasks {
        // A task that panicked has told so on the standard error output.
        let _ = task.await;
    }
    let (faults, times) = (run.faults.borrow(), run.times.borrow());
    let mut report = json!({
        "mode": "relay",
        "pairs": options.pairs,
        "window": options.window,
        "seconds": time.as_secs_f64(),
        "messages": arrived,
        "messages_per_second": arrived as f64 / time.as_secs_f64(),
        "p50_us": times.quantile_us(0.5),
        "p99_us": times.quantile_us(0.99),
        "server_cpu_us_per_message": spent.as_secs_f64() * 1e6 / arrived.max(1) as f64,
        "server_cpu_share": spent.as_secs_f64() / time.as_secs_f64(),
    });
    faults.put(&mut report);
    (report, faults.is_clean() && arrived > 0)
}

/// One who speaks, and one who listens (unless the answers are what counts).
struct Pair {
    script: Script,
    speaker: Socket,
    listener: Option<Socket>,
    /// When each message that is on its way was sent.
    waiting: VecDeque<Instant>,
    sent: u64,
    heard: u64,
    /// Replies to what was said.
    replies: u64,
    faults: Faults,
    times: Times,
}

impl Pair {
    async fn open(
        options: &Options,
        address: SocketAddr,
        protocol: Protocol,
        index: usize,
    ) -> io::Result<Self> {
        let script = Script::new(protocol, options.kind, index, options.payload);
        let listener = match script.answers_count() {
            true => None,
            false => {
                // Who has got an answer is known to everybody.
                let mut listener = enter(protocol, address, 2 * index + 1).await?;
                ask_once(protocol, &mut listener, 2 * index + 1).await?;
                Some(listener)
            }
        };
        Ok(Self {
            speaker: enter(protocol, address, 2 * index).await?,
            script,
            listener,
            waiting: VecDeque::new(),
            sent: 0,
            heard: 0,
            replies: 0,
            faults: Faults::default(),
            times: Times::new(),
        })
    }

    /// Speaks and listens to the end of the run, and until the last message is in.
    async fn talk(mut self, run: &Run, index: usize) {
        loop {
            if !run.is_over.get() {
                self.speak(run.window);
            }
            if self.waiting.is_empty() && self.replies_due() == 0 {
                break;
            }
            match timeout(PATIENCE, self.exchange()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    self.faults.error(&format!("pair {index}: {error}"));
                    break;
                }
                Err(_) => break,
            }
            if let Err(error) = self.listen(run) {
                self.faults.error(&format!("pair {index}: {error}"));
                break;
            }
        }
        self.faults.lost += self.waiting.len() as u64 + self.replies_due();
        run.faults.borrow_mut().add(self.faults);
        run.times.borrow_mut().merge(&self.times);
    }

    /// How many replies are still to come.
    fn replies_due(&self) -> u64 {
        if self.script.has_replies() { self.sent.saturating_sub(self.replies) } else { 0 }
    }

    fn speak(&mut self, window: usize) {
        let now = Instant::now();
        while self.waiting.len() < window {
            let text = self.script.say(self.sent);
            self.speaker.queue_text(text);
            self.waiting.push_back(now);
            self.sent += 1;
        }
    }

    /// Sends what is queued and waits until one of the two has received something.
    async fn exchange(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            let spoken = self.speaker.poll_exchange(cx)?;
            let heard = match &mut self.listener {
                Some(listener) => listener.poll_exchange(cx)?,
                None => Poll::Pending,
            };
            if spoken.is_ready() || heard.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Looks at everything that was received.
    fn listen(&mut self, run: &Run) -> io::Result<()> {
        let now = Instant::now();
        while let Some(message) = self.speaker.take()? {
            match self.script.hear_speaker(&message, self.heard) {
                Heard::Next => self.count(run, now),
                Heard::Reply => self.replies += 1,
                Heard::Beside => {}
                Heard::Wrong => return Err(self.wrong(&message)),
            }
        }
        while let Some(message) = self.listener.as_mut().map_or(Ok(None), Socket::take)? {
            match self.script.hear_listener(&message, self.heard) {
                Heard::Next => self.count(run, now),
                Heard::Reply | Heard::Beside => {}
                Heard::Wrong => return Err(self.wrong(&message)),
            }
        }
        Ok(())
    }

    fn count(&mut self, run: &Run, now: Instant) {
        self.heard += 1;
        run.arrived.set(run.arrived.get() + 1);
        if let Some(sent) = self.waiting.pop_front()
            && run.is_measuring.get()
        {
            self.times.add(now - sent);
        }
    }

    fn wrong(&mut self, message: &[u8]) -> io::Error {
        self.faults.wrong += 1;
        let text = String::from_utf8_lossy(message);
        io::Error::other(format!("not message {} as it was sent: {text:.300}", self.heard))
    }
}
