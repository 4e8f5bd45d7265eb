//! The client's end of a pomelo connection.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use bytes::Bytes;

use super::handshake::{self, Welcome};
use super::{
    ClientConfig, Dictionary, EncodeError, Message, MessageId, MessageType, Package, PackageReader,
    PackageType, RouteOut, inflate, notify, package, request,
};
use crate::{CloseReason, Context, Delivery, Dialect, Frame, Instant, Limits, Mark, Opcode, Violation};

/// What the client's end tells the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientNotice {
    /// The handshake is finished; this is the server's answer, JSON.
    Connected(Bytes),
    /// The server refused the handshake with this code; the connection closes.
    Refused {
        /// 400, 500, 501, or what else the server said.
        code: i64,
        /// The whole answer, JSON.
        body: Bytes,
    },
    /// The answer to a request.
    Answer {
        /// The caller's number.
        request: u64,
        /// The payload, inflated.
        body: Bytes,
    },
    /// A request failed.
    Failed {
        /// The caller's number.
        request: u64,
        /// Why.
        error: RequestError,
    },
    /// A message that nobody asked for.
    Push {
        /// The event name.
        route: Bytes,
        /// The payload, inflated.
        body: Bytes,
    },
    /// The server removes this client; the body is `{"reason": …}`, or empty with pitaya.
    Kicked(Bytes),
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The server said so; this is the body, normally an [`ErrorBody`](super::ErrorBody).
    #[error("refused by the server")]
    Server(Bytes),
    /// No answer came within [`Limits::request_timeout`].
    #[error("no answer in time")]
    TimedOut,
    /// As many requests wait as [`Limits::pending_requests`] allows.
    #[error("too many requests wait for an answer")]
    TooMany,
    /// The request cannot be said on this wire.
    #[error(transparent)]
    Unsayable(#[from] EncodeError),
    /// The handshake is not finished.
    #[error("not connected")]
    NotConnected,
}

/// What the application may ask of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum ClientCommand {
    /// Asks for an answer; exactly one [`Answer`](ClientNotice::Answer) or [`Failed`](ClientNotice::Failed) follows,
    /// or the end of the connection.
    Request {
        /// The caller's number, handed back with the answer.
        request: u64,
        /// `Service.Method`, at most 255 bytes.
        route: Bytes,
        /// The payload.
        body: Bytes,
    },
    /// Sends a message that wants no answer.
    Notify {
        /// `Service.Method`, at most 255 bytes.
        route: Bytes,
        /// The payload.
        body: Bytes,
    },
    /// Ends the connection once what is queued is written; answers that are still missing are not waited for.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The handshake is sent, the answer is missing.
    Asked,
    /// Messages flow.
    Working,
}

#[derive(Debug)]
struct Waiting {
    request: u64,
    deadline: Instant,
    id: u32,
}

/// The client's end of a pomelo connection.
#[derive(Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    reader: PackageReader,
    dictionary: Dictionary,
    /// In the order of sending; all have the same time, so the first expires first.
    waiting: VecDeque<Waiting>,
    last_id: u32,
    /// Whether the ids have begun again, so that the next one may still be waiting.
    wrapped: bool,
    /// When a passive client answers the server's heartbeat.
    reply_at: Option<Instant>,
    interval: Option<core::time::Duration>,
    state: State,
}

impl Client {
    /// The end of a new connection.
    pub fn new(config: Arc<ClientConfig>) -> Self {
        Self {
            config,
            reader: PackageReader::new(),
            dictionary: Dictionary::default(),
            waiting: VecDeque::new(),
            last_id: 0,
            wrapped: false,
            reply_at: None,
            interval: None,
            state: State::Asked,
        }
    }

    /// Whether messages flow.
    pub fn is_working(&self) -> bool {
        self.state == State::Working
    }

    /// All transitions that a server can cause.
    fn handle_package(&mut self, package: Package, cx: &mut Context<'_, Self>) -> Result<(), Violation> {
        match (self.state, package.kind) {
            (State::Asked, PackageType::Handshake) => self.handle_answer(package.body, cx)?,
            (State::Working, PackageType::Heartbeat) => self.handle_heartbeat(cx),
            // nano's ticker runs from the first moment of a connection.
            (State::Asked, PackageType::Heartbeat) => {}
            (State::Working, PackageType::Data) => self.handle_message(package.body, cx)?,
            (_, PackageType::Kick) => {
                cx.notify(ClientNotice::Kicked(package.body));
                cx.close(CloseReason::Kicked);
            }
            _ => return Err(Violation::PackageOutOfOrder),
        }
        Ok(())
    }

    fn handle_answer(&mut self, body: Bytes, cx: &mut Context<'_, Self>) -> Result<(), Violation> {
        // pitaya deflates the answer without any flag: the first bytes tell.
        let body = match body.first_chunk::<2>() {
            Some([0x78, 0x01 | 0x5e | 0x9c | 0xda] | [0x1f, 0x8b]) => {
                inflate(&body, cx.limits().inflate_max)?
            }
            _ => body,
        };
        let Welcome { code, heartbeat, dictionary } =
            handshake::read_answer(&body).ok_or(Violation::Handshake)?;
        if code != 200 {
            cx.notify(ClientNotice::Refused { code, body });
            cx.close(CloseReason::RefusedByServer);
            return Ok(());
        }
        self.state = State::Working;
        self.dictionary = dictionary;
        self.interval = heartbeat;
        // The server's interval decides. Its own signs come once per interval, so silence is 2.5 of them.
        let own = if self.config.passive_heartbeat { None } else { heartbeat };
        cx.set_liveness(own, heartbeat.map(|interval| interval * 5 / 2));
        if let Ok(frame) = package(PackageType::HandshakeAck, Bytes::new()) {
            cx.send(frame);
        }
        cx.established();
        cx.notify(ClientNotice::Connected(body));
        Ok(())
    }

    fn handle_heartbeat(&mut self, cx: &mut Context<'_, Self>) {
        cx.heard();
        if self.config.passive_heartbeat && self.reply_at.is_none() {
            self.reply_at = self.interval.map(|interval| cx.now() + interval);
        }
    }

    fn handle_message(&mut self, data: Bytes, cx: &mut Context<'_, Self>) -> Result<(), Violation> {
        let message = Message::decode(data, &self.dictionary)?;
        let body =
            if message.deflated { inflate(&message.body, cx.limits().inflate_max)? } else { message.body };
        cx.heard();
        match message.kind {
            MessageType::Response => match self.take_waiting(message.id.number()) {
                Some(request) if message.error => {
                    cx.notify(ClientNotice::Failed { request, error: RequestError::Server(body) });
                }
                Some(request) => cx.notify(ClientNotice::Answer { request, body }),
                None => cx.mark(Mark::AnswerLate),
            },
            MessageType::Push => cx.notify(ClientNotice::Push { route: message.route, body }),
            MessageType::Request | MessageType::Notify => cx.mark(Mark::MessageIgnored),
        }
        Ok(())
    }

    fn take_waiting(&mut self, id: u64) -> Option<u64> {
        let at = self.waiting.iter().position(|waiting| u64::from(waiting.id) == id)?;
        let waiting = self.waiting.remove(at)?;
        if self.waiting.is_empty() && self.waiting.capacity() > 64 {
            self.waiting = VecDeque::new();
        }
        Some(waiting.request)
    }

    fn next_id(&mut self) -> u32 {
        loop {
            if self.last_id >= self.config.id_max {
                self.last_id = 0;
                self.wrapped = true;
            }
            self.last_id += 1;
            if !self.wrapped || self.waiting.iter().all(|waiting| waiting.id != self.last_id) {
                return self.last_id;
            }
        }
    }

    fn send_request(&mut self, request_no: u64, route: &[u8], body: Bytes, cx: &mut Context<'_, Self>) {
        let outcome = self.try_request(request_no, route, body, cx);
        match outcome {
            Ok(frame) => cx.send(frame),
            Err(error) => cx.notify(ClientNotice::Failed { request: request_no, error }),
        }
    }

    fn try_request(
        &mut self,
        request_no: u64,
        route: &[u8],
        body: Bytes,
        cx: &Context<'_, Self>,
    ) -> Result<Frame, RequestError> {
        if !self.is_working() {
            return Err(RequestError::NotConnected);
        }
        if self.waiting.len() >= cx.limits().pending_requests.min(self.config.id_max) as usize {
            return Err(RequestError::TooMany);
        }
        let id = self.next_id();
        let raw = MessageId::from_number(u64::from(id));
        let frame = request(&raw, self.route_out(route), false, body, cx.limits().send_max)?;
        let deadline = cx.now() + cx.limits().request_timeout;
        self.waiting.push_back(Waiting { request: request_no, deadline, id });
        Ok(frame)
    }

    fn send_notify(&mut self, route: &[u8], body: Bytes, cx: &mut Context<'_, Self>) {
        if !self.is_working() {
            cx.mark(Mark::NotReady);
            return;
        }
        match notify(self.route_out(route), false, body, cx.limits().send_max) {
            Ok(frame) => cx.send(frame),
            Err(_) => cx.mark(Mark::PushRefused),
        }
    }

    fn route_out<'a>(&self, route: &'a [u8]) -> RouteOut<'a> {
        self.dictionary.code(route).map_or(RouteOut::Plain(route), RouteOut::Code)
    }
}

impl Dialect for Client {
    type Command = ClientCommand;
    type Notice = ClientNotice;

    fn open(&mut self, cx: &mut Context<'_, Self>) {
        match package(PackageType::Handshake, self.config.handshake.clone()) {
            Ok(frame) => cx.send(frame),
            Err(_) => cx.close(Violation::Handshake.into()),
        }
    }

    fn receive(&mut self, opcode: Opcode, data: Bytes, cx: &mut Context<'_, Self>) -> Result<(), Violation> {
        if matches!(opcode, Opcode::Ping | Opcode::Pong) {
            return Ok(());
        }
        let mut input = data;
        while cx.is_open() {
            let Some(package) = self.reader.next(&mut input, cx.limits().receive_max)? else { break };
            cx.unfinished(false);
            self.handle_package(package, cx)?;
        }
        cx.unfinished(!self.reader.is_empty());
        Ok(())
    }

    fn deliver(&mut self, delivery: Delivery, cx: &mut Context<'_, Self>) {
        match delivery {
            Delivery::Push(message) => self.send_notify(message.route(), message.body().clone(), cx),
            Delivery::Rejected { key, .. } => cx.rejected(&key),
            Delivery::Admitted(_)
            | Delivery::Reserved(_)
            | Delivery::Presence { .. }
            | Delivery::WatchRefused(_)
            | Delivery::Congested(_)
            | Delivery::Relieved(_) => {}
        }
    }

    fn command(&mut self, command: ClientCommand, cx: &mut Context<'_, Self>) {
        match command {
            ClientCommand::Request { request, route, body } => self.send_request(request, &route, body, cx),
            ClientCommand::Notify { route, body } => self.send_notify(&route, body, cx),
            ClientCommand::Close => cx.close(CloseReason::Finished),
        }
    }

    fn beat(&mut self, cx: &mut Context<'_, Self>) {
        if let Ok(frame) = package(PackageType::Heartbeat, Bytes::new()) {
            cx.send_sign(frame);
        }
    }

    fn expire(&mut self, cx: &mut Context<'_, Self>) {
        while self.waiting.front().is_some_and(|first| first.deadline <= cx.now()) {
            if let Some(Waiting { request, .. }) = self.waiting.pop_front() {
                cx.mark(Mark::RequestExpired);
                cx.notify(ClientNotice::Failed { request, error: RequestError::TimedOut });
            }
        }
        if self.reply_at.take_if(|at| *at <= cx.now()).is_some() {
            self.beat(cx);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let first = self.waiting.front().map(|first| first.deadline);
        match (first, self.reply_at) {
            (Some(first), Some(reply)) => Some(first.min(reply)),
            (first, reply) => first.or(reply),
        }
    }

    fn farewell(&mut self, _reason: CloseReason, _cx: &mut Context<'_, Self>) {}

    fn is_busy(&self) -> bool {
        false
    }

    fn wants_read(&self, _limits: &Limits) -> bool {
        true
    }

    fn at_boundary(&self) -> bool {
        self.reader.is_empty()
    }

    fn footprint(&self) -> usize {
        self.reader.footprint() + self.waiting.capacity() * size_of::<Waiting>()
    }
}
