//! Connections that do nothing but stay: what one of them costs in memory.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::Place;
use crate::link::{Link, Target};
use crate::process::Watched;
use crate::relay::Protocol;
use crate::report::Faults;
use crate::script;
use crate::socket::Socket;
use crate::web::Web;
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

/// How often the client of a tunnel sends a ping: remotedialer's interval.
const TUNNEL_PING: Duration = Duration::from_secs(5);

/// A connection that is held. To a web server these are clients of a tunnel.
enum Held {
    Pomelo(Link),
    WebSocket(Socket),
    Tunnel(Socket),
}

pub(crate) async fn run(options: &Options, place: &Place, server: Watched) -> (Value, bool) {
    LocalSet::new().run_until(hold(options, place, server)).await
}

#[expect(clippy::cast_precision_loss, reason = "shown to a person")]
async fn hold(options: &Options, place: &Place, server: Watched) -> (Value, bool) {
    let mut faults = Faults::default();
    let before = server.resident_kib();
    let alive = Rc::new(Cell::new(0_usize));
    let mut held = Vec::new();
    for index in 0..options.connections {
        match open(place, index).await {
            Ok(connection) => {
                alive.set(alive.get() + 1);
                let alive = Rc::clone(&alive);
                held.push(tokio::task::spawn_local(async move {
                    stay(connection).await;
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
        "connections": alive.get(),
        "server_kib_before": before,
        "server_kib_after": after,
        "server_kib_per_connection": after.saturating_sub(before) as f64 / alive.get().max(1) as f64,
        "server_cpu_share": spent.as_secs_f64() / options.seconds,
    });
    faults.put(&mut report);
    (report, faults.is_clean())
}

/// Opens a connection and asks once: one that was never used is not what operators hold thousands of.
async fn open(place: &Place, index: usize) -> io::Result<Held> {
    match place {
        Place::Pomelo(Target::Floor(address)) => {
            let mut link = Link::open(Target::Floor(*address), index).await?;
            link.queue(&[7; 64]);
            while link.received.len() < 64 {
                link.exchange().await?;
            }
            link.received.clear();
            Ok(Held::Pomelo(link))
        }
        Place::Pomelo(target) => {
            let mut link = Link::open_session(*target, index).await?;
            ask_once(&mut link).await?;
            Ok(Held::Pomelo(link))
        }
        Place::Chat(address) => open_script(Protocol::Chat, *address, index).await,
        Place::Im(address) => open_script(Protocol::Im, *address, index).await,
        Place::Web(web) => open_tunnel(web, index).await,
    }
}

async fn open_script(protocol: Protocol, address: SocketAddr, index: usize) -> io::Result<Held> {
    let mut socket = script::enter(protocol, address, index).await?;
    script::ask_once(protocol, &mut socket, index).await?;
    Ok(Held::WebSocket(socket))
}

async fn open_tunnel(web: &Web, index: usize) -> io::Result<Held> {
    let headers = format!("X-Tunnel-ID: idle-{index}\r\n");
    let mut socket = Socket::open(web.address, index, &format!("{}/connect", web.prefix), &headers).await?;
    socket.queue_ping();
    Ok(Held::Tunnel(socket))
}

/// One request, and the answer it must get.
pub(crate) async fn ask_once(link: &mut Link) -> io::Result<()> {
    let payload = [7; 64];
    link.queue(&wire::message(wire::REQUEST, 1, b"Echo.Raw", &payload));
    loop {
        match link.next_package().await? {
            (wire::HEARTBEAT, _) => {}
            (wire::DATA, body) => match wire::parse_message(body) {
                Some(Said::Answer { id: 1, is_error: false, body }) if body == payload[..] => return Ok(()),
                other => return Err(io::Error::other(format!("not the answer: {other:?}"))),
            },
            (kind, body) => {
                return Err(io::Error::other(format!("not an answer: package {kind}, {body:?}")));
            }
        }
    }
}

/// Does what keeps the connection alive, for as long as the server keeps it.
async fn stay(connection: Held) {
    match connection {
        Held::Pomelo(link) => beat(link).await,
        Held::WebSocket(mut socket) => while socket.next().await.is_ok() {},
        Held::Tunnel(socket) => ping(socket).await,
    }
}

/// Answers every heartbeat.
async fn beat(mut link: Link) {
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

/// Sends a ping now and then, as the client of a tunnel does.
async fn ping(mut socket: Socket) {
    let mut ticks = interval(TUNNEL_PING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_alive = tokio::select! {
            received = socket.exchange() => received.is_ok() && drain(&mut socket),
            _ = ticks.tick() => {
                socket.queue_ping();
                true
            }
        };
        if !is_alive {
            return;
        }
    }
}

/// Passes over everything that was received; false after a close or a malformed frame.
fn drain(socket: &mut Socket) -> bool {
    loop {
        match socket.take() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}
