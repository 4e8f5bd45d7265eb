//! The client's end of a chat connection.

use alloc::string::String;

use bytes::Bytes;

use super::message::{Kind, Message, encode};
use super::server::ping_if_silent;
use crate::{CloseReason, Context, Delivery, Dialect, Frame, Instant, Limits, Mark, Opcode, Violation};

/// What a client says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientConfig {
    /// Its user, the same as in the path that it connects to: the sender in its messages.
    pub user: u64,
}

/// What the client's end tells the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientNotice {
    /// A message arrived.
    Message {
        /// What it is for: [`Kind::Send`] where the server relays verbatim, else [`Kind::Receive`].
        kind: Kind,
        /// Who has sent it, as the message says.
        sender: u64,
        /// Whom it is for, as the message says.
        receiver: u64,
        /// The text.
        content: String,
        /// The whole message, JSON: it may hold more.
        text: Bytes,
    },
}

/// What the application may ask of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum ClientCommand {
    /// Sends a text to a user.
    Send {
        /// Whom it is for.
        receiver: u64,
        /// The text.
        content: String,
    },
    /// Asks the server to close, and ends the connection once what is queued is written.
    Close,
}

/// The client's end of a chat connection.
#[derive(Clone, Debug)]
pub struct Client {
    user: u64,
}

impl Client {
    /// The end of a new connection.
    pub const fn new(config: ClientConfig) -> Self {
        Self { user: config.user }
    }

    fn send(&self, kind: Kind, receiver: u64, content: &str, cx: &mut Context<'_, Self>) {
        let text = encode(kind, self.user, receiver, content);
        if text.len() <= cx.limits().send_max as usize {
            cx.send(Frame::new(Opcode::Text, text));
        } else {
            cx.mark(Mark::PushRefused);
        }
    }
}

impl Dialect for Client {
    type Command = ClientCommand;
    type Notice = ClientNotice;

    fn open(&mut self, cx: &mut Context<'_, Self>) {
        cx.established();
    }

    fn receive(&mut self, opcode: Opcode, data: Bytes, cx: &mut Context<'_, Self>) -> Result<(), Violation> {
        match opcode {
            Opcode::Text | Opcode::Binary => {}
            Opcode::Ping | Opcode::Pong => {
                cx.heard();
                return Ok(());
            }
            Opcode::Stream => return Err(Violation::MessageInvalid),
        }
        cx.heard();
        if data.len() > cx.limits().receive_max as usize {
            return Err(Violation::PackageTooLarge);
        }
        let message = Message::decode(&data).map_err(|_| Violation::TextInvalid)?;
        let Message { kind, sender, receiver, .. } = message;
        let content = message.content().into_owned();
        cx.notify(ClientNotice::Message { kind, sender, receiver, content, text: data });
        Ok(())
    }

    fn deliver(&mut self, delivery: Delivery, cx: &mut Context<'_, Self>) {
        match delivery {
            // Who is no server has nobody to bring it to.
            Delivery::Push(_) => cx.mark(Mark::PushRefused),
            // It registers nowhere.
            Delivery::Admitted(_)
            | Delivery::Reserved(_)
            | Delivery::Rejected { .. }
            | Delivery::Presence { .. }
            | Delivery::WatchRefused(_)
            | Delivery::Congested(_)
            | Delivery::Relieved(_) => {}
        }
    }

    fn command(&mut self, command: ClientCommand, cx: &mut Context<'_, Self>) {
        match command {
            ClientCommand::Send { receiver, content } => self.send(Kind::Send, receiver, &content, cx),
            ClientCommand::Close => {
                self.send(Kind::Close, 0, "", cx);
                cx.close(CloseReason::Finished);
            }
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
        true
    }

    fn at_boundary(&self) -> bool {
        true
    }

    fn footprint(&self) -> usize {
        0
    }
}
