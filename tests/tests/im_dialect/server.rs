//! One open connection: liveness, limits, order, and messages of every origin.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::hub::{Badge, Device, Platform, Refusal};
use linkspan_core::im::{
    Answer, Audience, Client, ClientCommand, ClientNotice, Mode, Reply, Server, ServerCommand, ServerConfig,
    ServerNotice, Ticket, Visitor, limits,
};
use linkspan_core::{
    CloseReason, Delivery, Event, GroupId, Instant, Limits, Mark, Opcode, Overflow, Push, Route, To,
    Violation, chat, pomelo,
};
use linkspan_tests::harness::Station;
use serde_json::{Value, json};

use super::world::{World, key, reply};

const WEB: &str = "sendID=u1&platformID=5&token=tok-u1";

fn visitor() -> Visitor {
    let badge = Badge { device: Device::of(Platform::WEB), ..Badge::default() };
    Visitor { user: key("u1"), badge }
}

fn opened(limits: Limits) -> Station<Server> {
    let server = Server::new(Arc::default(), visitor(), 1);
    let mut station = Station::new(server, Arc::new(limits), Instant::ORIGIN);
    assert!(!station.connection().wants_read(), "nothing is done before the hub has taken it in");
    station.event(Instant::ORIGIN, Event::Delivered(Delivery::Admitted(key("u1"))));
    assert_eq!(station.notices(), [ServerNotice::Opened]);
    station
}

fn plain() -> Station<Server> {
    opened(limits(&Limits::default()))
}

fn say(station: &mut Station<Server>, text: &str) {
    let now = station.now();
    station.event(now, Event::Received(Opcode::Text, text.to_owned().into()));
}

fn ask(station: &mut Station<Server>, operation: &str) -> Ticket {
    let request = json!({"reqFuncName": "F", "userID": "u1", "operationID": operation});
    say(station, &request.to_string());
    match station.notices().pop() {
        Some(ServerNotice::Request { ticket, .. }) => ticket,
        other => panic!("{other:?}"),
    }
}

fn hear(station: &mut Station<Server>) -> Vec<Value> {
    let now = station.now();
    let frames = station.flush(now, usize::MAX);
    frames.into_iter().map(|frame| serde_json::from_slice(&frame.into_bytes()).unwrap()).collect()
}

fn answer(ticket: Ticket, data: &'static str) -> ServerCommand {
    ServerCommand::Answer { ticket, answer: Answer::success(data), audience: Audience::Asker }
}

fn seconds(count: u64) -> Instant {
    Instant::ORIGIN + Duration::from_secs(count)
}

#[test]
fn it_registers_as_who_came_through_the_door() {
    let mut station = plain();
    let badge = visitor().badge;
    assert_eq!(station.routes(), [Route::Register { key: key("u1"), badge }]);
    let server = Server::new(Arc::default(), visitor(), 1);
    let mut refused = Station::new(server, Arc::default(), Instant::ORIGIN);
    let why = Refusal::PlatformFull;
    refused.event(Instant::ORIGIN, Event::Delivered(Delivery::Rejected { key: key("u1"), why }));
    assert_eq!(refused.closed(), Some(CloseReason::Overloaded));
}

#[test]
fn a_ping_every_27_s_and_an_end_30_s_after_the_last_sign() {
    let mut station = plain();
    for round in 1..=3 {
        let due = seconds(27 * round);
        let frames = station.run_reading(due);
        assert_eq!(frames.len(), 1);
        assert_eq!((frames[0].0, frames[0].1.opcode), (due, Opcode::Ping));
        station.event(due, Event::Received(Opcode::Pong, Bytes::new()));
    }
    station.run_reading(seconds(110));
    assert_eq!(station.closed(), None);
    station.run_reading(seconds(111));
    assert_eq!(station.closed(), Some(CloseReason::HeartbeatTimeout));
    assert_eq!(CloseReason::HeartbeatTimeout.code(), 1008);
}

#[test]
fn liveness_can_be_switched_off() {
    let mut station = opened(Limits { heartbeat: None, silence: None, ..limits(&Limits::default()) });
    assert_eq!(station.run_reading(seconds(100_000)), []);
    assert_eq!(station.next_timeout(), None);
}

#[test]
fn a_message_above_the_limit_ends_the_connection() {
    let mut station = plain();
    let mut text = "{}".to_owned();
    text.push_str(&" ".repeat(1024 * 1024 - 2));
    say(&mut station, &text);
    assert_eq!(station.closed(), None);
    text.push(' ');
    say(&mut station, &text);
    assert_eq!(station.closed(), Some(Violation::PackageTooLarge.into()));
    assert_eq!(Violation::PackageTooLarge.code(), 1009);
}

#[test]
fn bytes_without_borders_are_no_messages() {
    let mut station = plain();
    station.receive(Instant::ORIGIN, "{}");
    assert_eq!(station.closed(), Some(Violation::MessageInvalid.into()));
}

#[test]
fn a_slow_reader_is_closed() {
    let mut station = opened(Limits { send_queue_bytes: 2048, ..limits(&Limits::default()) });
    station.command(Instant::ORIGIN, ServerCommand::SetMode(Mode::Online { batch: false }));
    for _ in 0..8 {
        station.command(Instant::ORIGIN, ServerCommand::Push(Push::new("e", "x", Overflow::Close)));
    }
    assert_eq!(station.closed(), None);
    station.command(Instant::ORIGIN, ServerCommand::Push(Push::new("e", "x", Overflow::DropNewest)));
    assert_eq!(station.marked(Mark::PushDropped), 1);
    station.command(Instant::ORIGIN, ServerCommand::Push(Push::new("e", "x", Overflow::Close)));
    assert_eq!(station.closed(), Some(CloseReason::SlowConsumer));
    assert_eq!(CloseReason::SlowConsumer.code(), 1008);
}

#[test]
fn a_graceful_end_waits_for_answers() {
    let mut station = plain();
    let ticket = ask(&mut station, "op");
    station.event(Instant::ORIGIN, Event::Drain(CloseReason::Stopping));
    assert_eq!(station.closed(), None);
    let audience = Audience::User;
    let answer = Answer::success("done");
    station.command(Instant::ORIGIN, ServerCommand::Answer { ticket, answer, audience });
    assert_eq!(hear(&mut station), [reply("F", 0, "", "done", "op")]);
    assert_eq!(station.closed(), Some(CloseReason::Stopping));
    assert_eq!(CloseReason::Stopping.code(), 1001);
    assert!(
        station.routes().iter().any(|route| matches!(route, Route::Publish { .. })),
        "others hear it too"
    );
}

#[test]
fn a_kick_and_a_close_are_said() {
    for (command, reason) in
        [(ServerCommand::Kick, CloseReason::Kicked), (ServerCommand::Close, CloseReason::Finished)]
    {
        let mut station = plain();
        station.command(Instant::ORIGIN, command);
        assert_eq!(station.closed(), Some(reason));
    }
}

#[test]
fn every_request_has_one_answer() {
    let mut station = plain();
    let [first, second] = ["a", "b"].map(|operation| ask(&mut station, operation));
    station.command(Instant::ORIGIN, answer(second, "2"));
    station.command(Instant::ORIGIN, answer(second, "again"));
    assert_eq!(station.marked(Mark::AnswerLate), 1);
    assert_eq!(hear(&mut station), [reply("F", 0, "", "2", "b")]);
    station.run_until(seconds(29));
    station.flush(seconds(29), usize::MAX);
    station.event(seconds(29), Event::Received(Opcode::Pong, Bytes::new()));
    station.run_until(seconds(30));
    let expired = reply("F", 1004, "resource loading is not completed", "", "a");
    assert_eq!(hear(&mut station), [expired]);
    assert_eq!(station.marked(Mark::RequestExpired), 1);
    assert_eq!(station.notices(), [ServerNotice::Expired(first)]);
    station.command(seconds(30), answer(first, "late"));
    assert_eq!((station.marked(Mark::AnswerLate), station.waiting()), (2, 0));
}

#[test]
fn too_many_unanswered_requests_stop_the_reading() {
    let mut station = opened(Limits { pending_requests: 2, ..limits(&Limits::default()) });
    let tickets: Vec<Ticket> = ["a", "b"].map(|operation| ask(&mut station, operation)).into();
    assert!(!station.connection().wants_read());
    assert_eq!(station.connection().dialect().pending_requests(), 2);
    station.command(Instant::ORIGIN, answer(tickets[0], ""));
    assert!(station.connection().wants_read());
    // A driver that reads on all the same is taken seriously for a while.
    for _ in 0..3 {
        ask(&mut station, "c");
    }
    say(&mut station, "{\"userID\":\"u1\"}");
    assert_eq!(station.closed(), Some(CloseReason::Overloaded));
}

#[test]
fn an_answer_that_cannot_be_sent_is_a_failure() {
    let mut station = opened(Limits { send_max: 200, ..limits(&Limits::default()) });
    for audience in [Audience::Asker, Audience::User] {
        let ticket = ask(&mut station, "op");
        let answer = Answer::success("x".repeat(200));
        station.command(Instant::ORIGIN, ServerCommand::Answer { ticket, answer, audience });
        assert_eq!(hear(&mut station), [reply("F", 1001, "Request Parameter Error", "", "op")]);
    }
    assert_eq!(station.marked(Mark::AnswerRefused), 2);
    say(&mut station, &json!({"userID": "x", "reqFuncName": "f".repeat(300)}).to_string());
    assert_eq!((station.marked(Mark::AnswerRefused), station.waiting()), (3, 0));
}

#[test]
fn an_answer_may_be_as_large_as_the_limit() {
    let text = Reply::to_call("F", "op", &Answer::success("x".repeat(200))).encode();
    for (send_max, refused) in [(text.len(), 0), (text.len() - 1, 1)] {
        for audience in [Audience::Asker, Audience::User] {
            let limits = Limits { send_max: send_max as u32, ..limits(&Limits::default()) };
            let mut station = opened(limits);
            let ticket = ask(&mut station, "op");
            let answer = Answer::success("x".repeat(200));
            station.command(Instant::ORIGIN, ServerCommand::Answer { ticket, answer, audience });
            assert_eq!(station.marked(Mark::AnswerRefused), refused, "{send_max}");
            let is_whole = hear(&mut station)[0]["errCode"] == 0;
            assert_eq!(is_whole, refused == 0);
        }
    }
}

/// Twice of what is to wait is taken of a driver that reads on, in requests and in bytes.
#[test]
fn what_waits_is_bounded_whoever_reads_on() {
    let request =
        |operation: &str| json!({"reqFuncName": "F", "userID": "u1", "operationID": operation}).to_string();
    let size = request("a").len() as u32;
    for limits in [
        Limits { pending_requests: 5, ..Limits::default() },
        Limits { pending_bytes: 5 * size, ..Limits::default() },
    ] {
        let mut station = opened(linkspan_core::im::limits(&limits));
        for number in 1..=10 {
            ask(&mut station, "a");
            assert_eq!(station.connection().wants_read(), number < 5, "{number}");
        }
        assert_eq!(station.closed(), None);
        say(&mut station, &request("a"));
        assert_eq!(station.closed(), Some(CloseReason::Overloaded));
    }
}

/// Who has not said yet whether it wants lists hears what is for its program, and nothing else.
#[test]
fn before_it_is_logged_in_a_client_hears_answers_of_its_user_alone() {
    let own = || Reply { event: "SendMessage".into(), ..Reply::default() }.to_push();
    let news = || Push::new("OnRecvNewMessage", "{}", Overflow::Close);
    for (mode, heard) in
        [(Mode::Waiting, [1, 0]), (Mode::Detached, [0, 0]), (Mode::Online { batch: false }, [1, 1])]
    {
        let mut station = plain();
        station.command(Instant::ORIGIN, ServerCommand::SetMode(mode));
        let counts = [own(), news()].map(|push| {
            station.event(Instant::ORIGIN, Event::Delivered(Delivery::Push(push)));
            hear(&mut station).len()
        });
        assert_eq!(counts, heard, "{mode:?}");
        assert_eq!(station.marked(Mark::NotReady), 2 - heard.iter().sum::<usize>() as u64);
    }
}

#[test]
fn an_operation_id_is_made_where_none_came() {
    let mut world =
        World::new(ServerConfig { origin_unix: Duration::from_secs(7), ..ServerConfig::default() });
    let conn = world.connect(WEB).unwrap();
    let ids = [(); 2].map(|()| {
        world.call(conn, "GetLoginStatus", "", "");
        world.hear(conn).pop().unwrap()["operationID"].as_str().unwrap().to_owned()
    });
    assert_ne!(ids[0], ids[1]);
    assert!(ids.iter().all(|id| id.starts_with("8000000000")), "wall time in nanoseconds: {ids:?}");
}

#[test]
fn new_messages_come_as_lists_to_who_asked_for_it() {
    let mut world = World::new(ServerConfig::default());
    let [first, second] = [WEB; 2].map(|query| world.connect(query).unwrap());
    let data = json!({"userID": "u1", "token": "t"}).to_string();
    let request =
        json!({"reqFuncName": "Login", "userID": "u1", "operationID": "o", "data": data, "batchMsg": 1});
    world.send(first, request.to_string());
    let message = r#"{"content":"<\"hi\">"}"#;
    let push = Push::new("OnRecvNewMessage", message, Overflow::Close);
    world.publish(To::Key(key("u1")), push.clone());
    world.publish(To::Key(key("u1")), Push::new("OnNewConversation", "[]", Overflow::Close));
    let third = world.connect(WEB).unwrap();
    world.publish(To::Key(key("u1")), push);
    let list = reply("OnRecvNewMessages", 0, "", &format!("[{message}]"), "0");
    for conn in [first, second] {
        let heard = world.hear(conn);
        let conversation = reply("OnNewConversation", 0, "", "[]", "");
        assert_eq!(heard[1..], [list.clone(), conversation, list.clone()]);
    }
    assert_eq!(world.hear(third), [list], "the flag is the user's");
}

#[test]
fn messages_wait_for_no_login() {
    let mut world = World::new(ServerConfig::default());
    let conn = world.connect(WEB).unwrap();
    world.publish(To::Key(key("u1")), Push::new("e", "x", Overflow::Close));
    assert_eq!(world.hear(conn), [] as [Value; 0]);
    assert_eq!(world.station(conn).marked(Mark::NotReady), 1);
}

#[test]
fn what_is_not_text_cannot_be_said() {
    let mut station = opened(Limits { send_max: 100, ..limits(&Limits::default()) });
    station.command(Instant::ORIGIN, ServerCommand::SetMode(Mode::Online { batch: true }));
    for (route, body) in [("e", &b"\xff"[..]), ("e", &[b'x'; 101]), ("e", &[b'x'; 60])] {
        let push = Push::new(route, body.to_vec(), Overflow::Close);
        station.event(Instant::ORIGIN, Event::Delivered(Delivery::Push(push)));
    }
    assert_eq!((station.marked(Mark::PushRefused), station.waiting()), (3, 0));
}

/// One user on three dialects.
#[test]
fn a_message_reaches_every_dialect_and_a_reply_only_its_own() {
    let mut im = plain();
    im.command(Instant::ORIGIN, ServerCommand::SetMode(Mode::Online { batch: false }));
    let chat_config = Arc::new(chat::ServerConfig::default());
    let mut chat_end = linkspan_core::Actions::new();
    let server = chat::Server::new(Arc::clone(&chat_config), 1);
    let mut chat = linkspan_core::Connection::new(server, Arc::default(), Instant::ORIGIN, &mut chat_end);
    let mut pomelo = linkspan_tests::harness::bench::Bench::plain().working();
    let mut chat_hears = |delivery: Delivery| {
        use linkspan_core::Machine as _;
        let mut actions = linkspan_core::Actions::new();
        chat.handle_event(Instant::ORIGIN, Event::Delivered(delivery), &mut actions);
        actions.into_iter().filter(|action| matches!(action, linkspan_core::Action::Send(_))).count()
    };
    chat_hears(Delivery::Admitted(chat::user_key(1)));
    let said = chat_config.message(2, 1, "hi <b>");
    let text = String::from_utf8(said.body().to_vec()).unwrap();
    for (push, expected) in [
        (Push::new("onNews", "{\"a\":1}", Overflow::Close), reply("onNews", 0, "", "{\"a\":1}", "0")),
        (said, reply("onChat", 0, "", &text, "0")),
    ] {
        im.event(Instant::ORIGIN, Event::Delivered(Delivery::Push(push.clone())));
        assert_eq!(hear(&mut im), [expected]);
        pomelo.deliver(push.clone());
        assert_eq!(pomelo.hear().len(), 1);
        assert_eq!(chat_hears(Delivery::Push(push)), 1);
    }
    let own = Reply { event: "SendMessage".into(), ..Reply::default() }.to_push();
    im.event(Instant::ORIGIN, Event::Delivered(Delivery::Push(own.clone())));
    assert_eq!(hear(&mut im), [reply("SendMessage", 0, "", "", "")]);
    pomelo.deliver(own.clone());
    assert_eq!((pomelo.hear().len(), chat_hears(Delivery::Push(own))), (0, 0));
    assert_eq!(pomelo::ServerConfig::default().deflate_above, None);
}

#[test]
fn two_thousand_messages_of_fifty_senders_keep_their_order() {
    let mut world = World::new(ServerConfig::default());
    let [first, second] = [WEB; 2].map(|query| world.connect(query).unwrap());
    world.login(first);
    world.hear(first);
    world.hear(second);
    for number in 0..2000 {
        let text = json!({"sender": number % 50, "number": number}).to_string();
        world.publish(To::Key(key("u1")), Push::new("OnRecvNewMessage", text, Overflow::Close));
    }
    for conn in [first, second] {
        let numbers = world.hear(conn).into_iter().map(|frame| {
            let data: Value = serde_json::from_str(frame["data"].as_str().unwrap()).unwrap();
            data["number"].as_u64().unwrap()
        });
        assert!(numbers.eq(0..2000), "no loss, no inversion");
    }
}

#[test]
fn the_application_can_join_and_publish() {
    let mut station = plain();
    station.routes();
    let group = GroupId::new("g").unwrap();
    let push = Push::new("e", "x", Overflow::Close);
    let to = To::Group(group.clone());
    for command in [
        ServerCommand::Join(group.clone()),
        ServerCommand::Publish { to: to.clone(), push: push.clone() },
        ServerCommand::Leave(group.clone()),
    ] {
        station.command(Instant::ORIGIN, command);
    }
    assert_eq!(
        station.routes(),
        [Route::Join(group.clone()), Route::Publish { to, push }, Route::Leave(group)]
    );
}

#[test]
fn a_client_of_ours_logs_in_calls_and_hears() {
    let mut world = World::new(ServerConfig::default());
    let conn = world.connect(WEB).unwrap();
    let mut client = Station::new(Client::new("u1"), Arc::default(), Instant::ORIGIN);
    let login = ClientCommand::Login { operation: "1".into(), token: "tok-u1".into(), batch: false };
    let call =
        ClientCommand::Call { operation: "2".into(), function: "GetLoginUser".into(), data: String::new() };
    for command in [login, call] {
        client.command(Instant::ORIGIN, command);
    }
    assert_eq!(client.connection().dialect().pending_requests(), 2);
    for frame in client.flush(Instant::ORIGIN, usize::MAX) {
        world.send(conn, frame.into_bytes());
    }
    world.publish(To::Key(key("u1")), Push::new("OnRecvNewMessage", "{}", Overflow::Close));
    for frame in world.hear(conn) {
        client.event(Instant::ORIGIN, Event::Received(Opcode::Text, frame.to_string().into()));
    }
    let answer = |operation: &str, event: &str, data: &'static str| ClientNotice::Answer {
        operation: operation.into(),
        event: event.into(),
        answer: Answer::success(data),
    };
    let (operation, event) = ("0".into(), "OnRecvNewMessage".into());
    let news = ClientNotice::Event { operation, event, answer: Answer::success("{}") };
    let expected = [answer("1", "Login", ""), answer("2", "GetLoginUser", "u1"), news];
    assert_eq!(client.notices(), expected);
    assert_eq!(client.connection().dialect().pending_requests(), 0);
    client.event(Instant::ORIGIN, Event::Received(Opcode::Text, Bytes::from_static(b"[]")));
    assert_eq!(client.closed(), Some(Violation::TextInvalid.into()));
}

#[test]
fn a_client_takes_messages_up_to_its_limit() {
    let message = br#"{"event":"F","errCode":0,"errMsg":"","data":"","operationID":"x"}"#;
    for (most, closed) in
        [(message.len(), None), (message.len() - 1, Some(CloseReason::Violation(Violation::PackageTooLarge)))]
    {
        let limits = Limits { receive_max: most as u32, ..Limits::default() };
        let mut station = Station::new(Client::new("u1"), Arc::new(limits), Instant::ORIGIN);
        let data = Bytes::from_static(message);
        station.event(Instant::ORIGIN, Event::Received(Opcode::Text, data));
        assert_eq!(station.closed(), closed, "{most} bytes");
        if closed.is_none() {
            // It says what it wants in whole messages: an end between them is an end.
            station.event(Instant::ORIGIN, Event::Closed(CloseReason::PeerClosed));
            assert_eq!(station.closed(), Some(CloseReason::PeerClosed));
        }
    }
}
