//! Users, messages, policies and ends.

use super::*;

#[test]
fn a_user_is_reachable_once_the_hub_has_admitted_it() {
    let mut chat = Chat::standard();
    let one = chat.gateway.connect(Server::new(Arc::clone(&chat.config), 1));
    assert!(!chat.gateway.wants_read(one), "nothing is taken in the name of a user that may be refused");
    chat.gateway.run();
    assert!(chat.gateway.wants_read(one));
    assert_eq!(chat.gateway.notices::<Server>(one), [ServerNotice::Opened]);
    assert_eq!(chat.gateway.hub().sessions_of(&user_key(1)), 1);
    chat.say(one, &send(1, 1, "to myself"));
    assert_eq!(chat.texts(one), [send(1, 1, "to myself")]);
    chat.gateway.finish();
}

#[test]
fn stamped_messages_name_the_connection_that_has_sent_them() {
    let mut chat =
        Chat::new(ServerConfig { relay: Relay::Stamped, ..ServerConfig::default() }, Limits::default());
    let [one, two] = [1, 2].map(|user| chat.connect(user));
    chat.say(one, r#"{"type":1,"sender":99,"receiver":2,"content":"<\ud800\u0000>","x":1}"#);
    chat.say(one, r#"{"type":1,"send":1,"receiver":2}"#);
    let expected = [
        r#"{"type":2,"sender":1,"receiver":2,"content":"<\ud800\u0000>"}"#,
        r#"{"type":2,"sender":1,"receiver":2,"content":""}"#,
    ];
    assert_eq!(chat.texts(two), expected);
}

#[test]
fn what_says_nothing_is_counted() {
    let mut chat = Chat::standard();
    let one = chat.connect(1);
    for text in ["{}", "null", r#"{"type":0}"#, r#"{"type":2,"receiver":1}"#, r#"{"type":4,"receiver":1}"#] {
        chat.say(one, text);
    }
    assert_eq!(chat.gateway.marked(Mark::MessageIgnored), 5);
    chat.say(one, &send(1, 77, "nobody"));
    assert_eq!(chat.gateway.marked(Mark::Undeliverable), 1);
    assert_eq!(chat.gateway.arrivals(one), []);
}

#[test]
fn bad_messages_end_their_connection_or_are_ignored() {
    let bad: [&[u8]; 6] = [b"", b"hello", b"[]", b"{\"type\":\"1\"}", b"{\"content\":\"\xff\"}", b"{} {}"];
    for bytes in bad {
        let mut chat = Chat::standard();
        let [one, two] = [1, 2].map(|user| chat.connect(user));
        chat.gateway.receive(one, Opcode::Binary, bytes.to_vec());
        chat.gateway.run();
        assert_eq!(chat.gateway.arrivals(one), closed(1007, "invalid message"));
        assert_eq!(chat.gateway.closed(two), None);
    }
    let ignore = ServerConfig { on_bad_message: OnBadMessage::Ignore, ..ServerConfig::default() };
    let mut chat = Chat::new(ignore, Limits::default());
    let one = chat.connect(1);
    for bytes in bad {
        chat.gateway.receive(one, Opcode::Binary, bytes.to_vec());
    }
    chat.say(one, &send(1, 1, "still here"));
    assert_eq!(chat.texts(one), [send(1, 1, "still here")]);
    assert_eq!(chat.gateway.marked(Mark::BadMessageIgnored), 6);
}

#[test]
fn a_message_above_the_limit_ends_its_connection() {
    let mut chat = Chat::standard();
    let [one, two] = [1, 2].map(|user| chat.connect(user));
    let overhead = send(1, 2, "").len();
    chat.say(one, &send(1, 2, &"x".repeat(65_536 - overhead)));
    assert_eq!(chat.texts(two).len(), 1, "exactly the limit");
    chat.say(one, &send(1, 2, &"x".repeat(65_537 - overhead)));
    assert_eq!(chat.gateway.arrivals(one), closed(1009, "package too large"));
    assert_eq!(chat.gateway.arrivals(two), []);
}

#[test]
fn a_byte_stream_is_not_a_chat() {
    let mut chat = Chat::standard();
    let one = chat.connect(1);
    chat.gateway.receive(one, Opcode::Stream, "{}");
    chat.gateway.run();
    assert_eq!(chat.gateway.closed(one), Some(Violation::MessageInvalid.into()));
}

#[test]
fn the_newer_connection_replaces_the_older_or_is_refused_or_joins_it() {
    let mut chat = Chat::standard();
    let [old, new] = [1, 1].map(|user| chat.connect(user));
    assert_eq!(chat.gateway.arrivals(old), closed(4001, "replaced"));
    chat.say(new, &send(1, 1, "mine"));
    assert_eq!(chat.texts(new), [send(1, 1, "mine")]);
    assert_eq!(
        chat.gateway.hub().sessions_of(&user_key(1)),
        1,
        "the end of the older did not touch the newer"
    );
    assert_eq!(chat.gateway.marked(Mark::KeyReplaced), 1);

    let config = |on_duplicate| ServerConfig { on_duplicate, ..ServerConfig::default() };
    let mut chat = Chat::new(config(Admission::RejectNew), Limits::default());
    let [old, new] = [1, 1].map(|user| chat.connect(user));
    assert_eq!(chat.gateway.arrivals(new), closed(4002, "user already connected"));
    assert_eq!(chat.gateway.notices::<Server>(new), []);
    chat.say(old, &send(1, 1, "mine"));
    assert_eq!(chat.texts(old), [send(1, 1, "mine")]);

    let mut chat = Chat::new(config(Admission::Many), Limits::default());
    let [first, second] = [1, 1].map(|user| chat.connect(user));
    chat.say(first, &send(1, 1, "ours"));
    assert_eq!(chat.texts(first), [send(1, 1, "ours")]);
    assert_eq!(chat.texts(second), [send(1, 1, "ours")]);
    chat.say(first, r#"{"type":3,"sender":1}"#);
    assert_eq!(chat.gateway.arrivals(first), closed(1000, ""));
    assert_eq!(chat.gateway.closed(second), None, "type 3 acts on its own connection only");
    chat.gateway.finish();
}

#[test]
fn type_3_is_answered_behind_what_is_queued() {
    let mut chat = Chat::standard();
    let one = chat.connect(1);
    chat.gateway.read_with(one, Patience::None);
    for number in 0..3 {
        chat.say(one, &send(1, 1, &number.to_string()));
    }
    chat.say(one, r#"{"type":3}"#);
    chat.say(one, &send(1, 1, "too late"));
    assert_eq!(chat.gateway.closed(one), Some(CloseReason::PeerClosed));
    assert_eq!(chat.gateway.hub().sessions(), 0, "nothing more is for it");
    chat.gateway.read_with(one, Patience::All);
    chat.gateway.run();
    let arrivals = chat.gateway.arrivals(one);
    assert_eq!((arrivals.len(), arrivals.last()), (4, closed(1000, "").last()));
}

#[test]
fn what_is_too_large_for_the_receiver_is_refused() {
    let mut chat = Chat::new(ServerConfig::default(), Limits { send_max: 80, ..Limits::default() });
    let [one, two] = [1, 2].map(|user| chat.connect(user));
    chat.say(one, &send(1, 2, &"x".repeat(100)));
    // Short, but its escapes are long.
    chat.gateway.command::<Server>(two, ServerCommand::Push(Push::new("r", "<".repeat(10), Overflow::Close)));
    assert_eq!(chat.gateway.marked(Mark::PushRefused), 2);
    chat.gateway.run();
    assert_eq!(chat.gateway.arrivals(two), []);
}

#[test]
fn nothing_is_said_in_the_name_of_a_user_that_is_not_admitted() {
    use linkspan_core::{Action, Actions, Connection, Delivery, Event, Machine};
    let mut actions = Actions::new();
    let now = Instant::ORIGIN;
    let mut connection = Connection::new(Server::new(Arc::default(), 1), Arc::default(), now, &mut actions);
    actions.drain();
    // A driver that reads although it should not.
    let text = Bytes::from(send(1, 2, "early"));
    connection.handle_event(now, Event::Received(Opcode::Text, text), &mut actions);
    let push = Push::new("r", "x", Overflow::Close);
    connection.handle_event(now, Event::Delivered(Delivery::Push(push)), &mut actions);
    assert_eq!(actions.as_slice(), [Action::Mark(Mark::NotReady), Action::Mark(Mark::NotReady)]);
}

#[test]
fn a_user_is_a_number_in_whatever_spelling() {
    for (text, user) in [("0", 0), ("007", 7), ("+42", 42), ("18446744073709551615", u64::MAX)] {
        assert_eq!(chat::parse_user(text), Ok(user));
        assert_eq!(user_key(user).as_bytes(), user.to_string().as_bytes());
    }
    for text in ["", "+", "-1", " 1", "1 ", "1.0", "x", "18446744073709551616"] {
        assert_eq!(chat::parse_user(text), Err(chat::InvalidUser), "{text}");
    }
}
