//! The IM listener: recorded behaviour, crowds, tokens, and clients that mean no good.

pub mod crowd;
pub mod hostile;
pub mod tokens;
pub mod vectors;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::wire::frame;
use super::{Process, Wire};

/// The head of a handshake that asks for a WebSocket.
fn handshake(query: &str) -> String {
    format!(
        "GET /?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Runs a gateway with an IM listener.
fn serve(program: &str, token: &str, more: &[&str]) -> (Process, SocketAddr) {
    let plain = ["serve", "--im", "127.0.0.1:0", "--im-token", token];
    let gateway = Process::start(program, &[&plain, more].concat());
    let address = gateway.listening("im");
    (gateway, address)
}

/// A file of one test, in a folder that the build owns; it stays there.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/tmp");
    std::fs::create_dir_all(&path).expect("the build's folder can be written");
    let path = path.join(format!("{name}-{}", std::process::id()));
    std::fs::write(&path, text).expect("it can be written");
    path
}

/// One connection of a user.
struct Tab {
    wire: Wire,
    user: String,
}

impl Tab {
    /// Goes through the door, or says what was answered.
    fn open(address: SocketAddr, user: &str, platform: u8, token: &str) -> Result<Self, String> {
        let query = format!("sendID={user}&token={token}&platformID={platform}");
        let wire = Wire::knock(address, &handshake(&query)).expect("the listener is there")?;
        Ok(Self { wire, user: user.to_owned() })
    }

    /// Goes in and logs in.
    fn login(address: SocketAddr, user: &str, platform: u8) -> Self {
        let mut tab = Self::open(address, user, platform, &format!("tok-{user}")).expect("it is let in");
        tab.ask_login("login");
        let answer = tab.hear();
        assert_eq!((&answer["event"], &answer["errCode"]), (&json!("Login"), &json!(0)), "{user}");
        tab
    }

    fn ask_login(&mut self, operation: &str) {
        let token = format!("tok-{}", self.user);
        self.ask("Login", operation, &json!({"userID": self.user, "token": token}).to_string());
    }

    fn ask(&mut self, function: &str, operation: &str, data: &str) {
        let request = json!({
            "reqFuncName": function, "operationID": operation, "userID": self.user, "data": data, "batchMsg": 0,
        });
        self.wire.send_text(&request.to_string()).expect("it takes it");
    }

    /// Sends one message to another user; `number` stands in its content and in the operation id.
    fn send(&mut self, to: &str, number: usize) {
        let message = json!({
            "clientMsgID": format!("{}-{number}", self.user), "contentType": 101, "content": number.to_string(),
            "sendID": "somebody else",
        });
        let data =
            json!({"message": message.to_string(), "recvID": to, "groupID": "", "offlinePushInfo": ""});
        self.ask("SendMessage", &number.to_string(), &data.to_string());
    }

    /// The next event or answer.
    fn hear(&mut self) -> Value {
        let text = self.wire.receive_text().expect("in time").expect("the connection lives");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The next event or answer of this name.
    fn hear_of(&mut self, event: &str) -> Value {
        loop {
            let heard = self.hear();
            if heard["event"] == event {
                return heard;
            }
        }
    }

    /// Whether nothing comes for a while.
    fn is_quiet(&mut self) -> bool {
        self.wire.set_patience(Duration::from_millis(50));
        let quiet = matches!(
            self.wire.receive_text(),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
        );
        self.wire.set_patience(super::PATIENCE);
        quiet
    }

    /// Whether it still gets right answers.
    fn assert_served(&mut self) {
        self.ask("GetLoginStatus", "alive", "");
        let answer = self.hear_of("GetLoginStatus");
        assert_eq!((&answer["data"], &answer["operationID"]), (&json!("101"), &json!("alive")));
    }

    /// Says goodbye and waits for the end.
    fn close(mut self) {
        let _ = self.wire.raw(&frame(8, &[]));
        while let Ok(Some(_)) = self.wire.receive_text() {}
    }
}
