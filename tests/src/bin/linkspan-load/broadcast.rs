//! One room, every message to every member: what one delivered push costs, and whether every member gets every one.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use serde_json::{Value, json};
use tokio::task::LocalSet;
use tokio::time::{interval, sleep, timeout};

use crate::link::{Link, Target, find};
use crate::process::Watched;
use crate::report::{Faults, Times};
use crate::wire::{self, Said};

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How many are in the room
    #[arg(long, default_value_t = 200)]
    members: usize,
    /// How many of them send
    #[arg(long, default_value_t = 1)]
    publishers: usize,
    /// Messages per second, of all publishers together
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// How long is sent
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Bytes of text in each message
    #[arg(long, default_value_t = 64)]
    payload: usize,
}

/// How long nothing may arrive before the rest counts as lost.
const QUIET: Duration = Duration::from_secs(3);
/// How long joining may take.
const JOIN_MAX: Duration = Duration::from_secs(30);

struct Run {
    options: Options,
    start: Instant,
    /// When the messages begin.
    is_open: Cell<bool>,
    sent: Cell<u64>,
    delivered: Cell<u64>,
    faults: RefCell<Faults>,
    times: RefCell<Times>,
}

pub(crate) async fn run(options: &Options, target: Target, server: Watched) -> (Value, bool) {
    let run = Rc::new(Run {
        options: options.clone(),
        start: Instant::now(),
        is_open: Cell::new(false),
        sent: Cell::new(0),
        delivered: Cell::new(0),
        faults: RefCell::default(),
        times: RefCell::new(Times::new()),
    });
    LocalSet::new().run_until(all(&run, target, server)).await
}

async fn all(run: &Rc<Run>, target: Target, server: Watched) -> (Value, bool) {
    let mut members = Vec::new();
    for index in 0..run.options.members {
        match timeout(JOIN_MAX, join(target, index)).await {
            Ok(Ok(link)) => {
                let run = Rc::clone(run);
                members.push(tokio::task::spawn_local(async move { member(&run, index, link).await }));
            }
            Ok(Err(error)) => run.faults.borrow_mut().error(&format!("member {index}: {error}")),
            Err(_) => run.faults.borrow_mut().error(&format!("member {index}: no answer to the join")),
        }
    }
    // The news of the last joins is still on its way.
    sleep(Duration::from_millis(500)).await;
    let joined = members.len() as u64;
    let (start, cpu) = (Instant::now(), server.cpu());
    run.is_open.set(true);
    sleep(Duration::from_secs_f64(run.options.seconds)).await;
    run.is_open.set(false);
    let mut last = (run.delivered.get(), Instant::now());
    while run.delivered.get() < run.sent.get() * joined && last.1.elapsed() < QUIET {
        sleep(Duration::from_millis(20)).await;
        if run.delivered.get() != last.0 {
            last = (run.delivered.get(), Instant::now());
        }
    }
    let (time, spent) = (start.elapsed(), server.cpu() - cpu);
    for member in members {
        member.abort();
    }
    report(run, target, joined, time, spent)
}

#[expect(clippy::cast_precision_loss, reason = "shown to a person")]
fn report(run: &Run, target: Target, joined: u64, time: Duration, spent: Duration) -> (Value, bool) {
    let (sent, delivered) = (run.sent.get(), run.delivered.get());
    let mut faults = run.faults.borrow_mut();
    faults.lost += (sent * joined).saturating_sub(delivered);
    let times = run.times.borrow();
    let mut report = json!({
        "mode": "broadcast",
        "target": target.name(),
        "members": joined,
        "sent": sent,
        "expected": sent * joined,
        "delivered": delivered,
        "seconds": time.as_secs_f64(),
        "delivered_per_second": delivered as f64 / time.as_secs_f64(),
        "p50_us": times.quantile_us(0.5),
        "p99_us": times.quantile_us(0.99),
        "server_cpu_us_per_push": spent.as_secs_f64() * 1e6 / delivered.max(1) as f64,
        "server_cpu_share": spent.as_secs_f64() / time.as_secs_f64(),
    });
    faults.put(&mut report);
    (report, faults.is_clean() && delivered > 0)
}

/// Opens a session and joins the room.
async fn join(target: Target, index: usize) -> io::Result<Link> {
    let mut link = Link::open_session(target, index).await?;
    let body = json!({ "uid": format!("member-{index}") }).to_string();
    link.queue(&wire::message(wire::REQUEST, 1, b"room.join", body.as_bytes()));
    loop {
        let (kind, body) = link.next_package().await?;
        match (kind, wire::parse_message(body)) {
            (wire::DATA, Some(Said::Answer { id: 1, is_error: false, .. })) => return Ok(link),
            (wire::DATA, Some(Said::Push { .. })) | (wire::HEARTBEAT, _) => {}
            (kind, said) => {
                return Err(io::Error::other(format!("not the answer: package {kind}, {said:?}")));
            }
        }
    }
}

/// One member: reads every push and, if it is one of the publishers, sends its share.
async fn member(run: &Run, index: usize, mut link: Link) {
    let publishers = run.options.publishers.clamp(1, run.options.members.max(1));
    let mut seen = vec![0_u64; publishers];
    let mut ticks =
        interval(if index < publishers { Duration::from_millis(1) } else { Duration::from_secs(3600) });
    let mut opened: Option<Instant> = None;
    let mut sent = 0_u64;
    loop {
        let outcome = tokio::select! {
            outcome = link.exchange() => outcome,
            _ = ticks.tick() => Ok(()),
        };
        if let Err(error) = outcome {
            run.faults.borrow_mut().error(&format!("member {index}: {error}"));
            return;
        }
        look(run, &mut link, &mut seen);
        if index < publishers && run.is_open.get() {
            let since = *opened.get_or_insert_with(Instant::now);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a count"
            )]
            let due = (since.elapsed().as_secs_f64() * run.options.rate / publishers as f64) as u64;
            while sent < due {
                sent += 1;
                publish(run, &mut link, index, sent);
            }
        }
    }
}

/// Sends one message: who, its number, when, and filling.
fn publish(run: &Run, link: &mut Link, index: usize, number: u64) {
    let mut text = format!("{index} {number} {} ", run.start.elapsed().as_nanos());
    while text.len() < run.options.payload {
        text.push('.');
    }
    let body = json!({ "name": format!("member-{index}"), "content": text }).to_string();
    link.queue(&wire::message(wire::NOTIFY, 0, b"room.message", body.as_bytes()));
    run.sent.set(run.sent.get() + 1);
}

/// Looks at everything that was received.
fn look(run: &Run, link: &mut Link, seen: &mut [u64]) {
    let mut faults = run.faults.borrow_mut();
    while let Some((kind, body)) = wire::take_package(&mut link.received) {
        match (kind, wire::parse_message(body)) {
            (wire::DATA, Some(Said::Push { route, body })) if route == b"onMessage"[..] => {
                let Some((publisher, number, nanos)) = numbers(&body) else {
                    faults.wrong += 1;
                    continue;
                };
                run.delivered.set(run.delivered.get() + 1);
                run.times.borrow_mut().add(run.start.elapsed().saturating_sub(Duration::from_nanos(nanos)));
                let Some(last) = seen.get_mut(publisher) else {
                    faults.wrong += 1;
                    continue;
                };
                faults.reordered += u64::from(number <= *last);
                *last = number;
            }
            (wire::DATA, Some(Said::Push { .. })) => {}
            (wire::HEARTBEAT, _) => {
                let mut beat = Vec::new();
                wire::put_package(&mut beat, wire::HEARTBEAT, &[]);
                link.queue(&beat);
            }
            (kind, said) => faults.error(&format!("unexpected package {kind}: {said:?}")),
        }
    }
}

/// Who sent this message, its number and its time.
fn numbers(body: &Bytes) -> Option<(usize, u64, u64)> {
    const NAME: &[u8] = br#""content":""#;
    let text = std::str::from_utf8(&body[find(body, NAME)? + NAME.len()..]).ok()?;
    let mut words = text.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}
