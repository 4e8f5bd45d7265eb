//! Reading the recordings.

use std::time::Duration;

use bytes::Bytes;
use linkspan_core::pomelo::{self, Dictionary, Message, MessageType};
use serde_json::Value;

use super::{Case, Script, Step};
use crate::vectors;

/// The files that one gateway alone can play; recordings of clusters belong to the work on scale-out.
const FILES: [&str; 12] = [
    "nano_tcp_edge_cases",
    "nano_tcp_life",
    "nano_ws_life",
    "nano_tcp_dictionary",
    "nano_tcp_chat",
    "nano_tcp_heartbeat_timeout",
    "pitaya_tcp_edge_cases",
    "pitaya_tcp_life_and_kick",
    "pitaya_tcp_dictionary",
    "pitaya_ws_dictionary",
    "pitaya_tcp_heartbeat_timeout",
    "js_jsclient_vs_nano_ws",
];
const JS_KICK: &str = "js_jsclient_vs_pitaya_ws_kick";

/// All recorded cases.
///
/// # Panics
///
/// If a recording cannot be read.
pub fn cases() -> Vec<Case> {
    FILES.into_iter().chain([JS_KICK]).flat_map(read_file).collect()
}

fn read_file(name: &str) -> Vec<Case> {
    let file = vectors::load(&format!("nano/transcripts/{name}.json"));
    let options: Vec<_> =
        file["server_options"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let option = |name: &str| options.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
    let seconds = option("-heartbeat").and_then(|text| text.strip_suffix('s')?.parse().ok());
    // The recordings of JavaScript clients do not state it; the servers announced two seconds.
    let seconds = seconds.unwrap_or(if name.starts_with("js_") { 2 } else { 30 });
    let entries = option("-dict").into_iter().flat_map(|text| text.split(',')).map(|entry| {
        let (route, code) = entry.split_once('=').expect("route=code");
        (route, code.parse().expect("a code"))
    });
    let dictionary = Dictionary::new(entries).expect("a good dictionary");
    let case = |name: String, scripts: Vec<&Value>| Case {
        name,
        websocket: file["transport"] == "websocket",
        heartbeat: Duration::from_secs(seconds),
        rejects_old: options.contains(&"-reject"),
        connections: scripts.into_iter().map(|steps| script(steps, &dictionary)).collect(),
        dictionary: dictionary.clone(),
    };
    if let Some(cases) = file["cases"].as_array() {
        let name = |one: &Value| format!("{name}/{}", one["case"].as_str().expect("a name"));
        let mut cases: Vec<_> = cases.iter().map(|one| case(name(one), vec![&one["steps"]])).collect();
        let half = cases.iter_mut().filter(|case| case.name.ends_with("/half_package_then_eof"));
        half.for_each(|case| hang_up(&mut case.connections[0]));
        return cases;
    }
    let others = file["other_connections"].as_object().into_iter().flat_map(|others| others.values());
    vec![case(name.to_owned(), [&file["steps"]].into_iter().chain(others).collect())]
}

fn script(steps: &Value, dictionary: &Dictionary) -> Script {
    let mut script = Script::new();
    for step in steps.as_array().expect("a list of steps") {
        let at = Duration::from_millis(step["t_ms"].as_u64().unwrap_or_default());
        let kind = step["kind"].as_str().expect("a kind");
        let bytes = || data(step);
        let read = match (step["from"].as_str().expect("client or server"), kind) {
            // A WebSocket server that says "close" here echoes the client's.
            (_, "close") => Step::Close,
            ("server", "eof" | "reset") => Step::Ended,
            (_, "silence") => Step::Silence,
            ("client", _)
                if step["note"].as_str().is_some_and(|note| note.contains("one byte per segment")) =>
            {
                script.extend(bytes().iter().map(|byte| (at, Step::Send(Bytes::copy_from_slice(&[*byte])))));
                continue;
            }
            ("client", _) => Step::Send(bytes()),
            _ => Step::Hear(mask(&bytes(), dictionary)),
        };
        script.push((at, read));
    }
    script
}

/// In this case the client hangs up in the middle of a package; the recording shows only what came back.
fn hang_up(script: &mut Script) {
    if let Some(end) = script.iter().position(|(_, step)| *step == Step::Ended) {
        script.insert(end, (script[end].0, Step::Close));
    }
}

/// The bytes of a step; a long one is recorded as its beginning, whose last byte goes on.
fn data(step: &Value) -> Bytes {
    if let Some(hex) = step["hex"].as_str() {
        return vectors::hex(hex).into();
    }
    let mut head = vectors::hex(step["hex_head"].as_str().expect("hex or its beginning"));
    let last = *head.last().expect("not empty");
    head.resize(vectors::number(&step["length"]), last);
    head.into()
}

pub(super) fn mask(package: &[u8], dictionary: &Dictionary) -> String {
    let (head, body) = package.split_at(4);
    assert_eq!(body.len(), usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]));
    match head[0] {
        1 => mask_handshake(body),
        3 => "heartbeat".to_owned(),
        4 => mask_message(body, dictionary),
        5 => format!("kick {}", String::from_utf8_lossy(body)).trim_end().to_owned(),
        kind => panic!("a server sent package {kind}"),
    }
}

fn mask_handshake(body: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(body).expect("the answer is JSON");
    let sys = &answer["sys"];
    let dict = sys["dict"].as_object().filter(|dict| !dict.is_empty());
    let dict = dict.map(|dict| format!(" {}", Value::Object(dict.clone()))).unwrap_or_default();
    format!("handshake {} every {}{dict}", answer["code"], sys["heartbeat"])
}

fn mask_message(body: &[u8], dictionary: &Dictionary) -> String {
    let message = Message::decode(Bytes::copy_from_slice(body), dictionary).expect("a server's message");
    let body = match message.deflated {
        true => pomelo::inflate(&message.body, 1 << 20).expect("zlib"),
        false => message.body,
    };
    let head = match message.kind {
        MessageType::Push => format!("push {}", String::from_utf8_lossy(&message.route)),
        MessageType::Response => format!("response {}", vectors::to_hex(message.id.as_bytes())),
        kind => panic!("a server sent {kind:?}"),
    };
    if message.error {
        let error: Value = serde_json::from_slice(&body).expect("an error is JSON");
        return format!("{head} error {}", error["code"].as_str().unwrap_or_default());
    }
    format!("{head} {}", mask_body(&body)).trim_end().to_owned()
}

fn mask_body(body: &[u8]) -> String {
    if body.len() > 100 {
        return format!("<{} bytes of {}>", body.len(), body[0]);
    }
    let text = String::from_utf8_lossy(body);
    match serde_json::from_slice::<Value>(body) {
        Ok(info) if info.get("remote").is_some() => format!("info of uid {}", info["uid"]),
        _ => text.into_owned(),
    }
}
