//! Who may come in: forwarded addresses, origins, the pace of an address, moving behind a proxy.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use linkspan_core::edge::{Network, Origins, client_of};
use linkspan_core::gate::Gate;
use linkspan_core::{CloseReason, Instant, Limits, Mark};
use proptest::collection::vec;
use proptest::prelude::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

fn trusted() -> Vec<Network> {
    ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()).to_vec()
}

#[test]
fn networks() {
    for (text, inside, outside) in [
        ("0.0.0.0/0", "9.9.9.9", "::9"),
        ("10.0.0.0/9", "10.127.255.255", "10.128.0.0"),
        ("10.0.0.7", "10.0.0.7", "10.0.0.6"),
        ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
        ("::/0", "::2", "1.2.3.4"),
    ] {
        let network: Network = text.parse().unwrap();
        assert!(network.contains(address(inside)) && !network.contains(address(outside)), "{text}");
        let written = if text.contains('/') { text.to_owned() } else { format!("{text}/32") };
        assert_eq!(network.to_string(), written);
    }
    for odd in ["", "x", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0/8", "1.2.3.4/8/8"] {
        assert!(odd.parse::<Network>().is_err(), "{odd}");
    }
}

#[test]
fn only_trusted_proxies_speak_for_others() {
    let client = |peer: &str, fields: &[&str]| {
        let peer: SocketAddr = peer.parse().unwrap();
        client_of(peer, fields.to_vec(), &trusted()).to_string()
    };
    assert_eq!(client("10.0.0.1:80", &[]), "10.0.0.1:80");
    assert_eq!(client("9.9.9.9:80", &["1.2.3.4"]), "9.9.9.9:80", "anybody can write a header");
    assert_eq!(client("10.0.0.1:80", &["6.6.6.6, 1.2.3.4"]), "1.2.3.4:0", "what stands before is hearsay");
    assert_eq!(client("10.0.0.1:80", &["6.6.6.6", "1.2.3.4, 10.0.0.2"]), "1.2.3.4:0", "lines are one list");
    assert_eq!(client("10.0.0.1:80", &["1.2.3.4:99"]), "1.2.3.4:99");
    assert_eq!(client("10.0.0.1:80", &["[2001:db8::1]:99, [fd00::1]"]), "[2001:db8::1]:99");
    assert_eq!(
        client("10.0.0.1:80", &["1.2.3.4, unknown"]),
        "10.0.0.1:80",
        "what is no address ends the list"
    );
    assert_eq!(client("10.0.0.1:80", &["10.0.0.3"]), "10.0.0.3:0", "a proxy may ask for itself");
}

#[test]
fn origins() {
    let listed = Origins::listed(["https://Game.example:443", "http://localhost:7777"]).unwrap();
    for (origin, own, given) in [
        (Some("http://gateway"), true, true),
        (Some("https://GATEWAY:9999/"), true, true),
        (Some("https://game.example"), false, true),
        (Some("https://game.example:444"), false, false),
        (Some("http://localhost:7777"), false, true),
        (Some("http://localhost"), false, false),
        (Some("https://game.example.evil"), false, false),
        (Some("https://user@gateway"), false, false),
        (Some("null"), false, false),
        (Some(""), false, false),
        (Some("http://"), false, false),
        (None, true, true),
    ] {
        assert_eq!(Origins::default().allows(origin, "gateway:3251"), own, "{origin:?}");
        assert_eq!(listed.allows(origin, "gateway:3251"), given, "{origin:?}");
        assert!(Origins::Any.allows(origin, ""));
    }
    assert!(!Origins::default().allows(Some("http://"), ""), "no host is nobody's host");
    assert_eq!(Origins::listed([]), Ok(Origins::SameHost));
    assert_eq!(Origins::listed(["https://a", "*"]), Ok(Origins::Any));
    assert!(Origins::listed(["game.example"]).is_err());
    let usual = Origins::listed(["http://a:80", "https://b", "http://c:443"]).unwrap();
    for (origin, is_allowed) in [
        ("http://a", true),
        ("https://b:443", true),
        ("https://a", false),
        ("http://b:443", false),
        ("http://c", false),
        ("https://c", false),
        ("http://c:443", true),
    ] {
        assert_eq!(usual.allows(Some(origin), "gateway"), is_allowed, "{origin}");
    }
}

fn gate(limits: Limits) -> Gate {
    Gate::new(Arc::new(limits), 5).trust(trusted())
}

#[test]
fn connections_of_one_address_share_a_pace() {
    let mut gate = gate(Limits { messages_per_second: 10, messages_burst: 3, ..Limits::default() });
    let [one, two] = [address("192.0.2.1"), address("192.0.2.2")];
    let mut pace = |address| {
        gate.admit(at(0), address).unwrap();
        gate.pace(address).unwrap()
    };
    let (first, second, other) = (pace(one), pace(one), pace(two));
    assert!(first.allows(at(0), 2) && second.allows(at(0), 1));
    assert!(!first.allows(at(0), 1) && !second.allows(at(99), 1), "together they have said three");
    assert!(other.allows(at(0), 3), "another address");
    assert!(second.allows(at(100), 1), "one every 100 ms");
    assert!(!other.allows(at(1_000_000), 4), "never more at once");
    // Who leaves and comes again is remembered for as long as it matters.
    gate.release(one);
    gate.release(one);
    gate.admit(at(101), one).unwrap();
    assert!(!gate.pace(one).unwrap().allows(at(101), 1));
    gate.release(one);
    gate.release(two);
    gate.sweep(at(2_000_000));
    let memory = gate.footprint() - Gate::new(Arc::default(), 5).footprint();
    assert_eq!((gate.addresses(), memory), (0, 2 * 18), "the trusted networks alone");
    assert!(gate.pace(address("127.0.0.1")).is_none() && gate.pace(address("10.0.0.1")).is_none(), "exempt");
}

#[test]
fn a_proxy_hands_over_to_its_client() {
    let limits = Limits { connections: 4, connections_per_address: 1, ..Limits::default() };
    let mut gate = gate(limits);
    let (proxy, client) = (address("10.0.0.1"), address("192.0.2.1"));
    for _ in 0..3 {
        gate.admit(at(0), proxy).unwrap();
    }
    gate.transfer(at(0), proxy, client).unwrap();
    assert_eq!((gate.connections(), gate.addresses()), (3, 1), "nobody is counted twice");
    let refused = Err((CloseReason::Overloaded, Mark::AddressFull));
    assert_eq!(gate.transfer(at(0), proxy, client), refused);
    gate.transfer(at(0), proxy, address("127.0.0.1")).unwrap();
    gate.admit(at(0), proxy).unwrap();
    gate.transfer(at(0), proxy, address("192.0.2.2")).unwrap();
    assert_eq!(gate.connections(), 4, "who is inside needs no new place, even in a full house");
    for address in [client, proxy, address("127.0.0.1"), address("192.0.2.2")] {
        gate.release(address);
    }
    assert_eq!(gate.connections(), 0);
}

#[test]
fn an_ipv4_network_written_as_ipv6_is_the_ipv4_network() {
    for (written, meant) in [("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("::ffff:10.0.0.1", "10.0.0.1/32")] {
        let network: Network = written.parse().unwrap();
        assert_eq!(network.to_string(), meant);
        assert!(network.contains(address("10.0.0.1")) && network.contains(address("::ffff:10.0.0.1")));
    }
    assert!("::ffff:0.0.0.0/129".parse::<Network>().is_err());
    let wide: Network = "::ffff:0.0.0.0/95".parse().unwrap();
    assert!(!wide.contains(address("10.0.0.1")), "more than the IPv4 networks: one of IPv6");
}

#[test]
fn a_page_of_an_ipv6_host_may_be_on_any_port() {
    let own = Origins::default();
    for host in ["[::1]", "[::1]:3251"] {
        assert!(
            own.allows(Some("http://[::1]"), host) && own.allows(Some("http://[::1]:80"), host),
            "{host}"
        );
        assert!(
            !own.allows(Some("http://[::2]"), host) && !own.allows(Some("http://[::2]:80"), host),
            "{host}"
        );
    }
}

/// Found by the fuzzer: a host and an origin with the same stray bracket were taken for one another's.
#[test]
fn brackets_are_for_an_ipv6_address() {
    let own = Origins::default();
    for authority in ["]:51", "[::1", "::1]", "[]", "[::1]x", "[[::1]]", "x[::1]", "[::1]:8]"] {
        let origin = format!("http://{authority}");
        assert!(!own.allows(Some(&origin), authority), "{origin}");
        assert!(Origins::listed([&*origin]).is_err(), "{origin}");
    }
    let listed = Origins::listed(["http://[::1]:8080", "http://[::2]"]).unwrap();
    assert!(listed.allows(Some("http://[::1]:8080"), "") && listed.allows(Some("http://[::2]:80"), ""));
}

proptest! {
    /// Whatever is in a header, it is read, and names somebody whom a proxy of ours has named, or nobody.
    #[test]
    fn any_header_is_read(peer in any::<[u8; 4]>(), fields in vec("[0-9a-f:., \\[\\]x]{0,40}", 0..4)) {
        let peer = SocketAddr::from((peer, 1));
        let client = client_of(peer, fields.iter().map(String::as_str), &trusted());
        let is_trusted = trusted().iter().any(|network| network.contains(peer.ip()));
        prop_assert!(is_trusted || client == peer);
        if client != peer {
            let text = client.ip().to_string();
            let named = fields.iter().any(|field| field.contains(&text) || field.contains(':') || field.contains('.'));
            prop_assert!(named);
        }
    }

    /// An origin of another host is never let in by default.
    #[test]
    fn other_hosts_stay_out(host in "[a-z]{1,8}(\\.[a-z]{1,8}){0,2}", other in "[a-z]{1,8}(\\.[a-z]{1,8}){0,2}", port in any::<u16>()) {
        let origin = format!("https://{other}:{port}");
        prop_assert_eq!(Origins::default().allows(Some(&origin), &host), host == other);
    }
}
