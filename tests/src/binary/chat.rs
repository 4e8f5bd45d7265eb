//! The chat protocol on the HTTP address.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Barrier;

use serde_json::{Value, json};

use super::web::{Said, Web};
use super::{Process, eventually};
use crate::vectors;

const CHAT: [&str; 4] = ["serve", "--http", "127.0.0.1:0", "--chat"];

fn serve(program: &str, more: &[&str]) -> (Process, SocketAddr) {
    let process = Process::start(program, &[&CHAT, more].concat());
    let address = process.listening("http");
    (process, address)
}

fn message(receiver: u64, content: &str) -> String {
    json!({"type": 1, "sender": 0, "receiver": receiver, "content": content}).to_string()
}

/// One script: peers by name.
struct Script {
    address: SocketAddr,
    peers: BTreeMap<String, Peer>,
    heard: Vec<Value>,
    marks: u32,
}

struct Peer {
    web: Web,
    user: u64,
    reads: bool,
    closed: bool,
}

impl Script {
    fn play(&mut self, step: &Value) {
        let name = step["conn"].as_str().expect("a peer's name");
        let payload = || step["payload"].as_str().expect("a payload");
        match step["op"].as_str().expect("an operation") {
            "connect" => {
                let path = step["path"].as_str().expect("a path");
                let user = path["/ws/".len()..].parse().expect("a number");
                let peer = Peer { web: Web::open(self.address, path), user, reads: true, closed: false };
                self.peers.insert(name.to_owned(), peer);
            }
            "send" => {
                let opcode = if step["frame"] == "binary" { 2 } else { 1 };
                // The gateway may have closed it.
                let _ = self.peer(name).web.send(opcode, payload().as_bytes());
            }
            "ping" => self.peer(name).web.send(9, payload().as_bytes()).expect("it reads"),
            "pause_reading" => self.peer(name).reads = false,
            "flood" => {
                let mut message = step["message"].clone();
                message["content"] = "x".repeat(vectors::number(&step["content_bytes"])).into();
                let text = message.to_string();
                for _ in 0..vectors::number(&step["count"]) {
                    self.peer(name).web.text(&text).expect("a slow receiver blocks no sender");
                }
            }
            other => panic!("unknown operation {other}"),
        }
        // First whoever did something: what it has caused is with its receivers before its own mark comes back.
        self.settle(name);
        let names: Vec<_> = self.peers.keys().cloned().collect();
        for name in &names {
            self.settle(name);
        }
    }

    fn peer(&mut self, name: &str) -> &mut Peer {
        self.peers.get_mut(name).expect("a peer of the script")
    }

    /// Hears everything that is on its way to one peer: it sends itself a mark, and reads until it comes.
    fn settle(&mut self, name: &str) {
        self.marks += 1;
        let peer = self.peers.get_mut(name).expect("a peer of the script");
        if peer.closed || !peer.reads {
            return;
        }
        let mark = message(peer.user, &format!("mark {}", self.marks));
        let _ = peer.web.text(&mark);
        loop {
            self.heard.push(match peer.web.next() {
                Said::Text(text) if text == mark => return,
                Said::Text(text) => json!({"to": name, "frame": "text", "data": text}),
                Said::Pong(text) => json!({"to": name, "pong": text}),
                Said::Close(code, reason) => {
                    peer.closed = true;
                    self.heard.push(json!({"to": name, "close": code, "reason": reason}));
                    return;
                }
                Said::End => panic!("{name} was cut without a word"),
            });
        }
    }
}

/// The column `expect` of the recorded scripts, over real sockets.
pub fn every_script_does_what_is_expected(program: &str) {
    let (mut gateway, address) = serve(program, &[]);
    let vectors = vectors::load("chat/scenarios.json");
    let (mut scripts, mut steps) = (0, 0);
    for scenario in vectors["scenarios"].as_array().expect("scripts") {
        let mut script = Script { address, peers: BTreeMap::new(), heard: Vec::new(), marks: 0 };
        for step in scenario["steps"].as_array().expect("steps") {
            script.play(step);
            let mut heard = std::mem::take(&mut script.heard);
            heard.sort_by_key(|one| one["to"].to_string());
            // Words instead of a list: the original and ours cannot be compared here.
            if let Some(expected) = step["expect"].as_array() {
                assert_eq!(&heard, expected, "{}: {step}", vectors::name(scenario));
                steps += 1;
            }
        }
        for peer in script.peers.into_values() {
            peer.web.leave();
        }
        scripts += 1;
    }
    assert!(scripts >= 14 && steps >= 60, "{steps} steps of {scripts} scripts were compared");
    gateway.stop();
    // The receiver that stopped reading, and nobody else.
    let slow = gateway.stderr.all().into_iter().filter(|line| line.contains("slow consumer")).count();
    assert_eq!(slow, 1);
}

/// Nothing ever closes without an answer.
pub fn every_request_is_answered(program: &str) {
    let (mut gateway, address) = serve(program, &[]);
    let vectors = vectors::load("chat/scenarios.json");
    for case in vectors["http"].as_array().expect("cases") {
        let request = case["request"].as_str().expect("a request").replace("<host>", "localhost");
        let expect = case["expect"].as_str().expect("an outcome");
        let mut web = Web::connect(address);
        let answer = web.ask(&request);
        match expect {
            "301 to /ws/1" => {
                assert_eq!(answer.status, 301, "{case}");
                assert!(answer.head.contains("\r\nlocation: /ws/1\r\n"), "{answer:?}");
            }
            text if text.starts_with("400 or 426") => {
                assert_eq!(answer.status, 426, "{case}");
                assert_eq!(web.upgrade("/ws/1", "").status, 101, "the connection stays usable");
            }
            text => {
                assert_eq!(answer.status.to_string(), text[..3], "{case} {answer:?}");
                if let Some(body) = text.strip_prefix("400 ") {
                    assert_eq!(format!("{:?}", answer.body), body);
                }
            }
        }
        if let Some((_, user)) = expect.split_once("(user ") {
            let user = user[..1].parse().expect("a digit");
            web.text(&message(user, "me")).expect("it reads");
            assert_eq!(web.next(), Said::Text(message(user, "me")), "{case}");
        }
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let request = format!("{method} /ws/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        let answer = Web::connect(address).ask(&request);
        assert!(answer.status == 405 && answer.head.contains("\r\nallow: get\r\n"), "{answer:?}");
    }
    for id in ["18446744073709551616", "1e3", "0x1", "%20", "+", "1.0", "%ff"] {
        let answer = Web::connect(address).upgrade(&format!("/ws/{id}"), "");
        assert_eq!((answer.status, answer.body.as_str()), (400, "invalid user id\n"), "{id}");
    }
    gateway.stop();
}

/// What cannot be read ends its own connection with what the page on chat says; others do not notice.
pub fn hostile_messages_end_their_own_connection(program: &str) {
    let (mut gateway, address) = serve(program, &["--receive-max", "4KiB"]);
    let mut bystander = Web::open(address, "/ws/1");
    let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    let nested = format!(r#"{{"type":1,"receiver":1,"x":{}1{}}}"#, "[".repeat(70), "]".repeat(70));
    let invalid = (1007, "invalid message");
    let cases: Vec<(u8, Vec<u8>, (u16, &str))> = vec![
        (1, b"{".to_vec(), invalid),
        (1, b"".to_vec(), invalid),
        (1, b"\xff\xfe".to_vec(), invalid),
        (2, b"{\"type\":1,\"content\":\"\xff\"}".to_vec(), invalid),
        (1, br#"{"type":1,"receiver":1,"content":"\ud800"} trailing"#.to_vec(), invalid),
        (1, br#"{"type":1,"receiver":99999999999999999999999999999999}"#.to_vec(), invalid),
        (1, br#"{"type":1,"receiver":1e400}"#.to_vec(), invalid),
        (1, br#"{"type":true}"#.to_vec(), invalid),
        (1, deep.into_bytes(), invalid),
        (1, nested.into_bytes(), invalid),
        (1, vec![b' '; 4097], (1009, "package too large")),
        // A frame with a reserved opcode, and a control frame that is too long.
        (3, b"x".to_vec(), (1002, "invalid message")),
        (9, vec![b'x'; 126], (1002, "invalid message")),
    ];
    for (at, (opcode, payload, (code, reason))) in cases.into_iter().enumerate() {
        let mut web = Web::open(address, &format!("/ws/{}", at + 100));
        web.send(opcode, &payload).expect("it reads");
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(60)]).into_owned();
        assert_eq!(web.next(), Said::Close(code, reason.to_owned()), "{opcode} {shown}");
        assert_eq!(web.next(), Said::End);
    }
    // What is odd and can be read: the last of several members counts, whoever is named as the sender.
    let mut odd = Web::open(address, "/ws/2");
    let twice = r#"{"type":3,"TYPE":1,"receiver":9,"Receiver":1,"sender":7,"content":null,"x":[[[]]]}"#;
    odd.text(twice).expect("it reads");
    assert_eq!(bystander.next(), Said::Text(twice.to_owned()), "byte for byte, and nothing before it");
    odd.leave();
    bystander.leave();
    gateway.stop();
}

/// Tiny frames, pings that nobody asked for and whose answers nobody reads, a message in ever more pieces: others are
/// served meanwhile, and so is whoever stops it.
pub fn floods_concern_nobody_else(program: &str) {
    let (mut gateway, address) = serve(program, &[]);
    let mut bystander = Web::open(address, "/ws/1");
    let mut eve = Web::open(address, "/ws/2");
    let own = message(1, "alive");
    let floods = [super::wire::frame(1, b"{}"), super::wire::frame(9, b""), super::wire::frame(10, b"x")];
    for flood in floods {
        eve.raw(&flood.repeat(5_000)).expect("it reads");
        bystander.text(&own).expect("it reads");
        assert_eq!(bystander.next(), Said::Text(own.clone()));
    }
    let mark = message(2, "enough");
    eve.text(&mark).expect("it reads");
    loop {
        match eve.next() {
            Said::Text(text) if text == mark => break,
            Said::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
    // Never the last piece: ended where a message may be no longer, whatever the pieces are.
    let piece = |opcode| {
        let mut piece = super::wire::frame(opcode, b" ");
        piece[0] &= 0x7f;
        piece
    };
    let _ = eve.raw(&[piece(1), piece(0).repeat(70_000)].concat());
    assert_eq!(eve.next(), Said::Close(1009, "package too large".to_owned()));
    bystander.text(&own).expect("it reads");
    assert_eq!(bystander.next(), Said::Text(own));
    bystander.leave();
    gateway.stop();
}

/// 2,000 messages from 50 senders at once: none is lost, each sender's stay in order.
pub fn fifty_senders_and_one_receiver(program: &str) {
    const SENDERS: u64 = 50;
    const EACH: usize = 40;
    let (mut gateway, address) = serve(program, &[]);
    let mut receiver = Web::open(address, "/ws/1");
    let mut senders: Vec<_> =
        (0..SENDERS).map(|n| Web::open(address, &format!("/ws/{}", 1000 + n))).collect();
    for (sender, number) in senders.iter_mut().zip(0..) {
        let frames =
            (0..EACH).map(|at| super::wire::frame(1, message(1, &format!("{number} {at}")).as_bytes()));
        sender.raw(&frames.collect::<Vec<_>>().concat()).expect("it reads");
    }
    let mut next = vec![0; SENDERS as usize];
    for _ in 0..SENDERS as usize * EACH {
        let Said::Text(text) = receiver.next() else { panic!("lost after {next:?}") };
        let message: Value = serde_json::from_str(&text).expect("JSON");
        let content = message["content"].as_str().expect("a text");
        let (sender, at) = content.split_once(' ').expect("two numbers");
        let sender: usize = sender.parse().expect("a number");
        assert_eq!(at.parse(), Ok(next[sender]), "sender {sender}");
        next[sender] += 1;
    }
    gateway.stop();
}

/// Where only the first may have an id, the others are told by a status: also if they ask in the same instant.
pub fn of_two_in_the_same_instant_one_is_refused(program: &str) {
    const RIVALS: usize = 4;
    let (mut gateway, address) = serve(program, &["--chat-on-duplicate", "reject"]);
    for round in 0..25 {
        let start = Barrier::new(RIVALS);
        let path = format!("/ws/{round}");
        let answers: Vec<_> = std::thread::scope(|scope| {
            let rival = || {
                let mut web = Web::connect(address);
                start.wait();
                let answer = web.upgrade(&path, "");
                (answer, web)
            };
            let rivals: Vec<_> = (0..RIVALS).map(|_| scope.spawn(rival)).collect();
            rivals.into_iter().map(|rival| rival.join().expect("it is answered")).collect()
        });
        let mut winners = Vec::new();
        for (answer, web) in answers {
            match answer.status {
                101 => winners.push(web),
                _ => {
                    assert_eq!((answer.status, answer.body.as_str()), (409, "user already connected\n"));
                }
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        let mut winner = winners.remove(0);
        let own = message(round, "still there");
        winner.text(&own).expect("it reads");
        assert_eq!(winner.next(), Said::Text(own), "round {round}");
        winner.leave();
        eventually("the id is free again", || Web::connect(address).upgrade(&path, "").status == 101);
    }
    gateway.stop();
}

/// What an operator decides is what happens.
pub fn policies_are_flags(program: &str) {
    let more =
        ["--chat-on-bad-message", "ignore", "--chat-on-duplicate", "reject", "--chat-relay", "stamped"];
    let (mut gateway, address) = serve(program, &more);
    let mut one = Web::open(address, "/ws/1");
    one.text(r#"{"type":1,"receiver":1,"content":"me"}"#).expect("it reads");
    assert_eq!(one.next(), Said::Text(r#"{"type":2,"sender":1,"receiver":1,"content":"me"}"#.to_owned()));
    let answer = Web::connect(address).upgrade("/ws/1", "");
    assert_eq!((answer.status, answer.body.as_str()), (409, "user already connected\n"));
    let mut two = Web::open(address, "/ws/2");
    two.text("what?").expect("it reads");
    two.text(r#"{"type":1,"sender":99,"receiver":1,"content":"x","more":1}"#).expect("it reads");
    let stamped = r#"{"type":2,"sender":2,"receiver":1,"content":"x"}"#;
    assert_eq!(one.next(), Said::Text(stamped.to_owned()), "the real sender, and nothing else");
    one.leave();
    two.leave();
    gateway.stop();

    let (mut gateway, address) =
        serve(program, &["--chat-on-duplicate", "multi", "--chat-ping", "500ms", "--chat-dead", "3s"]);
    let mut both = [Web::open(address, "/ws/1"), Web::open(address, "/ws/1")];
    // Whoever hears itself is there for others too.
    for (at, mark) in [(0, message(1, "one is there")), (1, message(1, "both are there"))] {
        both[at].text(&mark).expect("it reads");
        loop {
            match both[at].next() {
                Said::Text(text) if text == mark => break,
                Said::Text(_) => {}
                other => panic!("{other:?} instead of {mark}"),
            }
        }
    }
    assert_eq!(both[0].next(), Said::Text(message(1, "both are there")));
    let text = message(1, "to all of me");
    both[0].text(&text).expect("it reads");
    for one in &mut both {
        assert_eq!(one.next(), Said::Text(text.clone()));
    }
    // Neither answers the pings.
    for one in &mut both {
        assert_eq!(one.next(), Said::Close(1008, "heartbeat timeout".to_owned()));
    }
    gateway.stop();
}
