//! What the HTTP front answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use linkspan_core::Limits;
use linkspan_gateway::demo;
use linkspan_gateway::services::Services;
use linkspan_runtime::Runtime;

use crate::harness::{World, loopback};

const END: &str = "Connection: close\r\n\r\n";

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

pub(crate) async fn pages_and_probes<R: Runtime>(world: World<R>) {
    let gateway = world.start(Services::new());
    let http = gateway.addresses().http.unwrap();
    let get = async |path: &str| {
        world.raw(http, &["GET ", path, " HTTP/1.1\r\nHost: example.org:80\r\n", END], "").await
    };
    let health = get("/healthz").await;
    assert!(status(&health) == "200" && health.ends_with("\r\n\r\nok\n"), "{health}");
    let ready = get("/readyz").await;
    assert!(status(&ready) == "200" && ready.ends_with(r#"{"ready":true,"reasons":[]}"#), "{ready}");
    let config = get("/config.json").await;
    let port = gateway.addresses().pomelo_ws.unwrap().port();
    assert!(config.contains(&format!(r#""pomelo_ws":"ws://example.org:{port}/""#)), "{config}");
    assert!(config.contains(r#""chat":false"#) && config.contains(r#""im":null"#), "{config}");
    assert!(config.contains("cache-control: no-store"));
    for (path, kind) in [
        ("/", "text/html"),
        ("/demo.js", "text/javascript"),
        ("/linkspan.js?x", "text/javascript"),
        ("/demo.css", "text/css"),
    ] {
        let page = get(path).await;
        assert!(status(&page) == "200" && page.contains(&format!("content-type: {kind}")), "{page}");
    }
    assert_eq!(status(&get("/nothing").await), "404");
    let unclean = get("/../Cargo.toml").await;
    assert!(status(&unclean) == "307" && unclean.contains("location: /Cargo.toml\r\n"), "{unclean}");
    let post =
        world.raw(http, &["POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n", END, "abc"], "").await;
    assert!(status(&post) == "405" && post.contains("allow: GET, HEAD"), "{post}");
    let head = world.raw(http, &["HEAD /healthz HTTP/1.1\r\nHost: x\r\n", END], "").await;
    assert!(
        status(&head) == "200" && head.ends_with("\r\n\r\n") && head.contains("content-length: 3"),
        "{head}"
    );
    // Two requests on one connection, sent at once.
    let both = world
        .raw(http, &["GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n", END], "")
        .await;
    assert_eq!(both.matches("HTTP/1.1 ").count(), 2, "{both}");
    for odd in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        assert_eq!(status(&world.raw(http, &[odd], "").await), "400", "{odd:?}");
    }
    world.until("no connection is left", || gateway.host().stats().open() == 0).await;
}

pub(crate) async fn what_a_websocket_needs<R: Runtime>(world: World<R>) {
    let gateway = world.start(Services::new());
    let ws = gateway.addresses().pomelo_ws.unwrap();
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let ask = async |line: &str, fields: &[&str]| {
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\n{}\r\n", fields.concat());
        world.raw(ws, &[&head], "\r\n\r\n").await
    };
    let plain = ask("GET /any/path", &[]).await;
    assert!(status(&plain) == "426" && plain.contains("upgrade: websocket"), "{plain}");
    let version = ask("GET /", &[upgrade, key, "Sec-WebSocket-Version: 8\r\n"]).await;
    assert!(status(&version) == "426" && version.contains("sec-websocket-version: 13"), "{version}");
    let bad_key = ask("GET /", &[upgrade, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n"]).await;
    assert_eq!(status(&bad_key), "400");
    let post = ask("POST /", &[upgrade, key, "Sec-WebSocket-Version: 13\r\n"]).await;
    assert!(status(&post) == "405" && post.contains("allow: GET"), "{post}");
    let good = ask("GET /any/path?x", &[upgrade, key, "Sec-WebSocket-Version: 13\r\n"]).await;
    assert!(status(&good) == "101" && good.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{good}");
}

pub(crate) async fn too_much_head<R: Runtime>(world: World<R>) {
    let gateway = world.start(Services::new());
    let addresses = gateway.addresses();
    for to in [addresses.http.unwrap(), addresses.pomelo_ws.unwrap()] {
        let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(40_000));
        assert_eq!(status(&world.raw(to, &[&long], "").await), "431");
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(65));
        assert_eq!(status(&world.raw(to, &[&many], "").await), "431");
    }
}

/// A head that drips never counts as progress.
pub(crate) async fn a_slow_head<R: Runtime>(world: World<R>) {
    let gateway = world.start_with(Services::new(), |config| {
        let limits = Limits { handshake_timeout: Duration::from_millis(300), ..Limits::default() };
        config.host.limits = Arc::new(limits);
    });
    let addresses = gateway.addresses();
    for to in [addresses.http.unwrap(), addresses.pomelo_ws.unwrap()] {
        let started = Instant::now();
        let mut stream = world.runtime().connect(to).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX: ").await.unwrap();
        for _ in 0..5 {
            stream.write_all(b"x").await.unwrap();
            world.sleep(40).await;
        }
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        assert_eq!(status(&answer), "408", "{answer}");
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(2), "{took:?}");
    }
    world.until("no connection is left", || gateway.host().stats().open() == 0).await;
}

/// A session's task is the same whether its client came over TCP or by an upgrade.
pub(crate) async fn sockets_leave_nothing_of_http<R: Runtime>(world: World<R>) {
    let gateway = world.start_with(demo::services(world.runtime()), |config| config.http = loopback());
    let clients = {
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(world.connect(&gateway, linkspan_gateway::client::Carrier::WebSocket).await);
        }
        clients
    };
    assert_eq!(gateway.host().stats().open(), 20);
    for client in &clients {
        assert_eq!(client.request("Echo.Raw", "x").await.unwrap(), "x");
    }
    drop(clients);
    world.until("no connection is left", || gateway.host().stats().open() == 0).await;
}
