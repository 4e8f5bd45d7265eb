//! The two applications over a chat connection, and one who only watches who is online.

use linkspan_core::chat::{Client, ClientCommand, ClientNotice, Server, ServerCommand, ServerNotice};
use linkspan_core::{CloseReason, Context, Delivery, Dialect, Instant, Key, Limits, Opcode, Violation};

use super::end::{App, Desk, Orders, Said};
use super::plan::{Op, Verb};
use super::pomelo::group;

/// What a gateway does for a chat connection beyond the dialect.
#[derive(Debug, Default)]
pub(super) struct Room;

impl App<Server> for Room {
    fn hear(&mut self, _: ServerNotice, _: &mut Orders<ServerCommand>, _: &mut Desk<'_>) {}

    fn wake(&mut self, _: u64, _: &mut Orders<ServerCommand>, _: &mut Desk<'_>) {}

    fn perform(&mut self, op: &Op, orders: &mut Orders<ServerCommand>, _: &mut Desk<'_>) {
        match op.verb {
            Verb::Kick => orders.give(ServerCommand::Kick),
            Verb::Join => orders.give(ServerCommand::Join(group(op.a))),
            Verb::Leave => orders.give(ServerCommand::Leave(group(op.a))),
            _ => {}
        }
    }
}

/// A user of the chat dialect.
#[derive(Debug, Default)]
pub(super) struct User;

impl App<Client> for User {
    fn hear(&mut self, notice: ClientNotice, _: &mut Orders<ClientCommand>, desk: &mut Desk<'_>) {
        if let ClientNotice::Message { content, .. } = notice {
            desk.ledger.arrived(desk.peer, content.as_bytes(), desk.is_forged);
        }
    }

    fn wake(&mut self, token: u64, _: &mut Orders<ClientCommand>, desk: &mut Desk<'_>) {
        // There is no handshake: it works as soon as it is there.
        if token == 0 {
            desk.said.push(Said::Ready);
        }
    }

    fn perform(&mut self, op: &Op, orders: &mut Orders<ClientCommand>, desk: &mut Desk<'_>) {
        let mut say = |receiver: u64, size: u64| {
            let (_, text) = desk.ledger.write(size);
            let content = String::from_utf8(text).expect("payloads are text");
            orders.give(ClientCommand::Send { receiver, content });
        };
        match op.verb {
            Verb::Send => say(op.a, op.b),
            Verb::Flood => (0..op.a).for_each(|turn| say(1 + turn % 4, op.b)),
            Verb::HangUp => orders.give(ClientCommand::Close),
            _ => {}
        }
    }
}

/// The smallest dialect: its gateway's end watches some names for as long as it lives.
#[derive(Debug)]
pub(super) struct Watcher {
    is_server: bool,
}

impl Watcher {
    pub(super) const fn new(is_server: bool) -> Self {
        Self { is_server }
    }
}

impl Dialect for Watcher {
    type Command = (Key, bool);
    type Notice = Delivery;

    fn open(&mut self, cx: &mut Context<'_, Self>) {
        let silence = std::time::Duration::from_secs(60);
        cx.set_liveness(Some(silence / 3), Some(silence));
        cx.established();
    }

    fn receive(&mut self, _: Opcode, _: bytes::Bytes, cx: &mut Context<'_, Self>) -> Result<(), Violation> {
        cx.heard();
        Ok(())
    }

    fn deliver(&mut self, delivery: Delivery, cx: &mut Context<'_, Self>) {
        cx.notify(delivery);
    }

    fn command(&mut self, (key, wanted): (Key, bool), cx: &mut Context<'_, Self>) {
        if !self.is_server {
            cx.close(CloseReason::Finished);
        } else if wanted {
            cx.watch(key);
        } else {
            cx.unwatch(&key);
        }
    }

    fn beat(&mut self, cx: &mut Context<'_, Self>) {
        cx.send_sign(linkspan_core::Frame::new(Opcode::Ping, bytes::Bytes::new()));
    }

    fn expire(&mut self, _: &mut Context<'_, Self>) {}

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn farewell(&mut self, _: CloseReason, _: &mut Context<'_, Self>) {}

    fn is_busy(&self) -> bool {
        false
    }

    fn wants_read(&self, _: &Limits) -> bool {
        true
    }

    fn at_boundary(&self) -> bool {
        true
    }

    fn footprint(&self) -> usize {
        0
    }
}

/// What a watcher was told last, by name.
#[derive(Debug, Default)]
pub(super) struct Watch;

impl App<Watcher> for Watch {
    fn hear(&mut self, notice: Delivery, _: &mut Orders<(Key, bool)>, desk: &mut Desk<'_>) {
        let end = desk.end;
        if let (Some(gateway), Delivery::Presence { key, platforms }) = (&mut desk.gateway, notice) {
            gateway.told.insert((end, key), platforms);
        }
    }

    fn wake(&mut self, token: u64, _: &mut Orders<(Key, bool)>, desk: &mut Desk<'_>) {
        if token == 0 && desk.gateway.is_none() {
            desk.said.push(Said::Ready);
        }
    }

    fn perform(&mut self, op: &Op, orders: &mut Orders<(Key, bool)>, desk: &mut Desk<'_>) {
        let name = super::pomelo::key(op.a);
        match op.verb {
            Verb::Bind | Verb::Join => orders.give((name, true)),
            Verb::Unbind | Verb::Leave => {
                let end = desk.end;
                if let Some(gateway) = &mut desk.gateway {
                    gateway.told.remove(&(end, name.clone()));
                }
                orders.give((name, false));
            }
            Verb::HangUp if desk.gateway.is_none() => orders.give((name, false)),
            _ => {}
        }
    }
}
