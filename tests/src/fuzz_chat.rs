//! The bodies of the fuzz targets of the chat dialect.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use linkspan_core::chat::{
    self, Client, ClientCommand, ClientConfig, Kind, Message, OnBadMessage, Relay, Server, ServerCommand,
    ServerConfig,
};
use linkspan_core::hub::Refusal;
use linkspan_core::{Action, CloseReason, Delivery, Event, Mark, Opcode, Push, Route, To, Violation, json};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::harness::{Ready, Script, Station};

impl Ready for Server {
    fn is_ready(&self) -> bool {
        self.is_open()
    }
}

impl Ready for Client {
    fn is_ready(&self) -> bool {
        true
    }
}

/// Any bytes as a message, beside a decoder that says the rules as plainly as possible.
pub fn chat_message(data: &[u8]) {
    let decoded = Message::decode(data);
    let naive = naive(data);
    if let Ok(message) = decoded {
        let content = message.content();
        let again = chat::encode(message.kind, message.sender, message.receiver, &content);
        let read = Message::decode(&again).expect("what we write can be read");
        let fields = |message: &Message<'_>| (message.kind.number(), message.sender, message.receiver);
        assert_eq!((fields(&read), read.content()), (fields(&message), content));
    }
    match (decoded, naive) {
        (Ok(message), Naive::Fields(numbers, content)) => {
            assert_eq!([message.kind.number(), message.sender, message.receiver], numbers);
            assert_eq!(message.content(), content);
        }
        (Ok(_), Naive::Invalid) => panic!("taken, although invalid"),
        (Err(_), Naive::Fields(..)) => assert!(is_deep(data), "refused, although valid"),
        (Err(_), Naive::Invalid) | (_, Naive::Unsure) => {}
    }
    // The other readers have no rule of their own, but must stand anything.
    _ = json::members(data, |_, value| {
        _ = (value.signed(), value.unsigned(), value.text(), value.quoted_text());
        Ok(())
    });
}

enum Naive {
    Fields([u64; 3], String),
    Invalid,
    /// The library itself cannot read some things that are valid.
    Unsure,
}

fn naive(data: &[u8]) -> Naive {
    let Ok(text) = std::str::from_utf8(data) else { return Naive::Invalid };
    let members = match serde_json::from_str::<Option<Members>>(text) {
        Ok(members) => members.map_or_else(Vec::new, |members| members.0),
        Err(_) if text.contains("\\u") || text.contains(['e', 'E', '.']) || is_deep(data) => {
            return Naive::Unsure;
        }
        Err(_) => return Naive::Invalid,
    };
    let (mut numbers, mut content) = ([0; 3], String::new());
    for (name, value) in members {
        let at = ["type", "sender", "receiver", "content"]
            .iter()
            .position(|known| name.eq_ignore_ascii_case(known));
        match (at, value) {
            (None, _) | (_, Value::Null) => {}
            (Some(3), Value::String(text)) => content = text,
            (Some(at @ 0..3), Value::Number(number)) if number.is_u64() => {
                numbers[at] = number.as_u64().expect("it is one");
            }
            _ => return Naive::Invalid,
        }
    }
    Naive::Fields(numbers, content)
}

fn is_deep(data: &[u8]) -> bool {
    data.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > json::DEPTH_MAX as usize
}

/// The members of an object, all of them, in order.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// A server's connection: `data` is its configuration and everything that happens to it.
pub fn chat_server(data: &[u8]) {
    let mut player = ChatPlayer::new(data);
    while player.step() {}
    player.finish();
}

/// A client's connection: `data` is everything that happens to it.
pub fn chat_client(data: &[u8]) {
    let mut script = Script::new(data);
    let limits = Arc::new(script.limits());
    let mut station = Station::new(Client::new(ClientConfig { user: 7 }), limits, script.now());
    while !script.is_over() {
        let event = match script.choose(8) {
            0..=3 => receive(&mut script),
            4 => Event::Command(ClientCommand::Send {
                receiver: script.choose(3) as u64,
                content: "<é>".repeat(script.choose(300)),
            }),
            5 if script.choose(8) == 1 => Event::Command(ClientCommand::Close),
            6 => {
                let (now, count) = (script.tick(), script.choose(4));
                station.flush(now, count);
                continue;
            }
            7 => {
                let now = script.tick();
                station.run_until(now);
                continue;
            }
            _ => script.outside(),
        };
        let now = script.tick();
        station.event(now, event);
    }
    station.event(script.now(), Event::Closed(CloseReason::ConnectionLost));
    assert!(station.closed().is_some());
}

/// A server's connection that lives through a script, and what it has to bring on its way.
#[derive(Debug)]
pub struct ChatPlayer<'a> {
    script: Script<'a>,
    /// The connection.
    pub station: Station<Server>,
    config: Arc<ServerConfig>,
    user: u64,
    /// Messages that were handed over and must be published, in this order: receiver and bytes.
    expected: VecDeque<(u64, Bytes)>,
    history: Vec<Action<chat::ServerNotice>>,
}

impl<'a> ChatPlayer<'a> {
    /// The connection that `data` describes.
    pub fn new(data: &'a [u8]) -> Self {
        let mut script = Script::new(data);
        let limits = Arc::new(script.limits());
        let config = Arc::new(ServerConfig {
            on_bad_message: [OnBadMessage::Close, OnBadMessage::Ignore][script.choose(2)],
            on_slow: script.overflow(),
            relay: [Relay::Verbatim, Relay::Stamped][script.choose(2)],
            ..ServerConfig::default()
        });
        let user = [1, 0, u64::MAX][script.choose(3)];
        let server = Server::new(Arc::clone(&config), user);
        let mut station = Station::new(server, limits, script.now()).logged();
        if script.choose(8) > 0 {
            let admitted = Delivery::Admitted(chat::user_key(user));
            station.event(script.now(), Event::Delivered(admitted));
        }
        Self { script, station, config, user, expected: VecDeque::new(), history: Vec::new() }
    }

    /// Everything that was done so far.
    pub fn history(&self) -> &[Action<chat::ServerNotice>] {
        &self.history
    }

    /// Plays one step; false when the script is over.
    pub fn step(&mut self) -> bool {
        if self.script.is_over() {
            return false;
        }
        let event = match self.script.choose(16) {
            0..=5 => receive(&mut self.script),
            6 => Event::Command(self.command()),
            7..=9 => Event::Delivered(Delivery::Push(self.push())),
            10 | 11 => {
                let (now, count) = (self.script.tick(), self.script.choose(8));
                self.station.flush(now, count);
                self.settle();
                return true;
            }
            12 | 13 => {
                let now = self.script.tick();
                self.station.run_until(now);
                self.settle();
                return true;
            }
            14 => match self.script.choose(8) {
                0 => Event::Delivered(Delivery::Rejected {
                    key: chat::user_key(self.user),
                    why: Refusal::Taken,
                }),
                1 => Event::Delivered(Delivery::Admitted(chat::user_key(self.user))),
                _ => self.script.outside(),
            },
            _ => self.script.outside(),
        };
        let now = self.script.tick();
        self.expect(&event);
        self.station.event(now, event);
        self.settle();
        true
    }

    /// Ends the life, if it has not ended, and checks that the books balance.
    pub fn finish(&mut self) {
        let now = self.script.now();
        self.station.event(now, Event::Closed(CloseReason::ConnectionLost));
        self.settle();
        assert!(self.station.closed().is_some());
    }

    fn command(&mut self) -> ServerCommand {
        match self.script.choose(16) {
            0 => ServerCommand::Kick,
            1 => ServerCommand::Close,
            2..=4 => ServerCommand::Join(self.script.group()),
            5..=7 => ServerCommand::Leave(self.script.group()),
            8 => ServerCommand::Publish { to: To::Group(self.script.group()), push: self.push() },
            _ => ServerCommand::Push(self.push()),
        }
    }

    fn push(&mut self) -> Push {
        match self.script.choose(3) {
            0 => self.config.message(9, self.user, "hello"),
            1 => Push::new(self.script.route(), self.script.raw(40), self.script.overflow()),
            _ => Push::new(self.script.route(), self.script.body(), self.script.overflow()),
        }
    }

    /// Enters a message that must be published into the books.
    fn expect(&mut self, event: &Event<ServerCommand>) {
        let Event::Received(Opcode::Text | Opcode::Binary, data) = event else { return };
        let taken = self.station.connection().dialect().is_open() && self.station.closed().is_none();
        if let Ok(message) = Message::decode(data)
            && taken
            && message.kind == Kind::Send
        {
            self.expected.push_back((message.receiver, data.clone()));
        }
    }

    /// Checks what was done: a message goes to its receiver, as it was or in the connection's own name, and nothing
    /// else is published on behalf of the peer.
    fn settle(&mut self) {
        let log = self.station.log();
        for action in &log {
            let Action::Route(Route::Publish { to: To::Key(key), push }) = action else { continue };
            let (receiver, data) = self.expected.pop_front().expect("somebody has sent it");
            assert_eq!(*key, chat::user_key(receiver));
            assert_eq!((push.route(), push.overflow()), (&self.config.event, self.config.on_slow));
            match self.config.relay {
                Relay::Verbatim => assert_eq!(push.body(), &data),
                Relay::Stamped => {
                    let stamped = Message::decode(push.body()).expect("a message");
                    let asked = Message::decode(&data).expect("it was one before");
                    assert_eq!((stamped.kind, stamped.sender), (Kind::Receive, self.user));
                    assert_eq!((stamped.receiver, stamped.content()), (receiver, asked.content()));
                }
            }
        }
        self.history.extend(log);
        let closed = self.station.closed();
        // A message that is too large ends its connection instead.
        assert!(closed.is_some() || self.expected.is_empty(), "{:?} was not published", self.expected);
        self.expected.clear();
        let ignores = self.config.on_bad_message == OnBadMessage::Ignore;
        assert!(!ignores || closed != Some(Violation::TextInvalid.into()));
        assert!(ignores || self.station.marked(Mark::BadMessageIgnored) == 0);
    }
}

const TEXTS: [&[u8]; 16] = [
    br#"{"type":1,"sender":1,"receiver":2,"content":"hello"}"#,
    br#"{"type":1,"receiver":18446744073709551615,"content":"\ud83d\ude00 \ud800"}"#,
    br#"{"TYPE":1,"Receiver":0}"#,
    br#"{"type":1,"receiver":2,"content":null,"x":[1,{"y":[]}]}"#,
    br#"{"type":0}"#,
    br#"{"type":2}"#,
    br#"{"type":4}"#,
    b"{}",
    b"null",
    br#"{"type":1,"type":0,"receiver":2}"#,
    br#"{"type":3}"#,
    br#"{"type":1.0}"#,
    br#"{"type":-1}"#,
    b"[]",
    b"",
    b"\xff",
];

/// A frame of the peer: mostly good ones.
fn receive<C>(script: &mut Script<'_>) -> Event<C> {
    const OPCODES: [Opcode; 8] = [
        Opcode::Text,
        Opcode::Binary,
        Opcode::Text,
        Opcode::Text,
        Opcode::Text,
        Opcode::Ping,
        Opcode::Pong,
        Opcode::Stream,
    ];
    let opcode = OPCODES[if script.choose(4) == 1 { script.choose(8) } else { 0 }];
    let most = if script.choose(4) == 1 { TEXTS.len() } else { 10 };
    let mut text = TEXTS[script.choose(most)].to_vec();
    script.spoil(&mut text);
    if script.choose(32) == 1 {
        text.resize(70_000, b' ');
    }
    Event::Received(opcode, text.into())
}
