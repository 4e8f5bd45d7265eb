//! The bodies of the fuzz targets of the tunnel.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::tunnel::policy::{Destination, DialPolicy, Rule};
use linkspan_core::tunnel::{
    ClientSession, Content, Message, Role, StreamId, Target, TunnelCommand, TunnelConfig, TunnelNotice,
    data_cost, sync_ids,
};
use linkspan_core::{Event, Limits, Opcode};

use crate::tunnel::End;

/// One message of a tunnel: what can be read can be written and is read again, or is refused with a reason.
///
/// # Panics
///
/// If a promise of the codec is broken.
pub fn tunnel_message(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let Ok(message) = Message::decode(&data) else { return };
    match &message.content {
        Content::Sync(body) => assert_eq!(sync_ids(body).is_some(), body.len().is_multiple_of(8)),
        Content::AddClient(text) | Content::RemoveClient(text) => {
            if let Some(session) = ClientSession::read(text)
                && let Ok(Content::AddClient(written)) = Content::add_client(&session)
            {
                assert_eq!(ClientSession::read(&written), Some(session));
            }
        }
        Content::Unknown(_) => return,
        _ => {}
    }
    let is_cut = matches!(&message.content, Content::Connect(target) if target.is_cut);
    let Ok(frame) = message.clone().encode() else { return };
    if !is_cut && !matches!(message.content, Content::Error(_)) {
        assert_eq!(Message::decode(&frame.into_bytes()), Ok(message), "written as it was read");
    }
}

/// A whole session: byte 0 is who it is, everything behind is what its peer and its application do.
///
/// # Panics
///
/// If it speaks after its end, ends a stream twice, says an end more than once too often, or holds more than it may.
pub fn tunnel_session(data: &[u8]) {
    let [first, rest @ ..] = data else { return };
    let mut life = Life::new(*first);
    let mut input = rest.iter().copied();
    while let Some(what) = input.next() {
        life.step(what, &mut input);
        life.check();
    }
    life.end.pass(Duration::from_secs(700));
    life.check();
    assert!(life.end.closed.is_some(), "a silent peer is given up");
}

/// What a tunnel may be asked to dial, and a rule: byte 0 says where the first ends.
///
/// # Panics
///
/// If what is read is not read again from how it is written, or an address is allowed for a name alone.
pub fn tunnel_policy(data: &[u8]) {
    let [at, rest @ ..] = data else { return };
    let (address, rule) = rest.split_at(usize::from(*at).min(rest.len()));
    let rule = std::str::from_utf8(rule).ok().and_then(|line| line.parse::<Rule>().ok());
    let policy = rule.map_or_else(DialPolicy::default, |rule| DialPolicy::new([rule]));
    for proto in ["tcp", "udp6", "unix"] {
        let Ok(destination) = Destination::parse(proto.as_bytes(), address) else { continue };
        let text = destination.to_string();
        let (proto, canonical) = text.split_once('/').expect("written so");
        let again = Destination::parse(proto.as_bytes(), canonical.as_bytes());
        assert_eq!(again.as_ref(), Ok(&destination));
        assert_eq!(again.map(|one| policy.check(&one)), Ok(policy.check(&destination)));
        let any_host = DialPolicy::new("tcp/*:*".parse::<Rule>());
        for policy in [DialPolicy::default(), any_host] {
            let metadata = policy.check_resolved(&destination, [169, 254, 169, 254].into());
            assert!(metadata.is_err(), "{text} leads to secrets");
        }
    }
}

/// One end with a hostile peer and a careless application.
struct Life {
    end: End,
    streams: Vec<StreamId>,
    unread: Vec<(StreamId, u32)>,
    ended: BTreeSet<StreamId>,
    looked_at: usize,
    said_at_end: Option<usize>,
}

const STREAM_BYTES: u32 = 64 << 10;
const SESSION_BYTES: u64 = 128 << 10;

impl Life {
    fn new(first: u8) -> Self {
        let role = if first & 1 == 0 { Role::Server } else { Role::Client };
        let config = TunnelConfig {
            is_peer_ours: first & 2 != 0,
            peer_window: (first & 32 != 0).then_some(4096),
            may_peer_dial: first & 4 != 0,
            may_peer_announce: first & 8 != 0,
            ..TunnelConfig::new(role)
        };
        let limits = Limits {
            tunnel_streams: 8,
            tunnel_dials: 3,
            tunnel_stream_pause: 16 << 10,
            tunnel_stream_bytes: STREAM_BYTES,
            tunnel_session_bytes: SESSION_BYTES,
            tunnel_connects_burst: 10,
            tunnel_flips: 16,
            tunnel_malformed: 4,
            ..Limits::default()
        };
        let mut end = End::new(config, limits);
        end.flush_at_once = first & 16 != 0;
        let (streams, unread, ended) = Default::default();
        Self { end, streams, unread, ended, looked_at: 0, said_at_end: None }
    }

    fn step(&mut self, what: u8, input: &mut impl Iterator<Item = u8>) {
        let mut next = || input.next().unwrap_or_default();
        let picked = usize::from(next());
        let some = next();
        match what % 16 {
            0 => {
                let data: Bytes = (0..some % 32).map(|_| next()).collect();
                let opcode = [Opcode::Binary, Opcode::Text, Opcode::Ping, Opcode::Pong][picked % 4];
                self.end.event(Event::Received(opcode, data));
            }
            1..=7 => {
                let content = content(what % 16, some);
                if let Ok(frame) = (Message { id: 0, stream: picked as i64 % 7 - 3, content }).encode() {
                    self.end.event(Event::Received(Opcode::Binary, frame.into_bytes()));
                }
            }
            8 => {
                let (proto, address) = (Bytes::from_static(b"tcp"), vec![some; picked * 2].into());
                self.end.command(TunnelCommand::Dial { request: 1, proto, address });
            }
            9 => self.end.pass(Duration::from_millis(picked as u64 * u64::from(some))),
            10 => {
                let flushed = std::mem::take(&mut self.end.unflushed);
                self.end.event(Event::Flushed(flushed));
            }
            11 if !self.unread.is_empty() => {
                let (stream, cost) = self.unread.swap_remove(picked % self.unread.len());
                self.end.command(TunnelCommand::Read { stream, cost });
            }
            12..=15 if !self.streams.is_empty() => {
                let stream = self.streams[picked % self.streams.len()];
                let body: Bytes = vec![some; usize::from(some) * 200].into();
                self.end.command(match what % 16 {
                    12 => TunnelCommand::Dialed(stream),
                    13 => TunnelCommand::Data { stream, body },
                    14 => TunnelCommand::Close(stream),
                    _ => TunnelCommand::Abort { stream, error: body },
                });
            }
            _ => {}
        }
        self.listen();
    }

    fn listen(&mut self) {
        for notice in std::mem::take(&mut self.end.notices) {
            match notice {
                TunnelNotice::Opened { stream, .. } | TunnelNotice::DialRequested { stream, .. } => {
                    assert!(!self.streams.contains(&stream), "a stream comes twice");
                    self.streams.push(stream);
                }
                TunnelNotice::Data { stream, body } => {
                    assert!(!self.ended.contains(&stream) && !body.is_empty());
                    self.unread.push((stream, data_cost(&body)));
                }
                TunnelNotice::Ended { stream, .. } => {
                    assert!(self.streams.contains(&stream), "a stream ends that never was");
                    assert!(self.ended.insert(stream), "a stream ends twice");
                }
                _ => {}
            }
        }
        for message in &self.end.sent[self.looked_at..] {
            if let Content::Error(text) = &message.content {
                assert!(text.len() <= linkspan_core::tunnel::TEXT_MAX);
            }
        }
        self.looked_at = self.end.sent.len();
    }

    fn check(&mut self) {
        let dialect = self.end.machine.dialect();
        assert!(dialect.held() <= SESSION_BYTES, "{} bytes are held", dialect.held());
        assert!(dialect.streams() <= 8 + self.unread.len(), "{} streams", dialect.streams());
        let live = self.streams.len() - self.ended.len();
        assert!(self.end.closed.is_some() || live <= 8, "{live} streams live");
        if self.end.closed.is_some() {
            let said = *self.said_at_end.get_or_insert(self.end.sent.len());
            assert_eq!(self.end.sent.len(), said, "it speaks after its end");
        }
    }
}

/// What the peer says, of the kind with this number on the wire.
fn content(kind: u8, some: u8) -> Content {
    let body: Bytes = vec![some; usize::from(some) * 150].into();
    match kind {
        1 => Content::Data(body),
        2 => Content::Connect(Target {
            proto: Bytes::from_static(b"tcp"),
            address: body.slice(..body.len().min(260)),
            is_cut: false,
        }),
        3 => Content::Error(body),
        4 => Content::add_client(&ClientSession {
            client: Bytes::from_static(b"foo"),
            session: i64::from(some),
        })
        .expect("a good key"),
        5 => Content::Sync(body.slice(..body.len() / 2)),
        6 if some & 1 != 0 => Content::Credit(u32::from(some) << (some % 24)),
        6 => Content::Pause,
        _ => Content::Resume,
    }
}
