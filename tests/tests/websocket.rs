//! WebSocket frames: against another implementation under any cut of the input, and what a peer may not send.

use std::io::{Cursor, Read, Write};

use linkspan_core::websocket::{HEAD_MAX, Incoming, Reader, Side, put_close, put_frame, put_head};
use linkspan_core::{Bytes, Opcode, Violation};
use proptest::collection::vec;
use proptest::prelude::*;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Message, WebSocket};

const MAX: usize = 200_000;

/// Everything that comes out, with the input cut as `cuts` say.
fn read_all(side: Side, wire: &[u8], cuts: &[usize]) -> (Vec<Incoming>, Option<Violation>) {
    let mut reader = Reader::new(side, MAX);
    let mut got = Vec::new();
    let mut cuts = cuts.iter().copied().chain(std::iter::repeat(usize::MAX));
    let mut rest = wire;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(cuts.next().unwrap().clamp(1, rest.len()));
        reader.feed(piece);
        rest = behind;
        loop {
            match reader.next_incoming() {
                Ok(Some(incoming)) => got.push(incoming),
                Ok(None) => break,
                Err(violation) => return (got, Some(violation)),
            }
        }
    }
    (got, None)
}

/// A stream that gives what was put in, and keeps what is written.
#[derive(Default)]
struct Pipe {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.input.read(into)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn message() -> impl Strategy<Value = (Opcode, Vec<u8>)> {
    let sizes = prop_oneof![0..130_usize, 65_530..65_540_usize, 0..40_000_usize];
    let data = sizes.prop_flat_map(|size| any::<u8>().prop_map(move |byte| vec![byte; size]));
    prop_oneof![
        4 => data.prop_map(|data| (Opcode::Binary, data)),
        2 => "\\PC{0,60}".prop_map(|text| (Opcode::Text, text.into_bytes())),
        1 => vec(any::<u8>(), 0..=125).prop_map(|data| (Opcode::Ping, data)),
        1 => vec(any::<u8>(), 0..=125).prop_map(|data| (Opcode::Pong, data)),
    ]
}

fn theirs(opcode: Opcode, data: &[u8]) -> Message {
    match opcode {
        Opcode::Text => Message::text(std::str::from_utf8(data).unwrap()),
        Opcode::Ping => Message::Ping(data.to_vec().into()),
        Opcode::Pong => Message::Pong(data.to_vec().into()),
        Opcode::Binary | Opcode::Stream => Message::binary(data.to_vec()),
    }
}

/// What the other implementation writes for these messages; data messages in fragments of `fragment` bytes, if given.
fn written_by_theirs(role: Role, messages: &[(Opcode, Vec<u8>)], fragment: Option<usize>) -> Vec<u8> {
    let mut socket = WebSocket::from_raw_socket(Pipe::default(), role, None);
    for (opcode, data) in messages {
        let kind = match opcode {
            Opcode::Text => Data::Text,
            _ => Data::Binary,
        };
        match fragment {
            Some(size) if matches!(opcode, Opcode::Text | Opcode::Binary) && data.len() > size => {
                let last = data.chunks(size).count() - 1;
                for (index, piece) in data.chunks(size).enumerate() {
                    let kind = if index == 0 { kind } else { Data::Continue };
                    let frame = Frame::message(piece.to_vec(), OpCode::Data(kind), index == last);
                    socket.send(Message::Frame(frame)).unwrap();
                    if index < last {
                        socket.send(Message::Ping("between".into())).unwrap();
                    }
                }
            }
            _ => socket.send(theirs(*opcode, data)).unwrap(),
        }
    }
    std::mem::take(&mut socket.get_mut().output)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn reads_what_another_implementation_writes(
        messages in vec(message(), 0..8),
        cuts in vec(1..9_000_usize, 0..60),
        fragment in proptest::option::of(1_000..9_000_usize),
        is_client in any::<bool>(),
    ) {
        let (side, role) = if is_client { (Side::Client, Role::Server) } else { (Side::Server, Role::Client) };
        let wire = written_by_theirs(role, &messages, fragment);
        let (got, violation) = read_all(side, &wire, &cuts);
        prop_assert_eq!(violation, None);
        let between = Incoming::Message(Opcode::Ping, Bytes::from_static(b"between"));
        let got: Vec<_> = got.into_iter().filter(|one| *one != between).collect();
        let sent = messages.into_iter().map(|(opcode, data)| Incoming::Message(opcode, data.into()));
        prop_assert_eq!(got, sent.collect::<Vec<_>>());
    }

    #[test]
    fn writes_what_another_implementation_reads(messages in vec(message(), 0..8), is_client in any::<bool>()) {
        let role = if is_client { Role::Server } else { Role::Client };
        let mut wire = Vec::new();
        for (index, (opcode, data)) in messages.iter().enumerate() {
            let mask = is_client.then(|| (0x1234_5678_u32.wrapping_mul(1 + index as u32)).to_be_bytes());
            let (head, body) = data.split_at(data.len() / 3);
            put_frame(&mut wire, *opcode, &[head, body], mask);
        }
        put_close(&mut wire, Some(4001), "replaced", is_client.then_some([9, 8, 7, 6]));
        let pipe = Pipe { input: Cursor::new(wire), output: Vec::new() };
        let mut socket = WebSocket::from_raw_socket(pipe, role, None);
        for (opcode, data) in &messages {
            prop_assert_eq!(socket.read().unwrap(), theirs(*opcode, data));
        }
        let frame = CloseFrame { code: 4001.into(), reason: "replaced".into() };
        prop_assert_eq!(socket.read().unwrap(), Message::Close(Some(frame)));
    }

    /// Bad input ends in a violation or in silence, cut or not, and in the same.
    #[test]
    fn any_bytes_mean_the_same_however_they_are_cut(
        wire in vec(any::<u8>(), 0..300),
        cuts in vec(1..40_usize, 0..60),
        is_client in any::<bool>(),
    ) {
        let side = if is_client { Side::Client } else { Side::Server };
        prop_assert_eq!(read_all(side, &wire, &cuts), read_all(side, &wire, &[]));
    }
}

#[test]
fn what_a_peer_may_not_send() {
    let fragment: &[u8] = &[0x01, 1, b'a'];
    let cases: &[(&str, Side, Vec<u8>, Violation)] = &[
        ("a client that does not mask", Side::Server, vec![0x82, 1, b'a'], Violation::MessageInvalid),
        ("a server that masks", Side::Client, vec![0x82, 0x81, 0, 0, 0, 0, b'a'], Violation::MessageInvalid),
        ("a reserved bit", Side::Client, vec![0xc2, 0], Violation::MessageInvalid),
        ("an unknown opcode", Side::Client, vec![0x83, 0], Violation::MessageInvalid),
        ("an unknown control opcode", Side::Client, vec![0x8b, 0], Violation::MessageInvalid),
        ("a control frame in fragments", Side::Client, vec![0x09, 0], Violation::MessageInvalid),
        ("a long control frame", Side::Client, vec![0x89, 126, 0, 126], Violation::MessageInvalid),
        ("a continuation of nothing", Side::Client, vec![0x80, 0], Violation::MessageInvalid),
        (
            "a message within a message",
            Side::Client,
            [fragment, &[0x81, 0]].concat(),
            Violation::MessageInvalid,
        ),
        (
            "a length with its first bit",
            Side::Client,
            vec![0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
            Violation::MessageInvalid,
        ),
        (
            "a message above the limit",
            Side::Client,
            vec![0x82, 127, 0, 0, 0, 0, 0, 3, 13, 65],
            Violation::PackageTooLarge,
        ),
        (
            "fragments above the limit",
            Side::Client,
            [fragment, &[0x80, 127, 0, 0, 0, 0, 0, 3, 13, 64]].concat(),
            Violation::PackageTooLarge,
        ),
        ("a text that is not UTF-8", Side::Client, vec![0x81, 1, 0xff], Violation::TextInvalid),
        (
            "a text that ends within a character",
            Side::Client,
            [&[0x01, 1, 0xc3][..], &[0x80, 0]].concat(),
            Violation::TextInvalid,
        ),
        ("a close of one byte", Side::Client, vec![0x88, 1, 3], Violation::MessageInvalid),
        ("a code that is never sent", Side::Client, vec![0x88, 2, 3, 0xee], Violation::MessageInvalid),
        ("a reason that is not UTF-8", Side::Client, vec![0x88, 3, 3, 0xe8, 0xff], Violation::TextInvalid),
    ];
    for (what, side, wire, violation) in cases {
        assert_eq!(read_all(*side, wire, &[]), (Vec::new(), Some(*violation)), "{what}");
        let mut reader = Reader::new(*side, MAX);
        reader.feed(wire);
        assert!(reader.next_incoming().is_err(), "{what}");
        reader.feed(&[0x82, 0]);
        assert_eq!(reader.next_incoming(), Ok(None), "{what}: nothing after it is looked at");
    }
}

#[test]
fn a_close_ends_the_input() {
    let (got, violation) = read_all(Side::Client, &[0x88, 0, 0x82, 0], &[]);
    assert_eq!((got, violation), (vec![Incoming::Close(None)], None));
    let (got, _) = read_all(Side::Client, &[0x88, 4, 0x03, 0xe8, b'o', b'k'], &[1, 1, 1]);
    assert_eq!(got, [Incoming::Close(Some(1000))]);
}

#[test]
fn a_character_may_be_cut_by_fragments() {
    let wire = [&[0x01, 1, 0xc3][..], &[0x80, 1, 0xa9]].concat();
    let (got, _) = read_all(Side::Client, &wire, &[]);
    assert_eq!(got, [Incoming::Message(Opcode::Text, "é".into())]);
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let mut wire = Vec::new();
    put_close(&mut wire, Some(1008), &"é".repeat(100), None);
    assert_eq!(wire[1], 124, "an odd number of bytes is left for characters of two");
    assert_eq!(read_all(Side::Client, &wire, &[]).0, [Incoming::Close(Some(1008))]);
}

#[test]
fn headers_are_as_short_as_can_be() {
    for (length, size) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
        let mut wire = Vec::new();
        put_head(&mut wire, Opcode::Binary, length, None);
        assert_eq!(wire.len(), size, "{length}");
        put_head(&mut wire, Opcode::Binary, length, Some([0; 4]));
        assert!(wire.len() == 2 * size + 4 && size + 4 <= HEAD_MAX, "{length}");
    }
}
