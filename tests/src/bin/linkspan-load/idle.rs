//! Connections that do nothing but stay: what one of them costs in memory.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::task::LocalSet;
use tokio::time::sleep;

use crate::link::{Link, Target};
use crate::process::Watched;
use crate::report::Faults;
use crate::wire::{self, Said};

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How many connections
    #[arg(long, default_value_t = 5_000)]
    connections: usize,
    /// How long they are held before the server's memory is read
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

pub(crate) async fn run(options: &Options, target: Target, server: Watched) -> (Value, bool) {
    LocalSet::new().run_until(hold(options, target, server)).await
}

#[expect(clippy::cast_precision_loss, reason = "shown to a person")]
async fn hold(options: &Options, target: Target, server: Watched) -> (Value, bool) {
    let mut faults = Faults::default();
    let before = server.resident_kib();
    let alive = Rc::new(Cell::new(0_usize));
    let mut held = Vec::new();
    for index in 0..options.connections {
        match open(target, index).await {
            Ok(link) => {
                alive.set(alive.get() + 1);
                let alive = Rc::clone(&alive);
                held.push(tokio::task::spawn_local(async move {
                    stay(link).await;
                    alive.set(alive.get() - 1);
                }));
            }
            Err(error) => faults.error(&format!("connection {index}: {error}")),
        }
    }
    let start = server.cpu();
    sleep(Duration::from_secs_f64(options.seconds)).await;
    let spent = server.cpu() - start;
    let after = server.resident_kib();
    faults.lost = (held.len() - alive.get()) as u64;
    for task in held {
        task.abort();
    }
    let mut report = json!({
        "mode": "idle",
        "target": target.name(),
        "connections": alive.get(),
        "server_kib_before": before,
        "server_kib_after": after,
        "server_kib_per_connection": after.saturating_sub(before) as f64 / alive.get().max(1) as f64,
        "server_cpu_share": spent.as_secs_f64() / options.seconds,
    });
    faults.put(&mut report);
    (report, faults.is_clean())
}

/// Opens a session and asks once: a connection that was never used is not what operators hold thousands of.
async fn open(target: Target, index: usize) -> std::io::Result<Link> {
    if matches!(target, Target::Floor(_)) {
        let mut link = Link::open(target, index).await?;
        link.queue(&[7; 64]);
        while link.received.len() < 64 {
            link.exchange().await?;
        }
        link.received.clear();
        return Ok(link);
    }
    let mut link = Link::open_session(target, index).await?;
    ask_once(&mut link).await?;
    Ok(link)
}

/// One request, and the answer it must get.
pub(crate) async fn ask_once(link: &mut Link) -> std::io::Result<()> {
    let payload = [7; 64];
    link.queue(&wire::message(wire::REQUEST, 1, b"Echo.Raw", &payload));
    loop {
        match link.next_package().await? {
            (wire::HEARTBEAT, _) => {}
            (wire::DATA, body) => match wire::parse_message(body) {
                Some(Said::Answer { id: 1, is_error: false, body }) if body == payload[..] => return Ok(()),
                other => return Err(std::io::Error::other(format!("not the answer: {other:?}"))),
            },
            (kind, body) => {
                return Err(std::io::Error::other(format!("not an answer: package {kind}, {body:?}")));
            }
        }
    }
}

/// Answers every heartbeat, for as long as the server keeps the connection.
async fn stay(mut link: Link) {
    let mut beat = Vec::new();
    wire::put_package(&mut beat, wire::HEARTBEAT, &[]);
    while let Ok((kind, _)) = link.next_package().await {
        if kind == wire::HEARTBEAT {
            link.queue(&beat);
            if link.flush().await.is_err() {
                return;
            }
        }
    }
}
