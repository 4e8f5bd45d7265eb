//! The demo services of the gateway, as far as the recordings use them. Routes that only the recorded servers had are
//! unknown here, as they are to a gateway.

use std::collections::BTreeMap;

use bytes::Bytes;
use linkspan_core::Overflow;
use linkspan_core::pomelo::{ErrorBody, RefuseCode, ServerCommand, ServerNotice, Ticket, decode_text};
use serde_json::{Value, json};

/// What the services want to be done, and for which session.
pub(super) type Orders = Vec<(usize, ServerCommand)>;

/// The services and what they remember.
#[derive(Debug)]
pub(super) struct Demo {
    rejects_old: bool,
    uids: BTreeMap<usize, Value>,
    room: BTreeMap<usize, Value>,
}

impl Demo {
    pub(super) fn new(rejects_old: bool) -> Self {
        Self { rejects_old, uids: BTreeMap::new(), room: BTreeMap::new() }
    }

    /// What the services do about a notice of `session`.
    pub(super) fn handle(&mut self, session: usize, notice: ServerNotice) -> Orders {
        match notice {
            ServerNotice::Handshake(body) => vec![(session, self.validate(&body))],
            ServerNotice::Request { ticket, route, body } => self.call(session, Some(ticket), &route, &body),
            ServerNotice::Notify { route, body, .. } => self.call(session, None, &route, &body),
            _ => Vec::new(),
        }
    }

    /// The session has gone.
    pub(super) fn forget(&mut self, session: usize) -> Orders {
        match self.room.remove(&session) {
            Some(uid) => self.tell("onLeave", &json!({"uid": uid})),
            None => Vec::new(),
        }
    }

    fn validate(&self, body: &[u8]) -> ServerCommand {
        let hello: Value = serde_json::from_slice(body).unwrap_or_default();
        if self.rejects_old && hello["sys"]["version"] == "old" {
            return ServerCommand::Refuse { code: RefuseCode::Invalid, user: None };
        }
        ServerCommand::Accept { user: None }
    }

    fn call(&mut self, session: usize, ticket: Option<Ticket>, route: &[u8], body: &Bytes) -> Orders {
        let mut orders = Orders::new();
        let outcome = match route {
            b"room.join" => {
                let uid = json_of(body)["uid"].clone();
                let others: Vec<_> = self.room.values().cloned().collect();
                let others = if others.is_empty() { Value::Null } else { others.into() };
                orders.push((session, push("onMembers", json!({"members": others}).to_string())));
                orders.extend(self.tell("onNewUser", &json!({"content": format!("New user: {uid}")})));
                self.room.insert(session, uid);
                Ok(r#"{"code":0,"result":"success"}"#.into())
            }
            b"room.message" => {
                let members = self.room.keys();
                orders.extend(members.map(|member| (*member, push("onMessage", body.clone()))));
                Ok(Bytes::new())
            }
            b"Echo.Bind" if self.uids.contains_key(&session) => {
                Err(ErrorBody::new(ErrorBody::UNKNOWN, "session is already bound to an uid"))
            }
            b"Echo.Bind" => {
                self.uids.insert(session, json_of(body)["uid"].clone());
                Ok(body.clone())
            }
            b"Echo.Info" => {
                let uid = self.uids.get(&session).cloned().unwrap_or_default();
                Ok(json!({"id": session, "uid": uid, "remote": "memory"}).to_string().into())
            }
            _ => echo(session, route, body, &mut orders),
        };
        if let Some(ticket) = ticket {
            orders.push((
                session,
                match outcome {
                    Ok(body) => ServerCommand::Answer { ticket, body },
                    Err(error) => ServerCommand::Fail { ticket, error },
                },
            ));
        }
        orders
    }

    fn tell(&self, route: &'static str, body: &Value) -> Orders {
        self.room.keys().map(|member| (*member, push(route, body.to_string()))).collect()
    }
}

/// The services that remember nothing.
fn echo(session: usize, route: &[u8], body: &Bytes, orders: &mut Orders) -> Result<Bytes, ErrorBody> {
    match route {
        b"Echo.Raw" => Ok(body.clone()),
        b"Echo.JSON" => {
            let text = decode_text(body);
            match serde_json::from_str::<&serde_json::value::RawValue>(&text) {
                Ok(value) => Ok(Bytes::from(value.get().to_owned())),
                Err(error) => Err(ErrorBody::new(ErrorBody::BAD_REQUEST, error.to_string())),
            }
        }
        b"Echo.PushMe" => {
            orders.push((session, push("onEcho", body.clone())));
            Ok(Bytes::new())
        }
        b"Echo.PushN" => {
            let asked = json_of(body);
            let pad = "x".repeat(asked["size"].as_u64().unwrap_or_default() as usize);
            for i in 0..asked["n"].as_u64().unwrap_or_default() {
                orders.push((session, push("onPush", format!(r#"{{"i":{i},"pad":"{pad}"}}"#))));
            }
            Ok(format!(r#"{{"accepted":{0},"asked":{0}}}"#, asked["n"]).into())
        }
        b"Echo.Big" => Ok(vec![b'B'; json_of(body)["size"].as_u64().unwrap_or_default() as usize].into()),
        b"Echo.Empty" => Ok(Bytes::new()),
        b"Echo.Fail" => Err(ErrorBody::new("ECHO-1", "asked to fail")),
        b"Echo.Panic" => Err(ErrorBody::new(ErrorBody::UNKNOWN, "asked to panic")),
        b"Echo.Kick" => {
            orders.push((session, ServerCommand::Kick { reason: "asked to be kicked".into() }));
            Ok(Bytes::new())
        }
        _ if !route.contains(&b'.') => Err(ErrorBody::new(ErrorBody::BAD_REQUEST, "not Service.Method")),
        _ => Err(ErrorBody::new(ErrorBody::NOT_FOUND, "no such route")),
    }
}

fn push(route: &'static str, body: impl Into<Bytes>) -> ServerCommand {
    let route = Bytes::from_static(route.as_bytes());
    ServerCommand::Push { route, body: body.into(), overflow: Overflow::Close }
}

fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}
