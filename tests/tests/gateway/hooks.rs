//! What runs around the handlers.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use linkspan_core::pomelo::{ClientConfig, RefuseCode};
use linkspan_gateway::client::{Client, ConnectError};
use linkspan_gateway::demo;
use linkspan_gateway::services::{
    Accept, Call, CallError, Handshake, Outcome, Refuse, Service, Services, plain,
};
use linkspan_gateway::session::Session;
use linkspan_runtime::Runtime;
use serde_json::{Value, json};

use crate::harness::{CARRIERS, World, code_of, expect_push, target};

async fn validate(handshake: Handshake) -> Result<Accept, Refuse> {
    let user: Value = handshake.user().map_err(|_| Refuse::new(RefuseCode::Invalid))?;
    match user["token"].as_str() {
        Some("good") => {
            handshake.session.set("peer", handshake.session.remote_address());
            Accept::user(&json!({ "welcome": true })).map_err(|_| Refuse::new(RefuseCode::Denied))
        }
        Some("old") => Err(Refuse::new(RefuseCode::TooOld)),
        Some("panic") => panic!("a validator panics"),
        _ => Err(Refuse::new(RefuseCode::Denied).user(&json!({ "why": "token" }))),
    }
}

fn saying(hello: &'static str) -> ClientConfig {
    ClientConfig { handshake: Bytes::from_static(hello.as_bytes()), ..ClientConfig::default() }
}

pub(crate) async fn refused_handshakes_are_told_why<R: Runtime>(world: World<R>) {
    let gateway = world.start(demo::services(world.runtime()).handshake(validate));
    for carrier in CARRIERS {
        for (hello, expected) in [
            ("", 400),
            ("{}", 400),
            (r#"{"sys":{},"user":{}}"#, 500),
            (r#"{"user":{"token":"bad"}}"#, 500),
            (r#"{"user":{"token":"panic"}}"#, 500),
            (r#"{"user":{"token":"old"}}"#, 501),
            ("not json", 400),
        ] {
            let dialer = world.dialer().config(saying(hello));
            match dialer.connect(&target(&gateway, carrier)).await.map(drop) {
                Err(ConnectError::Refused { code, body }) => {
                    assert_eq!(code, expected, "{hello}");
                    let body: Value = serde_json::from_slice(&body).unwrap();
                    assert!(body["sys"].is_object());
                    assert_eq!(body["user"]["why"] == "token", expected == 500 && !hello.contains("panic"));
                }
                other => panic!("{hello}: {other:?}"),
            }
        }
    }
    world.until("no session is left", || gateway.host().stats().open() == 0).await;
}

pub(crate) async fn accepted_handshakes_bring_something<R: Runtime>(world: World<R>) {
    let peer = plain(|session: Session| {
        session.get::<std::net::SocketAddr>("peer").map_or_else(String::new, |peer| peer.ip().to_string())
    });
    let services = Services::new().handshake(validate).service(Service::new("My").request("Address", peer));
    let gateway = world.start(services);
    for carrier in CARRIERS {
        let dialer = world.dialer().config(saying(r#"{"sys":{"type":"x"},"user":{"token":"good"}}"#));
        let client: Client = dialer.connect(&target(&gateway, carrier)).await.unwrap();
        let hello: Value = serde_json::from_slice(&client.hello().await.unwrap()).unwrap();
        assert_eq!((&hello["code"], &hello["user"]), (&json!(200), &json!({ "welcome": true })));
        assert_eq!(client.request("My.Address", "").await.unwrap(), "127.0.0.1");
    }
}

pub(crate) async fn middleware_changes_and_refuses<R: Runtime>(world: World<R>) {
    let services = demo::services(world.runtime())
        .before(async |mut call: Call| {
            if call.route.starts_with(b"room.") {
                return Err(CallError::new("X-1", "not here"));
            }
            call.body = Bytes::from([b"<", call.body.as_ref()].concat());
            Ok(call)
        })
        .before(async |mut call: Call| {
            call.body = Bytes::from([call.body.as_ref(), b">"].concat());
            Ok(call)
        })
        .after(async |call: Call, outcome: Outcome| match outcome {
            Ok(body) => Ok(Bytes::from([call.route.as_ref(), b"=", &body].concat())),
            Err(error) => Err(error.with("seen", "yes")),
        });
    let gateway = world.start(services);
    for carrier in CARRIERS {
        let client = world.connect(&gateway, carrier).await;
        assert_eq!(client.request("Echo.Raw", "x").await.unwrap(), "Echo.Raw=<x>");
        assert_eq!(code_of(&client, "room.join", "{}").await, "X-1");
        let error = client.request("No.Such", "").await.unwrap_err().error_body().unwrap();
        assert_eq!((error.code.as_ref(), error.metadata["seen"].as_str()), ("PIT-404", "yes"));
        client.notify("Echo.PushMe", "y").unwrap();
        expect_push(&client, "onEcho", "<y>").await;
    }
}

pub(crate) async fn sessions_open_and_close_once<R: Runtime>(world: World<R>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let (opened, closed) = (Arc::clone(&log), Arc::clone(&log));
    let services = demo::services(world.runtime())
        .handshake(async |handshake: Handshake| {
            if handshake.body.is_empty() { Err(Refuse::new(RefuseCode::Denied)) } else { Ok(Accept::new()) }
        })
        .opened(move |session: Session| {
            let opened = Arc::clone(&opened);
            async move {
                futures_lite::future::yield_now().await;
                opened.lock().unwrap().push(format!("opened {}", session.id()));
                session.push("onOpen", "first").unwrap();
            }
        })
        .closed(|_, _| panic!("a hook panics"))
        .closed(move |session, reason| {
            closed.lock().unwrap().push(format!("closed {} {reason}", session.id()));
        });
    let gateway = world.start(services);
    let mut expected = Vec::new();
    for (n, carrier) in CARRIERS.into_iter().enumerate() {
        let client = world.connect(&gateway, carrier).await;
        client.notify("Echo.PushMe", "second").unwrap();
        expect_push(&client, "onOpen", "first").await;
        expect_push(&client, "onEcho", "second").await;
        client.close().await;
        let id = n + 1;
        expected.extend([format!("opened {id}"), format!("closed {id} closed by peer")]);
        world.until("it has closed", || log.lock().unwrap().len() == expected.len()).await;
    }
    let refused = world.dialer().config(saying("")).connect(&target(&gateway, CARRIERS[0])).await;
    assert!(matches!(refused.map(drop), Err(ConnectError::Refused { .. })));
    world.until("no session is left", || gateway.host().stats().open() == 0).await;
    assert_eq!(*log.lock().unwrap(), expected);
}
