//! A dialect for tests: messages with a two-byte length, or one per WebSocket message.

use std::collections::VecDeque;
use std::task::{Context as TaskContext, Poll};

use bytes::{Buf, Bytes, BytesMut};
use linkspan_core::{
    CloseReason, Context, Delivery, Dialect, Frame, GroupId, Instant, Limits, Opcode, Overflow, Push, To,
    Violation,
};
use linkspan_runtime::{App, Mailbox};

#[derive(Debug)]
pub(crate) struct Toy {
    buffer: BytesMut,
    binary: bool,
    pending: u32,
    /// The handshake is finished by the first message instead of at once.
    pub(crate) waits: bool,
}

#[derive(Debug)]
pub(crate) enum ToyCommand {
    Answer(Bytes),
    Push(Bytes),
}

impl Toy {
    pub(crate) fn new(waits: bool) -> Self {
        Self { buffer: BytesMut::new(), binary: false, pending: 0, waits }
    }

    fn frame(&self, body: Bytes) -> Frame {
        if self.binary {
            return Frame::new(Opcode::Binary, body);
        }
        let length = u16::try_from(body.len()).unwrap();
        Frame::with_head(Opcode::Stream, &[&length.to_be_bytes()], body)
    }

    fn message(&mut self, body: Bytes, cx: &mut Context<'_, Self>) {
        cx.heard();
        if self.waits {
            self.waits = false;
            cx.established();
        }
        let group = || GroupId::new("all").unwrap();
        let publish = |overflow| Push::new("", body.slice(1..), overflow);
        match body.first() {
            Some(b'J') => drop(cx.join(group())),
            Some(b'C') => cx.publish(To::Group(group()), publish(Overflow::Close)),
            Some(b'N') => cx.publish(To::Group(group()), publish(Overflow::DropNewest)),
            Some(b'K') => cx.drain(CloseReason::Kicked),
            _ => {
                self.pending += 1;
                cx.notify(body);
            }
        }
    }
}

impl Dialect for Toy {
    type Command = ToyCommand;
    type Notice = Bytes;

    fn open(&mut self, cx: &mut Context<'_, Self>) {
        if !self.waits {
            cx.established();
        }
    }

    fn receive(&mut self, opcode: Opcode, data: Bytes, cx: &mut Context<'_, Self>) -> Result<(), Violation> {
        match opcode {
            Opcode::Stream => {}
            Opcode::Binary | Opcode::Text => {
                self.binary = true;
                self.message(data, cx);
                return Ok(());
            }
            Opcode::Ping | Opcode::Pong => return Ok(()),
        }
        self.buffer.extend_from_slice(&data);
        while let [high, low, rest @ ..] = &self.buffer[..] {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if rest.len() < length {
                break;
            }
            self.buffer.advance(2);
            let body = self.buffer.split_to(length).freeze();
            self.message(body, cx);
        }
        cx.unfinished(!self.buffer.is_empty());
        Ok(())
    }

    fn deliver(&mut self, delivery: Delivery, cx: &mut Context<'_, Self>) {
        if let Delivery::Push(push) = delivery {
            let frame = self.frame(push.body().clone());
            cx.send_lossy(frame, push.overflow());
        }
    }

    fn command(&mut self, command: ToyCommand, cx: &mut Context<'_, Self>) {
        let body = match command {
            ToyCommand::Answer(body) => {
                self.pending = self.pending.saturating_sub(1);
                body
            }
            ToyCommand::Push(body) => body,
        };
        let frame = self.frame(body);
        cx.send(frame);
    }

    fn beat(&mut self, cx: &mut Context<'_, Self>) {
        let frame = self.frame(Bytes::from_static(b"beat"));
        cx.send(frame);
    }

    fn expire(&mut self, _: &mut Context<'_, Self>) {}

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn farewell(&mut self, _: CloseReason, _: &mut Context<'_, Self>) {}

    fn is_busy(&self) -> bool {
        self.pending > 0
    }

    fn wants_read(&self, limits: &Limits) -> bool {
        self.pending < limits.pending_requests
    }

    fn at_boundary(&self) -> bool {
        self.buffer.is_empty()
    }

    fn footprint(&self) -> usize {
        self.buffer.capacity()
    }
}

/// Answers each message with itself.
pub(crate) struct Echo {
    pub(crate) mailbox: Mailbox<ToyCommand>,
    pub(crate) answers: VecDeque<Bytes>,
}

impl App<Toy> for Echo {
    fn handle_notice(&mut self, notice: Bytes) {
        match notice.first() {
            Some(b'!') => panic!("as asked"),
            // A push posted before the answer.
            Some(b'?') => self.mailbox.command(ToyCommand::Push(Bytes::from_static(b"first"))).unwrap(),
            _ => {}
        }
        self.answers.push_back(notice);
    }

    fn poll_command(&mut self, _: &mut TaskContext<'_>, has_room: bool) -> Poll<ToyCommand> {
        // An answer that never comes.
        if self.answers.front().is_some_and(|one| one.first() == Some(&b'~')) {
            return Poll::Pending;
        }
        match self.answers.pop_front() {
            Some(answer) if has_room => Poll::Ready(ToyCommand::Answer(answer)),
            Some(answer) => {
                self.answers.push_front(answer);
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }

    fn handle_closed(&mut self, _: CloseReason) {}
}
