//! TLS to upstreams, and to gateways behind something that terminates it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures_rustls::TlsAcceptor;
use futures_rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use futures_rustls::rustls::ServerConfig;
use futures_rustls::rustls::crypto::ring;
use smol::io::{AsyncWriteExt, copy, split};
use smol::net::{TcpListener, TcpStream};

use super::{Gateway, agent, eventually, get};
use crate::binary::proxy::http::Wire;
use crate::binary::proxy::origin::Origin;

/// A port that speaks TLS for another, and the file with its certificate.
struct Terminator {
    port: u16,
    file: PathBuf,
}

impl Terminator {
    fn start(to: SocketAddr) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("known versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("it fits");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = smol::block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || {
            smol::block_on(async {
                while let Ok((stream, _)) = listener.accept().await {
                    smol::spawn(pass(acceptor.clone(), stream, to)).detach();
                }
            });
        });
        let file = std::env::temp_dir().join(format!("linkspan-ca-{}-{port}.pem", std::process::id()));
        std::fs::write(&file, made.cert.pem()).expect("it can be written");
        Self { port, file }
    }

    fn file(&self) -> &str {
        self.file.to_str().expect("text")
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

async fn pass(acceptor: TlsAcceptor, stream: TcpStream, to: SocketAddr) {
    let Ok(outer) = acceptor.accept(stream).await else { return };
    let Ok(inner) = TcpStream::connect(to).await else { return };
    let (outer_in, mut outer_out) = split(outer);
    let mut inner_out = inner.clone();
    let up = async { _ = copy(outer_in, &mut inner_out).await };
    let down = async {
        let _ = copy(inner, &mut outer_out).await;
        let _ = outer_out.close().await;
    };
    smol::future::or(up, down).await;
}

/// An https upstream is judged by the authorities that were given, or not at all if that was asked for; directly, and
/// through an agent, end to end.
pub fn https_upstreams(program: &str) {
    let origin = Origin::start();
    let secure = Terminator::start(origin.address);
    let route = format!("/o/=https://localhost:{}", secure.port);
    for (more, works) in [
        (vec!["--proxy-ca", secure.file()], true),
        (vec!["--proxy-insecure"], true),
        // Nobody that this machine knows vouches for it.
        (vec![], false),
    ] {
        let mut gateway = Gateway::start(program, &[&["--route", &route], &more[..]].concat());
        let _agent = gateway.agent(program, &["--allow-any"], 1);
        let inside = format!("/client/foo/https/localhost:{}/plain", secure.port);
        for path in ["/o/plain", &inside] {
            let reply = Wire::connect(gateway.http).ask(&format!("GET {path} HTTP/1.1\r\nHost: g\r\n\r\n"));
            let expected = if works { (200, "fine".to_owned()) } else { (502, reply.text()) };
            assert_eq!((reply.status, reply.text()), expected, "{path} with {more:?}");
            assert!(works || reply.text().contains("certificate"), "{}", reply.text());
        }
        drop(_agent);
        gateway.process.stop();
    }
}

/// Agents and links to peers over `wss://`, with a certificate that is known, or not asked for.
pub fn secured_doors(program: &str) {
    let origin = Origin::start();
    let first = ["--id", "first", "--token", "aaa", "--peers", "second:bbb:ws://127.0.0.1:9/connect"];
    let mut first = Gateway::start(program, &first);
    let secure = Terminator::start(first.http);
    let url = format!("wss://localhost:{}/connect", secure.port);
    let mut stranger = agent(program, &url, &["--once"]);
    assert_eq!(stranger.wait().code(), Some(1), "whom nobody vouches for is not spoken to");
    for more in [["--ca", secure.file()].as_slice(), &["--insecure"]] {
        let mut agent = agent(program, &url, more);
        first.until_sessions(1);
        agent.stop();
        first.until_sessions(0);
    }
    for more in [["--peers-ca", secure.file()].as_slice(), &["--peers-insecure"]] {
        let peer = format!("first:aaa:{url}");
        let second = ["--id", "second", "--token", "bbb", "--peers", &peer];
        let mut second = Gateway::start(program, &[&second, more].concat());
        let mut agent = second.agent(program, &["--allow-any"], 1);
        // The first hears of the agent on the link that the second has opened.
        let path = format!("/client/foo/http/{}/plain", origin.address);
        eventually("the way over the peer", || get(first.http, &path) == "fine");
        agent.stop();
        second.process.stop();
        eventually("the way is gone", || get(first.http, &path).contains("failed to find Session"));
    }
    first.process.stop();
}
