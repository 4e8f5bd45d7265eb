//! Tokens that are signed, and a server that knows them; lists are what the other tests use.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Tab, file, serve};
use crate::binary::eventually;
use crate::binary::web::Web;

/// HMAC-SHA-256 with this secret, made with another implementation.
const SECRET: &str = "a secret that is at least 32 bytes long\n";
const HEAD: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
/// `{"UID":"u1","Platform":"Web","exp":4102444800}`
const WEB: &str = "eyJVSUQiOiJ1MSIsIlBsYXRmb3JtIjoiV2ViIiwiZXhwIjo0MTAyNDQ0ODAwfQ.57feI1oH-2luJd2E9W7qMQCHFoBKXlajx4ToxiwsFdE";
/// `{"UserID":"u1","exp":4102444800}`
const ANY: &str = "eyJVc2VySUQiOiJ1MSIsImV4cCI6NDEwMjQ0NDgwMH0.IKo5othxZv-qzg1Wz7GvARfaVK6xhX7JNucOEIOX5OE";
/// `{"UID":"u1","exp":1700000000}`
const OLD: &str = "eyJVSUQiOiJ1MSIsImV4cCI6MTcwMDAwMDAwMH0.T692Ld9Pg_7tMOWM3InyMkfnXXNDoMXGnaKzEzCyGpQ";
/// `{"UID":"u1","exp":4102444800}` with another secret.
const FOREIGN: &str = "eyJVSUQiOiJ1MSIsImV4cCI6NDEwMjQ0NDgwMH0.TVjI2vDUDpNimthPcV7wbtUPXpCrT58bIS9kqP-F-Vo";

/// The status that a handshake gets; 101 for one that is let in.
fn status(address: SocketAddr, user: &str, platform: u8, token: &str) -> u16 {
    match Tab::open(address, user, platform, token) {
        Ok(_) => 101,
        Err(answer) => {
            let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
            assert_eq!(status == 503, answer.to_ascii_lowercase().contains("retry-after: "), "{answer}");
            status
        }
    }
}

/// Good ones open their own user, on their own platform; others open nothing.
///
/// # Panics
///
/// If a listener of `program` decides otherwise.
pub fn signed_tokens(program: &str) {
    let secret = file("im-secret", SECRET);
    let (mut gateway, address) = serve(program, &format!("hs256:{}", secret.display()), &[]);
    for (user, platform, token, expected) in [
        ("u1", 5, WEB, 101),
        ("u1", 1, WEB, 401),
        ("u1", 1, ANY, 101),
        ("u2", 5, WEB, 401),
        ("u1", 5, OLD, 401),
        ("u1", 5, FOREIGN, 401),
        ("u1", 5, &WEB[..WEB.len() - 1], 401),
    ] {
        assert_eq!(
            status(address, user, platform, &format!("{HEAD}.{token}")),
            expected,
            "{user} {platform}"
        );
    }
    assert_eq!(status(address, "u1", 5, ""), 401);
    gateway.stop();
}

/// T19: whoever guesses is not listened to for a while, right or wrong; others are.
///
/// # Panics
///
/// If a listener of `program` decides otherwise.
pub fn guesses_are_slowed_down(program: &str) {
    let list = file("im-guesses", "ann tok-ann\n");
    let flags = ["--trust-proxy", "127.0.0.1", "--wrong-tokens-burst", "5"];
    let (mut gateway, address) = serve(program, &format!("static:{}", list.display()), &flags);
    let knock = |token: &str, client: &str| {
        let from = format!("X-Forwarded-For: {client}\r\n");
        Web::connect(address).upgrade(&format!("/?sendID=ann&token={token}&platformID=5"), &from)
    };
    let guesses: Vec<_> = (0..20).map(|at| knock(&format!("guess-{at}"), "192.0.2.1")).collect();
    assert!(guesses[..5].iter().all(|answer| answer.status == 401), "{guesses:?}");
    let slowed = guesses.iter().filter(|answer| answer.status == 429).collect::<Vec<_>>();
    // One more each second, however slow this machine is.
    assert!(!slowed.is_empty(), "{guesses:?}");
    assert!(slowed.iter().all(|answer| answer.head.contains("\r\nretry-after: 5\r\n")), "{slowed:?}");
    assert_eq!(slowed[0].body, "Too Many Requests\n");
    assert_eq!(knock("tok-ann", "192.0.2.2").status, 101, "another address");
    eventually("it is listened to again", || knock("tok-ann", "192.0.2.1").status == 101);
    gateway.stop();
}

/// A server that answers by the token it is asked about, and counts how often it is asked.
fn token_server() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // It ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let count = Arc::clone(&count);
            thread::spawn(move || answer(stream, &count));
        }
    });
    (address, asked)
}

fn answer(mut stream: TcpStream, count: &AtomicUsize) {
    let mut token = String::new();
    let mut reader = BufReader::new(stream.try_clone().expect("a socket can be had twice"));
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some(value) = line.strip_prefix("token: ") {
            value.trim().clone_into(&mut token);
        }
        line.clear();
    }
    count.fetch_add(1, Ordering::SeqCst);
    let body = match &*token {
        "good-u1" => r#"{"errCode":0,"errMsg":"","data":{"userID":"u1","platformID":5}}"#,
        "slow" => {
            thread::sleep(Duration::from_secs(8));
            return;
        }
        "odd" => "<html>",
        "nobody" => r#"{"errCode":0,"errMsg":"","data":{}}"#,
        _ => r#"{"errCode":701,"errMsg":"token is timed out","data":null}"#,
    };
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}

/// Asked once for a good one, every time for a bad one; slow, confused or away it costs a 503 and nothing more.
///
/// # Panics
///
/// If a listener of `program` decides otherwise.
pub fn a_token_server(program: &str) {
    let (server, asked) = token_server();
    let flags = ["--im-token-timeout", "400ms", "--im-token-waiting", "2", "--im-token-remember", "30s"];
    let (mut gateway, address) = serve(program, &format!("http://{server}/auth/parse_token"), &flags);
    let count = || asked.load(Ordering::SeqCst);
    assert_eq!([0; 2].map(|_| status(address, "u1", 5, "good-u1")), [101; 2]);
    assert_eq!(count(), 1, "a good one is remembered");
    assert_eq!([status(address, "u2", 5, "good-u1"), status(address, "u1", 1, "good-u1")], [401; 2]);
    assert_eq!([0; 2].map(|_| status(address, "u1", 5, "bad")), [401; 2]);
    assert_eq!(count(), 3, "a bad one is not");
    assert_eq!([status(address, "u1", 5, "odd"), status(address, "u1", 5, "nobody")], [503; 2]);
    let started = Instant::now();
    thread::scope(|scope| {
        let slow = [0; 4].map(|_| scope.spawn(|| status(address, "u1", 5, "slow")));
        for one in slow {
            assert_eq!(one.join().expect("it is answered"), 503);
        }
    });
    assert!(started.elapsed() < Duration::from_secs(5), "nobody waits for a slow server");
    assert!(count() <= 7, "two wait at the same time, not four");
    assert_eq!(status(address, "u1", 5, "good-u1"), 101);
    gateway.stop();
    let away = "http://127.0.0.1:1/auth/parse_token";
    let (mut gateway, address) = serve(program, away, &flags);
    assert_eq!(status(address, "u1", 5, "good-u1"), 503);
    assert!(gateway.stderr.line("cannot check a token").contains("op="));
    gateway.stop();
}
