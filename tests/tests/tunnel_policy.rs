//! What a tunnel may dial: every spelling of an address is that address, and no answer of a name server leads elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use linkspan_core::tunnel::policy::{Crowd, Destination, DestinationError, DialPolicy, Rule, Transport};
use linkspan_core::{Limits, Mark};
use proptest::prelude::*;

fn parse(proto: &str, address: &str) -> Result<Destination, DestinationError> {
    Destination::parse(proto.as_bytes(), address.as_bytes())
}

fn tcp(address: &str) -> Destination {
    parse("tcp", address).unwrap_or_else(|error| panic!("{address}: {error}"))
}

fn socket(address: &str) -> Destination {
    Destination::Socket { transport: Transport::Tcp, address: address.parse().expect(address) }
}

fn policy(rules: &[&str]) -> DialPolicy {
    DialPolicy::new(rules.iter().map(|rule| rule.parse::<Rule>().expect(rule)))
}

fn allows(policy: &DialPolicy, address: &str) -> bool {
    policy.check(&tcp(address)).is_ok()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

#[test]
fn every_spelling_of_an_address_is_that_address() {
    let spellings = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "0x7f.1",
        "0X7F.0.0.0x1",
        "0177.0.0.01",
        "017700000001",
        "2130706433",
        "0x7f000001",
        "127.0.0.1.",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:7f00:0001]",
    ];
    for spelling in spellings {
        assert_eq!(tcp(&format!("{spelling}:80")), socket("127.0.0.1:80"), "{spelling}");
    }
    assert_eq!(tcp("[0:0::1]:443"), socket("[::1]:443"));
    for spelling in ["db.internal", "DB.Internal", "db.internal.", "Db.INTERNAL."] {
        assert_eq!(tcp(&format!("{spelling}:5432")).to_string(), "tcp/db.internal:5432");
    }
    assert_eq!(tcp("0:80"), socket("0.0.0.0:80"));
    assert_eq!(tcp("10.65535:80"), socket("10.0.255.255:80"));
}

#[test]
fn what_two_readers_could_understand_differently_is_not_dialled() {
    use DestinationError::{Family, Host, Path, Port, Protocol};
    let table = [
        ("tcp", "", Port),
        ("tcp", "host", Port),
        ("tcp", "host:", Port),
        ("tcp", "host:0", Port),
        ("tcp", "host:65536", Port),
        ("tcp", "host:+80", Port),
        ("tcp", "host: 80", Port),
        ("tcp", "host:000080", Port),
        ("tcp", "host:http", Port),
        ("tcp", "host:80:81", Port),
        ("tcp", "::1:80", Port),
        ("tcp", ":80", Host),
        ("tcp", ".:80", Host),
        ("tcp", "a..b:80", Host),
        ("tcp", "host..:80", Host),
        ("tcp", "user@host:80", Host),
        ("tcp", "127.0.0.1@evil:80", Host),
        ("tcp", "host#x:80", Host),
        ("tcp", "host/x:80", Host),
        ("tcp", "ho st:80", Host),
        ("tcp", "host\0:80", Host),
        ("tcp", "127.0.0.1\0.internal:80", Host),
        ("tcp", "host\r\n:80", Host),
        ("tcp", "höst:80", Host),
        ("tcp", "127。0。0。1:80", Host),
        ("tcp", "%31:80", Host),
        ("tcp", "256.0.0.1:80", Host),
        ("tcp", "1.2.3.4.5:80", Host),
        ("tcp", "1.2.3.4.0:80", Host),
        ("tcp", "1.256.1:80", Host),
        ("tcp", "127.0.65536:80", Host),
        ("tcp", "4294967296:80", Host),
        ("tcp", "0x:80", Host),
        ("tcp", "08.0.0.1:80", Host),
        ("tcp", "a.0x7f:80", Host),
        ("tcp", "+127.0.0.1:80", Host),
        ("tcp", "[::1:80", Host),
        ("tcp", "[127.0.0.1]:80", Host),
        ("tcp", "[fe80::1%eth0]:80", Host),
        ("tcp", "[::1]x:80", Host),
        ("tcp6", "127.0.0.1:80", Family),
        ("tcp6", "[::ffff:7f00:1]:80", Family),
        ("tcp4", "[::1]:80", Family),
        ("foo", "host:80", Protocol),
        ("TCP", "host:80", Protocol),
        ("", "", Protocol),
        ("unixgram", "/run/x", Protocol),
        ("unix", "", Path),
        ("unix", "run/x", Path),
        ("unix", "@abstract", Path),
        ("unix", "/run/../etc/x", Path),
        ("unix", "/run//x", Path),
        ("unix", "/run/x/", Path),
        ("unix", "/run/\0", Path),
    ];
    for (proto, address, error) in table {
        assert_eq!(parse(proto, address), Err(error), "{proto}/{address:?}");
    }
    assert_eq!(parse("unix", &format!("/{}", "x".repeat(107))), Err(Path));
    assert_eq!(parse("tcp", &format!("{}:80", "x".repeat(64))), Err(Host));
    assert_eq!(Destination::parse(b"tcp", b"\xff:80"), Err(Host));
}

#[test]
fn by_default_only_this_machine_is_dialled_and_only_by_tcp() {
    let policy = DialPolicy::default();
    for address in ["127.0.0.1:1", "127.1:8125", "127.255.255.254:65535", "[::1]:80", "[::ffff:7f00:1]:80"] {
        assert!(allows(&policy, address), "{address}");
    }
    for address in
        ["0.0.0.0:80", "10.0.0.1:80", "169.254.169.254:80", "[::]:80", "[fe80::1]:80", "8.8.8.8:53"]
    {
        assert!(!allows(&policy, address), "{address}");
    }
    let local = tcp("LocalHost.:80");
    assert!(policy.check(&local).is_ok());
    assert!(policy.check_resolved(&local, ip("127.0.0.1")).is_ok());
    assert!(policy.check_resolved(&local, ip("::ffff:127.0.0.1")).is_ok());
    assert!(policy.check_resolved(&local, ip("10.0.0.1")).is_err(), "a name server that lies");
    assert!(!allows(&policy, "evil.example:80"), "other names are not even resolved");
    assert!(policy.check_resolved(&tcp("127.0.0.1:80"), ip("127.0.0.1")).is_err(), "not a name");
    for (proto, address) in [("udp", "127.0.0.1:53"), ("unix", "/run/docker.sock")] {
        assert!(policy.check(&parse(proto, address).expect("readable")).is_err(), "{proto}");
    }
}

/// Every protocol of the originals, each with the family it allows.
#[test]
fn protocols_are_those_of_the_originals() {
    for (proto, v4, v6) in [
        ("tcp", true, true),
        ("tcp4", true, false),
        ("tcp6", false, true),
        ("udp", true, true),
        ("udp4", true, false),
        ("udp6", false, true),
    ] {
        assert_eq!(parse(proto, "10.0.0.1:53").is_ok(), v4, "{proto}");
        assert_eq!(parse(proto, "[fd00::1]:53").is_ok(), v6, "{proto}");
        assert!(parse(proto, "db.example:53").is_ok(), "{proto}");
    }
    for odd in ["", "tcp5", "UDP", "sctp", "ip", "unixgram"] {
        assert!(parse(odd, "10.0.0.1:53").is_err(), "{odd}");
    }
}

#[test]
fn rules_allow_what_they_say() {
    let rules = [
        "tcp/10.0.0.0/8:5432",
        "tcp/*.internal:80,443,8000-8999",
        "tcp/db.example:5432",
        "tcp/[fd00::]/8:*",
        "udp/10.0.0.53:53",
        "unix//run/x.sock",
        "unix//run/app/*",
    ];
    let policy = policy(&rules);
    for address in
        ["10.0.0.1:5432", "10.255.255.255:5432", "a.internal:80", "a.b.internal:8500", "[fd00::1]:1"]
    {
        assert!(allows(&policy, address), "{address}");
    }
    for address in ["10.0.0.1:5433", "11.0.0.1:5432", "[fe00::1]:1", "[::ffff:192.168.0.1]:5432"] {
        assert!(!allows(&policy, address), "{address}");
    }
    // A name that no rule has may still lead into a network that one has; then its address decides.
    assert!(allows(&policy, "elsewhere:5432"));
    assert!(policy.check_resolved(&tcp("elsewhere:5432"), ip("10.3.2.1")).is_ok());
    assert!(policy.check_resolved(&tcp("elsewhere:5432"), ip("11.3.2.1")).is_err());
    let check = |proto: &str, address: &str| policy.check(&parse(proto, address).expect("readable")).is_ok();
    assert!(check("udp", "10.0.0.53:53") && !check("udp", "10.0.0.54:53") && !check("tcp", "10.0.0.53:53"));
    assert!(check("unix", "/run/x.sock") && check("unix", "/run/app/one"));
    assert!(
        !check("unix", "/run/y.sock") && !check("unix", "/run/app/one/two") && !check("unix", "/run/app")
    );
    assert!(check("tcp4", "10.0.0.1:5432"));
    let only_v6 = parse("tcp6", "db.example:5432").expect("readable");
    assert!(policy.check_resolved(&only_v6, ip("192.0.2.1")).is_err());
    assert!(policy.check_resolved(&only_v6, ip("2001:db8::1")).is_ok());
}

#[test]
fn names_do_not_lead_to_where_no_name_should() {
    let policy = policy(&["tcp/*.internal:80", "tcp/one.example:80", "tcp/*:8080"]);
    let (below, one, any) = (tcp("a.internal:80"), tcp("one.example:80"), tcp("whatever:8080"));
    let resolved = |name: &Destination, to: &str| policy.check_resolved(name, ip(to)).is_ok();
    for name in [&below, &one, &any] {
        assert!(resolved(name, "192.168.1.1") && resolved(name, "2001:db8::1"), "{name}");
        for special in ["169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "100.100.100.200"] {
            assert!(!resolved(name, special), "{name} at {special}");
        }
        for special in
            ["::", "fe80::1", "ff02::1", "64:ff9b::7f00:1", "2002:7f00:1::", "::ffff:169.254.169.254"]
        {
            assert!(!resolved(name, special), "{name} at {special}");
        }
    }
    assert!(!resolved(&below, "127.0.0.1"), "who owns one name of many does not reach this machine");
    assert!(resolved(&one, "127.0.0.1") && resolved(&any, "127.0.0.1"), "the operator has named it");
    // Nor beside a rule for this machine: it lets addresses pass, and no name but its own.
    let beside = self::policy(&["tcp/*.internal:80", "tcp/127.0.0.1:*"]);
    assert!(beside.check_resolved(&below, ip("127.0.0.1")).is_err());
    assert!(beside.check_resolved(&tcp("localhost:80"), ip("127.0.0.1")).is_ok());
    assert!(!resolved(&tcp("internal:80"), "192.168.1.1"), "the domain itself is not below it");
    assert!(!resolved(&tcp("evilinternal:80"), "192.168.1.1"));
    for special in ["169.254.169.254:8080", "[fe80::1]:8080", "0:8080", "[64:ff9b::a9fe:a9fe]:8080"] {
        assert!(!allows(&policy, special), "{special}");
    }
}

#[test]
fn who_names_a_special_network_means_it() {
    let metadata = policy(&["tcp/169.254.169.254:80", "tcp/[fe80::]/10:80"]);
    assert!(allows(&metadata, "169.254.169.254:80") && allows(&metadata, "[fe80::1]:80"));
    assert!(!allows(&metadata, "169.254.169.253:80"));
    let all = policy(&["tcp/0.0.0.0/0:80", "tcp/[::]/0:80"]);
    assert!(allows(&all, "8.8.8.8:80") && allows(&all, "[2001:db8::1]:80") && allows(&all, "127.0.0.1:80"));
    assert!(!allows(&all, "169.254.169.254:80") && !allows(&all, "0.0.0.0:80"), "everything is not named");
    let any = DialPolicy::any();
    assert!(any.allows_any() && !all.allows_any());
    assert!(allows(&any, "169.254.169.254:80"), "as the original");
    let none = DialPolicy::new([]);
    assert!(!allows(&none, "127.0.0.1:80"));
    assert_eq!(none.check(&tcp("127.0.0.1:80")).expect_err("no rule").to_string(), "connect not allowed");
}

#[test]
fn a_line_that_is_no_rule_says_what_to_write() {
    let table = [
        ("", "tcp/HOST:PORTS"),
        ("tcp", "tcp/HOST:PORTS"),
        ("tcp/10.0.0.1", "tcp/HOST:PORTS"),
        ("sctp/10.0.0.1:80", "tcp/HOST:PORTS"),
        ("tcp/10.0.0.1:", "PORTS must be"),
        ("tcp/10.0.0.1:0", "PORTS must be"),
        ("tcp/10.0.0.1:90-80", "PORTS must be"),
        ("tcp/10.0.0.1:80,", "PORTS must be"),
        ("tcp/10.0.0.1/8:80", "no bits set behind"),
        ("tcp/10.0.0.0/33:80", "no bits set behind"),
        ("tcp/10.0.0.0/+8:80", "HOST must be"),
        ("tcp/name/8:80", "HOST must be"),
        ("tcp/::1:80", "HOST must be"),
        ("tcp/*internal:80", "HOST must be"),
        ("tcp/*.10.0.0.1:80", "HOST must be"),
        ("tcp/a.*.b:80", "HOST must be"),
        ("tcp/a b:80", "HOST must be"),
        ("unix/run/x", "PATH must be"),
        ("unix//run/*/x", "PATH must be"),
        ("unix//run/../*", "PATH must be"),
    ];
    for (line, fix) in table {
        let error = line.parse::<Rule>().expect_err(line).to_string();
        assert!(error.contains(fix) && error.starts_with(&format!("`{line}`")), "{error}");
    }
}

/// However it is spelt, one address is dialled so often at a time, and others are not held up by it.
#[test]
fn so_many_dial_one_address_at_a_time() {
    let limits = Limits { tunnel_dials_per_target: 2, ..Limits::default() };
    let mut crowd = Crowd::new(limits.tunnel_dials_per_target);
    let spellings = ["127.0.0.1:80", "127.1:80", "0x7f000001:80", "[::ffff:127.0.0.1]:80"].map(tcp);
    assert_eq!([0, 1].map(|at| crowd.enter(&spellings[at])), [Ok(()); 2]);
    for spelling in &spellings {
        assert_eq!(crowd.enter(spelling), Err(Mark::TargetFull));
    }
    for other in [socket("127.0.0.1:81"), socket("127.0.0.2:80"), parse("udp", "127.0.0.1:80").unwrap()] {
        assert_eq!(crowd.enter(&other), Ok(()));
        crowd.leave(&other);
    }
    crowd.leave(&spellings[3]);
    assert_eq!(crowd.enter(&spellings[0]), Ok(()));
    (0..2).for_each(|_| crowd.leave(&spellings[2]));
    crowd.leave(&spellings[2]);
    assert_eq!(crowd.targets(), 0, "nothing stays");
}

fn any_ip() -> impl Strategy<Value = IpAddr> {
    let near =
        |high: [u8; 2]| any::<[u8; 2]>().prop_map(move |low| [high[0], high[1], low[0], low[1]].into());
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        near([127, 0]),
        near([169, 254]),
        near([10, 0]),
        any::<[u8; 4]>().prop_map(|v4| Ipv4Addr::from(v4).to_ipv6_mapped().into()),
    ]
}

/// Ways to write an address, of which each must be understood as the address or not at all.
fn spell(address: Ipv4Addr, how: usize) -> String {
    let [a, b, c, d] = address.octets();
    let bits = address.to_bits();
    match how {
        0 => format!("{a}.{b}.{}", u32::from(c) << 8 | u32::from(d)),
        1 => format!("{a}.{}", bits & 0xff_ffff),
        2 => bits.to_string(),
        3 => format!("{bits:#x}"),
        4 => format!("0{bits:o}"),
        5 => format!("{a:#x}.{b:#X}.0{c:o}.{d}").replace("0X", "0x"),
        6 => format!("[{}]", address.to_ipv6_mapped()),
        7 => format!("[::ffff:{:x}:{:x}]", bits >> 16, bits & 0xffff),
        8 => format!("{address}."),
        _ => address.to_string(),
    }
}

proptest! {
    #[test]
    fn spellings_change_nothing(octets in any::<[u8; 4]>(), port in 1_u16.., how in 0..10_usize) {
        let address = Ipv4Addr::from(octets);
        let spelled = tcp(&format!("{}:{port}", spell(address, how)));
        prop_assert_eq!(&spelled, &tcp(&format!("{address}:{port}")));
        let rules = policy(&["tcp/*:*", "tcp/10.0.0.0/8:80"]);
        for policy in [DialPolicy::default(), rules] {
            let plain = policy.check(&socket(&format!("{address}:{port}")));
            prop_assert_eq!(policy.check(&spelled), plain);
        }
    }

    /// Whatever comes in, what comes out is in the one form: read again it is the same.
    #[test]
    fn the_one_form_is_read_as_itself(
        proto in prop::sample::select(vec!["tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix"]),
        address in "[a-zA-Z0-9.:\\[\\]/@%_-]{0,24}(:[0-9]{1,5})?",
    ) {
        if let Ok(destination) = parse(proto, &address) {
            let text = destination.to_string();
            let (proto, address) = text.split_once('/').expect("written so");
            prop_assert_eq!(parse(proto, address), Ok(destination));
        }
    }

    #[test]
    fn no_bytes_panic(proto in any::<Vec<u8>>(), address in any::<Vec<u8>>(), rule in ".{0,40}") {
        let _ = Destination::parse(&proto, &address);
        let _ = Destination::parse(b"tcp", &address);
        let _ = rule.parse::<Rule>();
        let _ = format!("tcp/{rule}:80").parse::<Rule>();
    }

    /// An address is allowed for a name only where it is allowed by itself, and a name may lead there.
    #[test]
    fn an_answer_of_a_name_server_opens_nothing(address in any_ip(), port in 1_u16..) {
        let policies = [DialPolicy::default(), policy(&["tcp/10.0.0.0/8:*", "tcp/[fd00::]/8:443", "tcp/*:80"])];
        for policy in policies {
            let direct = Destination::Socket {
                transport: Transport::Tcp,
                address: SocketAddr::new(address.to_canonical(), port),
            };
            let name = tcp(&format!("name.example:{port}"));
            let allows = [&direct, &name].iter().all(|one| policy.check(one).is_ok());
            prop_assert_eq!(policy.check_resolved(&name, address).is_ok(), allows);
        }
    }

    #[test]
    fn no_list_opens_what_is_special(address in any_ip(), prefix in 0..4_u8, host in 0..3_usize) {
        let rule = match host {
            0 => "tcp/*:*".to_owned(),
            1 => format!("tcp/{}/{prefix}:*", Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0))),
            _ => format!("tcp/[{}]/{prefix}:*", Ipv6Addr::from_bits(u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0))),
        };
        let canonical = address.to_canonical();
        let is_special = match canonical {
            IpAddr::V4(v4) => v4.is_unspecified() || v4.is_link_local() || v4.is_broadcast(),
            IpAddr::V6(v6) => v6.is_unspecified() || v6.is_unicast_link_local(),
        };
        let destination = Destination::Socket { transport: Transport::Tcp, address: SocketAddr::new(canonical, 80) };
        prop_assert!(!is_special || policy(&[&rule]).check(&destination).is_err(), "{} allows {}", rule, address);
    }
}

#[test]
fn a_name_is_looked_up_only_if_a_rule_may_allow_where_it_leads() {
    for (rule, allowed, refused) in [
        ("tcp/db.example:80", "db.example:80", "elsewhere:80"),
        ("tcp/*.example:80", "db.example:80", "example:80"),
        ("tcp/127.0.0.0/8:80", "localhost:80", "elsewhere:80"),
        ("tcp/127.0.0.0/8:80", "db.localhost:80", "notlocalhost:80"),
    ] {
        let policy = policy(&[rule]);
        assert!(allows(&policy, allowed) && !allows(&policy, refused), "{rule}");
    }
}
