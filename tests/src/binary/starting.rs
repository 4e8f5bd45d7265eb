//! What a program says and understands at its start.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::wire::CARRIERS;
use super::{Carrier, Client, PATIENCE, Process, eventually};

/// Port 0 is any free port; each listener says which one it got.
pub fn lines_with_real_ports(program: &str) {
    let mut gateway = Process::serve(program, &["--http", "127.0.0.1:0"]);
    for carrier in CARRIERS {
        let address = gateway.address(carrier);
        assert_ne!(address.port(), 0);
        Client::connect(address, carrier).expect("it listens there").echo(1).expect("the right answer");
    }
    let mut page = TcpStream::connect(gateway.listening("http")).expect("it listens there");
    page.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    page.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    page.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"), "{answer:?}");
    gateway.stop();
    assert_eq!(gateway.stdout.all().len(), 3, "data only");
}

/// `demo` says where it listens and what to try.
pub fn demo_says_what_next(program: &str) {
    let mut demo = Process::start(program, &["demo", "--port", "0"]);
    let tcp = demo.listening("pomelo-tcp");
    Client::connect(tcp, Carrier::Tcp).expect("it listens there").echo(1).expect("the right answer");
    let hint = demo.stdout.line("try ");
    assert!(hint.contains(&format!("connect tcp://{tcp}")), "{hint}");
    let hint = demo.stdout.line("or ");
    assert!(hint.contains(&format!("connect ws://{}", demo.listening("pomelo-ws"))), "{hint}");
    let hint = demo.stdout.line("open ");
    assert!(hint.contains(&format!("http://{}/", demo.listening("http"))), "{hint}");
    let hint = demo.stdout.line("fetch ");
    let (_, path) = hint.split_once("/client/").expect("there is a URL");
    let request = format!("GET /client/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let http = demo.listening("http");
    eventually("the private origin answers through the tunnel", || {
        let mut stream = TcpStream::connect(http).expect("it listens there");
        stream.write_all(request.as_bytes()).expect("it takes requests");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).is_ok() && answer.ends_with("hello from behind the tunnel\n")
    });
    demo.stop();
    assert_eq!(demo.stdout.all().len(), 11);
}

/// `connect` answers a pipe on standard output, and tells of failures by its exit code.
pub fn connect_from_a_pipe(program: &str) {
    let gateway = Process::serve(program, &[]);
    let urls = [("tcp", Carrier::Tcp), ("ws", Carrier::WebSocket)];
    for url in urls.map(|(scheme, carrier)| format!("{scheme}://{}", gateway.address(carrier))) {
        let input = "request Echo.JSON {\"a\":1}\nnotify Echo.PushMe hello\nrequest Echo.Raw two words\n";
        let mut client = Process::start_with(program, &["connect", &url], input);
        assert_eq!(client.wait().code(), Some(0), "{:?}", client.stderr.all());
        let said = client.stdout.all();
        assert_eq!(said, ["answer Echo.JSON {\"a\":1}", "push onEcho hello", "answer Echo.Raw two words"]);

        let mut client =
            Process::start_with(program, &["connect", &url], "request Echo.Fail\nrequest Echo.Raw x");
        assert_eq!(client.wait().code(), Some(1));
        let said = client.stdout.all();
        assert!(said[0].starts_with("error Echo.Fail {") && said[0].contains("ECHO-1"), "{said:?}");
        assert_eq!(said[1..], ["answer Echo.Raw x"]);
    }
}

/// Wrong usage is told on standard error; exit code 2.
pub fn wrong_usage(program: &str) {
    let cases: &[&[&str]] = &[
        &[],
        &["serve"],
        &["serve", "--no-such-flag"],
        &["serve", "--pomelo-tcp", "nowhere"],
        &["serve", "--pomelo-tcp", "127.0.0.1:0", "--heartbeat", "10s", "--silence", "1s"],
        &["serve", "--pomelo-tcp", "127.0.0.1:0", "--dictionary", "a.b=1,c.d=1"],
        &["serve", "--pomelo-tcp", "127.0.0.1:0", "--dictionary", "a.b=x"],
        &["connect", "ftp://127.0.0.1:1"],
    ];
    for arguments in cases {
        let mut process = Process::start(program, arguments);
        assert_eq!(process.wait().code(), Some(2), "{arguments:?}");
        assert!(process.stdout.all().is_empty(), "{arguments:?}");
        assert!(!process.stderr.all().is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"], &["--version"]] {
        let mut process = Process::start(program, arguments);
        assert_eq!(process.wait().code(), Some(0), "{arguments:?}");
        assert!(!process.stdout.all().is_empty() && process.stderr.all().is_empty(), "{arguments:?}");
    }
}

/// An address that is taken: exit code 3, and the address is named.
pub fn taken_addresses(program: &str) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    for flag in ["--pomelo-tcp", "--pomelo-ws", "--http"] {
        for placement in ["work-stealing", "per-core"] {
            let mut process = Process::start(program, &["serve", flag, &address, "--placement", placement]);
            assert_eq!(process.wait().code(), Some(3), "{flag} {placement}");
            assert!(process.stderr.all().concat().contains(&address));
        }
    }
}

/// Outputs that nobody reads, or that are closed, cost nothing but their lines.
pub fn nobody_reads_the_output(program: &str) {
    let (mut gateway, address) = Process::serve_unread(program);
    for id in 1..=200 {
        let mut client = Client::connect(address, Carrier::Tcp).expect("it still serves");
        client.echo(id).expect("the right answer");
    }
    assert!(gateway.lives());
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
}
