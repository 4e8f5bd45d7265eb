//! Flags of tunnels that change what happens.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use linkspan_core::Mark;

use super::{Gateway, PATIENCE, agent, ask, echo, eventually};
use crate::binary::Process;
use crate::tunnel::Link;

/// Two agents of one name, told apart by what they may dial.
pub fn the_order_of_sessions(program: &str) {
    let targets = [echo(), echo()];
    for (order, expected) in [
        (None, [true, true, false, false]),
        (Some("oldest"), [true, true, false, false]),
        (Some("newest"), [false, false, true, true]),
        // The first, the second, the first, the second.
        (Some("round-robin"), [true, false, false, true]),
    ] {
        let forwards = targets.map(|target| format!("127.0.0.1:0=foo/tcp/{target}"));
        let mut more = vec!["--forward", &forwards[0], "--forward", &forwards[1]];
        more.extend(order.iter().flat_map(|order| ["--tunnel-order", order]));
        let gateway = Gateway::start(program, &more);
        let rules = targets.map(|target| format!("tcp/{target}"));
        let _agents = [1, 2].map(|count| gateway.agent(program, &["--allow", &rules[count - 1]], count));
        let ports = ports(&gateway);
        let answers = [ask(ports[0]), ask(ports[0]), ask(ports[1]), ask(ports[1])];
        assert_eq!(answers, expected, "{order:?}");
    }
}

/// Where a gateway listens for its forwards, in their order.
fn ports(gateway: &Gateway) -> Vec<SocketAddr> {
    let mut ports = Vec::new();
    eventually("both are said", || {
        let lines = gateway.process.stdout.until(|_| true);
        let all = lines.iter().filter_map(|line| line.strip_prefix("listening forward "));
        ports = all.map(|address| address.parse().expect("an address")).collect();
        ports.len() == 2
    });
    ports
}

/// With `--once` an agent ends with its session: well if it had one, otherwise with 1.
pub fn an_agent_for_once(program: &str) {
    let mut gateway = Gateway::start(program, &[]);
    let mut once = gateway.agent(program, &["--once"], 1);
    gateway.process.stop();
    assert_eq!(once.wait().code(), Some(0), "{:#?}", once.stderr.all());
    let mut refused = agent(program, &gateway.url(), &["--once"]);
    assert_eq!(refused.wait().code(), Some(1), "{:#?}", refused.stderr.all());
    assert!(refused.stderr.all().concat().contains("no server took the agent"));
}

/// Tokens come from files, which end with a line; files that hold none are told with their flag.
pub fn tokens_from_files(program: &str) {
    let folder = std::env::temp_dir();
    let name = |what: &str| folder.join(format!("linkspan-token-{}-{what}", std::process::id()));
    let [right, wrong, none] = ["right", "wrong", "none"].map(name);
    for (path, text) in [(&right, "the secret\n"), (&wrong, "another\r\n"), (&none, "\n")] {
        std::fs::write(path, text).expect("it can be written");
    }
    let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let [right, wrong, none] = [right, wrong, none].map(|path| text(&path));
    let mut gateway = Gateway::start(program, &["--agent-token-file", &right]);
    assert!(Link::connect(gateway.http, "X-Tunnel-ID: foo\r\n").is_err_and(|head| head.contains(" 401 ")));
    let mut refused = agent(program, &gateway.url(), &["--token-file", &wrong, "--once"]);
    assert_eq!(refused.wait().code(), Some(1));
    assert!(refused.stderr.all().concat().contains("401"));
    let mut welcome = gateway.agent(program, &["--token-file", &right], 1);
    for path in [&none, "/there/is/no/such/file"] {
        let mut process = agent(program, &gateway.url(), &["--token-file", path]);
        assert_eq!(process.wait().code(), Some(2), "{path}");
        assert!(process.stderr.all().concat().contains("--token"), "{path}");
    }
    welcome.stop();
    gateway.process.stop();
    for path in [right, wrong, none] {
        std::fs::remove_file(path).expect("it was written");
    }
}

/// What is no peer is told without what was written, in which a token may be.
pub fn mistyped_peers_keep_their_tokens(program: &str) {
    let serve = ["serve", "--http", "127.0.0.1:0", "--tunnel", "--id", "first", "--token", "aaa", "--peers"];
    for peers in ["second:s3cret:http://127.0.0.1:1/connect", "a:b:ws://127.0.0.1:1/connect,s3cret"] {
        let mut process = Process::start(program, &[&serve[..], &[peers]].concat());
        assert_eq!(process.wait().code(), Some(2), "{peers}");
        let said = process.stderr.all().concat();
        assert!(said.contains("--peers") && !said.contains("s3cret"), "{said}");
    }
}

/// Beyond so many sessions of one agent the next is told 503, and when to come again.
pub fn too_many_sessions_of_one_agent(program: &str) {
    let mut gateway = Gateway::start(program, &["--tunnel-sessions-per-client", "2"]);
    let sessions = [(); 2].map(|()| Link::open(gateway.http, "foo"));
    gateway.until_sessions(2);
    let refusal = Link::connect(gateway.http, "X-Tunnel-ID: foo\r\n").err().expect("one too many");
    assert!(refusal.starts_with("HTTP/1.1 503 ") && refusal.contains("retry-after: 5"), "{refusal}");
    let _other = Link::open(gateway.http, "bar");
    drop(sessions);
    gateway.until_sessions(1);
    let _again = Link::open(gateway.http, "foo");
    gateway.until_sessions(2);
    gateway.process.stop();
}

/// Limits that cannot be are told with their name and what they must be; so are times.
pub fn wrong_limits_are_told(program: &str) {
    for (flags, words) in [
        (["--tunnel-streams", "0"], ["`tunnel_streams`", "at least 1"]),
        (["--tunnel-stream-bytes", "1KiB"], ["`tunnel_stream_bytes`", "at least tunnel_stream_pause"]),
        (["--tunnel-receive-max", "1GiB"], ["`tunnel_receive_max`", "at most 16777215"]),
        (["--tunnel-datagram-idle", "0s"], ["`tunnel_datagram_idle`", "at least 1ms"]),
        (["--tunnel-silence", "6s"], ["--tunnel-silence", "twice --tunnel-ping"]),
        (["--tunnel-dials", "many"], ["--tunnel-dials", "write a size"]),
    ] {
        let serve = ["serve", "--http", "127.0.0.1:0", "--tunnel"];
        let connect = ["agent", "--connect", "ws://127.0.0.1:1/connect", "--id", "foo"];
        for command in [&serve[..], &connect] {
            let mut process = Process::start(program, &[command, &flags].concat());
            assert_eq!(process.wait().code(), Some(2), "{command:?} {flags:?}");
            let said = process.stderr.all().concat();
            assert!(words.iter().all(|word| said.contains(word)), "{flags:?}: {said}");
        }
    }
}

/// Datagrams stay what they were or are lost, and what is lost is counted.
pub fn lost_datagrams_are_counted(program: &str) {
    let target = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    target.set_read_timeout(Some(PATIENCE)).expect("it can be set");
    let forward = format!("127.0.0.1:0=foo/udp/{}", target.local_addr().expect("bound"));
    let more = ["--forward", &forward, "--tunnel-datagram-senders", "1", "--tunnel-datagram-idle", "1h"];
    let mut gateway = Gateway::start(program, &more);
    let mut agent = gateway.agent(program, &["--allow-any"], 1);
    let [one, other] = [(); 2].map(|()| {
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        sender.connect(gateway.forward()).expect("it is bound");
        sender
    });
    let mut buffer = vec![0; 64 * 1024];
    for size in [1, 1400, 32 * 1024] {
        one.send(&vec![7; size]).expect("it is sent");
        assert_eq!(target.recv(&mut buffer).expect("it arrives"), size);
    }
    for size in [0, 32 * 1024 + 1, 60_000] {
        one.send(&vec![7; size]).expect("it is sent");
    }
    eventually("three are counted", || gateway.marked(Mark::DatagramDropped) == 3);
    other.send(b"one too many").expect("it is sent");
    eventually("the sender is counted", || gateway.marked(Mark::SendersFull) == 1);
    one.send(b"the last").expect("it is sent");
    let count = target.recv(&mut buffer).expect("it arrives");
    assert_eq!(&buffer[..count], b"the last", "nothing came in between");
    target.set_read_timeout(Some(Duration::from_millis(20))).expect("it can be set");
    assert!(target.recv(&mut buffer).is_err());
    agent.stop();
    gateway.process.stop();
}

/// What the process counts is shown to the machine itself, with a row for every limit.
pub fn counters_are_shown(program: &str) {
    let mut gateway = Gateway::start(program, &[]);
    let _agent = gateway.agent(program, &[], 1);
    for mark in Mark::ALL {
        assert_eq!(gateway.marked(*mark), 0, "{mark:?}");
    }
    let page = super::get(gateway.http, "/metrics");
    assert!(page.contains("linkspan_connections_open "), "{page}");
    gateway.process.stop();
}
