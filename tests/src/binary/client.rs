//! A blocking pomelo client.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use linkspan_core::Limits;
use linkspan_core::pomelo::{self, Dictionary, Message, MessageId, MessageType, RouteOut};

use super::{Carrier, Wire};

/// `{"sys":{}}` in a handshake package.
pub(super) const HANDSHAKE: &[u8] = b"\x01\0\0\x0a{\"sys\":{}}";
/// The package that follows on the handshake's answer.
pub(super) const ACK: &[u8] = b"\x02\0\0\0";

/// What a server says after the handshake, besides heartbeats.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    Answer(u64, Bytes),
    Push(Bytes, Bytes),
    Kick(Bytes),
    End,
}

/// One client.
pub(super) struct Client {
    pub(super) wire: Wire,
}

impl Client {
    /// Connects and shakes hands.
    pub(super) fn connect(address: SocketAddr, carrier: Carrier) -> io::Result<Self> {
        Self::shake_hands(Wire::open(address, carrier)?)
    }

    /// Connects over TCP as a proxy does, with what it says first, and shakes hands.
    pub(super) fn connect_behind(address: SocketAddr, header: &[u8]) -> io::Result<Self> {
        let mut wire = Wire::open(address, Carrier::Tcp)?;
        wire.raw(header)?;
        Self::shake_hands(wire)
    }

    fn shake_hands(mut wire: Wire) -> io::Result<Self> {
        wire.send(HANDSHAKE)?;
        match wire.receive()? {
            Some(answer) if answer[0] == 1 => {}
            other => return Err(io::Error::other(format!("no handshake: {other:?}"))),
        }
        wire.send(ACK)?;
        Ok(Self { wire })
    }

    /// Asks.
    pub(super) fn request(&mut self, id: u64, route: &str, body: impl Into<Bytes>) -> io::Result<()> {
        let (id, route) = (MessageId::from_number(id), RouteOut::Plain(route.as_bytes()));
        let frame = pomelo::request(&id, route, false, body.into(), Limits::BODY_MAX);
        self.wire.send(&frame.map_err(io::Error::other)?.into_bytes())
    }

    /// What comes next.
    pub(super) fn next(&mut self) -> io::Result<Got> {
        loop {
            let Some(package) = self.wire.receive()? else { return Ok(Got::End) };
            let package = Bytes::from(package);
            let body = package.slice(4..);
            match package[0] {
                3 => {}
                4 => {
                    let message = Message::decode(body, &Dictionary::default()).map_err(io::Error::other)?;
                    return Ok(match message.kind {
                        MessageType::Push => Got::Push(message.route, message.body),
                        _ => Got::Answer(message.id.number(), message.body),
                    });
                }
                5 => return Ok(Got::Kick(body)),
                kind => return Err(io::Error::other(format!("package {kind}"))),
            }
        }
    }

    /// Asks `Echo.Raw`, and is content with nothing but the right answer.
    pub(super) fn echo(&mut self, id: u64) -> io::Result<()> {
        let text = format!("echo {id}");
        self.request(id, "Echo.Raw", text.clone())?;
        match self.next()? {
            Got::Answer(answered, body) if answered == id && body == text => Ok(()),
            other => Err(io::Error::other(format!("not the answer to {id}: {other:?}"))),
        }
    }
}
