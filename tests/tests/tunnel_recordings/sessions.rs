//! One end of a recorded session, played by ours.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use linkspan_core::tunnel::{
    ClientSession, Content, Message, Role, StreamId, TunnelCommand, TunnelConfig, TunnelNotice, data_cost,
};
use linkspan_core::{CloseReason, Event, Instant, Limits, Opcode};
use linkspan_tests::tunnel::End;
use linkspan_tests::vectors::{hex, number};
use serde_json::Value;

/// What one end did with one stream, as far as it is the same whenever it is done: data is one sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Dialled(String),
    Wrote(usize),
    Ended(String),
}

/// What one end said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Story {
    pub(crate) streams: BTreeMap<i64, Vec<Deed>>,
    pub(crate) announced: Vec<String>,
    pub(crate) lists: Vec<Vec<i64>>,
}

impl Story {
    /// Takes out what the originals do not say: that a stream has ended because a list misses it.
    pub(crate) fn take_stale(&mut self) -> usize {
        let stale = Deed::Ended("missing in your list".to_owned());
        let count = |story: &Self| story.streams.values().map(Vec::len).sum::<usize>();
        let before = count(self);
        self.streams.values_mut().for_each(|deeds| deeds.retain(|deed| *deed != stale));
        before - count(self)
    }

    /// Adds a message. An end counts once, and nothing after it: the originals say it up to three times, and write to
    /// streams whose end they have just heard of.
    pub(crate) fn add(&mut self, wire: i64, content: &Content) {
        let deeds = self.streams.entry(wire).or_default();
        let is_over = matches!(deeds.last(), Some(Deed::Ended(_)));
        let lossy = |text: &Bytes| String::from_utf8_lossy(text).into_owned();
        match content {
            _ if is_over && wire != 0 => {}
            Content::Connect(target) => {
                deeds.push(Deed::Dialled(format!("{}/{}", lossy(&target.proto), lossy(&target.address))));
            }
            Content::Data(body) => match deeds.last_mut() {
                Some(Deed::Wrote(sum)) => *sum += body.len(),
                _ => deeds.push(Deed::Wrote(body.len())),
            },
            Content::Error(text) => deeds.push(Deed::Ended(lossy(text))),
            Content::AddClient(text) => self.announced.push(format!("+{}", lossy(text))),
            Content::RemoveClient(text) => self.announced.push(format!("-{}", lossy(text))),
            Content::Sync(ids) => {
                self.lists.push(linkspan_core::tunnel::sync_ids(ids).expect("whole").collect());
            }
            Content::Pause | Content::Resume | Content::Unknown(_) => {}
            other => panic!("{other:?}"),
        }
        self.streams.retain(|_, deeds| !deeds.is_empty());
    }
}

/// The messages of a recorded event; those whose bodies were not kept have zeros of the same length.
pub(crate) fn messages(event: &Value) -> Vec<Message> {
    let wire = |value: &Value| value.as_str().and_then(|text| text.parse().ok()).expect("a number");
    if event["kind"] == "data-run" {
        let count = number(&event["messages"]);
        let body = Bytes::from(vec![0; number(&event["bytes"]) / count]);
        let rest = Bytes::from(vec![0; number(&event["bytes"]) % count]);
        let stream = wire(&event["conn"]);
        let bodies = std::iter::repeat_n(body, count).chain(Some(rest));
        return bodies.map(|body| Message { id: 1, stream, content: Content::Data(body) }).collect();
    }
    let message = match event.get("hex") {
        Some(text) => Message::decode(&hex(text.as_str().expect("hex")).into()).expect("readable"),
        None => {
            let body = vec![0; number(&event["msg"]["body_len"])].into();
            Message { id: 1, stream: wire(&event["msg"]["conn"]), content: Content::Data(body) }
        }
    };
    vec![message]
}

/// Ours in the place of one end of a recording.
pub(crate) struct Actor {
    pub(crate) end: End,
    ids: BTreeMap<i64, StreamId>,
    unread: Vec<(StreamId, u32)>,
    /// Streams that the peer, or our application, has ended.
    over: BTreeSet<i64>,
    /// Whether the application reads.
    pub(crate) reads: bool,
    pub(crate) received: BTreeMap<i64, usize>,
}

impl Actor {
    pub(crate) fn new(role: Role) -> Self {
        let config = TunnelConfig { may_peer_announce: true, ..TunnelConfig::new(role) };
        let end = End::new(config, Limits::default());
        let (ids, unread, over) = Default::default();
        Self { end, ids, unread, over, reads: true, received: BTreeMap::new() }
    }

    pub(crate) fn wait_until(&mut self, millis: u64) {
        let at = Instant::from_micros(millis * 1000);
        self.end.pass(at - self.end.now);
    }

    pub(crate) fn hear_sign(&mut self, opcode: Opcode) {
        self.end.event(Event::Received(opcode, Bytes::new()));
    }

    /// The peer says something.
    pub(crate) fn hear(&mut self, message: Message) {
        let wire = message.stream;
        if matches!(message.content, Content::Error(_)) {
            self.over.insert(wire);
        }
        let data = message.encode().expect("sayable").into_bytes();
        self.end.event(Event::Received(Opcode::Binary, data));
        self.look(wire);
    }

    fn look(&mut self, wire: i64) {
        for notice in std::mem::take(&mut self.end.notices) {
            match notice {
                TunnelNotice::DialRequested { stream, .. } => {
                    self.ids.insert(wire, stream);
                    self.end.command(TunnelCommand::Dialed(stream));
                }
                TunnelNotice::Opened { stream, .. } => _ = self.ids.insert(wire, stream),
                TunnelNotice::Data { stream, body } => {
                    *self.received.entry(wire).or_default() += body.len();
                    self.unread.push((stream, data_cost(&body)));
                }
                _ => {}
            }
        }
        self.read();
    }

    /// The application reads what there is, if it reads.
    pub(crate) fn read(&mut self) {
        if self.reads {
            for (stream, cost) in std::mem::take(&mut self.unread) {
                self.end.command(TunnelCommand::Read { stream, cost });
            }
        }
    }

    /// The application does what made the original say this.
    pub(crate) fn act(&mut self, message: Message) {
        let wire = message.stream;
        let id = self.ids.get(&wire).copied();
        let announced = |text: &Bytes| ClientSession::read(text).expect("well formed");
        match (message.content, id) {
            (Content::Connect(target), _) => {
                let (proto, address) = (target.proto, target.address);
                self.end.command(TunnelCommand::Dial { request: 1, proto, address });
                self.look(wire);
            }
            (Content::Data(body), Some(stream)) => self.end.command(TunnelCommand::Data { stream, body }),
            // The answer to the peer's own error comes by itself.
            (Content::Error(_), _) if !self.over.insert(wire) => {}
            (Content::Error(text), Some(stream)) if text == "EOF" => {
                self.end.command(TunnelCommand::Close(stream));
            }
            (Content::Error(error), Some(stream)) => self.end.command(TunnelCommand::Abort { stream, error }),
            (Content::AddClient(text), _) => self.end.command(TunnelCommand::AddClient(announced(&text))),
            (Content::RemoveClient(text), _) => {
                self.end.command(TunnelCommand::RemoveClient(announced(&text)));
            }
            _ => {}
        }
        self.end.notices.clear();
    }

    pub(crate) fn lose(&mut self) {
        if self.end.closed.is_none() {
            self.end.event(Event::Closed(CloseReason::PeerClosed));
        }
    }

    /// What it has said.
    pub(crate) fn story(&self) -> Story {
        let mut story = Story::default();
        self.end.sent.iter().for_each(|message| story.add(message.stream, &message.content));
        story
    }

    pub(crate) fn count(&self, content: &Content) -> usize {
        self.end.sent.iter().filter(|message| message.content == *content).count()
    }
}
