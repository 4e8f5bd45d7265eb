//! Slow receivers, full mailboxes, and many senders.

use super::*;

fn slow(on_slow: Overflow) -> (Chat, ConnId, ConnId) {
    let limits = Limits { send_queue_bytes: 1024, send_max: 512, receive_max: 512, ..Limits::default() };
    let mut chat = Chat::new(ServerConfig { on_slow, ..ServerConfig::default() }, limits);
    let [one, two] = [1, 2].map(|user| chat.connect(user));
    chat.gateway.read_with(two, Patience::None);
    for number in 0..10 {
        // Each counts for 256 bytes.
        chat.say(one, &send(1, 2, &number.to_string()));
    }
    (chat, one, two)
}

#[test]
fn a_slow_receiver_ends_or_loses_messages_and_never_stops_its_sender() {
    let numbers = |texts: Vec<String>| -> Vec<u8> {
        texts.iter().map(|text| text.as_bytes()[text.len() - 3] - b'0').collect()
    };
    let (mut chat, one, two) = slow(Overflow::Close);
    assert_eq!(chat.gateway.closed(two), Some(CloseReason::SlowConsumer));
    assert_eq!(chat.gateway.arrivals(two), []);
    chat.gateway.advance(Limits::default().close_grace);
    assert_eq!(chat.gateway.arrivals(two), [Arrival::Aborted], "it did not even take the goodbye");
    chat.say(one, &send(1, 1, "free"));
    assert_eq!(chat.texts(one), [send(1, 1, "free")]);

    let (mut chat, _, two) = slow(Overflow::DropNewest);
    chat.gateway.read_with(two, Patience::All);
    chat.gateway.run();
    assert_eq!(numbers(chat.texts(two)), [0, 1, 2, 3]);
    assert_eq!(chat.gateway.marked(Mark::PushDropped), 6);

    let (mut chat, _, two) = slow(Overflow::DropOldest);
    chat.gateway.read_with(two, Patience::All);
    chat.gateway.run();
    assert_eq!(numbers(chat.texts(two)), [6, 7, 8, 9]);
    assert_eq!(chat.gateway.marked(Mark::OldestDropped), 6);
}

#[test]
fn a_full_mailbox_is_the_policy_of_its_message() {
    for (on_slow, end) in [(Overflow::Close, Some(CloseReason::SlowConsumer)), (Overflow::DropNewest, None)] {
        let limits = Limits { mailbox: 4, ..Limits::default() };
        let mut chat = Chat::new(ServerConfig { on_slow, ..ServerConfig::default() }, limits);
        let [one, two] = [1, 2].map(|user| chat.connect(user));
        for _ in 0..10 {
            chat.gateway.receive(one, Opcode::Text, send(1, 2, "x"));
        }
        chat.gateway.run();
        assert!(chat.gateway.marked(Mark::MailboxFull) > 0);
        assert_eq!(chat.gateway.closed(two), end);
        assert_eq!(chat.gateway.closed(one), None);
    }
}

#[test]
fn two_thousand_messages_of_fifty_senders_keep_their_order() {
    for seed in 0..20 {
        // All that can come before the receiver has its turn.
        let limits = Limits { mailbox: 2_000, ..Limits::default() };
        let mut chat = Chat::new(ServerConfig::default(), limits);
        chat.gateway = chat.gateway.in_any_order(seed);
        let receiver = chat.connect(1000);
        chat.gateway.read_with(receiver, Patience::Some(7));
        let senders: Vec<_> = (0..50).map(|user| chat.connect(user)).collect();
        for number in 0..40 {
            for (user, conn) in senders.iter().enumerate() {
                let text = send(user as u64, 1000, &number.to_string());
                chat.gateway.receive(*conn, Opcode::Text, text);
            }
        }
        chat.gateway.run();
        let mut next = [0; 50];
        for text in chat.texts(receiver) {
            let message = chat::Message::decode(text.as_bytes()).expect("a message");
            assert_eq!(message.content(), next[message.sender as usize].to_string());
            next[message.sender as usize] += 1;
        }
        assert_eq!(next, [40; 50], "seed {seed}");
        chat.gateway.finish();
    }
}

fn pressed(mut limits: Limits) -> Chat {
    limits.send_queue_bytes = 2048;
    let config = ServerConfig { on_slow: Overflow::Backpressure, ..ServerConfig::default() };
    Chat::new(config, limits)
}

#[test]
fn who_sends_to_a_slow_receiver_waits_until_half_of_its_queue_is_empty() {
    let mut chat = pressed(Limits::default());
    let [one, two, three] = [1, 2, 3].map(|user| chat.connect(user));
    chat.gateway.read_with(two, Patience::None);
    for number in 0..100 {
        chat.gateway.receive(one, Opcode::Text, send(1, 2, &number.to_string()));
        chat.gateway.run();
    }
    // Eight fill the queue, the ninth finds it full, and the sender hears of it with the tenth.
    assert_eq!(chat.gateway.waiting(two), 10);
    assert!(!chat.gateway.wants_read(one));
    assert_eq!((chat.gateway.hub().waiting(), chat.gateway.marked(Mark::SenderHeld)), (1, 1));

    // Who waits gets what is for it, and whoever sends to others goes on.
    chat.say(three, &send(3, 1, "hello"));
    assert_eq!(chat.texts(one), [send(3, 1, "hello")]);

    // It goes on when less than half waits, not before.
    chat.gateway.read_with(two, Patience::Some(5));
    chat.gateway.read_with(two, Patience::None);
    assert!(!chat.gateway.wants_read(one));
    chat.gateway.read_with(two, Patience::Some(3));
    chat.gateway.run();
    let texts = chat.texts(two);
    assert_eq!(
        texts,
        (0..100).map(|number| send(1, 2, &number.to_string())).collect::<Vec<_>>(),
        "none is lost"
    );
    assert!(chat.gateway.wants_read(one));
    assert_eq!(chat.gateway.hub().waiting(), 0);
    chat.gateway.finish();
}

#[test]
fn many_senders_wait_for_one_receiver_and_lose_nothing() {
    for seed in 0..50 {
        let mut chat = pressed(Limits { mailbox: 2_000, ..Limits::default() });
        chat.gateway = chat.gateway.in_any_order(seed);
        let receiver = chat.connect(1000);
        chat.gateway.read_with(receiver, Patience::Some(1));
        let senders: Vec<_> = (0..20).map(|user| chat.connect(user)).collect();
        for number in 0..50 {
            for (user, conn) in senders.iter().enumerate() {
                chat.gateway.receive(*conn, Opcode::Text, send(user as u64, 1000, &number.to_string()));
            }
        }
        chat.gateway.run();
        assert_eq!(chat.texts(receiver).len(), 1000, "seed {seed}");
        assert!(chat.gateway.marked(Mark::SenderHeld) > 0);
        assert_eq!(chat.gateway.hub().waiting(), 0);
        chat.gateway.finish();
    }
}

#[test]
fn nobody_waits_for_who_has_left() {
    for end in [CloseReason::ConnectionLost, CloseReason::PeerClosed] {
        let mut chat = pressed(Limits::default());
        let [one, two] = [1, 2].map(|user| chat.connect(user));
        chat.gateway.read_with(two, Patience::None);
        for _ in 0..20 {
            chat.say(one, &send(1, 2, "x"));
        }
        assert!(!chat.gateway.wants_read(one));
        match end {
            CloseReason::PeerClosed => _ = chat.connect(2),
            lost => chat.gateway.hang_up(two, lost),
        }
        chat.gateway.run();
        assert!(chat.gateway.wants_read(one), "it has left, or another one has its place");
        assert_eq!(chat.gateway.hub().waiting(), 0);
        chat.gateway.finish();
    }
    // And who reads nothing for too long leaves.
    let mut chat = pressed(Limits::default());
    let [one, two] = [1, 2].map(|user| chat.connect(user));
    chat.gateway.read_with(two, Patience::None);
    for _ in 0..20 {
        chat.say(one, &send(1, 2, "x"));
    }
    chat.gateway.advance(Limits::default().write_timeout);
    assert_eq!(chat.gateway.closed(two), Some(CloseReason::WriteTimeout));
    assert!(chat.gateway.wants_read(one));
    // A sender that ends while it waits is forgotten.
    let three = chat.connect(3);
    chat.gateway.read_with(three, Patience::None);
    for _ in 0..20 {
        chat.say(one, &send(1, 3, "x"));
    }
    assert_eq!(chat.gateway.hub().waiting(), 1);
    chat.gateway.drain(one, CloseReason::Stopping);
    chat.gateway.run();
    assert_eq!(chat.gateway.hub().waiting(), 0);
    chat.gateway.finish();
}

#[test]
fn back_pressure_has_a_bound() {
    let mut chat = pressed(Limits { send_max: 512, receive_max: 512, ..Limits::default() });
    let senders: Vec<_> = (0..10).map(|user| chat.connect(user)).collect();
    let slow = chat.connect(1000);
    chat.gateway.read_with(slow, Patience::None);
    for conn in &senders {
        for _ in 0..10 {
            chat.gateway.receive(*conn, Opcode::Text, send(1, 1000, "x"));
        }
    }
    chat.gateway.run();
    assert_eq!(chat.gateway.closed(slow), Some(CloseReason::SlowConsumer), "too many at once");
    assert!(senders.iter().all(|conn| chat.gateway.wants_read(*conn)));
    chat.gateway.finish();
}
