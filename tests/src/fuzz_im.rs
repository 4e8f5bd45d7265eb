//! The bodies of the fuzz targets of the IM dialect.

use std::fmt::Debug;
use std::sync::Arc;

use linkspan_core::hub::Badge;
use linkspan_core::im::{
    Answer, Arguments, Audience, Check, Client, ClientCommand, Envelope, Fault, Functions, Mode, Reply,
    Server, ServerCommand, ServerNotice, Ticket, Visitor, parse_platform,
};
use linkspan_core::{CloseReason, Delivery, Event, Key, Opcode, Push};

use crate::harness::{Ready, Script, Station};

/// Any bytes as a request, a reply, the arguments of every function, and the arguments of a handshake.
///
/// # Panics
///
/// If something is read that does not survive being written again.
pub fn im_envelope(data: &[u8]) {
    if let Ok(request) = Envelope::decode(data) {
        let text = request.encode();
        assert_eq!(Envelope::decode(&text).as_ref(), Ok(&request));
    }
    if let Ok(reply) = Reply::decode(data) {
        let text = reply.encode();
        assert_eq!(Reply::decode(&text).as_ref(), Ok(&reply));
        assert_eq!(reply.to_push().body(), &text);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let functions = Functions::default();
    for (name, _) in functions.iter() {
        assert_ne!(functions.check(name, text), Check::Unknown);
    }
    let arguments = Arguments::parse(text);
    if let Some(platform) = arguments.platform {
        assert_ne!(parse_platform(&platform).number(), 0, "no limit would hold for it");
    }
}

const SAID: [&str; 8] = [
    r#"{"reqFuncName":"SendMessage","operationID":"a","userID":"k","data":"{}"}"#,
    r#"{"reqFuncName":"Login","userID":"k","data":"{\"userID\":\"k\",\"token\":\"t\"}"}"#,
    r#"{"reqFuncName":"F","userID":"other"}"#,
    r#"{"event":"e","errCode":0,"errMsg":"","data":"d","operationID":"a"}"#,
    r#"{"userID":"k"}"#,
    "null",
    "[]",
    "",
];

fn visitor() -> Visitor {
    Visitor { user: Key::new("k").expect("a good name"), badge: Badge::default() }
}

/// What may happen to either end.
fn anything<D>(script: &mut Script<'_>, station: &mut Station<D>)
where
    D: Ready + Debug,
    D::Notice: Debug + Clone,
{
    match script.choose(12) {
        0..=4 => {
            let mut text = SAID[script.choose(SAID.len())].as_bytes().to_vec();
            script.spoil(&mut text);
            let opcode = [Opcode::Text, Opcode::Text, Opcode::Binary, Opcode::Pong][script.choose(4)];
            let now = script.tick();
            station.event(now, Event::Received(opcode, text.into()));
        }
        5 | 6 => {
            let (now, count) = (script.tick(), script.choose(8));
            station.flush(now, count);
        }
        7 | 8 => {
            let now = script.tick();
            station.timeout(now);
        }
        9 => {
            let now = script.tick();
            station.run_until(now);
        }
        _ => {
            let (now, event) = (script.tick(), script.outside());
            station.event(now, event);
        }
    }
}

fn command(script: &mut Script<'_>, tickets: &[Ticket]) -> ServerCommand {
    let ticket = tickets.get(script.choose(tickets.len().max(1)));
    let audience = [Audience::Asker, Audience::User][script.choose(2)];
    match (script.choose(10), ticket) {
        (0..=3, Some(ticket)) => {
            let data = String::from_utf8(script.body().to_vec()).expect("it is text");
            ServerCommand::Answer { ticket: *ticket, answer: Answer::success(data), audience }
        }
        (4, Some(ticket)) => ServerCommand::Refuse { ticket: *ticket, fault: Fault::NotLoggedIn },
        (5, _) => ServerCommand::SetMode([Mode::Detached, Mode::Waiting][script.choose(2)]),
        (6, _) => [ServerCommand::Kick, ServerCommand::Close][script.choose(2)].clone(),
        (7, _) => ServerCommand::Join(script.group()),
        (8, _) => ServerCommand::SetMode(Mode::Online { batch: script.choose(2) == 0 }),
        _ => ServerCommand::Push(Push::new(script.route(), script.body(), script.overflow())),
    }
}

/// A server's connection: `data` is everything that happens to it. Gives all that it did.
///
/// # Panics
///
/// If a law is broken.
pub fn im_life(data: &[u8]) -> String {
    let mut script = Script::new(data);
    let limits = Arc::new(script.limits());
    let mut station = Station::new(Server::new(Arc::default(), visitor(), 1), limits, script.now()).logged();
    station.event(script.now(), Event::Delivered(Delivery::Admitted(visitor().user)));
    let mut tickets = Vec::new();
    while !script.is_over() {
        if script.choose(3) == 0 {
            let (now, command) = (script.tick(), command(&mut script, &tickets));
            station.command(now, command);
        } else {
            anything(&mut script, &mut station);
        }
        tickets.extend(station.notices().into_iter().filter_map(|notice| match notice {
            ServerNotice::Request { ticket, .. } => Some(ticket),
            _ => None,
        }));
        station.routes();
    }
    station.event(script.now(), Event::Closed(CloseReason::ConnectionLost));
    assert!(station.closed().is_some());
    format!("{:?}", station.log())
}

/// As [`im_life`], for the fuzzer.
pub fn im_server(data: &[u8]) {
    im_life(data);
}

/// A client's connection: `data` is everything that happens to it.
///
/// # Panics
///
/// If a law is broken.
pub fn im_client(data: &[u8]) {
    let mut script = Script::new(data);
    let limits = Arc::new(script.limits());
    let mut station = Station::new(Client::new("k"), limits, script.now());
    while !script.is_over() {
        if script.choose(3) > 0 {
            anything(&mut script, &mut station);
            continue;
        }
        let command = match script.choose(12) {
            0 => ClientCommand::Close,
            1 => ClientCommand::Login { operation: "l".into(), token: "t".into(), batch: true },
            _ => ClientCommand::Call {
                operation: "a".into(),
                function: "F".into(),
                data: String::from_utf8(script.body().to_vec()).expect("it is text"),
            },
        };
        let now = script.tick();
        station.command(now, command);
    }
    station.event(script.now(), Event::Closed(CloseReason::ConnectionLost));
    assert!(station.closed().is_some());
}
