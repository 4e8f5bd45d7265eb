//! The two applications over an IM connection: the gateway's, which hands requests on, and a user's.

use std::collections::BTreeMap;

use linkspan_core::Connection;
use linkspan_core::im::{Client, ClientCommand, ClientNotice, Server, ServerCommand, ServerNotice};

use super::end::{App, Orders, Said};
use super::plan::{Harm, Kind, Op, UserPlan, Verb};
use super::pomelo::{group, key};

/// What the gateway does with what an IM connection tells it.
#[derive(Debug)]
pub(super) struct Desk;

impl App<Server> for Desk {
    fn hear(&mut self, notice: ServerNotice, _: &mut Orders<ServerCommand>, desk: &mut super::end::Desk<'_>) {
        if let ServerNotice::Request { ticket, request } = notice {
            desk.said.push(Said::Requested(ticket, request));
        }
    }

    fn wake(&mut self, _: u64, _: &mut Orders<ServerCommand>, _: &mut super::end::Desk<'_>) {}

    fn perform(&mut self, op: &Op, orders: &mut Orders<ServerCommand>, _: &mut super::end::Desk<'_>) {
        match op.verb {
            Verb::Kick => orders.give(ServerCommand::Kick),
            Verb::Join => orders.give(ServerCommand::Join(group(op.a))),
            Verb::Leave => orders.give(ServerCommand::Leave(group(op.a))),
            _ => {}
        }
    }
}

/// A user of the IM dialect.
#[derive(Debug)]
pub(super) struct User {
    name: String,
    /// What it has asked for, with what the answer has to be, if that is known.
    asked: BTreeMap<String, (u64, Option<String>)>,
}

impl User {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), asked: BTreeMap::new() }
    }

    /// Whether what one of the user's devices says was spoilt by now. Each hears the answers of all, as the original
    /// has it, and tells its own by their numbers alone.
    fn has_hostile_device(&self, desk: &super::end::Desk<'_>) -> bool {
        let is_same = |user: &UserPlan| user.kind == Kind::Im && user.name.to_string() == self.name;
        let mut spoilt =
            desk.plan.faults.iter().filter(|fault| fault.harm == Harm::Spoil && fault.at <= desk.time);
        spoilt.any(|fault| desk.plan.users.get(fault.whom).is_some_and(is_same))
    }

    fn ask(
        &mut self,
        command: impl FnOnce(String) -> ClientCommand,
        expected: Option<String>,
        orders: &mut Orders<ClientCommand>,
        desk: &mut super::end::Desk<'_>,
    ) {
        // The client's end refuses more than that, and says so by a mark alone.
        if self.asked.len() >= linkspan_core::Limits::default().pending_requests as usize {
            return;
        }
        let (id, _) = desk.ledger.write(0);
        let operation = format!("op{id}");
        desk.ledger.asked(desk.time, desk.end, id, false);
        self.asked.insert(operation.clone(), (id, expected));
        orders.give(command(operation));
    }

    fn log_in(&mut self, orders: &mut Orders<ClientCommand>, desk: &mut super::end::Desk<'_>) {
        let (token, batch) = (format!("tok-{}", self.name).into(), desk.random.once_in(2));
        self.ask(|operation| ClientCommand::Login { operation, token, batch }, None, orders, desk);
    }

    fn call(
        &mut self,
        function: &str,
        data: String,
        is_echo: bool,
        orders: &mut Orders<ClientCommand>,
        desk: &mut super::end::Desk<'_>,
    ) {
        let (function, expected) = (function.to_owned(), is_echo.then(|| data.clone()));
        self.ask(|operation| ClientCommand::Call { operation, function, data }, expected, orders, desk);
    }

    fn send(&mut self, op: &Op, orders: &mut Orders<ClientCommand>, desk: &mut super::end::Desk<'_>) {
        let (_, text) = desk.ledger.write(op.b);
        let text = String::from_utf8(text).expect("payloads are text");
        let data =
            format!(r#"{{"message":"{text}","recvID":"{}","groupID":"","offlinePushInfo":""}}"#, key(op.a));
        self.call("SendMessage", data, false, orders, desk);
    }
}

impl App<Client> for User {
    fn hear(&mut self, notice: ClientNotice, _: &mut Orders<ClientCommand>, desk: &mut super::end::Desk<'_>) {
        match notice {
            ClientNotice::Answer { operation, event, answer } => {
                let is_trusted = desk.is_trusted && !self.has_hostile_device(desk);
                let Some((id, expected)) = self.asked.remove(&operation) else {
                    assert!(!is_trusted, "C7: {operation} is answered twice");
                    return;
                };
                desk.ledger.answered(desk.end, id, answer.data.as_bytes(), is_trusted);
                if let Some(expected) = expected.filter(|_| is_trusted && answer.code == 0) {
                    assert_eq!(
                        expected, answer.data,
                        "C7: the answer to {operation} ({event}) is not its own"
                    );
                }
            }
            ClientNotice::Event { answer, .. } => {
                desk.ledger.arrived(desk.peer, answer.data.as_bytes(), desk.is_forged);
            }
            _ => {}
        }
    }

    fn wake(&mut self, token: u64, orders: &mut Orders<ClientCommand>, desk: &mut super::end::Desk<'_>) {
        if token == 0 {
            desk.said.push(Said::Ready);
            self.log_in(orders, desk);
        }
    }

    fn perform(&mut self, op: &Op, orders: &mut Orders<ClientCommand>, desk: &mut super::end::Desk<'_>) {
        match op.verb {
            Verb::Request => {
                let functions = ["GetUsersInfo", "GetBlackList", "DeleteFriend", "NoSuchFunction"];
                let function = functions[op.b as usize % functions.len()];
                let data = "y".repeat(op.a as usize);
                self.call(function, data, true, orders, desk);
            }
            Verb::Flood => {
                for _ in 0..op.a {
                    self.call("GetUsersInfo", "y".repeat(op.b as usize), true, orders, desk);
                }
            }
            Verb::Send => self.send(op, orders, desk),
            Verb::Bind => self.log_in(orders, desk),
            Verb::Logout => self.call("Logout", String::new(), false, orders, desk),
            Verb::HangUp => orders.give(ClientCommand::Close),
            _ => {}
        }
    }

    fn missing(&self, connection: &Connection<Client>) -> Option<String> {
        let pending = connection.dialect().pending_requests();
        (pending > 0).then(|| format!("waits for {pending} answers"))
    }
}
