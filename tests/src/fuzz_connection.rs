//! The bodies of the fuzz targets over whole connections, and the run of many mutated inputs.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use linkspan_core::pomelo::{
    self, Client, ClientConfig, Dictionary, Message, PackageReader, Server, ServerCommand, ServerConfig,
    ServerNotice,
};
use linkspan_core::{CloseReason, Event, Instant, Limits, Opcode};

use crate::harness::{ClientPlayer, Random, ServerPlayer, Station, package};

/// A server's connection: `data` is its configuration and everything that happens to it.
pub fn pomelo_server(data: &[u8]) {
    let mut player = ServerPlayer::new(data);
    while player.step() {}
    player.finish();
}

/// A client's connection: `data` is its configuration and everything that happens to it.
pub fn pomelo_client(data: &[u8]) {
    let mut player = ClientPlayer::new(data);
    while player.step() {}
    player.finish();
}

/// Two servers' connections with everything shared that may be shared: neither notices the other.
pub fn pomelo_bystanders(data: &[u8]) {
    let (one, other) = data.split_at(data.len() / 2);
    let alone = [one, other].map(|data| {
        let mut player = ServerPlayer::new(data);
        while player.step() {}
        player.history().to_vec()
    });
    let mut players = [one, other].map(ServerPlayer::new);
    while players.iter_mut().any(ServerPlayer::step) {}
    for (player, alone) in players.iter().zip(alone) {
        assert_eq!(player.history(), alone, "a connection noticed another one");
    }
}

/// What became of [`mutated_inputs`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Inputs that went through a decoder alone.
    pub decoded: u64,
    /// Connections that ended by what the peer did wrong.
    pub violations: u64,
    /// Connections that took their input and ended with the peer.
    pub survivors: u64,
    /// Whole random lives.
    pub lives: u64,
}

/// Feeds `count` random and mutated inputs to decoders and connections, on one thread.
///
/// Every connection must end; a second connection, which shares all that connections share, must go on answering.
///
/// # Panics
///
/// If a law is broken; the message names the input's number, which with the seed is all that is needed to see it again.
pub fn mutated_inputs(seed: u64, count: u64) -> Outcomes {
    let mut outcomes = Outcomes::default();
    let mut bystander = Bystander::new();
    for number in 0..count {
        let mut random = Random::new(seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        match random.below(8) {
            0 => {
                decode(&mut random);
                outcomes.decoded += 1;
            }
            1 => {
                let len = random.below(200);
                let data = random.bytes(len);
                let mut player = ServerPlayer::new(&data).without_digests();
                while player.step() {}
                player.finish();
                outcomes.lives += 1;
            }
            2 => {
                let mutant = mutate(SERVER_SAYS, &mut random);
                let client = Client::new(Arc::new(ClientConfig::default()));
                let station = Station::new(client, limits(), Instant::ORIGIN).without_digests();
                count_end(feed(station, &mutant, &mut random), &mut outcomes);
            }
            _ => {
                let mutant = mutate(CLIENT_SAYS, &mut random);
                let server = Server::new(Arc::clone(&bystander.config));
                let station = Station::new(server, limits(), Instant::ORIGIN).without_digests();
                count_end(feed_server(station, &mutant, &mut random), &mut outcomes);
            }
        }
        if number.is_multiple_of(64) {
            bystander.ask(number);
        }
    }
    outcomes
}

fn count_end(reason: CloseReason, outcomes: &mut Outcomes) {
    match reason {
        CloseReason::Violation(_) => outcomes.violations += 1,
        _ => outcomes.survivors += 1,
    }
}

fn limits() -> Arc<Limits> {
    static LIMITS: OnceLock<Arc<Limits>> = OnceLock::new();
    Arc::clone(LIMITS.get_or_init(|| Arc::new(Limits { receive_max: 4096, ..Limits::default() })))
}

/// What a client says, package by package.
const CLIENT_SAYS: &[(u8, &[u8])] = &[
    (1, br#"{"sys":{"type":"js-websocket","version":"0.0.1"},"user":{}}"#),
    (2, b""),
    (4, b"\x00\x01\x08Echo.Rawhello"),
    (3, b""),
    (4, b"\x02\x0bEcho.PushMe{\"a\":1}"),
    (4, b"\x01\x80\x01\x00\x01by code"),
    (4, b"\x10\x03\x08Echo.Raw\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\x00\x06\x2c\x02\x15"),
    (4, b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01a"),
    (4, b"\x04\x07r"),
    (4, b"\x06\x08Echo.Rawr"),
];

/// What a server says, package by package.
const SERVER_SAYS: &[(u8, &[u8])] = &[
    (1, br#"{"code":200,"sys":{"heartbeat":30,"dict":{"onEcho":1},"serializer":"json"}}"#),
    (3, b""),
    (4, b"\x04\x01hello"),
    (4, b"\x06\x06onEcho{}"),
    (4, b"\x07\x00\x01{}"),
    (4, b"\x24\x02{\"code\":\"PIT-404\",\"msg\":\"x\"}"),
    (4, b"\x14\x03\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\x00\x06\x2c\x02\x15"),
    (5, b"{\"reason\":\"x\"}"),
];

/// A run of packages, most of them right: some are left out, repeated or moved, then some bytes are spoilt.
fn mutate(says: &[(u8, &[u8])], random: &mut Random) -> Vec<u8> {
    let mut stream = Vec::new();
    for (kind, body) in says {
        match random.below(12) {
            0 => {}
            1 => stream.extend([package(*kind, body), package(*kind, body)].concat()),
            2 => {
                let (kind, body) = says[random.below(says.len())];
                stream.extend(package(kind, body));
            }
            _ => stream.extend(package(*kind, body)),
        }
    }
    for _ in 0..random.below(4) {
        if stream.is_empty() {
            break;
        }
        let at = random.below(stream.len());
        match random.below(6) {
            0 => stream[at] ^= 1 << random.below(8),
            1 => stream[at] = random.bits() as u8,
            2 => stream.truncate(at),
            3 => _ = stream.remove(at),
            4 => stream.insert(at, random.bits() as u8),
            _ => {
                let len = random.below(16);
                stream.splice(at..at, random.bytes(len));
            }
        }
    }
    stream
}

/// Everything that decodes, over bytes of any kind.
fn decode(random: &mut Random) {
    let len = random.below(128);
    let mut data = random.bytes(len);
    if random.once_in(2) && len > 4 {
        data[0] = 1 + data[0] % 5;
        data[1..3].fill(0);
        data[3] %= 64;
    }
    let whole = Bytes::from(data);
    let mut reader = PackageReader::new();
    let mut input = whole.clone();
    while let Ok(Some(package)) = reader.next(&mut input, 64) {
        assert!(package.body.len() <= 64);
    }
    if let Ok(message) = Message::decode(whole.clone(), &Dictionary::default()) {
        assert!(message.body.len() < whole.len());
    }
    if let Ok(inflated) = pomelo::inflate(&whole, 1024) {
        assert!(inflated.len() <= 1024);
    }
    _ = pomelo::decode_text(&whole);
}

/// Pieces of any size, from a byte to all of it.
fn cut(stream: &[u8], random: &mut Random) -> Vec<Bytes> {
    let most = [1, 7, 64, stream.len()][random.below(4)].max(1);
    let mut rest = stream;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.len().min(1 + random.below(most)));
        pieces.push(Bytes::copy_from_slice(piece));
        rest = behind;
    }
    pieces
}

fn feed(mut station: Station<Client>, stream: &[u8], random: &mut Random) -> CloseReason {
    for piece in cut(stream, random) {
        station.receive(Instant::ORIGIN, piece);
    }
    station.event(Instant::ORIGIN, Event::Closed(CloseReason::PeerClosed));
    station.closed().expect("every connection ends")
}

fn feed_server(mut station: Station<Server>, stream: &[u8], random: &mut Random) -> CloseReason {
    let now = Instant::ORIGIN;
    let opcode = [Opcode::Stream, Opcode::Binary][random.below(2)];
    for piece in cut(stream, random) {
        station.event(now, Event::Received(opcode, piece));
        for notice in station.notices() {
            let command = match notice {
                ServerNotice::Handshake(_) => ServerCommand::Accept { user: None },
                ServerNotice::Request { ticket, body, .. } => ServerCommand::Answer { ticket, body },
                _ => continue,
            };
            station.command(now, command);
        }
    }
    // The answers may have let more of the input in.
    while let Some(ServerNotice::Request { ticket, body, .. }) = station.notices().pop() {
        station.command(now, ServerCommand::Answer { ticket, body });
    }
    station.event(now, Event::Closed(CloseReason::PeerClosed));
    station.closed().expect("every connection ends")
}

/// A connection that shares its configuration with all the others and must not notice them.
#[derive(Debug)]
struct Bystander {
    config: Arc<ServerConfig>,
    station: Station<Server>,
}

impl Bystander {
    fn new() -> Self {
        let dictionary = Dictionary::numbered(["Echo.Raw"]).expect("one short route");
        let config = Arc::new(ServerConfig { dictionary, ..ServerConfig::default() });
        let now = Instant::ORIGIN;
        let mut station = Station::new(Server::new(Arc::clone(&config)), limits(), now);
        station.receive(now, package(1, b"{}"));
        station.command(now, ServerCommand::Accept { user: None });
        station.receive(now, package(2, b""));
        station.flush(now, usize::MAX);
        station.notices();
        Self { config, station }
    }

    fn ask(&mut self, number: u64) {
        let now = Instant::ORIGIN;
        let body = number.to_le_bytes();
        self.station.receive(now, package(4, &[b"\x01\x05\x00\x01", &body[..]].concat()));
        let notices = self.station.notices();
        let [ServerNotice::Request { ticket, route, body: asked }] = &notices[..] else {
            panic!("bystander at input {number}: {notices:?}");
        };
        assert_eq!((&route[..], &asked[..]), (&b"Echo.Raw"[..], &body[..]));
        self.station.command(now, ServerCommand::Answer { ticket: *ticket, body: asked.clone() });
        assert_eq!(self.station.flush_bytes(now), package(4, &[b"\x04\x05", &body[..]].concat()));
        assert_eq!(self.station.closed(), None, "bystander at input {number}");
    }
}
