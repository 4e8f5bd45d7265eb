//! What is special about a WebSocket.

use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use async_tungstenite::tungstenite::protocol::CloseFrame;
use async_tungstenite::tungstenite::protocol::frame::Frame;
use async_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use async_tungstenite::tungstenite::{self, Message, WebSocket};
use linkspan_core::{CloseReason, Limits, Mark, Violation};
use linkspan_runtime::Runtime;
use socket2::SockRef;

use crate::harness::{Server, Setup, eventually};

fn setup(limits: Limits) -> Setup {
    Setup { limits, websocket: true, ..Setup::default() }
}

fn connect(server: &Server) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let url = format!("ws://{}/", server.address);
    tungstenite::client(url, stream).unwrap().0
}

/// What the server closes with; pings, pongs and data before it are skipped.
fn closed_with(client: &mut WebSocket<TcpStream>) -> CloseFrame {
    loop {
        if let Message::Close(frame) = client.read().unwrap() {
            return frame.unwrap();
        }
    }
}

pub(crate) fn echoes_fragmented_messages<R: Runtime>() {
    let server = Server::start::<R>(setup(Setup::default().limits));
    let mut client = connect(&server);
    for (data, opcode, last) in
        [("fra", Data::Binary, false), ("gmen", Data::Continue, false), ("ted", Data::Continue, true)]
    {
        client.send(Message::Frame(Frame::message(data, OpCode::Data(opcode), last))).unwrap();
    }
    assert_eq!(client.read().unwrap(), Message::Binary("fragmented".into()));
    for length in [0, 1, 125, 126, 4_095, 4_096, 65_535, 65_536] {
        let message = Message::Binary(vec![b'x'; length].into());
        client.send(message.clone()).unwrap();
        assert_eq!(client.read().unwrap(), message);
    }
    client.close(None).unwrap();
    while client.read().is_ok() {}
    server.assert_clean();
    assert_eq!(server.closed_for(CloseReason::PeerClosed), 1);
}

pub(crate) fn answers_pings<R: Runtime>() {
    let server = Server::start::<R>(setup(Setup::default().limits));
    let mut client = connect(&server);
    for _ in 0..10 {
        client.send(Message::Ping("are you there".into())).unwrap();
        assert_eq!(client.read().unwrap(), Message::Pong("are you there".into()));
    }
}

pub(crate) fn tells_why_it_closes<R: Runtime>() {
    let mut server = Server::start::<R>(setup(Setup::default().limits));
    let mut kicked = connect(&server);
    kicked.send(Message::Binary("x".into())).unwrap();
    kicked.send(Message::Binary("K".into())).unwrap();
    assert_eq!(kicked.read().unwrap(), Message::Binary("x".into()));
    let frame = closed_with(&mut kicked);
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4000, "kicked"));

    let mut stopped = connect(&server);
    let reading = thread::spawn(move || closed_with(&mut stopped));
    eventually("both are in", || server.host.stats().opened() == 2);
    thread::sleep(Duration::from_millis(100));
    server.stop();
    let frame = reading.join().unwrap();
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1001, "server stopping"));
}

pub(crate) fn refuses_oversize<R: Runtime>() {
    let limits = Limits { receive_max: 1_000, ..Setup::default().limits };
    let server = Server::start::<R>(setup(limits));
    let mut client = connect(&server);
    client.send(Message::Binary(vec![0; 100_000].into())).unwrap();
    let frame = closed_with(&mut client);
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1009, "package too large"));
    drop(client);
    server.assert_clean();
    assert_eq!(server.closed_for(Violation::PackageTooLarge.into()), 1);
}

pub(crate) fn pushes_back_without_loss_too<R: Runtime>() {
    let limits = Limits { send_queue_bytes: 64 * 1024, pending_requests: 64, ..Setup::default().limits };
    let server = Server::start::<R>(setup(limits));
    let mut client = connect(&server);
    let writer = client.get_ref().try_clone().unwrap();
    let mut writer = WebSocket::from_raw_socket(writer, tungstenite::protocol::Role::Client, None);
    let message = |number: u32| Message::Binary([&[b'x'; 1_000][..], &number.to_be_bytes()].concat().into());
    let writing = thread::spawn(move || {
        for number in 0..8_000 {
            writer.send(message(number)).unwrap();
        }
    });
    eventually("the reader is paused", || server.host.stats().marked(Mark::ReadPaused) > 0);
    for number in 0..8_000 {
        assert_eq!(client.read().unwrap(), message(number));
    }
    writing.join().unwrap();
    server.connect();
}

/// A message that takes longer than the write timeout, while something moves all the time.
pub(crate) fn a_slow_line_is_not_cut<R: Runtime>() {
    let limits = Limits {
        write_timeout: Duration::from_millis(250),
        receive_max: 8 * 1024 * 1024,
        ..Setup::default().limits
    };
    let server = Server::start::<R>(setup(limits));
    let mut client = connect(&server);
    SockRef::from(client.get_ref()).set_recv_buffer_size(64 * 1024).unwrap();
    let large = Message::Binary(vec![b'x'; 6 * 1024 * 1024].into());
    client.send(large).unwrap();
    let mut stream = client.get_ref();
    let mut piece = vec![0; 128 * 1024];
    let mut received = 0;
    while received < 6 * 1024 * 1024 {
        received += stream.read(&mut piece).unwrap();
        thread::sleep(Duration::from_millis(8));
    }
    assert_eq!(server.closed_for(CloseReason::WriteTimeout), 0);
    assert_eq!(server.host.stats().open(), 1);
}
