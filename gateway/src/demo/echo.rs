//! `Echo.*`: what load tools and interop tests ask for.

use std::time::{Duration, Instant};

use bytes::Bytes;
use linkspan_core::Limits;
use linkspan_runtime::Runtime;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::services::{CallError, Json, Service, plain};
use crate::session::{PushError, Session, json};

pub(super) fn service<R: Runtime>(runtime: &R) -> Service {
    let runtime = runtime.clone();
    Service::new("Echo")
        .request("Raw", plain(|body: Bytes| body))
        .request("JSON", plain(|Json(value): Json<Box<RawValue>>| Json(value)))
        .notify("PushMe", plain(|session: Session, body: Bytes| session.push("onEcho", body)))
        .request("PushN", push_n)
        .request("Big", plain(big))
        .request("Empty", plain(|| ()))
        .request("Slow", move |argument| slow(runtime.clone(), argument))
        .request("Fail", plain(fail))
        .request("Panic", panic)
        .request("Bind", bind)
        .request("Info", plain(info))
        .request("Bye", plain(bye))
        .request("Kick", plain(|session: Session| session.kick("asked to be kicked")))
}

#[derive(Deserialize)]
struct PushN {
    n: u32,
    #[serde(default)]
    size: usize,
    #[serde(default)]
    route: Option<String>,
}

#[derive(Serialize)]
struct Pushed<'a> {
    i: u32,
    pad: &'a str,
}

#[derive(Serialize)]
struct Accepted {
    accepted: u32,
    asked: u32,
}

/// One call must not keep a connection busy for ever.
const PUSHES_MAX: u32 = 1_000_000;

async fn push_n(session: Session, Json(asked): Json<PushN>) -> Result<Json<Accepted>, CallError> {
    if asked.n > PUSHES_MAX || asked.size > 1024 * 1024 {
        return Err(CallError::bad_request("at most 1000000 pushes of at most 1 MiB"));
    }
    let pad = "x".repeat(asked.size);
    let route = Bytes::from(asked.route.unwrap_or_else(|| "onPush".into()));
    let mut accepted = 0;
    for i in 0..asked.n {
        match session.push_paced(route.clone(), json(&Pushed { i, pad: &pad })).await {
            Ok(()) => accepted += 1,
            Err(PushError::Closed | PushError::Full) => break,
        }
    }
    Ok(Json(Accepted { accepted, asked: asked.n }))
}

#[derive(Deserialize)]
struct Big {
    size: u32,
}

fn big(Json(Big { size }): Json<Big>) -> Result<Vec<u8>, CallError> {
    if size > Limits::BODY_MAX {
        return Err(CallError::bad_request("at most 16777215 bytes"));
    }
    Ok(vec![b'B'; size as usize])
}

#[derive(Deserialize, Serialize)]
struct Slow {
    ms: u64,
}

async fn slow<R: Runtime>(runtime: R, Json(asked): Json<Slow>) -> Json<Slow> {
    let span = Duration::from_millis(asked.ms.min(3_600_000));
    runtime.sleep_until(Instant::now() + span).await;
    Json(asked)
}

fn fail() -> Result<(), CallError> {
    Err(CallError::new("ECHO-1", "asked to fail").with("k", "v"))
}

#[expect(clippy::panic, reason = "it is what the route is for")]
async fn panic() {
    panic!("asked to panic");
}

#[derive(Deserialize, Serialize)]
struct Uid {
    uid: Value,
}

/// The uid as it came, a number or a text.
const UID: &str = "echo.uid";

async fn bind(session: Session, Json(asked): Json<Uid>) -> Result<Json<Uid>, CallError> {
    match &asked.uid {
        Value::String(uid) => session.bind(uid).await?,
        Value::Number(uid) => session.bind(uid.to_string()).await?,
        _ => return Err(CallError::bad_request("uid must be a number or a text")),
    }
    session.set(UID, asked.uid.clone());
    Ok(Json(asked))
}

#[derive(Serialize)]
struct Info {
    id: u64,
    uid: Value,
    remote: String,
}

#[expect(clippy::needless_pass_by_value, reason = "handlers own their arguments")]
fn info(session: Session) -> Json<Info> {
    let uid = session.get::<Value>(UID).map_or(Value::Null, |uid| Value::clone(&uid));
    Json(Info { id: session.id(), uid, remote: session.remote_address().to_string() })
}

#[derive(Serialize)]
struct Bye {
    i: u32,
}

/// Nothing of this is lost: what is queued and what is owed leaves before the end.
#[expect(clippy::needless_pass_by_value, reason = "handlers own their arguments")]
fn bye(session: Session) -> Result<Json<Bye>, CallError> {
    for i in 0..5 {
        session.push_json("onBye", &Bye { i })?;
    }
    session.close();
    Ok(Json(Bye { i: 5 }))
}
