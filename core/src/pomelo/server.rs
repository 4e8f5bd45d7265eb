//! The server's end of a pomelo connection.

use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use super::handshake::{self, Abilities};
use super::package::HEAD;
use super::{
    EncodeError, ErrorAnswers, ErrorBody, Message, MessageId, MessageType, Package, PackageReader,
    PackageType, Receipt, RefuseCode, RouteOut, ServerCommand, ServerConfig, ServerNotice, Ticket,
    decode_text, deflate, inflate, package, push, response,
};
use crate::pending::Pending;
use crate::push::Form;
use crate::{
    CloseReason, Context, Delivery, Dialect, Frame, Instant, Key, Limits, Mark, Opcode, Push, Violation,
};

/// A piece of input of up to this size may be kept alive by a small message without being counted, in bytes.
const SMALL_CHUNK: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was received.
    Start,
    /// The application looks at the handshake.
    Validating,
    /// The answer is on its way; the acknowledgement is missing.
    Answered,
    /// Messages flow.
    Working,
}

/// The server's end of a pomelo connection.
#[derive(Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
    reader: PackageReader,
    /// What was read and cannot be taken yet: it came behind a handshake that the application looks at, or behind the
    /// last request that may wait. Never more than a driver hands over at once, as it stops reading then.
    held: Bytes,
    pending: Pending<MessageId>,
    /// Messages without an answer that the application works on, and what they hold in bytes.
    notes: u32,
    note_bytes: u32,
    /// The size of the piece of input that is being read, if that is much: however small a message is, it keeps the whole
    /// piece alive.
    chunk: u32,
    /// Whether a request has been charged with it.
    is_charged: bool,
    kick: Option<Bytes>,
    state: State,
    abilities: Abilities,
}

impl Server {
    /// The end of a new connection.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self {
            config,
            reader: PackageReader::new(),
            held: Bytes::new(),
            pending: Pending::default(),
            notes: 0,
            note_bytes: 0,
            chunk: 0,
            is_charged: false,
            kick: None,
            state: State::Start,
            abilities: Abilities::default(),
        }
    }

    /// Whether messages flow.
    pub fn is_working(&self) -> bool {
        self.state == State::Working
    }

    /// How many requests there are from the oldest on that waits for an answer.
    pub fn pending_requests(&self) -> usize {
        self.pending.len()
    }

    fn read(&mut self, mut input: Bytes, cx: &mut Context<'_, Self>) -> Result<(), Violation> {
        while cx.is_open() {
            if !self.takes_more(cx.limits()) {
                self.held = input;
                return Ok(());
            }
            let Some(package) = self.reader.next(&mut input, cx.limits().receive_max)? else { break };
            cx.unfinished(false);
            self.handle_package(package, cx)?;
        }
        cx.unfinished(!self.reader.is_empty());
        Ok(())
    }

    /// Takes what was held back, as far as it can be taken now.
    fn resume(&mut self, cx: &mut Context<'_, Self>) {
        if !self.held.is_empty() && self.takes_more(cx.limits()) {
            let held = core::mem::take(&mut self.held);
            if let Err(violation) = self.read(held, cx) {
                cx.close(violation.into());
            }
        }
    }

    fn takes_more(&self, limits: &Limits) -> bool {
        self.state != State::Validating
            && self.pending.len() + (self.notes as usize) < limits.pending_requests as usize
            && self.pending.bytes().saturating_add(self.note_bytes) < limits.pending_bytes
    }

    /// All transitions that a client can cause.
    fn handle_package(&mut self, package: Package, cx: &mut Context<'_, Self>) -> Result<(), Violation> {
        match (self.state, package.kind) {
            (State::Start, PackageType::Handshake) => self.handle_handshake(&package.body, cx),
            (State::Start, PackageType::HandshakeAck) if self.config.ack_without_handshake => self.work(cx),
            (State::Answered, PackageType::HandshakeAck) => self.work(cx),
            (State::Answered, PackageType::Heartbeat) => {}
            (State::Working, PackageType::Heartbeat) => cx.heard(),
            (State::Working, PackageType::Data) => self.handle_message(package.body, cx)?,
            _ => return Err(Violation::PackageOutOfOrder),
        }
        Ok(())
    }

    fn handle_handshake(&mut self, body: &Bytes, cx: &mut Context<'_, Self>) {
        let Some((text, abilities)) = handshake::read(body) else {
            self.refuse(RefuseCode::Invalid, None, Violation::Handshake.into(), cx);
            return;
        };
        self.abilities = abilities;
        self.state = State::Validating;
        let body = match text {
            alloc::borrow::Cow::Borrowed(_) => body.clone(),
            alloc::borrow::Cow::Owned(text) => Bytes::from(text),
        };
        cx.notify(ServerNotice::Handshake(body));
    }

    fn work(&mut self, cx: &mut Context<'_, Self>) {
        self.state = State::Working;
        // A client keeps to the whole seconds that it was told, so a shorter interval must not count against it.
        if let (Some(heartbeat), Some(silence)) = (cx.limits().heartbeat, cx.limits().silence) {
            let told = Duration::from_secs(handshake::whole_seconds(heartbeat));
            if told > heartbeat && silence < told * 5 / 2 {
                cx.set_liveness(Some(heartbeat), Some(told * 5 / 2));
            }
        }
        cx.established();
        cx.notify(ServerNotice::Opened);
    }

    fn handle_message(&mut self, data: Bytes, cx: &mut Context<'_, Self>) -> Result<(), Violation> {
        let size = data.len() as u32;
        let message = Message::decode(data, &self.config.dictionary)?;
        let body =
            if message.deflated { inflate(&message.body, cx.limits().inflate_max)? } else { message.body };
        cx.heard();
        let size = size.max(body.len() as u32);
        match message.kind {
            // An answer with id 0 reads as a push, so nano and pitaya never answer such a request.
            MessageType::Request if message.id.number() != 0 => {
                let deadline = cx.now() + cx.limits().request_timeout;
                // The first request of a large piece is charged with it; those behind it may outlive it.
                let (size, pins) = match core::mem::replace(&mut self.is_charged, true) {
                    false => (size.max(self.chunk), false),
                    true => (size, self.pins(size)),
                };
                let (route, body) = (owned(message.route, pins), owned(body, pins));
                let ticket = self.pending.enter(message.id, size, deadline);
                cx.notify(ServerNotice::Request { ticket, route, body });
            }
            MessageType::Request | MessageType::Notify => {
                self.notes = self.notes.saturating_add(1);
                self.note_bytes = self.note_bytes.saturating_add(size);
                // What an application sees does not depend on how the input was cut, so such a message is copied out of
                // a large piece, not charged with it.
                let pins = self.pins(size);
                let (route, body) = (owned(message.route, pins), owned(body, pins));
                cx.notify(ServerNotice::Notify { receipt: Receipt::new(size), route, body });
            }
            MessageType::Response | MessageType::Push => cx.mark(Mark::MessageIgnored),
        }
        Ok(())
    }

    /// Whether a message of this size would keep much more alive than is counted for it.
    fn pins(&self, size: u32) -> bool {
        self.chunk > size.saturating_add(SMALL_CHUNK as u32)
    }

    fn accept(&mut self, user: Option<&Bytes>, cx: &mut Context<'_, Self>) {
        if self.state != State::Validating {
            return;
        }
        self.state = State::Answered;
        self.send_answer(200, user, cx);
        self.resume(cx);
    }

    fn refuse(
        &mut self,
        code: RefuseCode,
        user: Option<&Bytes>,
        why: CloseReason,
        cx: &mut Context<'_, Self>,
    ) {
        self.send_answer(code.number(), user, cx);
        cx.close(why);
    }

    fn send_answer(&self, code: u16, user: Option<&Bytes>, cx: &mut Context<'_, Self>) {
        let unix = self.config.origin_unix + cx.now().since_origin();
        let body = handshake::answer(code, &self.config, cx.limits().heartbeat, unix, self.abilities, user);
        match package(PackageType::Handshake, body) {
            Ok(frame) => cx.send(frame),
            Err(_) => cx.mark(Mark::AnswerRefused),
        }
    }

    /// The body as it goes out, and whether it is deflated.
    fn pack(&self, body: Bytes) -> (Bytes, bool) {
        let large = |above| self.abilities.inflate && body.len() as u64 >= u64::from(above);
        match self.config.deflate_above.filter(|above| large(*above)).and_then(|_| deflate(&body)) {
            Some(smaller) => (smaller, true),
            None => (body, false),
        }
    }

    fn answer(&mut self, ticket: Ticket, body: Bytes, cx: &mut Context<'_, Self>) {
        let Some(id) = self.pending.take(ticket) else {
            cx.mark(Mark::AnswerLate);
            return;
        };
        let (body, deflated) = self.pack(body);
        match response(&id, false, deflated, body, cx.limits().send_max) {
            Ok(frame) => cx.send(frame),
            Err(error) => {
                cx.mark(Mark::AnswerRefused);
                self.send_error(&id, &unsayable(error), cx);
            }
        }
    }

    fn fail(&mut self, ticket: Ticket, error: &ErrorBody, cx: &mut Context<'_, Self>) {
        match self.pending.take(ticket) {
            Some(id) => self.send_error(&id, error, cx),
            None => cx.mark(Mark::AnswerLate),
        }
    }

    fn send_error(&self, id: &MessageId, error: &ErrorBody, cx: &mut Context<'_, Self>) {
        if self.config.errors == ErrorAnswers::None {
            return;
        }
        let (body, deflated) = self.pack(error.encode(&self.config.serializer));
        let short = || ErrorBody::new(ErrorBody::INTERNAL, "error too large").encode(&self.config.serializer);
        let max = cx.limits().send_max;
        match response(id, true, deflated, body, max).or_else(|_| response(id, true, false, short(), max)) {
            Ok(frame) => cx.send(frame),
            Err(_) => cx.mark(Mark::AnswerRefused),
        }
    }

    fn send_push(&self, message: &Push, cx: &mut Context<'_, Self>) {
        // What answers a call of another dialect says nothing to this client.
        if message.is_im() {
            return;
        }
        if !self.is_working() {
            cx.mark(Mark::NotReady);
            return;
        }
        // The shared form may have been made at a listener with a larger limit.
        let most = cx.limits().send_max as usize + HEAD;
        match self.encode_push(message, cx.limits().send_max) {
            Ok(frame) if frame.len() <= most => cx.send_lossy(frame, message.overflow()),
            Ok(_) | Err(_) => cx.mark(Mark::PushRefused),
        }
    }

    /// The frame for this client, shared with all clients that read the same form.
    fn encode_push(&self, message: &Push, max: u32) -> Result<Frame, EncodeError> {
        let plain = |message: &Push| {
            whole(push(RouteOut::Plain(message.route()), false, message.body().clone(), max)?)
        };
        let code = self.config.dictionary.code(message.route()).filter(|_| self.abilities.coded_pushes);
        if let Some(code) = code {
            let coded =
                |message: &Push| whole(push(RouteOut::Code(code), false, message.body().clone(), max)?);
            let frame = message.form(Form::PomeloCoded, coded)?;
            // Two listeners may give one route different codes; the shared form is the first one's.
            let same = frame.body().get(5..7) == Some(code.to_be_bytes().as_slice());
            return if same { Ok(frame) } else { coded(message) };
        }
        let large = |above: &u32| self.abilities.inflate && message.body().len() as u64 >= u64::from(*above);
        if self.config.deflate_above.as_ref().is_some_and(large) {
            return message.form(Form::PomeloDeflated, |message| {
                let (body, deflated) = self.pack(message.body().clone());
                whole(push(RouteOut::Plain(message.route()), deflated, body, max)?)
            });
        }
        message.form(Form::PomeloPlain, plain)
    }

    fn bind(&mut self, key: Key, cx: &mut Context<'_, Self>) {
        if !cx.register(key.clone()) {
            cx.notify(ServerNotice::BindRefused(key));
        }
    }
}

/// The same bytes, in memory of their own if they would keep too much alive.
fn owned(bytes: Bytes, pins: bool) -> Bytes {
    if pins { Bytes::copy_from_slice(&bytes) } else { bytes }
}

/// A frame that is shared by many connections: one buffer, nothing to join per connection.
#[expect(clippy::unnecessary_wraps, reason = "the callers chain it behind `?`")]
fn whole(frame: Frame) -> Result<Frame, EncodeError> {
    Ok(Frame::new(frame.opcode, frame.into_bytes()))
}

fn unsayable(error: EncodeError) -> ErrorBody {
    ErrorBody::new(ErrorBody::INTERNAL, alloc::format!("answer cannot be sent: {error}"))
}

impl Dialect for Server {
    type Command = ServerCommand;
    type Notice = ServerNotice;

    fn open(&mut self, _cx: &mut Context<'_, Self>) {}

    fn receive(&mut self, opcode: Opcode, data: Bytes, cx: &mut Context<'_, Self>) -> Result<(), Violation> {
        match opcode {
            Opcode::Ping | Opcode::Pong => return Ok(()),
            Opcode::Binary | Opcode::Text if self.config.strict_boundaries => check_boundary(&data)?,
            Opcode::Binary | Opcode::Text | Opcode::Stream => {}
        }
        if !self.held.is_empty() {
            // A driver that goes on reading although it should not: keep the order, in one buffer.
            let held = core::mem::take(&mut self.held);
            let mut both = held.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
            both.extend_from_slice(&data);
            self.held = both.freeze();
            return Ok(());
        }
        self.chunk = if data.len() > SMALL_CHUNK { data.len() as u32 } else { 0 };
        self.is_charged = false;
        self.read(data, cx)
    }

    fn deliver(&mut self, delivery: Delivery, cx: &mut Context<'_, Self>) {
        match delivery {
            Delivery::Push(message) => self.send_push(&message, cx),
            Delivery::Admitted(key) if cx.admitted(&key) => cx.notify(ServerNotice::Bound(key)),
            Delivery::Rejected { key, .. } => {
                cx.rejected(&key);
                cx.notify(ServerNotice::BindRefused(key));
            }
            Delivery::Admitted(_)
            | Delivery::Reserved(_)
            | Delivery::Presence { .. }
            | Delivery::WatchRefused(_)
            | Delivery::Congested(_)
            | Delivery::Relieved(_) => {}
        }
    }

    fn command(&mut self, command: ServerCommand, cx: &mut Context<'_, Self>) {
        match command {
            ServerCommand::Accept { user } => self.accept(user.as_ref(), cx),
            ServerCommand::Refuse { code, user } if self.state == State::Validating => {
                self.refuse(code, user.as_ref(), CloseReason::HandshakeRefused, cx);
            }
            ServerCommand::Refuse { .. } => {}
            ServerCommand::Answer { ticket, body } => {
                self.answer(ticket, body, cx);
                self.resume(cx);
            }
            ServerCommand::Fail { ticket, error } => {
                self.fail(ticket, &error, cx);
                self.resume(cx);
            }
            ServerCommand::Done(receipt) => {
                self.notes = self.notes.saturating_sub(1);
                self.note_bytes = self.note_bytes.saturating_sub(receipt.size());
                self.resume(cx);
            }
            ServerCommand::Push { route, body, overflow } => {
                self.send_push(&Push::new(route, body, overflow), cx);
            }
            ServerCommand::Kick { reason } => {
                self.kick = Some(reason);
                cx.drain(CloseReason::Kicked);
            }
            ServerCommand::Close => cx.drain(CloseReason::Finished),
            ServerCommand::Bind(key) => self.bind(key, cx),
            ServerCommand::Unbind(key) => cx.unregister(&key),
            ServerCommand::Join(group) => {
                cx.join(group);
            }
            ServerCommand::Leave(group) => cx.leave(&group),
            ServerCommand::Publish { to, push } => cx.publish(to, push),
        }
    }

    fn beat(&mut self, cx: &mut Context<'_, Self>) {
        if let Ok(frame) = package(PackageType::Heartbeat, Bytes::new()) {
            cx.send_sign(frame);
        }
    }

    fn expire(&mut self, cx: &mut Context<'_, Self>) {
        while let Some((ticket, id)) = self.pending.take_expired(cx.now()) {
            cx.mark(Mark::RequestExpired);
            cx.notify(ServerNotice::Expired(ticket));
            self.send_error(&id, &ErrorBody::new(ErrorBody::TIMEOUT, "request timed out"), cx);
        }
        self.resume(cx);
    }

    fn deadline(&self) -> Option<Instant> {
        self.pending.deadline()
    }

    fn farewell(&mut self, reason: CloseReason, cx: &mut Context<'_, Self>) {
        let told = match reason {
            CloseReason::Kicked
            | CloseReason::Replaced
            | CloseReason::DeviceReplaced
            | CloseReason::Stopping => true,
            // A peer that reads nothing would not see it, and the queue must not grow for it.
            CloseReason::HeartbeatTimeout => cx.is_flushed(),
            _ => false,
        };
        if told && self.is_working() {
            let text = match &self.kick {
                Some(reason) => String::from(decode_text(reason)),
                None => alloc::format!("{reason}"),
            };
            // JavaScript clients parse the body, and throw on an empty one.
            let body = serde_json::to_vec(&KickBody { reason: &text }).unwrap_or_default();
            if let Ok(frame) = package(PackageType::Kick, body.into()) {
                cx.send_anyway(frame);
            }
        }
    }

    fn is_busy(&self) -> bool {
        !self.pending.is_empty()
    }

    fn wants_read(&self, limits: &Limits) -> bool {
        self.takes_more(limits)
    }

    fn at_boundary(&self) -> bool {
        self.reader.is_empty()
    }

    fn footprint(&self) -> usize {
        self.reader.footprint() + self.pending.footprint() + self.held.len()
    }
}

#[derive(Serialize)]
struct KickBody<'a> {
    reason: &'a str,
}

/// Pitaya's rule: the message is one whole package.
fn check_boundary(data: &Bytes) -> Result<(), Violation> {
    match data.first_chunk::<4>() {
        Some([_, high, mid, low])
            if u32::from_be_bytes([0, *high, *mid, *low]) as usize + 4 == data.len() =>
        {
            Ok(())
        }
        _ => Err(Violation::PackageBoundary),
    }
}
