//! Clients that mean no good, next to one that does.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use linkspan_core::pomelo::Dictionary;
use serde_json::Value;

use super::client::{ACK, HANDSHAKE};
use super::player::play;
use super::wire::{CARRIERS, UPGRADE, message};
use super::{Carrier, Client, Got, Process, Wire, eventually};
use crate::harness::Random;
use crate::transcripts::{Case, Step, cases, replay};
use crate::vectors;

/// How many mutated inputs each carrier gets.
const MUTATED: usize = 1_500;
/// How many vectors are tried at once; most of their time they wait.
const TOGETHER: usize = 8;

/// Does something while honest clients of the same gateway go on getting right answers; afterwards it still serves.
fn beside_honest_clients(gateway: &mut Process, hostile: impl FnOnce()) {
    let addresses = CARRIERS.map(|carrier| (gateway.address(carrier), carrier));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let honest = addresses.map(|(address, carrier)| {
            let stop = &stop;
            scope.spawn(move || {
                let mut client = Client::connect(address, carrier).expect("the gateway serves");
                let mut asked = 0;
                while asked < 20 || !stop.load(Ordering::Relaxed) {
                    asked += 1;
                    client.echo(asked).expect("the right answer");
                    thread::sleep(Duration::from_millis(2));
                }
                client.wire.hang_up();
                assert_eq!(client.next().expect("the end"), Got::End);
            })
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(hostile));
        stop.store(true, Ordering::Relaxed);
        for one in honest {
            one.join().expect("an honest client never notices");
        }
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(gateway.lives());
    gateway.stop();
    let said = gateway.stderr.line("stopping");
    assert!(said.contains("connections=0"), "{said}");
    let panics =
        gateway.stderr.all().into_iter().filter(|line| line.contains("panic") && !line.contains("asked to"));
    assert_eq!(panics.collect::<Vec<_>>(), Vec::<String>::new());
}

/// Each vector of packages before and after the handshake, and each vector of messages, as a case.
fn vector_cases() -> Vec<Case> {
    let case = |name: &str, opened: bool, pieces: Vec<Bytes>| {
        let now = Duration::ZERO;
        let mut script = Vec::new();
        if opened {
            script.push((now, Step::Send(HANDSHAKE.into())));
            script.push((now, Step::Hear("the answer".to_owned())));
            script.push((now, Step::Send(ACK.into())));
        }
        script.extend(pieces.into_iter().map(|piece| (now, Step::Send(piece))));
        Case {
            name: format!("{name} {}", if opened { "after the handshake" } else { "at once" }),
            websocket: false,
            heartbeat: Duration::from_secs(30),
            dictionary: Dictionary::default(),
            rejects_old: false,
            connections: vec![script],
        }
    };
    let list = |file: &str| vectors::load(file)["decode"].as_array().expect("a list").clone();
    let mut found = Vec::new();
    for one in list("nano/packages.json") {
        for opened in [false, true] {
            found.push(case(vectors::name(&one), opened, vectors::chunks(&one["chunks"])));
        }
    }
    let data = |one: &Value| {
        let body = vectors::bytes(&one["in"]);
        let length = u32::try_from(body.len()).expect("it is short").to_be_bytes();
        Bytes::from([&[4], &length[1..], &body].concat())
    };
    found
        .extend(list("nano/messages.json").iter().map(|one| case(vectors::name(one), true, vec![data(one)])));
    found
}

/// Every vector does to its connection what it does in the core, and nothing to others.
pub fn malformed_vectors_end_their_own_connection(program: &str) {
    let cases = vector_cases();
    let expected: Vec<_> = cases.iter().map(replay).collect();
    let ended = expected.iter().filter(|heard| heard[0].last().is_some_and(|line| line == "end")).count();
    assert!(ended > 40 && ended < cases.len(), "{ended} of {} end the connection", cases.len());
    let mut gateway = Process::serve(program, &[]);
    let addresses = CARRIERS.map(|carrier| (gateway.address(carrier), carrier));
    beside_honest_clients(&mut gateway, || {
        let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..TOGETHER {
                scope.spawn(|| {
                    while let Some(at) =
                        Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < cases.len())
                    {
                        let (case, expected) = (&cases[at], &expected[at]);
                        for (address, carrier) in addresses {
                            let ours = play(case, expected, address, carrier);
                            if ours != *expected {
                                let fault = format!("{} {carrier:?}: {expected:?}\n    {ours:?}", case.name);
                                faults.lock().expect("no thread panics with it").push(fault);
                            }
                        }
                    }
                });
            }
        });
        let faults = faults.into_inner().expect("no thread panics with it");
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    });
}

/// Everything that the clients of the recordings sent, one entry per connection.
fn recorded_pieces() -> Vec<Vec<Bytes>> {
    let sent = |step: &Step| if let Step::Send(bytes) = step { Some(bytes.clone()) } else { None };
    let pieces = |case: Case| case.connections.into_iter();
    let scripts = cases().into_iter().flat_map(pieces);
    scripts.map(|script| script.iter().filter_map(|(_, step)| sent(step)).take(40).collect()).collect()
}

/// Changes a few places of an input.
fn mutate(input: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(input.len());
        let end = (at + 1 + random.below(24)).min(input.len());
        match random.below(6) {
            _ if input.is_empty() => input.push(random.bits() as u8),
            0 => input[at] ^= 1 << random.below(8),
            1 => input[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            4 => input.extend_from_within(at..end),
            _ => {
                let count = random.below(12);
                let more = random.bytes(count);
                input.splice(at..at, more);
            }
        }
    }
}

/// Sends one input; the gateway must end the connection, at the latest when the client hangs up.
fn attack(address: SocketAddr, carrier: Carrier, pieces: &[Bytes], random: &mut Random) {
    // Every second WebSocket is a good one with bad contents; of the others the frames and the upgrade suffer as well.
    let inside = carrier == Carrier::Tcp || random.once_in(2);
    let mut input = match inside {
        true => pieces.concat(),
        false => {
            let messages = pieces.iter().flat_map(|piece| message(piece));
            UPGRADE.bytes().chain(messages).collect()
        }
    };
    mutate(&mut input, random);
    let opened = if inside { carrier } else { Carrier::Tcp };
    let mut wire = Wire::open(address, opened).expect("the gateway accepts");
    // It may end the connection while this is on its way.
    let _ = wire.send(&input);
    wire.hang_up();
    if let Err(error) = wire.drain() {
        panic!("{carrier:?} {error}: not ended after {}", vectors::to_hex(&input));
    }
}

/// Mutated inputs, from a seed: each ends its own connection.
pub fn mutated_inputs_end_their_own_connection(program: &str) {
    let recorded = recorded_pieces();
    let mut gateway = Process::serve(program, &[]);
    let addresses = CARRIERS.map(|carrier| (gateway.address(carrier), carrier));
    beside_honest_clients(&mut gateway, || {
        thread::scope(|scope| {
            for (address, carrier) in addresses {
                let recorded = &recorded;
                scope.spawn(move || {
                    let mut random = Random::new(carrier as u64 + 2_026);
                    for _ in 0..MUTATED {
                        attack(address, carrier, &recorded[random.below(recorded.len())], &mut random);
                    }
                });
            }
        });
    });
}

/// Whoever does not finish in time is ended, whatever is missing.
pub fn half_a_handshake_is_ended(program: &str) {
    let mut gateway = Process::serve(program, &["--handshake-timeout", "1s"]);
    let head = UPGRADE.as_bytes();
    let starts: [(Carrier, &[u8]); 7] = [
        (Carrier::Tcp, b""),
        (Carrier::Tcp, &HANDSHAKE[..3]),
        (Carrier::Tcp, &HANDSHAKE[..9]),
        (Carrier::Tcp, HANDSHAKE),
        (Carrier::WebSocket, b""),
        (Carrier::WebSocket, &head[..30]),
        (Carrier::WebSocket, head),
    ];
    let addresses = starts.map(|(carrier, start)| (gateway.address(carrier), start));
    beside_honest_clients(&mut gateway, || {
        thread::scope(|scope| {
            for (address, start) in addresses {
                scope.spawn(move || {
                    let started = Instant::now();
                    let mut wire = Wire::open(address, Carrier::Tcp).expect("the gateway accepts");
                    wire.raw(start).expect("the gateway reads");
                    wire.drain().expect("the gateway ends it");
                    let took = started.elapsed();
                    let right = Duration::from_millis(900)..Duration::from_secs(4);
                    assert!(right.contains(&took), "{took:?} after {} bytes", start.len());
                });
            }
        });
    });
}

/// A flood that the limit of open files does not fit neither ends the gateway nor what it serves, nor what comes after.
pub fn few_open_files(program: &str) {
    let plain = "ulimit -n 96; exec \"$0\" \"$@\"";
    let few = ["-c", plain, program, "serve", "--pomelo-tcp", "127.0.0.1:0", "--demo-services"];
    let mut gateway = Process::start("sh", &few);
    let address = gateway.listening("pomelo-tcp");
    let mut honest = Client::connect(address, Carrier::Tcp).expect("the gateway serves");
    let flood: Vec<_> = (0..300).filter_map(|_| Wire::open(address, Carrier::Tcp).ok()).collect();
    assert!(flood.len() > 100, "{} got as far as the system", flood.len());
    for id in 1..20 {
        honest.echo(id).expect("the right answer");
    }
    assert!(gateway.files() <= 96);
    drop(flood);
    eventually("it serves again", || {
        let client = Client::connect(address, Carrier::Tcp);
        client.is_ok_and(|mut client| client.echo(1).is_ok())
    });
    honest.echo(20).expect("the right answer");
    drop(honest);
    gateway.stop();
    // A limit that is asked for and does not fit is refused.
    let asked =
        Command::new("sh").args(few).args(["--connections", "1000"]).output().expect("there is a shell");
    assert_eq!(asked.status.code(), Some(2), "{}", String::from_utf8_lossy(&asked.stderr));
}
