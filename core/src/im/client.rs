//! The client's end of an IM connection.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Answer, Functions, Reply, Token, envelope};
use crate::json;
use crate::{CloseReason, Context, Delivery, Dialect, Frame, Instant, Limits, Mark, Opcode, Violation};

/// What the client's end tells the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientNotice {
    /// A call is answered.
    Answer {
        /// What the call was known by.
        operation: String,
        /// The function; of a call without a login it is `Login`.
        event: String,
        /// What the server says.
        answer: Answer,
    },
    /// An event, or the answer to a call of another connection of the same user.
    Event {
        /// Its operation id.
        operation: String,
        /// Its name.
        event: String,
        /// What the server says.
        answer: Answer,
    },
}

/// What the application may ask of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum ClientCommand {
    /// Logs the user in.
    Login {
        /// What the answer will be known by.
        operation: String,
        /// What proves the user.
        token: Token,
        /// Whether new messages shall come as lists.
        batch: bool,
    },
    /// Calls a function.
    Call {
        /// What the answer will be known by.
        operation: String,
        /// The function.
        function: String,
        /// Its arguments.
        data: String,
    },
    /// Ends the connection once what is queued is written.
    Close,
}

/// The client's end of an IM connection, behind its handshake.
#[derive(Debug)]
pub struct Client {
    user: Box<str>,
    /// The operation ids of calls without an answer.
    open: Vec<Box<str>>,
}

impl Client {
    /// The end of a new connection of `user`, the `sendID` of the handshake.
    pub fn new(user: &str) -> Self {
        Self { user: user.into(), open: Vec::new() }
    }

    /// How many calls wait for an answer.
    pub fn pending_requests(&self) -> usize {
        self.open.len()
    }

    fn call(&mut self, operation: &str, function: &str, data: &str, batch: bool, cx: &mut Context<'_, Self>) {
        let request = envelope::Request {
            function: function.into(),
            operation: operation.into(),
            data: data.into(),
            user: (&*self.user).into(),
            batch,
        };
        let text = request.encode();
        let is_full = self.open.len() >= cx.limits().pending_requests as usize;
        if is_full || text.len() > cx.limits().send_max as usize || !cx.is_open() {
            return cx.mark(Mark::PushRefused);
        }
        self.open.push(operation.into());
        cx.send(Frame::new(Opcode::Text, text));
    }

    fn login(&mut self, operation: &str, token: &str, batch: bool, cx: &mut Context<'_, Self>) {
        let mut data = b"{\"userID\":".to_vec();
        json::push_text(&mut data, &self.user);
        data.extend_from_slice(b",\"token\":");
        json::push_text(&mut data, token);
        data.push(b'}');
        let data = String::from_utf8_lossy(&data).into_owned();
        self.call(operation, Functions::LOGIN, &data, batch, cx);
    }

    fn handle_reply(&mut self, reply: Reply<'_>, cx: &mut Context<'_, Self>) {
        let answer = Answer {
            code: reply.code,
            message: reply.message.into_owned().into(),
            data: reply.data.into_owned().into(),
        };
        let (operation, event) = (reply.operation.into_owned(), reply.event.into_owned());
        cx.notify(match self.open.iter().position(|open| **open == *operation) {
            Some(at) => {
                self.open.swap_remove(at);
                ClientNotice::Answer { operation, event, answer }
            }
            None => ClientNotice::Event { operation, event, answer },
        });
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
        let reply = Reply::decode(&data).map_err(|_| Violation::TextInvalid)?;
        self.handle_reply(reply, cx);
        Ok(())
    }

    fn deliver(&mut self, delivery: Delivery, cx: &mut Context<'_, Self>) {
        match delivery {
            // Who is no server has nobody to bring it to.
            Delivery::Push(_) => cx.mark(Mark::PushRefused),
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
            ClientCommand::Login { operation, token, batch } => {
                self.login(&operation, token.as_str(), batch, cx);
            }
            ClientCommand::Call { operation, function, data } => {
                self.call(&operation, &function, &data, false, cx);
            }
            ClientCommand::Close => cx.close(CloseReason::Finished),
        }
    }

    fn beat(&mut self, cx: &mut Context<'_, Self>) {
        if cx.is_silent() {
            cx.send_sign(Frame::new(Opcode::Ping, Bytes::new()));
        }
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
        let texts = self.open.iter().map(|operation| operation.len()).sum::<usize>();
        self.user.len() + self.open.capacity() * size_of::<Box<str>>() + texts
    }
}
