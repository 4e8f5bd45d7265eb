//! What is refused at the edge is counted.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;

use linkspan_core::{Limits, Mark};
use linkspan_gateway::demo;
use linkspan_gateway::im::{Config, TokenCheck, TokenList, TokenServer};
use linkspan_gateway::services::Services;
use linkspan_gateway::tls::Tls;
use linkspan_runtime::{HostConfig, Runtime};
use linkspan_tests::secure::secure;

use crate::harness::{World, loopback};

const FOREIGN: &str = "GET / HTTP/1.1\r\nHost: own.example\r\nOrigin: https://evil.example\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn behind_a_proxy(limits: Limits) -> HostConfig {
    let trusted = vec!["127.0.0.0/8".parse().unwrap()];
    HostConfig { limits: Arc::new(limits), trusted, ..HostConfig::default() }
}

pub(crate) async fn pages_of_other_hosts_are_counted<R: Runtime>(world: World<R>) {
    let gateway = world.start(Services::new());
    let refused = world.raw(gateway.addresses().pomelo_ws.unwrap(), &[FOREIGN], "--origin").await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert_eq!(gateway.host().stats().marked(Mark::OriginRefused), 1);
    gateway.stop().await;
}

pub(crate) async fn what_is_no_proxy_header_is_counted<R: Runtime>(world: World<R>) {
    let gateway = world.start_with(Services::new(), |config| {
        config.edge.proxy_protocol = true;
        config.host = behind_a_proxy(Limits::default());
    });
    let answer = world.raw(gateway.addresses().http.unwrap(), &["GET / HTTP/1.1\r\n\r\n"], "").await;
    assert_eq!(answer, "");
    assert_eq!(gateway.host().stats().marked(Mark::ProxyHeaderInvalid), 1);
    gateway.stop().await;
}

pub(crate) async fn a_flood_of_messages_is_counted<R: Runtime>(world: World<R>) {
    let gateway = world.start_with(demo::services(world.runtime()), |config| {
        config.edge.proxy_protocol = true;
        config.host =
            behind_a_proxy(Limits { messages_per_second: 1, messages_burst: 5, ..Limits::default() });
    });
    let beats = "\x03\0\0\0".repeat(20);
    let hello = ["PROXY TCP4 192.0.2.7 10.0.0.1 5000 80\r\n", "\x01\0\0\x02{}", "\x02\0\0\0", &beats];
    world.raw(gateway.addresses().pomelo_tcp.unwrap(), &hello, "").await;
    assert_eq!(gateway.host().stats().marked(Mark::MessageRate), 1);
    gateway.stop().await;
}

pub(crate) async fn refusals_without_a_word_are_counted<R: Runtime>(world: World<R>) {
    let gateway = world.start_with(Services::new(), |config| {
        let limits = Limits { connections: 1, refusals: 0, ..Limits::default() };
        config.host.limits = Arc::new(limits);
    });
    let http = gateway.addresses().http.unwrap();
    let inside = world.runtime().connect(http).await.unwrap();
    world.until("it is inside", || gateway.host().stats().open() == 1).await;
    assert_eq!(world.raw(http, &["GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"], "").await, "");
    world.until("it is counted", || gateway.host().stats().marked(Mark::RefusalSilent) == 1).await;
    drop(inside);
    gateway.stop().await;
}

/// T19: guesses are counted for the address that they come from, and with too many of them no token of it is looked at.
pub(crate) async fn wrong_tokens_are_counted<R: Runtime>(world: World<R>) {
    let gateway = world.start_with(Services::new(), |config| {
        let token = TokenCheck::List(TokenList::parse("ann tok-ann").unwrap());
        config.im = Some(Config { token, ..Config::new(loopback().unwrap()) });
        config.host = behind_a_proxy(Limits { wrong_tokens_burst: 3, ..Limits::default() });
    });
    let im = gateway.addresses().im.unwrap();
    let knock = async |user: &str, token: &str, client: u8| {
        let head = format!(
            "GET /?sendID={user}&token={token}&platformID=5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             X-Forwarded-For: 192.0.2.{client}\r\n\r\n"
        );
        world.raw(im, &[&head], "").await
    };
    for (user, token) in [("ann", "tok-eve"), ("eve", "tok-ann"), ("nobody", "")] {
        let refused = knock(user, token, 1).await;
        assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    }
    for _ in 0..2 {
        let refused = knock("ann", "tok-ann", 1).await;
        assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("retry-after: "), "{refused}");
    }
    // Another address: the token is right, and what is asked for is no upgrade.
    let heard = knock("ann", "tok-ann", 2).await;
    assert!(heard.starts_with("HTTP/1.1 400 ") && heard.contains("Bad Request"), "{heard}");
    let marked = |mark| gateway.host().stats().marked(mark);
    assert_eq!([marked(Mark::TokenWrong), marked(Mark::TokenRate)], [3, 2]);
    gateway.stop().await;
}

/// A server that finds every token valid, and of ann; it ends with the test's process.
fn token_server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let head = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            if head.take_while(|line| !line.is_empty()).any(|line| line == "token: right") {
                let body = r#"{"errCode":0,"errMsg":"","data":{"userID":"ann"}}"#;
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            }
        }
    });
    address
}

/// Over TLS a token server must prove who it is before it is told a token.
pub(crate) async fn a_token_server_proves_who_it_is<R: Runtime>(world: World<R>) {
    let server = token_server();
    let [right, other] = [secure(server), secure(server)];
    // What is asked for is no upgrade: 400 is behind the check, 503 is that nobody could say.
    for (authority, expected) in [(&right.authority, "HTTP/1.1 400 "), (&other.authority, "HTTP/1.1 503 ")] {
        let url = format!("https://localhost:{}/auth/parse_token", right.port);
        let asked = TokenServer::parse(&url).unwrap().with_tls(Tls::new(Some(authority)).unwrap());
        let gateway = world.start_with(Services::new(), |config| {
            let token = TokenCheck::Server(asked);
            config.im = Some(Config { token, ..Config::new(loopback().unwrap()) });
        });
        let head =
            "GET /?sendID=ann&token=right&platformID=5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answer = world.raw(gateway.addresses().im.unwrap(), &[head], "").await;
        assert!(answer.starts_with(expected), "{answer}");
        gateway.stop().await;
    }
}
