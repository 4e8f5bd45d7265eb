//! The server's end of an IM connection.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;

use bytes::Bytes;

use super::envelope::{KICKED, NEW_MESSAGE, encode_push, status_frame};
use super::function::credentials;
use super::server_api::{Audience, Call, Mode, Request, ServerCommand, ServerNotice};
use super::{Answer, Fault, Functions, OperationIds, Reply, ServerConfig, Visitor, envelope};
use crate::hub::Refusal;
use crate::pending::{Pending, Ticket};
use crate::push::Form;
use crate::{CloseReason, Context, Delivery, Dialect, Frame, Instant, Limits, Mark, Opcode, Push, Violation};

/// What the answer to a request repeats: the function's name, and behind it the operation id.
#[derive(Debug)]
struct Asked {
    text: Box<str>,
    name_len: u32,
}

impl Asked {
    fn new(name: &str, operation: &str) -> Self {
        Self { text: [name, operation].concat().into(), name_len: name.len() as u32 }
    }

    fn name(&self) -> &str {
        &self.text[..self.name_len as usize]
    }

    fn operation(&self) -> &str {
        &self.text[self.name_len as usize..]
    }
}

/// The server's end of an IM connection, whose user has come through the [`Door`](super::Door).
///
/// It reads and checks requests and writes what they are answered with. Whether the user is logged in is not known
/// here: that is the [`User`](super::User)'s, who says it with [`ServerCommand::SetMode`].
#[derive(Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
    visitor: Visitor,
    operations: OperationIds,
    pending: Pending<Asked>,
    mode: Mode,
    /// What this connection's own answers are known by when the hub hands them back.
    own: u64,
    /// Whether the hub has taken the user in. Before that nothing is done in its name.
    admitted: bool,
}

impl Server {
    /// The end of a new connection of `visitor`. `seed` is drawn at random for every connection.
    pub fn new(config: Arc<ServerConfig>, visitor: Visitor, seed: u64) -> Self {
        Self {
            config,
            visitor,
            operations: OperationIds::new(seed),
            pending: Pending::default(),
            mode: Mode::default(),
            own: seed.max(1),
            admitted: false,
        }
    }

    /// Whose connection this is.
    pub fn visitor(&self) -> &Visitor {
        &self.visitor
    }

    /// Whether requests are taken.
    pub fn is_open(&self) -> bool {
        self.admitted
    }

    /// How many requests wait for an answer.
    pub fn pending_requests(&self) -> usize {
        self.pending.len()
    }

    /// All that a client can cause with a message.
    fn handle_message(&mut self, text: &[u8], cx: &mut Context<'_, Self>) {
        let Ok(request) = envelope::Request::decode(text) else {
            return self.say("error", "", &Fault::Undecodable.into(), cx);
        };
        let operation = if request.operation.is_empty() {
            let unix = self.config.origin_unix + cx.now().since_origin();
            Cow::Owned(self.operations.next_id(unix))
        } else {
            request.operation
        };
        // Nobody speaks for somebody else, whatever it is that is asked for.
        if request.user.as_bytes() != self.visitor.user.as_bytes() {
            return self.say(&request.function, &operation, &Fault::Parameter.into(), cx);
        }
        let asked = Asked::new(&request.function, &operation);
        let call = self.look_at(request.function, request.data, request.batch);
        let deadline = cx.now() + cx.limits().request_timeout;
        let size = text.len().max(asked.text.len()) as u32;
        let ticket = self.pending.enter(asked, size, deadline);
        let request = Request { operation: operation.into_owned(), call };
        cx.notify(ServerNotice::Request { ticket, request });
    }

    fn look_at(&self, name: Cow<'_, str>, data: Cow<'_, str>, batch: bool) -> Call {
        if name == Functions::LOGIN {
            let token = credentials(&data).and_then(|(user, token)| {
                let is_own = user.as_bytes() == self.visitor.user.as_bytes();
                if is_own { Ok(token.into()) } else { Err(Fault::Parameter) }
            });
            return Call::Login { token, batch };
        }
        let check = self.config.functions.check(&name, &data);
        Call::Function { name: name.into_owned(), data: data.into_owned(), check }
    }

    /// Answers this client alone.
    fn say(&self, event: &str, operation: &str, answer: &Answer, cx: &mut Context<'_, Self>) {
        let max = cx.limits().send_max as usize;
        let mut text = Reply::to_call(event, operation, answer).encode();
        if text.len() > max {
            cx.mark(Mark::AnswerRefused);
            text = Reply::to_call(event, operation, &Fault::Parameter.into()).encode();
        }
        if text.len() <= max {
            cx.send(Frame::new(Opcode::Text, text));
        }
    }

    fn answer(&mut self, ticket: Ticket, answer: &Answer, audience: Audience, cx: &mut Context<'_, Self>) {
        let Some(asked) = self.pending.take(ticket) else {
            return cx.mark(Mark::AnswerLate);
        };
        let text = Reply::to_call(asked.name(), asked.operation(), answer).encode();
        if audience == Audience::Asker || text.len() > cx.limits().send_max as usize {
            return self.say(asked.name(), asked.operation(), answer, cx);
        }
        // The asker has its answer before anything that follows, and also if it is about to leave the hub.
        if self.config.deliver.includes(self.visitor.badge.device.platform) || !cx.is_open() {
            cx.send(Frame::new(Opcode::Text, text.clone()));
        }
        let push = Push::im(Bytes::copy_from_slice(asked.name().as_bytes()), text, self.own);
        cx.publish(self.config.deliver.to(self.visitor.user.clone()), push);
    }

    /// Says why the user is removed here, so that its program does not come back by itself.
    fn say_goodbye(&self, why: Cow<'static, str>, cx: &mut Context<'_, Self>) {
        let answer = Answer { message: why, ..Answer::default() };
        let text = Reply::to_call(KICKED, "", &answer).encode();
        cx.send_anyway(Frame::new(Opcode::Text, text));
    }

    fn refuse(&mut self, ticket: Ticket, fault: Fault, cx: &mut Context<'_, Self>) {
        match self.pending.take(ticket) {
            Some(asked) => {
                let event = if fault == Fault::NotLoggedIn { Functions::LOGIN } else { asked.name() };
                self.say(event, asked.operation(), &fault.into(), cx);
            }
            None => cx.mark(Mark::AnswerLate),
        }
    }

    fn send_push(&self, message: &Push, cx: &mut Context<'_, Self>) {
        if message.is_im_of(self.own) {
            return;
        }
        let batch = match self.mode {
            Mode::Online { batch } => batch,
            Mode::Waiting if message.is_im() => false,
            Mode::Waiting | Mode::Detached => return cx.mark(Mark::NotReady),
        };
        match frame(message, batch, cx.limits().send_max) {
            Some(frame) => cx.send_lossy(frame, message.overflow()),
            None => cx.mark(Mark::PushRefused),
        }
    }
}

/// The frame for every IM client; `None` if the message is not text, or too large.
fn frame(message: &Push, batch: bool, max: u32) -> Option<Frame> {
    let fits = |len: usize| len <= max as usize;
    if !fits(message.body().len()) {
        return None;
    }
    if message.is_im() {
        return Some(Frame::new(Opcode::Text, message.body().clone()));
    }
    let batch = batch && message.route() == NEW_MESSAGE.as_bytes();
    let form = if batch { Form::ImBatch } else { Form::ImEvent };
    let encode = |message: &Push| encode_push(message, batch).ok_or(());
    message.form(form, encode).ok().filter(|frame| fits(frame.len()))
}

impl Dialect for Server {
    type Command = ServerCommand;
    type Notice = ServerNotice;

    fn open(&mut self, cx: &mut Context<'_, Self>) {
        if !cx.register_as(self.visitor.user.clone(), self.visitor.badge) {
            cx.close(CloseReason::Overloaded);
        }
    }

    fn receive(&mut self, opcode: Opcode, data: Bytes, cx: &mut Context<'_, Self>) -> Result<(), Violation> {
        match opcode {
            Opcode::Text | Opcode::Binary => {}
            Opcode::Ping | Opcode::Pong => {
                cx.heard();
                return Ok(());
            }
            // A byte stream has no borders between messages.
            Opcode::Stream => return Err(Violation::MessageInvalid),
        }
        cx.heard();
        if data.len() > cx.limits().receive_max as usize {
            return Err(Violation::PackageTooLarge);
        }
        if !self.admitted {
            cx.mark(Mark::NotReady);
        } else if is_overfull(&self.pending, cx.limits()) {
            cx.close(CloseReason::Overloaded);
        } else {
            self.handle_message(&data, cx);
        }
        Ok(())
    }

    fn deliver(&mut self, delivery: Delivery, cx: &mut Context<'_, Self>) {
        match delivery {
            Delivery::Push(message) => self.send_push(&message, cx),
            Delivery::Admitted(key) => {
                if cx.admitted(&key) && !self.admitted {
                    self.admitted = true;
                    cx.established();
                    cx.notify(ServerNotice::Opened);
                }
            }
            Delivery::Rejected { key, why } if key == self.visitor.user => {
                cx.rejected(&key);
                if matches!(why, Refusal::Storm { .. }) {
                    self.say_goodbye(why.to_string().into(), cx);
                }
                cx.close(why.close_reason());
            }
            Delivery::Presence { key, platforms } if self.mode != Mode::Detached => {
                cx.send(status_frame(&key, platforms));
            }
            Delivery::Rejected { .. }
            | Delivery::Reserved(_)
            | Delivery::Presence { .. }
            | Delivery::WatchRefused(_)
            | Delivery::Congested(_)
            | Delivery::Relieved(_) => {}
        }
    }

    fn command(&mut self, command: ServerCommand, cx: &mut Context<'_, Self>) {
        match command {
            ServerCommand::Answer { ticket, answer, audience } => self.answer(ticket, &answer, audience, cx),
            ServerCommand::Refuse { ticket, fault } => self.refuse(ticket, fault, cx),
            ServerCommand::SetMode(mode) => self.mode = mode,
            ServerCommand::Push(message) => self.send_push(&message, cx),
            ServerCommand::Kick => cx.drain(CloseReason::Kicked),
            ServerCommand::Close => cx.drain(CloseReason::Finished),
            ServerCommand::Join(group) => {
                cx.join(group);
            }
            ServerCommand::Leave(group) => cx.leave(&group),
            ServerCommand::Watch(key) => {
                cx.watch(key);
            }
            ServerCommand::Unwatch(key) => cx.unwatch(&key),
            ServerCommand::Publish { to, push } => cx.publish(to, push),
        }
    }

    fn beat(&mut self, cx: &mut Context<'_, Self>) {
        cx.send_sign(Frame::new(Opcode::Ping, Bytes::new()));
    }

    fn expire(&mut self, cx: &mut Context<'_, Self>) {
        while let Some((ticket, asked)) = self.pending.take_expired(cx.now()) {
            cx.mark(Mark::RequestExpired);
            cx.notify(ServerNotice::Expired(ticket));
            self.say(asked.name(), asked.operation(), &Fault::NotLoaded.into(), cx);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.pending.deadline()
    }

    fn farewell(&mut self, reason: CloseReason, cx: &mut Context<'_, Self>) {
        if let CloseReason::Kicked | CloseReason::Replaced | CloseReason::DeviceReplaced = reason {
            self.say_goodbye(reason.close_text(), cx);
        }
    }

    fn is_busy(&self) -> bool {
        !self.pending.is_empty()
    }

    fn wants_read(&self, limits: &Limits) -> bool {
        self.admitted
            && self.pending.len() < limits.pending_requests as usize
            && self.pending.bytes() < limits.pending_bytes
    }

    fn at_boundary(&self) -> bool {
        true
    }

    fn footprint(&self) -> usize {
        self.pending.footprint() + self.pending.bytes() as usize
    }
}

/// Whether a driver has gone on reading for so long, although it should not, that memory would no longer be bounded.
fn is_overfull(pending: &Pending<Asked>, limits: &Limits) -> bool {
    let twice = |limit: u32| u64::from(limit) * 2;
    pending.len() as u64 >= twice(limits.pending_requests)
        || u64::from(pending.bytes()) >= twice(limits.pending_bytes)
}
