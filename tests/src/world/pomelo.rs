//! The two applications over a pomelo connection: services on a gateway, and a user.

use std::collections::BTreeMap;

use bytes::Bytes;
use linkspan_core::pomelo::{
    Client, ClientCommand, ClientNotice, ErrorBody, Receipt, RefuseCode, RequestError, Server, ServerCommand,
    ServerNotice, Ticket,
};
use linkspan_core::services::{NodeId, Target};
use linkspan_core::{CloseReason, ConnId, Connection, Frame, GroupId, Key, Push, To, chat};

use super::bounds::overflow;
use super::branch::Branch;
use super::end::{App, Desk, Orders, Said};
use super::plan::{Op, Verb};

/// A user's name as a key: that of the chat dialect, so that all dialects meet.
pub(super) fn key(name: u64) -> Key {
    chat::user_key(name)
}

pub(super) fn group(number: u64) -> GroupId {
    GroupId::new(format!("g{number}")).expect("a short name")
}

/// The type of the package that tells a client why its connection ends.
const KICK: u8 = 5;

/// Something that a service does later.
#[derive(Debug)]
enum Later {
    Accept(Option<u64>),
    Refuse,
    /// What is given back, and which other node gives it.
    Answer(Ticket, Bytes, Option<NodeId>),
    Fail(Ticket),
    Done(Receipt),
}

/// The services of a gateway, for one connection.
#[derive(Debug, Default)]
pub(super) struct Services {
    later: BTreeMap<u64, Later>,
    tokens: u64,
    /// Whether messages flow: one has come.
    is_working: bool,
}

impl Services {
    fn put_off(&mut self, span: u64, later: Later, desk: &mut Desk<'_>) {
        self.tokens += 1;
        self.later.insert(self.tokens, later);
        desk.answer_after(span, self.tokens);
    }

    fn handle_request(
        &mut self,
        ticket: Ticket,
        route: &[u8],
        body: Bytes,
        orders: &mut Orders<ServerCommand>,
        desk: &mut Desk<'_>,
    ) {
        let conn = ConnId(desk.end as u64);
        let span = desk.service_time();
        let settings = &desk.plan.settings;
        let (silent, tardy, bulky) = (settings.silent, settings.tardy, settings.bulky);
        let Some(gateway) = &mut desk.gateway else { return };
        let request_timeout = gateway.limits.request_timeout.as_micros() as u64;
        let too_large = gateway.limits.send_max as usize + 1;
        let mut from = None;
        let is_known = match gateway.services.alter(|services| services.resolve(conn, route)) {
            Target::Local { service, method } => serve(service, method, &body, orders, desk),
            Target::Remote { node, .. } => {
                assert!(gateway.nodes.contains(&node), "G1: a request goes to {node:?}, which has left");
                from = Some(node);
                true
            }
            Target::Unknown | Target::Malformed => false,
        };
        if desk.happens(silent) {
            return;
        }
        let span = if desk.happens(tardy) { request_timeout + 1_000 } else { span };
        let body = if desk.happens(bulky) { Bytes::from(vec![b'y'; too_large]) } else { body };
        let later = if is_known { Later::Answer(ticket, body, from) } else { Later::Fail(ticket) };
        self.put_off(span, later, desk);
    }
}

/// What a local service does at once; false if it does not know the method.
fn serve(
    service: &[u8],
    method: &[u8],
    body: &Bytes,
    orders: &mut Orders<ServerCommand>,
    desk: &Desk<'_>,
) -> bool {
    let mut parts = body.splitn(2, |byte| *byte == b'|');
    let number = parts.next().and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
    let text = body.slice_ref(parts.next().unwrap_or_default());
    let overflow = desk.plan.settings.overflow();
    match (service, method, number) {
        (b"Echo", ..) => {}
        (b"Chat", b"Bind", Some(name)) => orders.give(ServerCommand::Bind(key(name))),
        (b"Chat", b"Unbind", Some(name)) => orders.give(ServerCommand::Unbind(key(name))),
        (b"Chat", b"Send", Some(name)) => {
            let push = Push::new("onChat", text, overflow);
            orders.give(ServerCommand::Publish { to: To::Key(key(name)), push });
        }
        (b"Room", b"Join", Some(number)) => orders.give(ServerCommand::Join(group(number))),
        (b"Room", b"Leave", Some(number)) => orders.give(ServerCommand::Leave(group(number))),
        (b"Room", b"Cast", Some(number)) => {
            let push = Push::new("onChat", text, overflow);
            orders.give(ServerCommand::Publish { to: To::Group(group(number)), push });
        }
        _ => return false,
    }
    true
}

impl App<Server> for Services {
    fn hear(&mut self, notice: ServerNotice, orders: &mut Orders<ServerCommand>, desk: &mut Desk<'_>) {
        match notice {
            ServerNotice::Handshake(body) => {
                let settings = &desk.plan.settings;
                let (refuse, early) = (settings.refuse, settings.early > 0);
                let name = super::ledger::find(&body).map(|(name, _)| name).filter(|_| early);
                let span = desk.service_time();
                let later = if desk.happens(refuse) { Later::Refuse } else { Later::Accept(name) };
                self.put_off(span, later, desk);
            }
            ServerNotice::Request { ticket, route, body } => {
                self.is_working = true;
                self.handle_request(ticket, &route, body, orders, desk);
            }
            ServerNotice::Notify { receipt, .. } => {
                let span = desk.service_time();
                self.put_off(span, Later::Done(receipt), desk);
            }
            _ => {}
        }
    }

    fn wake(&mut self, token: u64, orders: &mut Orders<ServerCommand>, desk: &mut Desk<'_>) {
        match self.later.remove(&token) {
            Some(Later::Accept(name)) => {
                if let Some(name) = name {
                    orders.give(ServerCommand::Bind(key(name)));
                }
                orders.give(ServerCommand::Accept { user: None });
            }
            Some(Later::Refuse) => {
                orders.give(ServerCommand::Refuse { code: RefuseCode::Denied, user: None });
            }
            Some(Later::Answer(ticket, body, from)) => {
                // What it would say is still given, as if it had been on its way.
                let is_there =
                    |node| desk.gateway.as_ref().is_some_and(|gateway| gateway.nodes.contains(&node));
                if from.is_some_and(|node| !is_there(node)) {
                    desk.said.push(Said::Passed(Branch::NodeLeftWithRequest));
                }
                orders.hold(ServerCommand::Answer { ticket, body });
            }
            Some(Later::Fail(ticket)) => {
                let error = ErrorBody::new(ErrorBody::NOT_FOUND, "nobody answers this");
                orders.hold(ServerCommand::Fail { ticket, error });
            }
            Some(Later::Done(receipt)) => orders.give(ServerCommand::Done(receipt)),
            None => {}
        }
    }

    fn says_goodbye(&self, reason: CloseReason, last: Option<&Frame>) -> bool {
        let is_due = matches!(
            reason,
            CloseReason::Kicked | CloseReason::Replaced | CloseReason::DeviceReplaced | CloseReason::Stopping
        );
        let is_kick = last.is_some_and(|frame| frame.clone().into_bytes().first() == Some(&KICK));
        assert!(!is_due || !self.is_working || is_kick, "C6: a connection ends without a kick: {reason}");
        is_due && self.is_working
    }

    fn perform(&mut self, op: &Op, orders: &mut Orders<ServerCommand>, _: &mut Desk<'_>) {
        if op.verb == Verb::Kick {
            orders.give(ServerCommand::Kick { reason: Bytes::from_static(b"go") });
        }
    }
}

/// A user's application.
#[derive(Debug)]
pub(super) struct User {
    name: u64,
    is_ready: bool,
}

impl User {
    pub(super) fn new(name: u64) -> Self {
        Self { name, is_ready: false }
    }

    fn ask(
        &self,
        route: &'static str,
        prefix: Option<u64>,
        size: u64,
        orders: &mut Orders<ClientCommand>,
        desk: &mut Desk<'_>,
    ) {
        let (request, text) = desk.ledger.write(size);
        let body = match prefix {
            Some(prefix) => [format!("{prefix}|").as_bytes(), &text].concat(),
            None => text,
        };
        // Answers that are too large become errors, and remote nodes say what they like.
        desk.ledger.asked(desk.time, desk.end, request, desk.plan.settings.bulky == 0);
        let route = Bytes::from_static(route.as_bytes());
        orders.give(ClientCommand::Request { request, route, body: body.into() });
    }
}

impl App<Client> for User {
    fn hear(&mut self, notice: ClientNotice, orders: &mut Orders<ClientCommand>, desk: &mut Desk<'_>) {
        match notice {
            ClientNotice::Connected(_) => {
                self.is_ready = true;
                desk.said.push(Said::Ready);
                self.ask("Chat.Bind", Some(self.name), 0, orders, desk);
            }
            ClientNotice::Answer { request, body } => {
                desk.ledger.answered(desk.end, request, &body, desk.is_trusted);
            }
            ClientNotice::Failed { request, error } => {
                desk.ledger.failed(desk.end, request);
                let is_own = matches!(error, RequestError::Unsayable(_) | RequestError::TooMany);
                assert!(!is_own || self.is_ready, "C1: a request fails so before the handshake");
            }
            ClientNotice::Push { body, .. } => desk.ledger.arrived(desk.peer, &body, desk.is_forged),
            _ => {}
        }
    }

    fn wake(&mut self, _: u64, _: &mut Orders<ClientCommand>, _: &mut Desk<'_>) {}

    fn perform(&mut self, op: &Op, orders: &mut Orders<ClientCommand>, desk: &mut Desk<'_>) {
        let Op { verb, a, b, .. } = *op;
        match verb {
            Verb::Request => {
                let route = [
                    "Echo.Say",
                    "Echo.Say",
                    "Echo.Again",
                    "Far.Say",
                    "Away.Say",
                    "Nobody.Say",
                    "x",
                    "Far.Go",
                ];
                self.ask(route[b as usize % route.len()], None, a, orders, desk);
            }
            Verb::Notify => {
                let (_, text) = desk.ledger.write(a);
                orders.give(ClientCommand::Notify {
                    route: Bytes::from_static(b"Echo.Note"),
                    body: text.into(),
                });
            }
            Verb::Send => self.ask("Chat.Send", Some(a), b, orders, desk),
            Verb::Join => self.ask("Room.Join", Some(a), 0, orders, desk),
            Verb::Leave => self.ask("Room.Leave", Some(a), 0, orders, desk),
            Verb::Cast => self.ask("Room.Cast", Some(a), b, orders, desk),
            Verb::Bind => self.ask("Chat.Bind", Some(a), 0, orders, desk),
            Verb::Unbind => self.ask("Chat.Unbind", Some(a), 0, orders, desk),
            Verb::Flood if b == 1_000 => {
                (0..a).for_each(|turn| self.ask("Chat.Send", Some(1 + turn % 4), b, orders, desk));
            }
            Verb::Flood => (0..a).for_each(|_| self.ask("Echo.Say", None, b, orders, desk)),
            Verb::HangUp => orders.give(ClientCommand::Close),
            _ => {}
        }
    }

    fn closed(&mut self, _: CloseReason, _: &mut Desk<'_>) {
        self.is_ready = false;
    }

    fn missing(&self, connection: &Connection<Client>) -> Option<String> {
        (!connection.dialect().is_working()).then(|| "the handshake is not over".to_owned())
    }
}

/// What a service says to a name: the plan's [`Verb::Push`].
pub(super) fn service_push(text: Vec<u8>, policy: u64) -> Push {
    Push::new("onPush", text, overflow(policy))
}
