//! A server's connection on a bench: a test says what the client does and reads what it gets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::pomelo::{Server, ServerCommand, ServerConfig, ServerNotice, Ticket};
use linkspan_core::{
    CloseReason, Delivery, Event, Frame, Instant, Limits, Mark, Opcode, Overflow, Push, Violation,
};

use super::{Station, package};

/// Package types by their numbers.
pub const HANDSHAKE: u8 = 1;
/// The client has taken the answer.
pub const ACK: u8 = 2;
/// A sign of life.
pub const HEARTBEAT: u8 = 3;
/// A message.
pub const DATA: u8 = 4;
/// The server ends the session.
pub const KICK: u8 = 5;

/// What a JavaScript client says first.
pub const JS_HELLO: &[u8] = br#"{"sys":{"type":"js-websocket","version":"0.0.1","rsa":{}},"user":{}}"#;
/// What libpitaya and pitaya's Go client say first.
pub const PITAYA_HELLO: &[u8] = br#"{"sys":{"platform":"mac","libVersion":"0.3.5-release","clientBuildNumber":"20","clientVersion":"2.1"},"user":{}}"#;

/// A server's connection and the time of the test.
#[derive(Debug)]
pub struct Bench {
    /// The connection.
    pub station: Station<Server>,
    /// The time of what happens next.
    pub now: Instant,
}

/// A request as the body of a data package.
pub fn request(id: &[u8], route: &str, body: &[u8]) -> Vec<u8> {
    [&[0x00], id, &[route.len() as u8], route.as_bytes(), body].concat()
}

/// A notify as the body of a data package.
pub fn notify(route: &str, body: &[u8]) -> Vec<u8> {
    [&[0x02, route.len() as u8], route.as_bytes(), body].concat()
}

/// A response as the body of a data package.
pub fn response(id: &[u8], body: &[u8]) -> Vec<u8> {
    [&[0x04], id, body].concat()
}

/// A push as the body of a data package.
pub fn push(route: &str, body: &[u8]) -> Vec<u8> {
    [&[0x06, route.len() as u8], route.as_bytes(), body].concat()
}

/// A frame as type and body.
///
/// # Panics
///
/// If the frame is not exactly one package.
pub fn read(frame: Frame) -> (u8, Bytes) {
    let mut whole = frame.into_bytes();
    let body = whole.split_off(4);
    let len = u32::from_be_bytes([0, whole[1], whole[2], whole[3]]);
    assert_eq!(len as usize, body.len(), "one package per frame");
    (whole[0], body)
}

impl Bench {
    /// A connection that has just opened.
    pub fn new(config: ServerConfig, limits: Limits) -> Self {
        let now = Instant::from_micros(5_000_000);
        assert_eq!(limits.validate(), Ok(()));
        Self { station: Station::new(Server::new(Arc::new(config)), Arc::new(limits), now), now }
    }

    /// With everything as it is by default.
    pub fn plain() -> Self {
        Self::new(ServerConfig::default(), Limits::default())
    }

    /// After a handshake with a JavaScript client.
    #[must_use]
    pub fn working(self) -> Self {
        self.working_as(JS_HELLO)
    }

    /// After a handshake with a client that says `hello`.
    #[must_use]
    pub fn working_as(mut self, hello: &[u8]) -> Self {
        self.accepted(hello);
        self.say(ACK, b"");
        assert_eq!(self.station.notices(), [ServerNotice::Opened]);
        self
    }

    /// Says `hello`, lets the application accept, and gives the answer's JSON.
    pub fn accepted(&mut self, hello: &[u8]) -> serde_json::Value {
        self.say(HANDSHAKE, hello);
        assert!(matches!(self.station.notices()[..], [ServerNotice::Handshake(_)]));
        self.command(ServerCommand::Accept { user: None });
        self.answer()
    }

    /// The JSON of the handshake answer, the only thing that the client has got.
    pub fn answer(&mut self) -> serde_json::Value {
        let heard = self.hear();
        let [(HANDSHAKE, body)] = &heard[..] else { panic!("not one answer: {heard:?}") };
        serde_json::from_slice(body).expect("the answer is JSON")
    }

    /// The client sends one package.
    pub fn say(&mut self, kind: u8, body: &[u8]) {
        self.bytes(package(kind, body));
    }

    /// The client sends bytes of a stream.
    pub fn bytes(&mut self, data: impl Into<Bytes>) {
        self.station.event(self.now, Event::Received(Opcode::Stream, data.into()));
    }

    /// The client sends one WebSocket message.
    pub fn message(&mut self, data: impl Into<Bytes>) {
        self.station.event(self.now, Event::Received(Opcode::Binary, data.into()));
    }

    /// The client sends a request; gives its ticket.
    pub fn request(&mut self, id: &[u8], route: &str, body: &[u8]) -> Ticket {
        self.say(DATA, &request(id, route, body));
        let notices = self.station.notices();
        let [ServerNotice::Request { ticket, route: got, body: payload }] = &notices[..] else {
            panic!("not one request: {notices:?}");
        };
        assert_eq!((&got[..], &payload[..]), (route.as_bytes(), body));
        *ticket
    }

    /// The application asks something.
    pub fn command(&mut self, command: ServerCommand) {
        self.station.command(self.now, command);
    }

    /// The application answers a request.
    pub fn reply(&mut self, ticket: Ticket, body: &'static [u8]) {
        self.command(ServerCommand::Answer { ticket, body: Bytes::from_static(body) });
    }

    /// The application sends a message.
    pub fn push(&mut self, route: &'static str, body: impl Into<Bytes>, overflow: Overflow) {
        self.command(ServerCommand::Push {
            route: Bytes::from_static(route.as_bytes()),
            body: body.into(),
            overflow,
        });
    }

    /// The hub brings a message.
    pub fn deliver(&mut self, push: Push) {
        self.station.event(self.now, Event::Delivered(Delivery::Push(push)));
    }

    /// The client reads all there is.
    pub fn hear(&mut self) -> Vec<(u8, Bytes)> {
        self.station.flush(self.now, usize::MAX).into_iter().map(read).collect()
    }

    /// Time passes; the connection wakes when it wants to.
    pub fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
        self.station.run_until(self.now);
    }

    /// Time passes, and the client reads all the while; gives what it got.
    pub fn wait_reading(&mut self, span: Duration) -> Vec<(u8, Bytes)> {
        self.now = self.now + span;
        self.station.run_reading(self.now).into_iter().map(|(_, frame)| read(frame)).collect()
    }

    /// Why the connection ended, if it has.
    pub fn closed(&self) -> Option<CloseReason> {
        self.station.closed()
    }

    /// Asserts that the peer's fault ended the connection.
    pub fn assert_violation(&self, violation: Violation) {
        assert_eq!(self.closed(), Some(violation.into()));
    }

    /// Asserts that the connection answers a request.
    pub fn assert_alive(&mut self) {
        let ticket = self.request(&[0x63], "Echo.Raw", b"still alive");
        self.hear();
        self.reply(ticket, b"still alive");
        assert_eq!(self.hear(), [(DATA, Bytes::from(response(&[0x63], b"still alive")))]);
    }

    /// How often a mark was counted.
    pub fn marked(&self, mark: Mark) -> u64 {
        self.station.marked(mark)
    }
}
