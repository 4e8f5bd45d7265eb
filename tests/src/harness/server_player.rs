//! A server's connection that lives through a script, with a ledger of what it owes.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use linkspan_core::pomelo::{
    self, Dictionary, ErrorAnswers, ErrorBody, RefuseCode, Server, ServerCommand, ServerConfig, ServerNotice,
    Ticket,
};
use linkspan_core::{Action, CloseReason, Event, Frame, Mark, Opcode, To};

use super::{Script, Station, package};

/// A server's connection, its script, and the requests that wait.
#[derive(Debug)]
pub struct ServerPlayer<'a> {
    script: Script<'a>,
    /// The connection.
    pub station: Station<Server>,
    config: Arc<ServerConfig>,
    /// Requests that nobody has answered, in the order of their arrival.
    waiting: Vec<Ticket>,
    /// All tickets ever seen: answers come twice, too.
    seen: Vec<Ticket>,
    requests: u64,
    answers: u64,
    history: Vec<Action<ServerNotice>>,
}

/// Bodies that clients begin with, good and bad.
const HELLOS: [&[u8]; 9] = [
    br#"{"sys":{"type":"js-websocket","version":"0.0.1","rsa":{}},"user":{"a":1}}"#,
    br#"{"sys":{"platform":"mac","libVersion":"0.3.5-release"},"user":{}}"#,
    br#"{"sys":{"useDict":true,"useDeflate":true}}"#,
    b"",
    b"not json",
    b"[]",
    b"{\"user\":\"\xed\xa0\xbd\xed\xb8\x80\"}",
    b"\xff\xfe",
    br#"{"sys":null}"#,
];

impl<'a> ServerPlayer<'a> {
    /// The connection that `data` describes.
    pub fn new(data: &'a [u8]) -> Self {
        let mut script = Script::new(data);
        let limits = Arc::new(script.limits());
        let config = Arc::new(Self::config(&mut script));
        let station = Station::new(Server::new(Arc::clone(&config)), limits, script.now()).logged();
        let (waiting, seen, history) = (Vec::new(), Vec::new(), Vec::new());
        let mut player = Self { script, station, config, waiting, seen, requests: 0, answers: 0, history };
        if player.script.choose(4) > 0 {
            player.open();
        }
        player
    }

    /// Does not compare states: for runs of millions.
    #[must_use]
    pub fn without_digests(mut self) -> Self {
        self.station = self.station.without_digests();
        self
    }

    /// Everything that was done so far.
    pub fn history(&self) -> &[Action<ServerNotice>] {
        &self.history
    }

    /// Plays one step; false when the script is over.
    pub fn step(&mut self) -> bool {
        if self.script.is_over() {
            return false;
        }
        match self.script.choose(16) {
            0..=5 => self.receive(),
            6..=8 => self.command(),
            9..=10 => self.answer(),
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

    /// Ends the life, if it has not ended, and checks that the books balance.
    pub fn finish(&mut self) {
        let now = self.script.now();
        self.station.event(now, Event::Closed(CloseReason::PeerClosed));
        self.settle();
        assert!(self.station.closed().is_some());
    }

    fn config(script: &mut Script<'_>) -> ServerConfig {
        static DICTIONARY: OnceLock<Dictionary> = OnceLock::new();
        let dictionary = DICTIONARY
            .get_or_init(|| Dictionary::numbered(["onEcho", "Echo.Raw"]).expect("short, different"));
        ServerConfig {
            dictionary: if script.choose(2) == 0 { dictionary.clone() } else { Dictionary::default() },
            strict_boundaries: script.choose(8) == 1,
            ack_without_handshake: script.choose(8) == 1,
            errors: if script.choose(4) == 1 { ErrorAnswers::None } else { ErrorAnswers::Pitaya },
            deflate_above: [None, Some(0), Some(100)][script.choose(3)],
            ..ServerConfig::default()
        }
    }

    fn open(&mut self) {
        let now = self.script.now();
        let hello = HELLOS[self.script.choose(HELLOS.len())];
        self.station.event(now, Event::Received(Opcode::Binary, package(1, hello).into()));
        self.station.command(now, ServerCommand::Accept { user: None });
        self.station.event(now, Event::Received(Opcode::Binary, package(2, &[]).into()));
        self.settle();
    }

    fn receive(&mut self) {
        let mut input = Vec::new();
        for _ in 0..=self.script.choose(4) {
            input.extend(self.package());
        }
        self.script.spoil(&mut input);
        let opcode = [Opcode::Stream, Opcode::Binary, Opcode::Text, Opcode::Ping][self.script.choose(4)];
        let now = self.script.tick();
        self.station.event(now, Event::Received(opcode, input.into()));
    }

    fn package(&mut self) -> Vec<u8> {
        match self.script.choose(16) {
            0 => package(1, HELLOS[self.script.choose(HELLOS.len())]),
            1 => package(2, &[]),
            2 => package(3, &[]),
            3 => match self.script.choose(4) {
                0 => package(self.script.choose(7) as u8, &self.script.raw(16)),
                1 => self.script.raw(32),
                _ => package(3, b"ignored"),
            },
            _ => package(4, &self.message()),
        }
    }

    fn message(&mut self) -> Vec<u8> {
        let kind = [0, 0, 0, 0, 0, 1, 1, 2, 3, 5][self.script.choose(10)];
        let mut flag = kind << 1;
        let mut message = Vec::new();
        if matches!(kind, 0 | 2) {
            message.extend(self.script.id());
        }
        if self.script.choose(4) == 1 {
            flag |= 0x01;
            message.extend([0, self.script.choose(4) as u8]);
        } else {
            let route = self.script.route();
            message.push(route.len() as u8);
            message.extend_from_slice(&route);
        }
        let body = self.script.body();
        // Compressing is dear, so it is decided first.
        let smaller = if self.script.choose(4) == 1 { pomelo::deflate(&body) } else { None };
        match smaller {
            Some(smaller) => {
                flag |= 0x10;
                message.extend_from_slice(&smaller);
            }
            None => message.extend_from_slice(&body[..body.len().min(300)]),
        }
        if self.script.choose(8) == 1 {
            flag |= 0xe0;
        }
        message.insert(0, flag);
        message
    }

    fn command(&mut self) {
        let command = match self.script.choose(16) {
            0 | 1 => ServerCommand::Accept {
                user: [None, Some(Bytes::from_static(b"{\"n\":1}"))][self.script.choose(2)].clone(),
            },
            2 => ServerCommand::Refuse { code: RefuseCode::TooOld, user: Some(Bytes::from_static(b"{")) },
            3 => ServerCommand::Bind(self.script.key()),
            4 => ServerCommand::Unbind(self.script.key()),
            5 => ServerCommand::Join(self.script.group()),
            6 => ServerCommand::Leave(self.script.group()),
            7 => match self.script.choose(4) {
                0 => ServerCommand::Kick { reason: self.script.body().slice(..0) },
                1 => ServerCommand::Close,
                _ => ServerCommand::Publish {
                    to: To::Group(self.script.group()),
                    push: linkspan_core::Push::new(
                        self.script.route(),
                        self.script.body(),
                        self.script.overflow(),
                    ),
                },
            },
            _ => ServerCommand::Push {
                route: self.script.route(),
                body: self.script.body(),
                overflow: self.script.overflow(),
            },
        };
        let now = self.script.tick();
        self.station.command(now, command);
    }

    /// Answers a request that waits, or one that was answered before.
    fn answer(&mut self) {
        let now = self.script.tick();
        let late = self.waiting.is_empty() || self.script.choose(8) == 1;
        let from = if late { &self.seen } else { &self.waiting };
        if from.is_empty() {
            return;
        }
        let ticket = from[self.script.choose(from.len())];
        let command = if self.script.choose(4) == 1 {
            ServerCommand::Fail { ticket, error: ErrorBody::new(ErrorBody::UNKNOWN, "no") }
        } else {
            ServerCommand::Answer { ticket, body: self.script.body() }
        };
        self.waiting.retain(|waiting| *waiting != ticket);
        self.station.command(now, command);
    }

    /// Enters what was done into the books: each request has one answer at most, and nothing is answered unasked.
    fn settle(&mut self) {
        let log = self.station.log();
        for action in &log {
            match action {
                Action::Notify(ServerNotice::Request { ticket, .. }) => {
                    self.requests += 1;
                    assert!(!self.waiting.contains(ticket), "one ticket for two requests");
                    self.waiting.push(*ticket);
                    self.seen.push(*ticket);
                }
                Action::Notify(ServerNotice::Expired(ticket)) => {
                    let at = self.waiting.iter().position(|waiting| waiting == ticket);
                    self.waiting.remove(at.expect("what expires waits"));
                }
                Action::Send(frame) if is_response(frame) => self.answers += 1,
                _ => {}
            }
        }
        self.history.extend(log);
        assert!(self.answers <= self.requests, "answers what nobody asked");
        let gone = self.station.closed().is_some();
        let unsaid = self.config.errors == ErrorAnswers::None || self.station.marked(Mark::AnswerRefused) > 0;
        if !gone && !unsaid {
            let owed = self.requests - self.answers;
            assert_eq!(owed, self.waiting.len() as u64, "answers are missing");
            assert!(self.station.connection().dialect().pending_requests() as u64 >= owed);
        }
        let mut times = BTreeMap::new();
        self.waiting.iter().for_each(|ticket| *times.entry(format!("{ticket:?}")).or_insert(0) += 1);
        assert!(times.values().all(|count| *count == 1));
    }
}

fn is_response(frame: &Frame) -> bool {
    let whole = frame.clone().into_bytes();
    whole[0] == 4 && whole.len() > 4 && (whole[4] >> 1) & 7 == 2
}
