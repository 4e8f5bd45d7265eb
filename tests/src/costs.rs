//! What an input costs is in proportion to its length, whatever its shape (B4): the readers of what strangers send, with
//! the shapes that are dear to naive ones (T4, T22).
//!
//! Two counts, neither of them of a clock: `tests/costs.rs` counts what is asked of the allocator, and the program `costs`
//! counts instructions under valgrind.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use linkspan_core::edge::{Network, client_of};
use linkspan_core::http::framing::Framing;
use linkspan_core::http::{forward, path};
use linkspan_core::im::{Arguments, Envelope};
use linkspan_core::pomelo::{PackageReader, inflate};
use linkspan_core::tunnel::{Content, Role, TunnelCommand, TunnelNotice, data_cost};
use linkspan_core::{chat, json};

use crate::tunnel::End;

/// Every shape that is counted.
pub fn shapes() -> Vec<Shape> {
    [JSON, HTTP, POMELO, TUNNEL].concat()
}

/// What is done with one input that was made before the counting.
pub type Work = Box<dyn FnMut()>;
/// The work with an input of about so many bytes, and what it is called.
pub type Shape = (&'static str, fn(usize) -> Work);

/// The readers of JSON, all with one input.
fn read_json(text: String) -> Work {
    Box::new(move || {
        let data = text.as_bytes();
        let _ = black_box(chat::Message::decode(data).map(|message| message.content().len()));
        let _ = black_box(Envelope::decode(data).map(|request| request.data.len()));
        let _ = black_box(json::members(data, |_, value| {
            let _ = black_box((value.signed(), value.unsigned(), value.text(), value.quoted_text()));
            Ok(())
        }));
    })
}

const JSON: &[Shape] = &[
    ("JSON: one long text", |len| read_json(format!(r#"{{"content":"{0}"}}"#, "a".repeat(len)))),
    ("JSON: escapes", |len| read_json(format!(r#"{{"content":"{0}","data":"{0}"}}"#, r"\n".repeat(len / 4)))),
    ("JSON: halves of surrogates", |len| {
        read_json(format!(r#"{{"content":"{0}","data":"{0}"}}"#, r"\ud800".repeat(len / 12)))
    }),
    ("JSON: a text without an end", |len| read_json(format!(r#"{{"content":"{}"#, r"\\".repeat(len / 2)))),
    ("JSON: one member again and again", |len| {
        read_json(format!(r#"{{{}"x":1}}"#, r#""data":"x","#.repeat(len / 11)))
    }),
    ("JSON: unknown members", |len| read_json(format!(r#"{{{}"x":1}}"#, r#""\u0078":[],"#.repeat(len / 12)))),
    ("JSON: a long number", |len| read_json(format!(r#"{{"type":{}}}"#, "9".repeat(len)))),
    ("JSON: nested as deep as may be", |len| {
        let deep = format!("{}{},", "[".repeat(60), "]".repeat(60));
        read_json(format!(r#"{{"x":[{}1]}}"#, deep.repeat(len / deep.len())))
    }),
    ("JSON: nested without end", |len| read_json(format!(r#"{{"x":{}"#, "[".repeat(len)))),
    ("JSON: spaces", |len| read_json(format!("{{{}", " ".repeat(len)))),
];

/// Bytes of a connection that come one by one.
fn follow(text: String) -> Work {
    Box::new(move || {
        let mut framing = Framing::new();
        text.as_bytes().chunks(1).for_each(|piece| framing.handle_bytes(piece));
        black_box(framing.is_doubtful(1));
    })
}

fn headed(head: &str, fill: &str, len: usize) -> Work {
    follow(format!("POST / HTTP/1.1\r\n{head}{}", fill.repeat(len / fill.len())))
}

const HTTP: &[Shape] = &[
    ("HTTP: a head without an end", |len| headed("Cookie: ", "x", len)),
    ("HTTP: a name without an end", |len| headed("", "x", len)),
    ("HTTP: fields without an end", |len| headed("", "Content-Length: 0\r\n", len)),
    ("HTTP: empty lines", |len| follow("\r\n".repeat(len / 2))),
    ("HTTP: small chunks", |len| headed("Transfer-Encoding: chunked\r\n\r\n", "1;x\r\na\r\n", len)),
    ("HTTP: small requests", |len| headed("\r\n", "GET / HTTP/1.1\r\n\r\n", len)),
    ("HTTP: tokens", |len| {
        let list = "a,".repeat(len / 2);
        Box::new(move || {
            black_box((forward::tokens(&list).count(), forward::passes(&list)));
        })
    }),
    ("HTTP: a path up and down", |len| {
        let up = "/a/.././/%2f".repeat(len / 12);
        Box::new(move || {
            black_box((path::clean(&up).len(), path::decode(&up).map_or(0, |all| all.len())));
            black_box((path::escape(up.as_bytes()).len(), path::escape_again(&up).len()));
        })
    }),
    ("HTTP: a query", |len| {
        let query = "a=%41&sendID=;&".repeat(len / 15);
        Box::new(move || _ = black_box(Arguments::parse(&query)))
    }),
    ("HTTP: proxies", |len| {
        let list = "10.0.0.1, ".repeat(len / 10);
        let trusted: [Network; 1] = ["10.0.0.0/8".parse().expect("a network")];
        let peer = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 80));
        Box::new(move || _ = black_box(client_of(peer, [list.as_str()], &trusted)))
    }),
];

const POMELO: &[Shape] = &[
    ("pomelo: a byte per call", |len| {
        let head = u32::try_from(len).expect("short").to_be_bytes();
        Box::new(move || {
            let mut reader = PackageReader::new();
            let mut give = |byte| {
                let _ = black_box(reader.next(&mut Bytes::copy_from_slice(&[byte]), 1 << 24));
            };
            [4].iter().chain(&head[1..]).copied().for_each(&mut give);
            (0..len).for_each(|_| give(0));
        })
    }),
    ("pomelo: empty packages", |len| {
        let all = Bytes::from([3, 0, 0, 0].repeat(len / 4));
        Box::new(move || {
            let (mut input, mut reader) = (all.clone(), PackageReader::new());
            while let Ok(Some(_)) = reader.next(&mut input, 0) {}
        })
    }),
    ("pomelo: empty blocks", |len| {
        // Each is stored, of no length, and not the last.
        let blocks = [&[0x78, 0x9c][..], &[0, 0, 0, 0xff, 0xff].repeat(len / 5)].concat();
        Box::new(move || _ = black_box(inflate(&blocks, 1 << 20)))
    }),
];

/// An end with streams, to which the peer says `content` of stream `wire(n)`, `count` times; what comes is read.
fn hear(streams: i64, count: usize, wire: fn(i64) -> i64, content: Content) -> Work {
    Box::new(move || {
        let mut end = End::role(Role::Client);
        (2..2 + streams).for_each(|wire| _ = end.accept(wire));
        for number in 0..count {
            end.receive(wire(number as i64), content.clone());
            for notice in std::mem::take(&mut end.notices) {
                if let TunnelNotice::Data { stream, body } = notice {
                    end.command(TunnelCommand::Read { stream, cost: data_cost(&body) });
                }
            }
            end.sent.clear();
            end.marks.clear();
        }
    })
}

const TUNNEL: &[Shape] = &[
    ("tunnel: data byte by byte", |len| hear(1, len / 64, |_| 2, Content::Data(Bytes::from_static(b"x")))),
    ("tunnel: data for nobody", |len| {
        hear(0, len / 64, |at| 9 + at, Content::Data(Bytes::from_static(b"x")))
    }),
    ("tunnel: errors for nobody", |len| {
        hear(0, len / 64, |at| 9 + at, Content::Error(Bytes::from_static(b"x")))
    }),
    ("tunnel: dials with a number that is taken", |len| hear(1, len / 64, |_| 2, End::connect())),
    ("tunnel: a long list of streams", |len| {
        hear(500, 1, |_| 0, Content::sync((0..(len / 8) as i64).map(|at| at * 7)))
    }),
    ("tunnel: pauses for nobody", |len| hear(0, len / 64, |_| 2, Content::Pause)),
];

/// Costs that must be found, or nothing would be: one by either count.
pub const COPIED: Shape = ("all is copied for every 64 bytes", |len| {
    Box::new(move || (0..len / 64).for_each(|at| _ = black_box(vec![0_u8; at * 64])))
});

/// The same, for the instructions: it asks nothing of the allocator.
pub const READ_AGAIN: Shape = ("all is read for every 4 KiB", |len| {
    let data = vec![1_u8; len];
    Box::new(move || {
        for end in (0..len).step_by(4096) {
            _ = black_box(data[..end].iter().map(|byte| u32::from(*byte)).sum::<u32>());
        }
    })
});
