//! What goes over the wires, in words: for the story, and for nothing else.

use std::collections::BTreeMap;

use bytes::Bytes;
use linkspan_core::pomelo::{Dictionary, Message, Package, PackageReader, PackageType};
use linkspan_core::{Limits, Opcode, tunnel};

use super::plan::Kind;

/// How much of a text is shown, in characters.
const TEXT: usize = 160;
/// The same of a body.
const BODY: usize = 40;
/// The same of what is no text, in bytes.
const BINARY: usize = 48;
/// How many of a list's numbers.
const LIST: usize = 16;

/// Who reads along. Streams of packages are cut anywhere, so each end and direction has a reader of its own.
#[derive(Debug, Default)]
pub(super) struct Along {
    readers: BTreeMap<(usize, bool), PackageReader>,
}

impl Along {
    /// What one end has sent, or has received, as a user of that kind speaks.
    pub(super) fn words(
        &mut self,
        (end, is_sent): (usize, bool),
        kind: Kind,
        routes: &Dictionary,
        (opcode, data): (Opcode, &[u8]),
    ) -> String {
        let words = match (kind, opcode) {
            (_, Opcode::Ping | Opcode::Pong) => text(data, BODY),
            (Kind::PomeloTcp | Kind::PomeloWs, Opcode::Binary | Opcode::Stream) => {
                let reader = self.readers.entry((end, is_sent)).or_default();
                packages(reader, data, routes)
            }
            (Kind::Agent | Kind::Original | Kind::Peer, Opcode::Binary) => tunnel_message(data),
            _ => text(data, TEXT),
        };
        format!("{opcode:?} {} B {words}", data.len())
    }
}

/// The packages that end here.
fn packages(reader: &mut PackageReader, data: &[u8], routes: &Dictionary) -> String {
    let mut input = Bytes::copy_from_slice(data);
    let mut words = Vec::new();
    loop {
        match reader.next(&mut input, Limits::BODY_MAX) {
            Ok(Some(one)) => words.push(package(one, routes)),
            Ok(None) if reader.is_empty() => break,
            Ok(None) => {
                words.push("…".to_owned());
                break;
            }
            Err(violation) => {
                words.push(format!("({violation}) {}", binary(data)));
                break;
            }
        }
    }
    words.join("; ")
}

fn package(Package { kind, body }: Package, routes: &Dictionary) -> String {
    match kind {
        PackageType::Handshake => format!("handshake {}", text(&body, TEXT)),
        PackageType::HandshakeAck => "handshake ack".to_owned(),
        PackageType::Heartbeat => "heartbeat".to_owned(),
        PackageType::Kick => format!("kick {}", text(&body, TEXT)),
        PackageType::Data => match Message::decode(body.clone(), routes) {
            Ok(message) => pomelo_message(&message),
            Err(violation) => format!("data ({violation}) {}", binary(&body)),
        },
    }
}

/// `data request 5 Echo.Echo 12 B #7#xxx`.
fn pomelo_message(message: &Message) -> String {
    let mut words = format!("data {:?}", message.kind).to_lowercase();
    if !message.id.is_none() {
        words += &format!(" {}", message.id.number());
    }
    if !message.route.is_empty() {
        words += &format!(" {}", text(&message.route, TEXT));
    }
    words += if message.error { " error" } else { "" };
    words += if message.deflated { " deflated" } else { "" };
    words += &format!(" {} B", message.body.len());
    if message.deflated || message.body.is_empty() {
        return words;
    }
    words + " " + &text(&message.body, BODY)
}

fn tunnel_message(data: &[u8]) -> String {
    let message = match tunnel::Message::decode(&Bytes::copy_from_slice(data)) {
        Ok(message) => message,
        Err(error) => return format!("({error}) {}", binary(data)),
    };
    let words = match message.content {
        tunnel::Content::Sync(ids) => return list(&ids),
        tunnel::Content::AddClient(session) => return format!("add client {}", text(&session, TEXT)),
        tunnel::Content::RemoveClient(session) => return format!("remove client {}", text(&session, TEXT)),
        tunnel::Content::Data(body) => format!("data {} B", body.len()),
        tunnel::Content::Connect(target) => {
            format!("connect {} {}", text(&target.proto, TEXT), text(&target.address, TEXT))
        }
        tunnel::Content::Error(error) => format!("error \"{}\"", text(&error, TEXT)),
        tunnel::Content::Pause => "pause".to_owned(),
        tunnel::Content::Resume => "resume".to_owned(),
        tunnel::Content::Credit(cost) => format!("credit {cost}"),
        other => format!("{other:?}"),
    };
    format!("stream {} {words}", message.stream)
}

fn list(ids: &[u8]) -> String {
    let Some(all) = tunnel::sync_ids(ids) else { return format!("list {}", binary(ids)) };
    let all: Vec<i64> = all.collect();
    match all.get(..LIST) {
        Some(some) if all.len() > LIST => format!("list {some:?} and {} more", all.len() - LIST),
        _ => format!("list {all:?}"),
    }
}

/// The beginning of a text; what is none is shown as bytes.
fn text(data: &[u8], most: usize) -> String {
    let is_plain = |text: &&str| !text.chars().any(char::is_control);
    let Some(text) = std::str::from_utf8(data).ok().filter(is_plain) else { return binary(data) };
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn binary(data: &[u8]) -> String {
    let more = if data.len() > BINARY { "…" } else { "" };
    format!("{}{more}", data[..data.len().min(BINARY)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use linkspan_core::pomelo::{self, MessageId, RouteOut};
    use linkspan_core::tunnel::{Content, EOF, Target};

    use super::*;

    fn said(kind: Kind, opcode: Opcode, data: &[u8]) -> String {
        let routes = Dictionary::numbered(["Room.Join"]).unwrap();
        Along::default().words((1, true), kind, &routes, (opcode, data))
    }

    #[test]
    fn tunnel_messages_are_told_in_words() {
        let told = |content| {
            let frame = tunnel::Message { id: 9, stream: 2, content }.encode().unwrap().into_bytes();
            let words = said(Kind::Original, Opcode::Binary, &frame);
            let head = format!("Binary {} B ", frame.len());
            words.strip_prefix(&head).unwrap().to_owned()
        };
        assert_eq!(told(Content::Data(vec![0; 7278].into())), "stream 2 data 7278 B");
        let (proto, address) = ("tcp".into(), "127.0.0.1:80".into());
        let target = Target { proto, address, is_cut: false };
        assert_eq!(told(Content::Connect(target)), "stream 2 connect tcp 127.0.0.1:80");
        assert_eq!(told(Content::Credit(61_440)), "stream 2 credit 61440");
        assert_eq!(told(Content::Pause), "stream 2 pause");
        assert_eq!(told(Content::Error(EOF.into())), "stream 2 error \"EOF\"");
        let ids = [2_i64, 5].map(i64::to_le_bytes).concat();
        assert_eq!(told(Content::Sync(ids.into())), "list [2, 5]");
        let many = (0..20_i64).flat_map(i64::to_le_bytes).collect::<Vec<u8>>();
        assert!(told(Content::Sync(many.into())).ends_with("14, 15] and 4 more"));
        assert_eq!(said(Kind::Peer, Opcode::Binary, b"\xff"), "Binary 1 B (a number is cut off) \\xff");
    }

    #[test]
    fn packages_are_told_in_words_however_they_are_cut() {
        let route = RouteOut::Code(1);
        let join = pomelo::request(&MessageId::from_number(5), route, false, "#7#xxx".into(), 100).unwrap();
        let beat = pomelo::package(PackageType::Heartbeat, Bytes::new()).unwrap();
        let both = [join.into_bytes(), beat.into_bytes()].concat();
        let words = "data request 5 Room.Join 6 B #7#xxx; heartbeat";
        assert_eq!(said(Kind::PomeloWs, Opcode::Binary, &both), format!("Binary {} B {words}", both.len()));
        let routes = Dictionary::numbered(["Room.Join"]).unwrap();
        let mut along = Along::default();
        let mut piece = |data| along.words((1, false), Kind::PomeloTcp, &routes, (Opcode::Stream, data));
        assert_eq!(piece(&both[..2]), "Stream 2 B …");
        assert_eq!(piece(&both[2..]), format!("Stream {} B {words}", both.len() - 2));
        assert_eq!(piece(b"\x09spoilt"), "Stream 7 B (unknown package type) \\tspoilt");
    }

    #[test]
    fn texts_are_cut_between_characters_and_bytes_are_escaped() {
        let long = "ä".repeat(TEXT + 1);
        let words = said(Kind::Chat, Opcode::Text, long.as_bytes());
        assert_eq!(words, format!("Text {} B {}…", long.len(), "ä".repeat(TEXT)));
        assert_eq!(said(Kind::Im, Opcode::Text, b"{\"a\":1}"), "Text 7 B {\"a\":1}");
        assert_eq!(said(Kind::Im, Opcode::Text, b"\xff"), "Text 1 B \\xff");
    }
}
