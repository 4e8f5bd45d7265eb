//! `/connect`: who comes in, and what the others are told.

use std::io::{Read, Write};

use linkspan_gateway::tls::Tls;
use linkspan_gateway::tunnel::Secret;
use linkspan_tests::secure::secure;

use crate::site::{AgentConfig, AgentSite, Kind, Server, dial, echo, forwards, tcp};

const UPGRADE: &str = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The head of the answer, and so much of its text as comes with it.
fn ask(server: &Server, request: &str) -> String {
    let mut stream = dial(server.http);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = vec![0; 2048];
    let mut count = 0;
    while !answer[..count].windows(4).any(|four| four == b"\r\n\r\n") {
        count += stream.read(&mut answer[count..]).unwrap();
    }
    String::from_utf8_lossy(&answer[..count]).into_owned()
}

/// The handshakes that were recorded from the original; the texts of refusals are ours.
pub(crate) fn who_may_come_in(kind: Kind) {
    let server = Server::start(kind, forwards(&[]));
    let cases = [
        (format!("GET /connect HTTP/1.1\r\n{UPGRADE}X-Tunnel-ID: \r\n\r\n"), "401 Unauthorized"),
        (format!("GET /connect HTTP/1.1\r\n{UPGRADE}\r\n"), "401 Unauthorized"),
        (
            format!(
                "GET /connect HTTP/1.1\r\n{UPGRADE}X-API-Tunnel-ID: nobody\r\nX-API-Tunnel-Token: t\r\n\r\n"
            ),
            "401 Unauthorized",
        ),
        (
            format!(
                "GET /connect HTTP/1.1\r\n{UPGRADE}X-API-Tunnel-ID: nobody\r\nX-API-Tunnel-Token: t\r\n\
                 X-Tunnel-ID: foo\r\n\r\n"
            ),
            "101 Switching Protocols",
        ),
        ("GET /connect HTTP/1.1\r\nHost: x\r\nX-Tunnel-ID: foo\r\n\r\n".to_owned(), "400 Bad Request"),
        (
            format!("POST /connect HTTP/1.1\r\n{UPGRADE}Content-Length: 0\r\nX-Tunnel-ID: foo\r\n\r\n"),
            "405 Method Not Allowed",
        ),
        (
            format!(
                "GET /connect HTTP/1.1\r\n{}X-Tunnel-ID: foo\r\n\r\n",
                UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "abc")
            ),
            "400 Bad Request",
        ),
        (
            format!(
                "GET /connect HTTP/1.1\r\n{UPGRADE}Sec-WebSocket-Extensions: permessage-deflate\r\n\
                 X-Tunnel-ID: foo\r\n\r\n"
            ),
            "101 Switching Protocols",
        ),
    ];
    for (request, status) in cases {
        let answer = ask(&server, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}{answer}");
        if status.starts_with("401") {
            assert!(answer.ends_with("failed authentication"), "{answer}");
        }
        assert!(!answer.to_ascii_lowercase().contains("sec-websocket-extensions"), "{answer}");
    }
}

pub(crate) fn tokens_of_agents(kind: Kind) {
    let mut config = forwards(&[tcp(echo())]);
    config.token = Some(Secret::new("right"));
    let server = Server::start(kind, config);
    for (token, status) in [("Bearer right", "101"), ("Bearer wrong", "401"), ("right", "401"), ("", "401")] {
        let request =
            format!("GET /connect HTTP/1.1\r\n{UPGRADE}X-Tunnel-ID: foo\r\nAuthorization: {token}\r\n\r\n");
        let answer = ask(&server, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{token}: {answer}");
    }
    let config = AgentConfig { token: Some("right"), ..AgentConfig::new(server.door()) };
    let agent = AgentSite::start_with(kind, config);
    agent.until_connected(1);
}

/// Behind something that terminates TLS, with a certificate of its own authority.
pub(crate) fn a_secured_door(kind: Kind) {
    let server = Server::start(kind, forwards(&[tcp(echo())]));
    let secured = secure(server.http);
    let door = || format!("wss://localhost:{}/connect", secured.port).parse().unwrap();
    // Who does not know the authority does not come in.
    let stranger = AgentSite::start_with(kind, AgentConfig::new(door()));
    let tls = Some(Tls::new(Some(&secured.authority)).unwrap());
    let agent = AgentSite::start_with(kind, AgentConfig { tls, ..AgentConfig::new(door()) });
    agent.until_connected(1);
    let mut stream = server.dial();
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || crate::site::pour(&mut writer, 1 << 20));
    crate::site::drink(&mut stream, 1 << 20, |_| {});
    writing.join().unwrap();
    server.until_clients(1);
    drop(stranger);
}
