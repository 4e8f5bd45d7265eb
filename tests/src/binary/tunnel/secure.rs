//! TLS to upstreams, and to gateways behind something that terminates it.

use super::{Gateway, agent, eventually, get};
use crate::binary::proxy::http::Wire;
use crate::binary::proxy::origin::Origin;
use crate::secure::secure;

/// An https upstream is judged by the authorities that were given, or not at all if that was asked for; directly, and
/// through an agent, end to end.
pub fn https_upstreams(program: &str) {
    let origin = Origin::start();
    let secured = secure(origin.address);
    let route = format!("/o/=https://localhost:{}", secured.port);
    for (more, works) in [
        (vec!["--proxy-ca", secured.file()], true),
        (vec!["--proxy-insecure"], true),
        // Nobody that this machine knows vouches for it.
        (vec![], false),
    ] {
        let mut gateway = Gateway::start(program, &[&["--route", &route], &more[..]].concat());
        let _agent = gateway.agent(program, &["--allow-any"], 1);
        let inside = format!("/client/foo/https/localhost:{}/plain", secured.port);
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
    let secured = secure(first.http);
    let url = format!("wss://localhost:{}/connect", secured.port);
    let mut stranger = agent(program, &url, &["--once"]);
    assert_eq!(stranger.wait().code(), Some(1), "whom nobody vouches for is not spoken to");
    for more in [["--ca", secured.file()].as_slice(), &["--insecure"]] {
        let mut agent = agent(program, &url, more);
        first.until_sessions(1);
        agent.stop();
        first.until_sessions(0);
    }
    for more in [["--peers-ca", secured.file()].as_slice(), &["--peers-insecure"]] {
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
