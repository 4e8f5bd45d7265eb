//! The smallest dialect: it shows that the laws of a connection come from the shell, not from pomelo.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use linkspan_core::hub::{Badge, Device, Platform};
use linkspan_core::{
    CloseReason, Context, Delivery, Dialect, Event, Frame, GroupId, Instant, Key, Limits, Opcode, Overflow,
    Violation,
};

use super::{Ready, Script, Station};

/// Units of one length byte and that many bytes (at most 200), which are echoed; from 201 on a byte is an order.
#[derive(Debug, Default)]
pub struct Toy {
    partial: BytesMut,
    ready: bool,
    owed: VecDeque<Instant>,
}

/// What the application of a [`Toy`] may ask.
#[derive(Clone, Debug)]
pub enum ToyCommand {
    /// Send this.
    Send(Bytes),
    /// Send this if there is room.
    Lossy(Bytes, Overflow),
    /// Pay what is owed to the peer.
    Pay,
    /// End.
    Close,
    /// Register under a key.
    Register(Key),
    /// Hold a place under a key.
    Reserve(Key),
    /// Give it up.
    Unregister(Key),
    /// Watch a key.
    Watch(Key),
    /// No longer watch it.
    Unwatch(Key),
    /// Join a group.
    Join(GroupId),
    /// Leave it.
    Leave(GroupId),
}

/// One unit as it goes over the wire.
pub fn unit(body: &[u8]) -> Vec<u8> {
    let mut unit = vec![u8::try_from(body.len()).expect("a unit is short")];
    unit.extend_from_slice(body);
    unit
}

impl Toy {
    /// Bodies are shorter than this; other first bytes are orders.
    pub const BODY_MAX: u8 = 200;
    /// The handshake is over.
    pub const READY: u8 = 201;
    /// Something is owed, and paid after a second if nobody does it before.
    pub const OWE: u8 = 202;
    /// A graceful end.
    pub const DRAIN: u8 = 203;

    fn order(&mut self, order: u8, cx: &mut Context<'_, Self>) -> Result<(), Violation> {
        match order {
            Self::READY if !self.ready => {
                self.ready = true;
                cx.established();
            }
            Self::OWE => self.owed.push_back(cx.now() + core::time::Duration::from_secs(1)),
            Self::DRAIN => cx.drain(CloseReason::Finished),
            _ => return Err(Violation::PackageType),
        }
        Ok(())
    }

    fn pay(&mut self, cx: &mut Context<'_, Self>) {
        if self.owed.pop_front().is_some() {
            cx.send(Frame::new(Opcode::Binary, Bytes::from_static(b"paid")));
        }
    }
}

impl Ready for Toy {
    fn is_ready(&self) -> bool {
        self.ready
    }
}

impl Dialect for Toy {
    type Command = ToyCommand;
    type Notice = Bytes;

    fn open(&mut self, _cx: &mut Context<'_, Self>) {}

    fn receive(&mut self, _: Opcode, data: Bytes, cx: &mut Context<'_, Self>) -> Result<(), Violation> {
        self.partial.extend_from_slice(&data);
        while cx.is_open() {
            let Some(first) = self.partial.first().copied() else { break };
            if first > Self::BODY_MAX {
                self.partial.advance(1);
                cx.unfinished(false);
                self.order(first, cx)?;
            } else if self.partial.len() > usize::from(first) {
                let body = self.partial.split_to(1 + usize::from(first)).freeze().slice(1..);
                cx.unfinished(false);
                cx.heard();
                cx.notify(body.clone());
                cx.send(Frame::new(Opcode::Binary, body));
            } else {
                break;
            }
        }
        cx.unfinished(!self.partial.is_empty());
        Ok(())
    }

    fn deliver(&mut self, delivery: Delivery, cx: &mut Context<'_, Self>) {
        match delivery {
            Delivery::Push(push) => {
                let body = push.body().slice(..push.body().len().min(600));
                cx.send_lossy(Frame::new(Opcode::Binary, body), push.overflow());
            }
            Delivery::Admitted(key) | Delivery::Reserved(key) => _ = cx.admitted(&key),
            Delivery::Rejected { key, .. } => cx.rejected(&key),
            _ => {}
        }
    }

    fn command(&mut self, command: ToyCommand, cx: &mut Context<'_, Self>) {
        match command {
            ToyCommand::Send(body) => cx.send(Frame::new(Opcode::Binary, body)),
            ToyCommand::Lossy(body, overflow) => cx.send_lossy(Frame::new(Opcode::Binary, body), overflow),
            ToyCommand::Pay => self.pay(cx),
            ToyCommand::Close => cx.close(CloseReason::Finished),
            ToyCommand::Register(key) => _ = cx.register(key),
            ToyCommand::Reserve(key) => {
                _ = cx.reserve(key, Badge { device: Device::of(Platform::WEB), ..Badge::default() });
            }
            ToyCommand::Unregister(key) => cx.unregister(&key),
            ToyCommand::Watch(key) => _ = cx.watch(key),
            ToyCommand::Unwatch(key) => cx.unwatch(&key),
            ToyCommand::Join(group) => _ = cx.join(group),
            ToyCommand::Leave(group) => cx.leave(&group),
        }
    }

    fn beat(&mut self, cx: &mut Context<'_, Self>) {
        cx.send_sign(Frame::new(Opcode::Binary, Bytes::from_static(b"beat")));
    }

    fn expire(&mut self, cx: &mut Context<'_, Self>) {
        while self.owed.front().is_some_and(|due| *due <= cx.now()) {
            self.pay(cx);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.owed.front().copied()
    }

    fn farewell(&mut self, _: CloseReason, cx: &mut Context<'_, Self>) {
        cx.send_sign(Frame::new(Opcode::Binary, Bytes::from_static(b"bye")));
    }

    fn is_busy(&self) -> bool {
        !self.owed.is_empty()
    }

    fn wants_read(&self, limits: &Limits) -> bool {
        self.owed.len() < limits.pending_requests as usize
    }

    fn at_boundary(&self) -> bool {
        self.partial.is_empty()
    }

    fn footprint(&self) -> usize {
        self.partial.len() + self.owed.len() * size_of::<Instant>()
    }
}

/// A toy connection that lives through a script.
#[derive(Debug)]
pub struct ToyPlayer<'a> {
    script: Script<'a>,
    /// The connection.
    pub station: Station<Toy>,
}

impl<'a> ToyPlayer<'a> {
    /// The connection that `data` describes.
    pub fn new(data: &'a [u8]) -> Self {
        let mut script = Script::new(data);
        let limits = Arc::new(script.limits());
        let station = Station::new(Toy::default(), limits, script.now()).logged();
        Self { script, station }
    }

    /// Plays one step; false when the script is over.
    pub fn step(&mut self) -> bool {
        if self.script.is_over() {
            return false;
        }
        let event = match self.script.choose(16) {
            0..=5 => Event::Received(Opcode::Stream, self.bytes()),
            6 => Event::Command(ToyCommand::Send(self.small())),
            7 => Event::Command(ToyCommand::Lossy(self.small(), self.script.overflow())),
            8 => Event::Command(ToyCommand::Pay),
            9 => Event::Command(ToyCommand::Register(self.script.key())),
            10 => Event::Command(ToyCommand::Join(self.script.group())),
            11 => Event::Command(ToyCommand::Unregister(self.script.key())),
            12 => {
                let (now, count) = (self.script.tick(), self.script.choose(4));
                self.station.flush(now, count);
                return true;
            }
            13 => {
                let now = self.script.tick();
                self.station.timeout(now);
                return true;
            }
            14 => match self.script.choose(8) {
                0 => Event::Command(ToyCommand::Close),
                1 => Event::Command(ToyCommand::Leave(self.script.group())),
                2 | 3 => Event::Command(ToyCommand::Watch(self.script.key())),
                4 => Event::Command(ToyCommand::Unwatch(self.script.key())),
                5 => Event::Command(ToyCommand::Reserve(self.script.key())),
                _ => self.script.outside(),
            },
            _ => self.script.outside(),
        };
        let now = self.script.tick();
        self.station.event(now, event);
        true
    }

    /// A dialect keeps its own frames below the limit; this one has no message that would be refused.
    fn small(&mut self) -> Bytes {
        let body = self.script.body();
        body.slice(..body.len().min(600))
    }

    fn bytes(&mut self) -> Bytes {
        const ORDERS: [u8; 8] = [Toy::READY, Toy::READY, Toy::OWE, Toy::OWE, Toy::OWE, 9, Toy::DRAIN, 255];
        match self.script.choose(4) {
            0 => Bytes::copy_from_slice(&[ORDERS[self.script.choose(ORDERS.len())]]),
            1 => unit(&vec![7; self.script.choose(usize::from(Toy::BODY_MAX))]).into(),
            2 => vec![Toy::READY, 2, 1, 1, 3, 1].into(),
            _ => Bytes::from(self.script.raw(24)),
        }
    }
}
