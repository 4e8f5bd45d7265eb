//! The chat server of the examples, with a WebSocket client of another make.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tungstenite::protocol::Message;
use tungstenite::{Error, HandshakeError, WebSocket};

fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || crate::blocking_chat::run(&listener));
    address
}

fn connect(address: SocketAddr, path: &str) -> Result<WebSocket<TcpStream>, Option<u16>> {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    match tungstenite::client(format!("ws://{address}{path}"), socket) {
        Ok((web, _)) => Ok(web),
        Err(HandshakeError::Failure(Error::Http(answer))) => Err(Some(answer.status().as_u16())),
        Err(_) => Err(None),
    }
}

fn text(web: &mut WebSocket<TcpStream>) -> String {
    loop {
        match web.read().unwrap() {
            Message::Text(text) => return text.to_string(),
            Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The code of the close frame that comes next.
fn close_code(web: &mut WebSocket<TcpStream>) -> u16 {
    match web.read().unwrap() {
        Message::Close(Some(frame)) => frame.code.into(),
        other => panic!("{other:?}"),
    }
}

fn message(receiver: u64, content: &str) -> String {
    format!(r#"{{"type":1,"sender":1,"receiver":{receiver},"content":"{content}"}}"#)
}

#[test]
fn users_talk() {
    let address = server();
    let [mut one, mut two] = ["/ws/1", "/ws/2"].map(|path| connect(address, path).unwrap());
    // A message to oneself comes back, so the user is known by then.
    two.send(message(2, "ready").into()).unwrap();
    assert_eq!(text(&mut two), message(2, "ready"));
    for round in 0..100 {
        let text_sent = message(2, &format!("hello {round}"));
        one.send(text_sent.clone().into()).unwrap();
        assert_eq!(text(&mut two), text_sent);
    }
    // A ping is answered, and what follows it is still read.
    one.send(Message::Ping("x".into())).unwrap();
    assert_eq!(one.read().unwrap(), Message::Pong("x".into()));
    one.send(r#"{"type":3}"#.into()).unwrap();
    assert_eq!(close_code(&mut one), 1000);
}

#[test]
fn a_newer_session_replaces_the_older() {
    let address = server();
    let mut older = connect(address, "/ws/7").unwrap();
    older.send(message(7, "ready").into()).unwrap();
    text(&mut older);
    let mut newer = connect(address, "/ws/7").unwrap();
    assert_eq!(close_code(&mut older), 4001);
    newer.send(message(7, "here").into()).unwrap();
    assert_eq!(text(&mut newer), message(7, "here"));
}

#[test]
fn what_is_wrong_is_refused() {
    let address = server();
    assert_eq!(connect(address, "/ws/nobody").map(|_| ()), Err(Some(400)));
    let mut bad = connect(address, "/ws/3").unwrap();
    bad.send("no JSON".into()).unwrap();
    assert_eq!(close_code(&mut bad), 1007);
    let mut large = connect(address, "/ws/4").unwrap();
    large.send(message(4, &"x".repeat(100_000)).into()).unwrap();
    assert_eq!(close_code(&mut large), 1009);
}
