//! Our own client.

use super::*;

#[test]
fn our_client_and_our_server_understand_each_other() {
    let mut chat = Chat::standard();
    let clients = [1, 2].map(|user| {
        let server = chat.connect(user);
        let client = chat.gateway.connect(Client::new(ClientConfig { user }));
        chat.gateway.link(server, client);
        client
    });
    let content = "grüße 😀 </script>".to_owned();
    chat.gateway.command::<Client>(clients[0], ClientCommand::Send { receiver: 2, content: content.clone() });
    chat.gateway.run();
    let text = chat::encode(Kind::Send, 1, 2, &content);
    let message = ClientNotice::Message { kind: Kind::Send, sender: 1, receiver: 2, content, text };
    assert_eq!(chat.gateway.notices::<Client>(clients[1]), [message]);
    // Left alone they ping each other, and nothing else.
    chat.gateway.advance(Duration::from_secs(600));
    assert!(clients.iter().all(|client| chat.gateway.closed(*client).is_none()));
    chat.gateway.command::<Client>(clients[0], ClientCommand::Close);
    chat.gateway.run();
    assert_eq!(chat.gateway.hub().sessions(), 1);
    chat.gateway.finish();
}

#[test]
fn a_client_takes_only_what_it_can_read_and_send() {
    let limits = Limits { send_max: 100, receive_max: 100, ..Limits::default() };
    let mut chat = Chat::new(ServerConfig::default(), limits);
    let mut client = || chat.gateway.connect(Client::new(ClientConfig::default()));
    let [one, two, three] = [client(), client(), client()];
    let command = ClientCommand::Send { receiver: 1, content: "x".repeat(100) };
    chat.gateway.command::<Client>(one, command);
    assert_eq!(chat.gateway.marked(Mark::PushRefused), 1);
    chat.gateway.receive(two, Opcode::Text, format!("{:100}", send(2, 1, "")));
    assert_eq!(chat.gateway.closed(two), None, "exactly the limit");
    chat.gateway.receive(one, Opcode::Text, "[]");
    chat.gateway.receive(two, Opcode::Text, " ".repeat(101));
    chat.gateway.receive(three, Opcode::Stream, "{}");
    chat.gateway.run();
    let ends = [one, two, three].map(|conn| chat.gateway.closed(conn));
    let violations = [Violation::TextInvalid, Violation::PackageTooLarge, Violation::MessageInvalid];
    assert_eq!(ends, violations.map(|violation| Some(violation.into())));
}
