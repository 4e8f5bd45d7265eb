//! What a session's handle does.

use bytes::Bytes;
use linkspan_core::hub::Admission;
use linkspan_core::{CloseReason, GroupId, Key};
use linkspan_gateway::demo;
use linkspan_gateway::services::{CallError, Json, Service, Services, plain};
use linkspan_gateway::session::Session;
use linkspan_runtime::Runtime;

use crate::harness::{CARRIERS, World, code_of, expect_push};

pub(crate) async fn nothing_is_lost_at_the_end<R: Runtime>(world: World<R>) {
    let gateway = world.start(demo::services(world.runtime()));
    for carrier in CARRIERS.repeat(10) {
        let client = world.connect(&gateway, carrier).await;
        let before = client.request("Echo.Big", r#"{"size":300000}"#);
        let bye = client.request("Echo.Bye", "");
        assert_eq!(before.await.unwrap().len(), 300_000);
        assert_eq!(bye.await.unwrap(), r#"{"i":5}"#);
        for i in 0..5 {
            expect_push(&client, "onBye", &format!(r#"{{"i":{i}}}"#)).await;
        }
        assert_eq!(client.next_push().await, None);
        assert_eq!(client.ended().await, CloseReason::PeerClosed);
    }
    world.until("no session is left", || gateway.host().stats().open() == 0).await;
}

pub(crate) async fn a_kick_comes_last<R: Runtime>(world: World<R>) {
    let gateway = world.start(demo::services(world.runtime()));
    for carrier in CARRIERS.repeat(10) {
        let client = world.connect(&gateway, carrier).await;
        client.notify("Echo.PushMe", "queued").unwrap();
        let kick = client.request("Echo.Kick", "");
        assert_eq!(kick.await.unwrap(), "");
        expect_push(&client, "onEcho", "queued").await;
        assert_eq!(client.ended().await, CloseReason::Kicked);
        assert_eq!(client.kicked().unwrap(), r#"{"reason":"asked to be kicked"}"#);
    }
    world.until("no session is left", || gateway.host().stats().open() == 0).await;
}

pub(crate) async fn the_newest_of_a_uid_stays<R: Runtime>(world: World<R>) {
    let gateway = world
        .start_with(demo::services(world.runtime()), |config| config.host.admission = Admission::NewestWins);
    for carrier in CARRIERS {
        let old = world.connect(&gateway, carrier).await;
        assert_eq!(old.request("Echo.Bind", r#"{"uid":7}"#).await.unwrap(), r#"{"uid":7}"#);
        assert_eq!(code_of(&old, "Echo.Bind", r#"{"uid":8}"#).await, "PIT-000");
        let new = world.connect(&gateway, carrier).await;
        new.request("Echo.Bind", r#"{"uid":"7"}"#).await.unwrap();
        assert_eq!(old.ended().await, CloseReason::Kicked);
        assert_eq!(old.kicked().unwrap(), r#"{"reason":"replaced by a newer session"}"#);
        gateway.switchboard().push_to(&Key::new("7").unwrap(), "onYou", "hello");
        expect_push(&new, "onYou", "hello").await;
        new.close().await;
    }
    world.until("no session is left", || gateway.host().shards().sessions() == 0).await;
}

pub(crate) async fn the_oldest_of_a_uid_stays<R: Runtime>(world: World<R>) {
    let gateway = world
        .start_with(demo::services(world.runtime()), |config| config.host.admission = Admission::RejectNew);
    let old = world.connect(&gateway, CARRIERS[0]).await;
    old.request("Echo.Bind", r#"{"uid":7}"#).await.unwrap();
    let new = world.connect(&gateway, CARRIERS[1]).await;
    assert_eq!(code_of(&new, "Echo.Bind", r#"{"uid":7}"#).await, "PIT-000");
    assert_eq!(code_of(&new, "Echo.Bind", r#"{"uid":""}"#).await, "PIT-400");
    // Whoever was refused may bind to somebody else.
    new.request("Echo.Bind", r#"{"uid":8}"#).await.unwrap();
    old.request("Echo.Raw", "still here").await.unwrap();
}

fn group() -> GroupId {
    GroupId::new("hall").unwrap()
}

fn hall() -> Service {
    async fn join(session: Session, name: Bytes) -> Result<(), CallError> {
        session.join(&group())?;
        // In order: the one who joins hears it too.
        session.broadcast(&group(), "onJoin", name)?;
        Ok(())
    }
    let say = plain(|session: Session, text: Bytes| session.broadcast(&group(), "onSay", text));
    let leave = plain(|session: Session| session.leave(&group()));
    Service::new("Hall").request("Join", join).request("Say", say).request("Leave", leave)
}

pub(crate) async fn groups_hear_everything_until_they_leave<R: Runtime>(world: World<R>) {
    let gateway = world.start(Services::new().service(hall()));
    let a = world.connect(&gateway, CARRIERS[0]).await;
    let b = world.connect(&gateway, CARRIERS[1]).await;
    let c = world.connect(&gateway, CARRIERS[0]).await;
    for (client, name) in [(&a, "a"), (&b, "b"), (&c, "c")] {
        client.request("Hall.Join", name).await.unwrap();
        expect_push(client, "onJoin", name).await;
    }
    for name in ["b", "c"] {
        expect_push(&a, "onJoin", name).await;
    }
    expect_push(&b, "onJoin", "c").await;
    for n in 0..200 {
        a.request("Hall.Say", n.to_string()).await.unwrap();
    }
    for client in [&a, &b, &c] {
        for n in 0..200 {
            expect_push(client, "onSay", &n.to_string()).await;
        }
    }
    b.request("Hall.Leave", "").await.unwrap();
    c.close().await;
    world.until("c has left", || gateway.host().stats().open() == 2).await;
    a.request("Hall.Say", "alone").await.unwrap();
    expect_push(&a, "onSay", "alone").await;
    b.request("Hall.Leave", "").await.unwrap();
    assert_eq!(b.try_next_push(), None);
    a.close().await;
    world.until("the group is gone", || gateway.host().shards().groups() == 0).await;
}

pub(crate) async fn the_switchboard_reaches_users_and_groups<R: Runtime>(world: World<R>) {
    let gateway = world.start(demo::services(world.runtime()).service(hall()));
    let client = world.connect(&gateway, CARRIERS[1]).await;
    client.request("Hall.Join", "x").await.unwrap();
    expect_push(&client, "onJoin", "x").await;
    client.request("Echo.Bind", r#"{"uid":"u"}"#).await.unwrap();
    let switchboard = gateway.switchboard();
    let uid = Key::new("u").unwrap();
    switchboard.broadcast(&group(), "onAll", "1");
    switchboard.push_to(&uid, "onOne", "2");
    switchboard.push_to(&Key::new("nobody").unwrap(), "onOne", "3");
    expect_push(&client, "onAll", "1").await;
    expect_push(&client, "onOne", "2").await;
    switchboard.kick(&uid);
    assert_eq!(client.ended().await, CloseReason::Kicked);
}

pub(crate) async fn values_are_kept<R: Runtime>(world: World<R>) {
    let put = plain(|session: Session, Json(n): Json<i64>| session.set("n", n));
    let get = plain(|session: Session| Json(session.get::<i64>("n").map(|n| *n)));
    let wrong = plain(|session: Session| Json(session.get::<String>("n").is_some()));
    let forget = plain(|session: Session| Json(session.remove("n")));
    let service = Service::new("V");
    let service =
        service.request("Put", put).request("Get", get).request("Wrong", wrong).request("Forget", forget);
    let gateway = world.start(Services::new().service(service));
    let client = world.connect(&gateway, CARRIERS[0]).await;
    for (route, body, answer) in [
        ("V.Get", "", "null"),
        ("V.Put", "5", ""),
        ("V.Get", "", "5"),
        ("V.Wrong", "", "false"),
        ("V.Forget", "", "true"),
        ("V.Forget", "", "false"),
        ("V.Get", "", "null"),
    ] {
        assert_eq!(client.request(route, body).await.unwrap(), answer, "{route}");
    }
}

/// As recorded with nano's demo.
pub(crate) async fn the_chat_room<R: Runtime>(world: World<R>) {
    let gateway = world.start(demo::services(world.runtime()));
    let done = r#"{"code":0,"result":"success"}"#;
    let a = world.connect(&gateway, CARRIERS[0]).await;
    assert_eq!(code_of(&a, "room.message", "{}").await, "PIT-400");
    assert_eq!(a.request("room.join", r#"{"uid":1}"#).await.unwrap(), done);
    expect_push(&a, "onMembers", r#"{"members":null}"#).await;
    let b = world.connect(&gateway, CARRIERS[1]).await;
    assert_eq!(b.request("room.join", r#"{"uid":"zwei"}"#).await.unwrap(), done);
    expect_push(&b, "onMembers", r#"{"members":[1]}"#).await;
    expect_push(&a, "onNewUser", r#"{"content":"New user: zwei"}"#).await;
    let text = r#"{"name":"one","content":"hi"}"#;
    a.notify("room.message", text).unwrap();
    expect_push(&a, "onMessage", text).await;
    expect_push(&b, "onMessage", text).await;
    b.close().await;
    expect_push(&a, "onLeave", r#"{"uid":"zwei"}"#).await;
    let c = world.connect(&gateway, CARRIERS[1]).await;
    c.request("room.join", r#"{"uid":3}"#).await.unwrap();
    expect_push(&a, "onNewUser", r#"{"content":"New user: 3"}"#).await;
    a.request("room.leave", "").await.unwrap();
    expect_push(&c, "onMembers", r#"{"members":[1]}"#).await;
    expect_push(&c, "onLeave", r#"{"uid":1}"#).await;
    assert_eq!(a.try_next_push(), None);
}
