//! Playing a case against the core, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use linkspan_core::pomelo::{Server, ServerConfig};
use linkspan_core::{CloseReason, Event, Instant, Limits, Opcode};

use super::demo::{Demo, Orders};
use super::{Case, Heard, Script, Step, mask};
use crate::harness::Station;

struct Player<'a> {
    case: &'a Case,
    demo: Demo,
    now: Instant,
    stations: Vec<Station<Server>>,
    heard: Vec<Heard>,
    gone: Vec<bool>,
}

/// What each connection of the case gets from ours.
pub fn replay(case: &Case) -> Vec<Heard> {
    let limits = Arc::new(Limits {
        heartbeat: Some(case.heartbeat),
        silence: Some(case.heartbeat * 5 / 2),
        ..Limits::default()
    });
    let config = Arc::new(ServerConfig { dictionary: case.dictionary.clone(), ..ServerConfig::default() });
    let now = Instant::from_micros(1_000_000);
    let station = |_| Station::new(Server::new(Arc::clone(&config)), Arc::clone(&limits), now);
    let count = case.connections.len();
    let mut player = Player {
        case,
        demo: Demo::new(case.rejects_old),
        now,
        stations: (0..count).map(station).collect(),
        heard: vec![Heard::new(); count],
        gone: vec![false; count],
    };
    player.play();
    player.heard
}

impl Player<'_> {
    /// Each connection goes on as far as what it got allows; where all wait, time passes.
    fn play(&mut self) {
        let start = self.now;
        let mut scripts: Vec<Script> = self.case.connections.clone();
        scripts.iter_mut().for_each(|script| script.reverse());
        let mut passed = vec![0; scripts.len()];
        while let Some(earliest) = scripts.iter().filter_map(|script| Some(script.last()?.0)).min() {
            let mut moved = false;
            for (session, script) in scripts.iter_mut().enumerate() {
                while let Some((at, step)) = script.last() {
                    let waits = match step {
                        Step::Hear(_) | Step::Ended => self.heard[session].len() <= passed[session],
                        _ => start + *at > self.now,
                    };
                    if waits {
                        break;
                    }
                    passed[session] += usize::from(matches!(step, Step::Hear(_) | Step::Ended));
                    moved = true;
                    if let Some((_, step)) = script.pop() {
                        self.step(session, step);
                    }
                }
            }
            if !moved {
                let now = self.now;
                self.wait(start + earliest);
                if self.now == now {
                    // Ours says less than the recorded server, or has ended: what is next does not depend on it.
                    let first = scripts
                        .iter_mut()
                        .find(|script| script.last().is_some_and(|(at, _)| *at == earliest));
                    first.and_then(Script::pop);
                }
            }
        }
        self.wait(self.now + Duration::from_millis(100));
    }

    fn step(&mut self, session: usize, step: Step) {
        let station = &mut self.stations[session];
        match step {
            Step::Send(data) => {
                let opcode = if self.case.websocket { Opcode::Binary } else { Opcode::Stream };
                station.event(self.now, Event::Received(opcode, data));
            }
            Step::Close => station.event(self.now, Event::Closed(CloseReason::PeerClosed)),
            Step::Hear(_) | Step::Silence | Step::Ended => {}
        }
        self.settle();
    }

    fn wait(&mut self, until: Instant) {
        let until = until.max(self.now);
        while let Some(next) =
            self.stations.iter().filter_map(Station::next_timeout).min().filter(|at| *at <= until)
        {
            self.now = self.now.max(next);
            for station in &mut self.stations {
                station.timeout(self.now);
            }
            self.settle();
        }
        self.now = until;
    }

    /// Until nobody has anything to say any more.
    fn settle(&mut self) {
        loop {
            let mut orders = Orders::new();
            for (session, station) in self.stations.iter_mut().enumerate() {
                for notice in station.notices() {
                    orders.extend(self.demo.handle(session, notice));
                }
                for frame in station.flush(self.now, usize::MAX) {
                    self.heard[session].push(mask(&frame.into_bytes(), &self.case.dictionary));
                }
                if let Some(reason) = station.closed()
                    && !std::mem::replace(&mut self.gone[session], true)
                {
                    orders.extend(self.demo.forget(session));
                    // A truncated package is noticed as the peer hangs up, and ended in the same moment.
                    if reason != CloseReason::PeerClosed {
                        self.heard[session].push("end".to_owned());
                    }
                }
            }
            if orders.is_empty() {
                break;
            }
            for (session, command) in orders {
                self.stations[session].command(self.now, command);
            }
        }
    }
}
