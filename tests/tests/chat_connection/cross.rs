//! One user, several dialects.

use super::*;

/// A pomelo client that is through with its handshake, and bound to the user's key.
fn connect_pomelo(chat: &mut Chat, user: u64) -> ConnId {
    use pomelo::{Server, ServerCommand};
    let conn = chat.gateway.connect(Server::new(Arc::default()));
    chat.gateway.receive(conn, Opcode::Binary, package(1, b"{}"));
    chat.gateway.run();
    chat.gateway.command::<Server>(conn, ServerCommand::Accept { user: None });
    chat.gateway.receive(conn, Opcode::Binary, package(2, b""));
    chat.gateway.run();
    chat.gateway.command::<Server>(conn, ServerCommand::Bind(user_key(user)));
    chat.gateway.run();
    chat.gateway.arrivals(conn);
    conn
}

fn pomelo_push(route: &str, body: &[u8]) -> Arrival {
    let head = [&[6, route.len() as u8], route.as_bytes()].concat();
    Arrival::Frame(Opcode::Binary, package(4, &[&head, body].concat()).into())
}

#[test]
fn one_user_hears_it_in_both_dialects() {
    let multi = ServerConfig { on_duplicate: Admission::Many, ..ServerConfig::default() };
    let mut chat = Chat::new(multi, Limits::default());
    let [sender, browser] = [1, 2].map(|user| chat.connect(user));
    let phone = connect_pomelo(&mut chat, 2);

    // From a chat user: the bytes as they came, for pomelo under the event name.
    let text = r#"{"type":1,"sender":1,"receiver":2,"content":"hi","x":0}"#;
    chat.say(sender, text);
    assert_eq!(chat.texts(browser), [text]);
    assert_eq!(chat.gateway.arrivals(phone), [pomelo_push("onChat", text.as_bytes())]);

    // From a service: its route and body for pomelo, a message that nobody has sent for chat.
    let body = r#"{"a":"<é>"}"#;
    let publish = |push| Route::Publish { to: To::Key(user_key(2)), push };
    chat.gateway.route(publish(Push::new("onNews", body, Overflow::Close)));
    chat.gateway.run();
    assert_eq!(chat.gateway.arrivals(phone), [pomelo_push("onNews", body.as_bytes())]);
    let wrapped =
        r#"{"type":2,"sender":0,"receiver":0,"content":"{\"a\":\"\u003cé\u003e\"}","route":"onNews"}"#;
    assert_eq!(chat.texts(browser), [wrapped]);

    // From a service, in the name of a user.
    let message = chat.config.message(7, 2, "bot");
    chat.gateway.route(publish(message));
    chat.gateway.run();
    let stamped = r#"{"type":2,"sender":7,"receiver":2,"content":"bot"}"#;
    assert_eq!(chat.texts(browser), [stamped]);
    assert_eq!(chat.gateway.arrivals(phone), [pomelo_push("onChat", stamped.as_bytes())]);

    // What is no text is nothing for a chat.
    for push in
        [Push::new("onBytes", &b"\xff"[..], Overflow::Close), Push::new(&b"\xff"[..], "x", Overflow::Close)]
    {
        chat.gateway.route(publish(push));
        chat.gateway.run();
    }
    assert_eq!((chat.texts(browser).len(), chat.gateway.arrivals(phone).len()), (0, 2));
    assert_eq!(chat.gateway.marked(Mark::PushRefused), 2);
    chat.gateway.finish();
}

#[test]
fn a_broadcast_is_encoded_once_for_all_chat_clients() {
    let mut chat = Chat::standard();
    let group = GroupId::new("room").expect("a name");
    let members: Vec<_> = (0..3).map(|user| chat.connect(user)).collect();
    for conn in &members {
        chat.gateway.command::<Server>(*conn, ServerCommand::Join(group.clone()));
    }
    let push = Push::new("onNews", "hello", Overflow::DropNewest);
    let publish = ServerCommand::Publish { to: To::Group(group.clone()), push };
    chat.gateway.command::<Server>(members[0], publish);
    chat.gateway.run();
    let pointers: Vec<_> = members
        .iter()
        .map(|conn| match &chat.gateway.arrivals(*conn)[..] {
            [Arrival::Frame(Opcode::Text, data)] => data.as_ptr(),
            other => panic!("got {other:?}"),
        })
        .collect();
    assert!(pointers.iter().all(|pointer| *pointer == pointers[0]), "one buffer");
    chat.gateway.command::<Server>(members[0], ServerCommand::Leave(group.clone()));
    assert_eq!(chat.gateway.hub().members(&group), 2);
    chat.gateway.finish();
}
