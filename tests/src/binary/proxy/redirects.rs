//! Redirects that would lead a proxy elsewhere.

use std::net::{SocketAddr, TcpListener};
use std::thread;

use super::http::{Wire, field};
use super::origin::Origin;
use crate::binary::{Process, eventually};

/// A target that sends whoever asks for a path of the list to its place.
fn redirecting(places: Vec<(&'static str, String)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let places = places.clone();
            thread::spawn(move || {
                let mut wire = Wire::new(stream);
                while let Some(head) = wire.head() {
                    let path = head.split(' ').nth(1).unwrap_or("/");
                    let place = places.iter().find(|(own, _)| *own == path).map_or("/", |(_, place)| place);
                    let answer =
                        format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n");
                    wire.send(answer.as_bytes());
                }
            });
        }
    });
    address
}

/// Redirects are the client's to follow. As the original they are followed, each as if it had been asked for: only to
/// where the agent may dial, only over HTTP, and ten times.
pub fn hostile_redirects(program: &str) {
    let secret = Origin::start();
    let places = [
        ("/inside", format!("http://{}/plain", secret.address), "connect not allowed"),
        ("/spelt", format!("http://0x7f.1:{}/plain", secret.address.port()), "the host must be"),
        (
            "/mapped",
            format!("http://[::ffff:127.0.0.1]:{}/plain", secret.address.port()),
            "connect not allowed",
        ),
        ("/cloud", "http://169.254.169.254/latest/meta-data/".into(), "connect not allowed"),
        ("/file", "file:///etc/passwd".into(), "unsupported protocol scheme"),
        ("/gopher", "gopher://127.0.0.1:1/x".into(), "unsupported protocol scheme"),
        ("/user", format!("http://127.0.0.1@{}/plain", secret.address), "host"),
        ("/round", "/round".into(), "stopped after 10 redirects"),
    ];
    let target = redirecting(places.iter().map(|(path, place, _)| (*path, place.clone())).collect());
    for compat in [[].as_slice(), &["--compat", "remotedialer"]] {
        let plain = ["serve", "--http", "127.0.0.1:0", "--tunnel"];
        let mut gateway = Process::start(program, &[&plain, compat].concat());
        let http = gateway.listening("http");
        let (url, rule) = (format!("ws://{http}/connect"), format!("tcp/{target}"));
        let mut agent =
            Process::start(program, &["agent", "--connect", &url, "--id", "foo", "--allow", &rule]);
        let ask = |path: &str| Wire::connect(http).ask(&format!("GET {path} HTTP/1.1\r\nHost: g\r\n\r\n"));
        eventually("the agent is there", || ask("/clients").text().contains("\"foo\""));
        for (path, place, words) in &places {
            let reply = ask(&format!("/client/foo/http/{target}{path}"));
            if compat.is_empty() {
                assert_eq!(
                    (reply.status, field(&reply.head, "location")),
                    (302, Some(place.as_str())),
                    "{path}"
                );
            } else {
                assert_eq!(reply.status, 500, "{path}: {}", reply.text());
                assert!(reply.text().contains(words), "{path}: {}", reply.text());
            }
        }
        agent.stop();
        gateway.stop();
    }
    assert_eq!(secret.connections(), 0, "nobody came there");
}
