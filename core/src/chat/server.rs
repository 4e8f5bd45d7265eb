//! The server's end of a chat connection.

use alloc::sync::Arc;

use bytes::Bytes;

use super::message::{Kind, Message, encode_event};
use super::{OnBadMessage, Relay, ServerConfig, user_key};
use crate::push::Form;
use crate::{
    CloseReason, Context, Delivery, Dialect, Frame, GroupId, Instant, Limits, Mark, Opcode, Push, To,
    Violation,
};

/// What the server's end tells the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerNotice {
    /// The user is reachable under its number, and its messages are taken.
    Opened,
}

/// What the application may ask of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum ServerCommand {
    /// Sends a message to this client alone.
    Push(Push),
    /// Removes the client: what is queued goes first, then close code 4000.
    Kick,
    /// Ends the connection: what is queued goes first.
    Close,
    /// Joins a group.
    Join(GroupId),
    /// Leaves a group.
    Leave(GroupId),
    /// Sends a message to a key or a group, in order with the messages of this connection's user.
    Publish {
        /// The receivers.
        to: To,
        /// The message.
        push: Push,
    },
}

/// The server's end of a chat connection.
#[derive(Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
    user: u64,
    /// Whether the hub has taken the user in. Before that nothing is done in its name.
    admitted: bool,
}

impl Server {
    /// The end of a new connection of `user`, as the path of the WebSocket says.
    pub fn new(config: Arc<ServerConfig>, user: u64) -> Self {
        Self { config, user, admitted: false }
    }

    /// Whose connection this is.
    pub fn user(&self) -> u64 {
        self.user
    }

    /// Whether messages flow.
    pub fn is_open(&self) -> bool {
        self.admitted
    }

    /// All that a client can cause with a message.
    fn handle_message(&self, message: &Message<'_>, text: &Bytes, cx: &mut Context<'_, Self>) {
        match message.kind {
            Kind::Send if self.admitted => {
                let text = match self.config.relay {
                    Relay::Verbatim => text.clone(),
                    Relay::Stamped => message.stamped(Kind::Receive, self.user),
                };
                cx.publish(To::Key(user_key(message.receiver)), self.config.push(text));
            }
            Kind::Send => cx.mark(Mark::NotReady),
            Kind::Close => cx.drain(CloseReason::PeerClosed),
            Kind::Connect | Kind::Receive | Kind::Other(_) => cx.mark(Mark::MessageIgnored),
        }
    }

    fn send_push(&self, message: &Push, cx: &mut Context<'_, Self>) {
        // What answers a call of another dialect says nothing to this client.
        if message.is_im() {
            return;
        }
        if !self.admitted {
            cx.mark(Mark::NotReady);
            return;
        }
        match frame(message, cx.limits().send_max) {
            Some(frame) => cx.send_lossy(frame, message.overflow()),
            None => cx.mark(Mark::PushRefused),
        }
    }
}

/// The frame for every chat client; `None` if the message is not text, or too large.
fn frame(message: &Push, max: u32) -> Option<Frame> {
    let fits = |len: usize| len <= max as usize;
    if !fits(message.body().len()) {
        return None;
    }
    if message.is_chat() {
        return Some(Frame::new(Opcode::Text, message.body().clone()));
    }
    let encode = |message: &Push| encode_event(message).map(|text| Frame::new(Opcode::Text, text)).ok_or(());
    message.form(Form::ChatEvent, encode).ok().filter(|frame| fits(frame.len()))
}

impl Dialect for Server {
    type Command = ServerCommand;
    type Notice = ServerNotice;

    fn open(&mut self, cx: &mut Context<'_, Self>) {
        let ServerConfig { ping, dead, .. } = *self.config;
        if (cx.limits().heartbeat, cx.limits().silence) != (ping, dead) {
            cx.set_liveness(ping, dead);
        }
        if !cx.register_as(user_key(self.user), self.config.badge()) {
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
        match (Message::decode(&data), self.config.on_bad_message) {
            (Ok(message), _) => self.handle_message(&message, &data, cx),
            (Err(_), OnBadMessage::Close) => return Err(Violation::TextInvalid),
            (Err(_), OnBadMessage::Ignore) => cx.mark(Mark::BadMessageIgnored),
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
            Delivery::Rejected { key, why } if key == user_key(self.user) => {
                cx.rejected(&key);
                cx.close(why.close_reason());
            }
            // Nothing of this was asked for.
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
            ServerCommand::Push(message) => self.send_push(&message, cx),
            ServerCommand::Kick => cx.drain(CloseReason::Kicked),
            ServerCommand::Close => cx.drain(CloseReason::Finished),
            ServerCommand::Join(group) => {
                cx.join(group);
            }
            ServerCommand::Leave(group) => cx.leave(&group),
            ServerCommand::Publish { to, push } => cx.publish(to, push),
        }
    }

    fn beat(&mut self, cx: &mut Context<'_, Self>) {
        ping_if_silent(cx);
    }

    fn expire(&mut self, _cx: &mut Context<'_, Self>) {}

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn farewell(&mut self, _reason: CloseReason, _cx: &mut Context<'_, Self>) {}

    fn is_busy(&self) -> bool {
        false
    }

    fn wants_read(&self, _limits: &Limits) -> bool {
        self.admitted
    }

    fn at_boundary(&self) -> bool {
        true
    }

    fn footprint(&self) -> usize {
        0
    }
}

/// A WebSocket ping, if nothing was heard for a heartbeat: a peer that talks is not asked whether it lives.
pub(super) fn ping_if_silent<D: Dialect>(cx: &mut Context<'_, D>) {
    if cx.is_silent() {
        cx.send_sign(Frame::new(Opcode::Ping, Bytes::new()));
    }
}
