//! A client's connection that lives through a script, with a ledger of what it was promised.

use std::collections::BTreeSet;
use std::sync::Arc;

use linkspan_core::pomelo::{self, Client, ClientCommand, ClientConfig, ClientNotice};
use linkspan_core::{Action, CloseReason, Event, Opcode};

use super::{Script, Station, package};

/// A client's connection, its script, and the requests that wait.
#[derive(Debug)]
pub struct ClientPlayer<'a> {
    script: Script<'a>,
    /// The connection.
    pub station: Station<Client>,
    asked: u64,
    open: BTreeSet<u64>,
    history: Vec<Action<ClientNotice>>,
}

/// What servers answer a handshake with, good and bad.
const WELCOMES: [&[u8]; 10] = [
    br#"{"code":200,"sys":{"heartbeat":30,"serializer":"json"}}"#,
    br#"{"code":200,"sys":{"dict":{"Echo.Raw":1,"onEcho":2},"heartbeat":0.5}}"#,
    br#"{"code":200,"sys":{"heartbeat":0}}"#,
    br#"{"code":200}"#,
    br#"{"code":501}"#,
    br#"{"code":200,"sys":{"dict":{"a":0,"":1,"b":70000},"heartbeat":"x"}}"#,
    br#"{"sys":{}}"#,
    b"",
    b"x\x9c\x03\x00\x00\x00\x00\x01",
    br#"{"code":200,"sys":{"heartbeat":1e300}}"#,
];

impl<'a> ClientPlayer<'a> {
    /// The connection that `data` describes.
    pub fn new(data: &'a [u8]) -> Self {
        let mut script = Script::new(data);
        let limits = Arc::new(script.limits());
        let config = ClientConfig {
            passive_heartbeat: script.choose(2) == 1,
            id_max: [0x7fff_ffff, 3, 1][script.choose(3)],
            ..ClientConfig::default()
        };
        let station = Station::new(Client::new(Arc::new(config)), limits, script.now()).logged();
        let mut player = Self { script, station, asked: 0, open: BTreeSet::new(), history: Vec::new() };
        if player.script.choose(4) > 0 {
            let welcome = WELCOMES[player.script.choose(WELCOMES.len())];
            let now = player.script.now();
            player.station.event(now, Event::Received(Opcode::Binary, package(1, welcome).into()));
        }
        player.settle();
        player
    }

    /// Does not compare states: for runs of millions.
    #[must_use]
    pub fn without_digests(mut self) -> Self {
        self.station = self.station.without_digests();
        self
    }

    /// Everything that was done so far.
    pub fn history(&self) -> &[Action<ClientNotice>] {
        &self.history
    }

    /// Plays one step; false when the script is over.
    pub fn step(&mut self) -> bool {
        if self.script.is_over() {
            return false;
        }
        match self.script.choose(16) {
            0..=5 => self.receive(),
            6..=10 => self.command(),
            11 | 12 => {
                let (now, count) = (self.script.tick(), self.script.choose(8));
                self.station.flush(now, count);
            }
            13 => {
                let now = self.script.tick();
                self.station.timeout(now);
            }
            14 => {
                let now = self.script.tick();
                self.station.run_until(now);
            }
            _ => {
                let (now, event) = (self.script.tick(), self.script.outside());
                self.station.event(now, event);
            }
        }
        self.settle();
        true
    }

    /// Ends the life, if it has not ended.
    pub fn finish(&mut self) {
        let now = self.script.now();
        self.station.event(now, Event::Closed(CloseReason::PeerClosed));
        self.settle();
        assert!(self.station.closed().is_some());
    }

    fn receive(&mut self) {
        let mut input = Vec::new();
        for _ in 0..=self.script.choose(4) {
            input.extend(self.package());
        }
        self.script.spoil(&mut input);
        let opcode = [Opcode::Stream, Opcode::Binary, Opcode::Text, Opcode::Pong][self.script.choose(4)];
        let now = self.script.tick();
        self.station.event(now, Event::Received(opcode, input.into()));
    }

    fn package(&mut self) -> Vec<u8> {
        match self.script.choose(16) {
            0 => package(1, WELCOMES[self.script.choose(WELCOMES.len())]),
            1 | 2 => package(3, &[]),
            3 => match self.script.choose(6) {
                0 => package(5, b"{\"reason\":\"x\"}"),
                1 => package(5, &[]),
                2 => package(self.script.choose(7) as u8, &self.script.raw(16)),
                3 => self.script.raw(32),
                _ => package(3, b"ignored"),
            },
            4..=8 => {
                let body = self.script.body();
                let error = [0x00, 0x20][self.script.choose(2)];
                let head = [&[0x04 | error], self.script.id().as_slice()].concat();
                package(4, &[&head, &body[..body.len().min(300)]].concat())
            }
            9 => {
                let smaller = pomelo::deflate(&self.script.body()).unwrap_or_default();
                package(4, &[b"\x16\x06onEcho", &smaller[..]].concat())
            }
            10 => package(4, &[0x07, 0, self.script.choose(4) as u8]),
            11 => package(4, &self.script.raw(12)),
            _ => package(4, b"\x06\x06onEcho{}"),
        }
    }

    fn command(&mut self) {
        let (route, body) = (self.script.route(), self.script.body());
        let command = match self.script.choose(16) {
            0 => ClientCommand::Close,
            1..=3 => ClientCommand::Notify { route, body },
            _ => {
                if self.station.closed().is_none() {
                    self.asked += 1;
                    self.open.insert(self.asked);
                }
                ClientCommand::Request { request: self.asked, route, body }
            }
        };
        let now = self.script.tick();
        self.station.command(now, command);
    }

    /// Each request has one outcome at most, and only requests have one.
    fn settle(&mut self) {
        let log = self.station.log();
        for action in &log {
            if let Action::Notify(
                ClientNotice::Answer { request, .. } | ClientNotice::Failed { request, .. },
            ) = action
            {
                assert!(self.open.remove(request), "a second outcome of request {request}");
            }
        }
        self.history.extend(log);
    }
}
