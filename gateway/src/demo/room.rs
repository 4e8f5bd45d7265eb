//! `room.*`: a chat room, with the messages that nano's demo and its load tools use.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linkspan_core::{GroupId, Overflow, Push};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::services::{CallError, Json, Service, Services, plain};
use crate::session::{Session, json};

/// Adds the room and its end-of-session hook.
pub(super) fn add(services: Services) -> Services {
    let room = Arc::new(Room::default());
    let (join, message, leave, closed) = (Arc::clone(&room), Arc::clone(&room), Arc::clone(&room), room);
    let service = Service::new("room")
        .request("join", plain(move |session: Session, Json(who): Json<Join>| join.join(&session, who)))
        // Requests, so that clients may ask or tell as they like.
        .request(
            "message",
            plain(move |session: Session, Json(text): Json<Box<RawValue>>| message.message(&session, &text)),
        )
        .request("leave", plain(move |session: Session| leave.leave(&session)));
    services.service(service).closed(move |session, _| closed.forget(session))
}

#[derive(Deserialize)]
struct Join {
    uid: Value,
}

#[derive(Serialize)]
struct Members<'a> {
    /// `null` in an empty room, as nano's clients know it.
    members: Option<Vec<&'a Value>>,
}

#[derive(Serialize)]
struct NewUser {
    content: String,
}

#[derive(Serialize)]
struct Left {
    uid: Value,
}

#[derive(Serialize)]
struct Done {
    code: i32,
    result: &'static str,
}

const DONE: Json<Done> = Json(Done { code: 0, result: "success" });

struct Member {
    session: Session,
    uid: Value,
}

/// Who is in the room. What is said goes through the hub's group; who comes and goes is told under this lock, so that
/// everybody's list is right.
struct Room {
    group: GroupId,
    members: Mutex<BTreeMap<u64, Member>>,
}

impl Default for Room {
    fn default() -> Self {
        let group = GroupId::new("demo.room").expect("the name is neither empty nor long");
        Self { group, members: Mutex::default() }
    }
}

impl Room {
    fn members(&self) -> MutexGuard<'_, BTreeMap<u64, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, session: &Session, Join { uid }: Join) -> Result<Json<Done>, CallError> {
        if !matches!(uid, Value::Number(_) | Value::String(_)) {
            return Err(CallError::bad_request("uid must be a number or a text"));
        }
        let mut members = self.members();
        members.remove(&session.id());
        let others: Vec<_> = members.values().map(|member| &member.uid).collect();
        session.push_json("onMembers", &Members { members: (!others.is_empty()).then_some(others) })?;
        session.join(&self.group)?;
        let name = uid.as_str().map_or_else(|| uid.to_string(), str::to_owned);
        tell(&members, "onNewUser", &NewUser { content: format!("New user: {name}") });
        members.insert(session.id(), Member { session: session.clone(), uid });
        Ok(DONE)
    }

    fn message(&self, session: &Session, text: &RawValue) -> Result<Json<Done>, CallError> {
        if !self.members().contains_key(&session.id()) {
            return Err(CallError::bad_request("join the room first"));
        }
        session.broadcast(&self.group, "onMessage", text.get().to_owned())?;
        Ok(DONE)
    }

    fn leave(&self, session: &Session) -> Result<Json<Done>, CallError> {
        session.leave(&self.group)?;
        self.forget(session);
        Ok(DONE)
    }

    fn forget(&self, session: &Session) {
        let mut members = self.members();
        if let Some(Member { uid, .. }) = members.remove(&session.id()) {
            tell(&members, "onLeave", &Left { uid });
        }
    }
}

/// Tells everybody in the room.
fn tell(members: &BTreeMap<u64, Member>, route: &'static str, body: &impl Serialize) {
    let push = Push::new(route, json(body), Overflow::DropNewest);
    for member in members.values() {
        // Whoever has just gone is taken out by its own end.
        let _ = member.session.push_shared(&push);
    }
}
