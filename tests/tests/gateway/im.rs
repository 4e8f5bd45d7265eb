//! The IM listener of an application: functions of its own, groups, kicks, ends.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use linkspan_core::im::{Answer, Client, ClientCommand, ClientNotice, Function, Kind};
use linkspan_core::{CloseReason, GroupId, Key, Limits};
use linkspan_gateway::client::Carrier;
use linkspan_gateway::im::{Caller, Config, Fault, ImService};
use linkspan_gateway::server::Gateway;
use linkspan_gateway::services::{Json, Service, Services};
use linkspan_gateway::session::Session;
use linkspan_runtime::{App, Host, HostConfig, Mailbox, Runtime, SocketTransport, mailbox, spawn};
use serde_json::{Value, json};

use crate::harness::{World, expect_push, loopback};

/// What one client has heard, and how it ended.
#[derive(Default)]
struct Heard {
    notices: VecDeque<ClientNotice>,
    end: Option<CloseReason>,
}

struct Ear(Arc<Mutex<Heard>>);

impl App<Client> for Ear {
    fn handle_notice(&mut self, notice: ClientNotice) {
        self.0.lock().unwrap().notices.push_back(notice);
    }

    fn poll_command(&mut self, _cx: &mut Context<'_>, _has_room: bool) -> Poll<ClientCommand> {
        Poll::Pending
    }

    fn handle_closed(&mut self, reason: CloseReason) {
        self.0.lock().unwrap().end = Some(reason);
    }
}

/// One connection of a user.
struct Tab {
    heard: Arc<Mutex<Heard>>,
    mailbox: Mailbox<ClientCommand>,
}

impl Tab {
    async fn open<R: Runtime>(world: &World<R>, gateway: &Gateway<R>, user: &str) -> Self {
        let address = gateway.addresses().im.unwrap();
        let mut stream = world.runtime().connect(address).await.unwrap();
        let head = format!(
            "GET /?sendID={user}&token=t&platformID=5 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        let host = Host::new(HostConfig::default());
        let permit = host.admit(address).unwrap();
        let role = async_tungstenite::tungstenite::protocol::Role::Client;
        let transport = SocketTransport::new(stream, role, Vec::new(), host.limits()).await;
        let (mailbox, inbox) = mailbox(1024);
        let heard = Arc::new(Mutex::new(Heard::default()));
        spawn(world.runtime(), permit, transport, Client::new(user), inbox, Ear(Arc::clone(&heard)));
        Self { heard, mailbox }
    }

    async fn login<R: Runtime>(world: &World<R>, gateway: &Gateway<R>, user: &str) -> Self {
        let tab = Self::open(world, gateway, user).await;
        let login = ClientCommand::Login { operation: "login".into(), token: "t".into(), batch: false };
        tab.mailbox.command(login).unwrap();
        assert_eq!(tab.answer(world, "login").await, Answer::success(""));
        tab
    }

    fn ask(&self, function: &str, operation: &str, data: &str) {
        let [operation, function, data] = [operation, function, data].map(String::from);
        self.mailbox.command(ClientCommand::Call { operation, function, data }).unwrap();
    }

    async fn call<R: Runtime>(&self, world: &World<R>, function: &str, data: &str) -> Answer {
        self.ask(function, "call", data);
        self.answer(world, "call").await
    }

    /// The next notice that `wanted` takes; others are passed over.
    async fn next<R: Runtime, T>(
        &self,
        world: &World<R>,
        what: &str,
        wanted: impl Fn(ClientNotice) -> Option<T>,
    ) -> T {
        let mut found = None;
        world
            .until(what, || {
                while let Some(notice) = self.heard.lock().unwrap().notices.pop_front() {
                    found = wanted(notice);
                    if found.is_some() {
                        break;
                    }
                }
                found.is_some()
            })
            .await;
        found.unwrap()
    }

    async fn answer<R: Runtime>(&self, world: &World<R>, wanted: &str) -> Answer {
        self.next(world, wanted, |notice| match notice {
            ClientNotice::Answer { operation, answer, .. } if operation == wanted => Some(answer),
            _ => None,
        })
        .await
    }

    async fn event<R: Runtime>(&self, world: &World<R>, wanted: &str) -> Answer {
        self.next(world, wanted, |notice| match notice {
            ClientNotice::Event { event, answer, .. } if event == wanted => Some(answer),
            _ => None,
        })
        .await
    }
}

fn start<R: Runtime>(world: &World<R>, services: Services) -> Gateway<R> {
    world.start_with(services, |config| {
        config.im = loopback().map(Config::new);
        let limits = Limits { request_timeout: Duration::from_millis(300), ..(*config.host.limits).clone() };
        config.host.limits = Arc::new(limits);
    })
}

pub(crate) async fn functions_of_ones_own<R: Runtime>(world: World<R>) {
    let functions = ImService::new()
        .function("Double", async |Json(number): Json<i64>| Json(number * 2))
        .function_with("Greet", Function::object([("name", Kind::String)]), async |Json(who): Json<Value>| {
            format!("hello {}", who["name"].as_str().unwrap_or_default())
        })
        .function("Fail", async || Err::<(), _>(Answer::failure(905, "resource loading is not complete")))
        .function("Panic", async || -> String { panic!("asked to panic") })
        .function("Hang", async || std::future::pending::<()>().await)
        .function("WhoAmI", async |caller: Caller| {
            caller.push("onSaid", "before the answer").unwrap();
            caller.user().to_owned()
        });
    let gateway = start(&world, Services::new().im(functions));
    let tab = Tab::login(&world, &gateway, "ann").await;
    assert_eq!(tab.call(&world, "Double", "21").await, Answer::success("42"));
    assert_eq!(tab.call(&world, "Double", "x").await, Fault::Parameter.into());
    assert_eq!(tab.call(&world, "Greet", r#"{"name":"bob"}"#).await, Answer::success("hello bob"));
    assert_eq!(tab.call(&world, "Greet", "{}").await, Fault::KeyMissing.into());
    assert_eq!(tab.call(&world, "Fail", "").await, Answer::failure(905, "resource loading is not complete"));
    assert_eq!(tab.call(&world, "Panic", "").await, Fault::Parameter.into());
    assert_eq!(tab.call(&world, "SendMessage", "").await, Fault::Parameter.into(), "it was not registered");
    assert_eq!(tab.call(&world, "Hang", "").await, Fault::NotLoaded.into());
    // Calls keep their order, and what a function pushes comes before its answer.
    for number in 0..50 {
        tab.ask("Double", &number.to_string(), &number.to_string());
    }
    for number in 0..50 {
        let answer = tab.answer(&world, &number.to_string()).await;
        assert_eq!(answer, Answer::success((number * 2).to_string()));
    }
    tab.ask("WhoAmI", "who", "");
    assert_eq!(tab.event(&world, "onSaid").await, Answer::success("before the answer"));
    assert_eq!(tab.answer(&world, "who").await, Answer::success("ann"));
    gateway.stop().await;
}

fn party() -> GroupId {
    GroupId::new("party").unwrap()
}

/// One group with members of two dialects: a message is heard by both, each in its own form.
pub(crate) async fn a_group_of_two_dialects<R: Runtime>(world: World<R>) {
    let functions = ImService::new().function("Join", async |caller: Caller| caller.join(&party()).unwrap());
    let join = async |session: Session| session.join(&party());
    let services = Services::new().service(Service::new("Party").request("Join", join)).im(functions);
    let gateway = start(&world, services);
    let browser = Tab::login(&world, &gateway, "ann").await;
    assert_eq!(browser.call(&world, "Join", "").await, Answer::success(""));
    let phone = world.connect(&gateway, Carrier::Tcp).await;
    phone.request("Party.Join", Bytes::new()).await.unwrap();
    for number in 0..20 {
        let text = format!("news {number}");
        gateway.switchboard().broadcast(&party(), "onNews", text.clone());
        expect_push(&phone, "onNews", &text).await;
        assert_eq!(browser.event(&world, "onNews").await, Answer::success(text));
    }
    gateway.stop().await;
}

/// A login that is refused leaves nothing; a kick is said; a session ends once, with its last connection.
pub(crate) async fn logins_kicks_and_ends<R: Runtime>(world: World<R>) {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let tries = AtomicUsize::new(0);
    let functions = ImService::new()
        .login(move |login| {
            let is_first = tries.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                assert_eq!(login.caller.user(), "ann");
                if is_first { Answer::failure(706, "user has been kicked") } else { Answer::success("") }
            }
        })
        .ended(move |user| {
            assert_eq!(user, "ann");
            count.fetch_add(1, Ordering::SeqCst);
        });
    let gateway = start(&world, Services::new().im(functions));
    let tab = Tab::open(&world, &gateway, "ann").await;
    let login = |operation: &str| ClientCommand::Login {
        operation: operation.into(),
        token: "t".into(),
        batch: false,
    };
    tab.mailbox.command(login("1")).unwrap();
    assert_eq!(tab.answer(&world, "1").await, Answer::failure(706, "user has been kicked"));
    assert_eq!(tab.call(&world, "GetLoginStatus", "").await, Fault::NotLoggedIn.into());
    tab.mailbox.command(login("2")).unwrap();
    assert_eq!(tab.answer(&world, "2").await, Answer::success(""));
    let other = Tab::open(&world, &gateway, "ann").await;
    other.mailbox.command(ClientCommand::Close).unwrap();
    world.until("the other is gone", || other.heard.lock().unwrap().end.is_some()).await;
    assert_eq!(tab.call(&world, "GetLoginUser", "").await, Answer::success("ann"));
    assert_eq!(ended.load(Ordering::SeqCst), 0);
    gateway.switchboard().kick(&Key::new("ann").unwrap());
    let Answer { code, message, .. } = tab.event(&world, "OnKickedOffline").await;
    assert_eq!((code, &*message), (0, "kicked"));
    world.until("the session ends", || ended.load(Ordering::SeqCst) == 1).await;
    world.until("the connection ends", || tab.heard.lock().unwrap().end.is_some()).await;
    world.until("nothing is left", || gateway.host().shards().sessions() == 0).await;
    assert_eq!(json!(gateway.host().stats().open()), json!(0));
    gateway.stop().await;
}

pub(crate) fn names_that_are_taken() {
    let service = ImService::new().function("Logout", async || ());
    let services = Services::new().im(service);
    let error = linkspan_tokio::Tokio::run(
        linkspan_runtime::Placement::PerCore,
        std::num::NonZeroUsize::MIN,
        |workers| async move {
            Gateway::start(&workers, linkspan_gateway::server::Config::default(), services).err()
        },
    );
    assert_eq!(
        error.unwrap().unwrap().to_string(),
        "the IM function `Logout` is answered by the session itself: give yours another name"
    );
}
